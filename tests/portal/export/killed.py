"""A program for `test_kill`: writes rows to a log whose jobs run, and says how many are written, until it is killed.

`python -m tests.portal.export.killed URL FOLDER STATE LIFE`
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from portal.logs import LogPlace, LogRow
from tests.portal.export.exporting import exporting


async def write(place: LogPlace, state: str, life: str) -> None:
    async with exporting(place, place.folder, state=state) as portal:
        number = 0
        while True:
            at = time.time_ns() // 1000
            portal.log.write(LogRow(at, 900, "tool", "tools/call", "ok", server="s", name=f"{life}-{number}"), "ada")
            number += 1
            os.write(1, b"%d\n" % number)
            await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run(write(LogPlace(url=sys.argv[1], folder=Path(sys.argv[2])), sys.argv[3], sys.argv[4]))
