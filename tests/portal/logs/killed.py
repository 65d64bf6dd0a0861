"""A program for `test_kill`: forks processes that write rows to a log and say which they have written, and kills each.

`python -m tests.portal.logs.killed URL FOLDER KILLS SECONDS RATE`: each writer lives so many seconds, at most, and
writes so many rows a second. Prints, for each life, how many rows were written before it was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from portal.logs import CallLog, LogPlace, LogRow


async def write(place: LogPlace, life: int, rate: float, answers: int) -> None:
    """A byte for each row that was written, as a portal answers a call."""
    async with CallLog.open(place) as log:
        began, number = time.perf_counter(), 0
        while True:
            while number < rate * (time.perf_counter() - began):
                at = time.time_ns() // 1000
                log.write(LogRow(at, 900, "tool", "tools/call", "ok", server="s", name=f"{life}-{number}"), "ada")
                os.write(answers, b".")
                number += 1
            await asyncio.sleep(0.002)


def live(place: LogPlace, life: int, rate: float, answers: int) -> NoReturn:
    try:
        asyncio.run(write(place, life, rate, answers))
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def kill_one(place: LogPlace, life: int, seconds: float, rate: float) -> int:
    told, answers = os.pipe()
    child = os.fork()
    if not child:
        live(place, life, rate, answers)
    os.close(answers)
    # The first row, and then any moment: that is the point.
    heard = os.read(told, 1)
    until = time.monotonic() + seconds * random.uniform(0.5, 1.0)
    os.set_blocking(told, False)
    while time.monotonic() < until:
        time.sleep(0.005)
        try:
            heard += os.read(told, 1 << 20)
        except BlockingIOError:
            continue
    os.kill(child, signal.SIGKILL)
    os.set_blocking(told, True)
    while chunk := os.read(told, 1 << 20):
        heard += chunk
    os.close(told)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(f"a writer ended by itself in life {life}")
    return len(heard)


def main(url: str, folder: str, kills: int, seconds: float, rate: float) -> None:
    place = LogPlace(url=url, folder=Path(folder))
    sys.stdout.write(json.dumps([kill_one(place, life, seconds, rate) for life in range(kills)]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
