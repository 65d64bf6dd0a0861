"""A process that the system stops for longer than its lease comes back, and is fenced from what others have taken."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from portal.state import KeyRing, Store, utc_now
from tests.patience import PATIENCE
from tests.portal.state.run_parts import LEASE, call_start, completed, parking

pytestmark = pytest.mark.anyio


async def test_a_process_that_comes_back_after_its_lease_is_fenced(tmp_path: Path, url: str, keys: KeyRing) -> None:
    async with Store.open(url, keys) as store:
        await store.runs.park(parking("a", utc_now(), reason="drain"), b"heap")
    command = ("-m", "tests.portal.runs.durable.stopped", url, str(tmp_path / "state.key"))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        with anyio.fail_after(PATIENCE):
            assert await process.stdout.readline() == b"began\n"
            process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            # This process looks a minute later.
            async with Store.open(url, keys, clock=lambda: utc_now() + timedelta(minutes=1)) as store:
                claim = await store.runs.claim("other", LEASE)
                assert claim is not None and claim.run.revision == 3
                assert await store.runs.started("a", 3, call_start(1)) == "started"
                process.send_signal(signal.SIGCONT)
                said, _ = await process.communicate()
                assert said.split(b"\n")[:-1] == [
                    b"started refused",
                    b"settled refused",
                    b"hold refused",
                    b"end refused",
                ]
                assert [call.revision for call in await store.runs.calls("a")] == [3]
                ended = await store.runs.end("a", 3, completed(utc_now()))
                assert ended.state == "completed"
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
