"""What a process holds, and whether it holds more after a while than before."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import httpx2
import pytest

from tests.end_to_end.test_endings import descendants

MiB = 1024 * 1024
# They come and go at once, or they stay.
COUNTED = ("tasks", "threads", "processes", "files")
MEMORY = ("memory", "memory below")


def held(pid: int) -> dict[str, int]:
    """What a process holds: open files, resident MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return {"files": len(os.listdir(f"/proc/{pid}/fd")), "memory": pages * os.sysconf("SC_PAGE_SIZE") // MiB}


async def state() -> dict[str, int]:
    """Counted when all that was cancelled has had time to end: connections close after their clients have gone."""
    gc.collect()
    below = descendants(os.getpid())
    mine = held(os.getpid())
    return {
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "processes": len(below),
        "files": mine["files"],
        "memory": mine["memory"],
        "memory below": sum(held(pid)["memory"] for pid in below),
    }


async def settled(expected: dict[str, int]) -> dict[str, int]:
    """The state once it is no more than expected, or after a while whatever it is."""
    for _ in range(200):
        now = await state()
        if all(now[name] <= expected[name] for name in COUNTED):
            break
        async with httpx2.AsyncClient(trust_env=False) as http:  # time passes in the loop, and nothing else happens
            with pytest.raises(Exception, match="onnect"):
                await http.get("http://127.0.0.1:9")
    return now


def assert_no_more(before: dict[str, int], after: dict[str, int], *, threads: int = 3) -> None:
    """After as before, but for what a few more requests in flight hold, and a pool that grew to its bound."""
    for name in COUNTED:
        assert after[name] <= before[name] + (threads if name == "threads" else 3), (name, before, after)
    for name in MEMORY:
        assert after[name] <= before[name] + 64, (name, before, after)
