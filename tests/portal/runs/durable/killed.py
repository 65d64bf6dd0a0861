"""A program for `test_killed`: forks processes that run parked programs on, and kills each of them at any moment.

`python -m tests.portal.runs.durable.killed FOLDER URL ROUNDS`. Each program makes `CALLS` calls of an upstream that
counts: it appends a line to the file `effects`. In every other round the process kills itself at one of its named
steps, in the others it is killed from outside. The last process is not killed, and ends what is left. Prints what was
answered, as one JSON list of `[step, run, number]`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

from portal.state import (
    CallEnd,
    CallStart,
    FinishedRun,
    KeyRing,
    Parking,
    RunClaim,
    RunDocument,
    RunFilter,
    Store,
    utc_now,
)

CALLS = 3
LEASE = timedelta(seconds=30)
DAY = timedelta(days=1)
MOST_STEPS = 60
LONGEST_LIFE = 0.15


class Worker:
    """A process that claims runs and runs them on, and parks new ones when there are none. `step` is called at each
    named point, `tell` with what was answered."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        life: int,
        now: Callable[[], datetime],
        step: Callable[[str], None],
        tell: Callable[[str, str, int], None],
    ) -> None:
        self._runs = store.runs
        self._folder = folder
        self._life = life
        self._now = now
        self._step = step
        self._tell = tell

    async def work(self, *, only_what_is_left: bool) -> None:
        parked = 0
        while True:
            claim = await self._runs.claim(f"life{self._life}", LEASE)
            if claim is not None:
                self._note("claims", f"{claim.run.id} {claim.run.revision}")
                self._step("claimed")
                await self._run(claim)
            elif only_what_is_left:
                return
            else:
                id = f"{self._life}-{parked}"
                await self._runs.park(self._parking(id, 0), b"0")
                self._tell("parked", id, 0)
                self._step("parked")
                parked += 1

    async def _run(self, claim: RunClaim) -> None:
        id, revision = claim.run.id, claim.run.revision
        done = int(claim.checkpoint) + len(claim.tail)
        number = len(claim.tail)
        while done < CALLS:
            if not await self._call(id, revision, done):
                return
            number += 1
            self._step("before settled")
            await self._runs.settled(id, revision, number, b"%d" % done, [CallEnd(call=done)])
            self._tell("settled", id, done)
            self._step("settled")
            done += 1
            if random.random() < 0.3:
                await self._runs.park(self._parking(id, done), b"%d" % done, revision=revision)
                self._tell("parked", id, done)
                self._step("parked again")
                return
        finished = FinishedRun("completed", self._now() + DAY, RunDocument(calls=done), b"%d" % done)
        await self._runs.end(id, revision, finished)
        self._tell("ended", id, done)
        self._step("ended")

    async def _call(self, id: str, revision: int, call: int) -> bool:
        """Whether the call has been made. If nobody knows, the run waits until somebody has looked."""
        arguments = f"{id} {call}".encode()
        digest = hashlib.sha256(arguments).digest()
        start = CallStart(
            call=call, seq=call, server="s", tool="t", effect="effect", digest=digest, arguments=arguments
        )
        self._step("before started")
        state = await self._runs.started(id, revision, start)
        self._step(state)
        if state == "started":
            self._note("effects", f"{id} {call}")
            self._step("sent")
        elif state == "unknown":
            await self._runs.hold(id, revision, "uncertain", RunDocument())
            self._step("held")
            await self.look(id)
            return False
        return True

    async def look(self, id: str) -> None:
        """As a person does, who looks at the upstream."""
        there = (self._folder / "effects").read_text().splitlines() if (self._folder / "effects").exists() else []
        for call in await self._runs.calls(id):
            if call.state == "unknown":
                happened = f"{id} {call.call}" in there
                await self._runs.resolve(id, call.call, "happened" if happened else "repeat")
                self._step("resolved")

    def _parking(self, id: str, calls: int) -> Parking:
        document = RunDocument(calls=calls)
        expires = self._now() + 30 * DAY
        return Parking(id=id, portal="p", subject=id, client="c", reason="drain", expires_at=expires, document=document)

    def _note(self, file: str, line: str) -> None:
        # What is written is there, whatever becomes of the process.
        descriptor = os.open(self._folder / file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)


def live(folder: Path, url: str, life: int, answers: int, steps: int | None, *, last: bool) -> NoReturn:
    """One process. It kills itself at the step with this number."""
    left = steps

    def step(name: str) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def tell(name: str, id: str, number: int) -> None:
        os.write(answers, json.dumps([name, id, number]).encode() + b"\n")

    def now() -> datetime:
        # The lease of whoever was killed is over, and so is the time of an uncertain one.
        return utc_now() + timedelta(minutes=life)

    async def run() -> None:
        async with Store.open(url, KeyRing.open(folder / "state.key"), clock=now) as store:
            # A run that was held by a process which was killed before anybody looked.
            worker = Worker(store, folder, life, now, step, tell)
            for held in await store.runs.list(RunFilter(reason="uncertain")):
                await worker.look(held.id)
                await store.runs.ready(held.id)
            await worker.work(only_what_is_left=last)

    try:
        asyncio.run(run())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def one_life(folder: Path, url: str, life: int, *, last: bool = False) -> bytes:
    """What a process has answered until it was killed."""
    told, answers = os.pipe()
    itself = not last and life % 2 == 0
    steps = random.randint(1, MOST_STEPS) if itself else None
    child = os.fork()
    if not child:
        os.close(told)
        live(folder, url, life, answers, steps, last=last)
    os.close(answers)
    heard = b""
    if not itself and not last:
        # From the first answer on at any moment: that is the point.
        heard = os.read(told, 1)
        time.sleep(random.uniform(0, LONGEST_LIFE))
        os.kill(child, signal.SIGKILL)
    while chunk := os.read(told, 65536):
        heard += chunk
    os.close(told)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) == last or (last and os.WEXITSTATUS(status) != 0):
        sys.exit(f"the process of life {life} ended otherwise than it should")
    return heard


def main(folder: Path, url: str, rounds: int) -> None:
    answered: list[object] = []
    for life in range(rounds + 1):
        heard = one_life(folder, url, life, last=life == rounds)
        # The last line may have been cut.
        answered += [json.loads(line) for line in heard.split(b"\n")[:-1]]
    sys.stdout.write(json.dumps(answered))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
