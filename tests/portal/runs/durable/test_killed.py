"""SIGKILL at any moment: no effect happens twice, nothing that was answered is lost, each run ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from portal.state import KeyRing, Store
from tests.deep import times
from tests.portal.runs.durable.killed import CALLS

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(900)  # Each of two hundred processes opens the database anew, on a loaded machine for seconds.
@pytest.mark.parametrize("rounds", times(20, 200))
async def test_an_effect_happens_at_most_once_whenever_the_process_is_killed(
    tmp_path: Path, url: str, keys: KeyRing, rounds: int
) -> None:
    command = [sys.executable, "-m", "tests.portal.runs.durable.killed", str(tmp_path), url, str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answered: list[tuple[str, str, int]] = [tuple(one) for one in json.loads(done.stdout)]
    effects = Counter((tmp_path / "effects").read_text().splitlines())
    claims = Counter((tmp_path / "claims").read_text().splitlines())
    assert set(effects.values()) == {1}
    # Nobody runs a run under a revision that somebody else had.
    assert set(claims.values()) == {1}
    assert len(claims) > rounds / 2
    parked = {run for step, run, _ in answered if step == "parked"}
    ended = {run for step, run, _ in answered if step == "ended"}
    async with Store.open(url, keys) as store:
        for run in parked | ended:
            stored = await store.runs.get(run)
            assert stored is not None and stored.state in ("completed", "lost")
            if stored.state == "lost":
                # Several processes in a row were killed with it. It says so, and what it did it did once.
                assert run not in ended and stored.document.end is not None and stored.document.end.words
                continue
            assert await store.runs.result(run) == b"%d" % CALLS
            assert all(effects[f"{run} {call}"] == 1 for call in range(CALLS))
    for step, run, number in answered:
        if step == "settled":
            assert effects[f"{run} {number}"] == 1
