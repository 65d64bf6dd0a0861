"""A program for `test_kill`: forks writers that write without end and say what was answered, and kills each of them.

`python -m tests.portal.state.killed FOLDER DATABASES KILLS`: so many databases are made in the folder, and the writers
of each are killed so many times. Forking spares each writer the imports. Prints what was answered, as one JSON object
`{database: [[round, objects answered, whether the writer had opened it], ...]}`.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from portal.state import KeyRing, Store, plain

# Some are killed while they start and make the tables, most after so many answers; all at any moment after that.
ANSWERS = (0, 1, 2, 4)
LONGEST_AFTER = 0.03


async def write(folder: Path, number: int, life: int, answers: int) -> None:
    """A byte for the opened database, then one for each object with its secret and its token, used."""
    expires = datetime.now(UTC) + timedelta(days=1)
    async with Store.open(f"sqlite:///{folder}/{number}.db", KeyRing.open(folder / f"{number}.key")) as store:
        os.write(answers, b".")
        count = 0
        while True:
            name = f"{life}-{count}"
            async with store.transaction() as transaction:
                await transaction.create(plain("server"), name, {"n": count}, by="writer", secret=name.encode())
                await transaction.tokens.issue(plain("code"), name, subject="u", document={}, expires_at=expires)
            await store.tokens.consume(plain("code"), name)
            os.write(answers, b".")
            count += 1


def live(folder: Path, number: int, life: int, answers: int) -> NoReturn:
    try:
        asyncio.run(write(folder, number, life, answers))
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def kill_one(folder: Path, number: int, life: int) -> tuple[int, bool]:
    """How many objects a writer had an answer for when it was killed, and whether it had the database open."""
    told, answers = os.pipe()
    child = os.fork()
    if not child:
        live(folder, number, life, answers)
    os.close(answers)
    heard = b""
    for _ in range(ANSWERS[life % len(ANSWERS)]):
        heard += os.read(told, 1)
    # Any moment: that is the point.
    time.sleep(random.uniform(0, LONGEST_AFTER))
    os.kill(child, signal.SIGKILL)
    while chunk := os.read(told, 65536):
        heard += chunk
    os.close(told)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(f"a writer of database {number} ended by itself in life {life}")
    return max(0, len(heard) - 1), bool(heard)


def main(folder: Path, databases: int, kills: int) -> None:
    answered: dict[int, list[tuple[int, int, bool]]] = {}
    for number in range(databases):
        answered[number] = [(life, *kill_one(folder, number, life)) for life in range(kills)]
    sys.stdout.write(json.dumps(answered))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
