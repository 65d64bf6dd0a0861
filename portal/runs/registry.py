"""The runs that answered `paused`: kept for the client that may come back for them, for a time and within bounds.

They are in this process and end with it. `OwnRuns` is the surface for programs, `codemode.runs`, which does not depend
on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from codemode import CatalogError, Failure, OnWait, Run
from portal.config import RunSettings
from portal.flows import RunLabels
from portal.runs.line import Line
from portal.runs.live import LiveRun, Owner, Result
from portal.shares import Full, Shares
from portal.state import LabelRead, StateUnavailable
from sandbox import Overloaded

T = TypeVar("T")

MOST_BYTES = 256 * 1024 * 1024
"""What the results and blocks of runs that have ended may have together; of one person an eighth of it."""
UNDER_WAY: Final = 2000
"""Programs under way at a portal, waiting for a place to run or paused too."""
UNDER_WAY_EACH: Final = 200
"""Programs of one person, or of one address where nobody has signed in. A program and its calls may hold some MiB."""
_CLOSING_SECONDS = 5.0
_AGAIN_SECONDS = 1.0  # until a run that computes as its time is over is looked at again


class TooManyRuns(Exception):
    """There is no room to keep another run. `str()` says whose room it is and what to do."""


@dataclass(slots=True, eq=False)
class _Kept:
    """`size` in bytes, once the run has ended."""

    run: LiveRun
    since: datetime
    expires: datetime
    timer: asyncio.TimerHandle
    size: int = 0


class RunRegistry:
    """`settings` gives those in force."""

    def __init__(self, settings: Callable[[], RunSettings]) -> None:
        self.settings = settings
        self._kept: dict[str, _Kept] = {}
        self._running: set[asyncio.Task[Result]] = set()
        self._room = Shares(UNDER_WAY, UNDER_WAY_EACH)

    def __len__(self) -> int:
        return len(self._kept)

    def under_way(self, holder: str) -> int:
        """How many runs of this holder have begun and not ended."""
        return self._room.of(holder)

    def admit(self, holder: str) -> None:
        """Count a run that begins. `dismiss` is to be called when it has ended.

        Raises:
            Overloaded: the holder has as many under way as may be, or all together have. Nothing was run.
        """
        try:
            self._room.take(holder)
        except Full as full:
            whose = "of your programs are under way" if full.own else "programs are under way at this portal"
            raise Overloaded(
                f"{full.most} {whose}, and more may not be: nothing was run, try again when one has ended",
                own=full.own,
            ) from None

    def dismiss(self, holder: str) -> None:
        """A run that was admitted has ended, or does not begin."""
        self._room.give_back(holder)

    def note(self, task: asyncio.Task[Result]) -> None:
        """Take note of the task of a run, which ends with the portal at the latest."""
        self._running.add(task)
        task.add_done_callback(self._note_end)

    def keep(self, run: LiveRun, task: asyncio.Task[Result]) -> None:
        """Keep a run that goes on without its request, until it ends and for a time after that.

        Raises:
            TooManyRuns: its owner, or everybody together, has as many as may be.
        """
        settings = self.settings()
        own = [one for one in self._kept.values() if one.run.holder == run.holder]
        if len(own) >= settings.most_for_each and not self._forget_oldest(own):
            raise TooManyRuns(
                f"{len(own)} of your programs wait already, and more may not: end one with codemode.runs.cancel(id), "
                "codemode.runs.list() shows them"
            )
        if len(self._kept) >= settings.most and not self._forget_oldest(list(self._kept.values())):
            raise TooManyRuns(f"{len(self._kept)} programs wait at this portal, and more may not: try again later")
        kept = _Kept(run, *self._time_to_keep(run.id))
        self._kept[run.id] = kept
        task.add_done_callback(run.note_fault)
        task.add_done_callback(lambda _: self._ended(kept))

    def find(self, run_id: str, owner: Owner) -> LiveRun | None:
        """The run with this id, if it is one of this owner."""
        kept = self._kept.get(run_id)
        return kept.run if kept is not None and kept.run.owner == owner else None

    def of(self, owner: Owner) -> list[tuple[LiveRun, datetime, datetime]]:
        """The runs of an owner, the oldest first, each with when it began to be kept and until when it is."""
        return [(one.run, one.since, one.expires) for one in self._kept.values() if one.run.owner == owner]

    def forget(self, run_id: str) -> None:
        kept = self._kept.pop(run_id, None)
        if kept is not None:
            kept.timer.cancel()

    async def aclose(self) -> None:
        """Stop every run."""
        for run_id in tuple(self._kept):
            self.forget(run_id)
        running = tuple(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_CLOSING_SECONDS)

    def _note_end(self, task: asyncio.Task[Result]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its request may have gone without asking

    def _time_to_keep(self, run_id: str) -> tuple[datetime, datetime, asyncio.TimerHandle]:
        seconds = self.settings().keep
        now = datetime.now(UTC)
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, run_id)
        return now, now + timedelta(seconds=seconds), timer

    def _expire(self, run_id: str) -> None:
        kept = self._kept[run_id]
        if kept.run.ended:
            self.forget(run_id)
            return
        if not kept.run.handle.waits.only_for_people:
            # Its person came at last. Its own wall time bounds the rest.
            kept.timer = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._expire, run_id)
            return
        minutes = f"{self.settings().keep / 60:g}"
        message = f"the program waited {minutes} minutes for a person who did not come; its calls were cancelled"
        kept.run.handle.end(Failure("cancelled", "RunExpired", message))

    def _ended(self, kept: _Kept) -> None:
        """The result stays for the same time again, and is counted."""
        if self._kept.get(kept.run.id) is not kept:
            return
        if kept.run.stopped or kept.run.parked or kept.run.handle.record is None:
            self.forget(kept.run.id)
            return
        kept.timer.cancel()
        _, kept.expires, kept.timer = self._time_to_keep(kept.run.id)
        # In a thread: a large result has many parts.
        sizing = asyncio.get_running_loop().run_in_executor(None, size_of, kept.run.handle.record)
        sizing.add_done_callback(lambda found: self._make_room(kept, found.result()))

    def _make_room(self, kept: _Kept, size: int) -> None:
        """Forget the oldest results while there are too many bytes, with this one in which the last `size` are."""
        kept.size = size
        everybody = list(self._kept.values())
        own = [one for one in everybody if one.run.holder == kept.run.holder]
        for group, most in ((own, MOST_BYTES // 8), (everybody, MOST_BYTES)):
            while sum(one.size for one in group if one.run.id in self._kept) > most:
                self._forget_oldest(group)

    def _forget_oldest(self, among: list[_Kept]) -> bool:
        """Forget the oldest run that has ended. False if there is none."""
        oldest = next((one for one in among if one.run.ended and one.run.id in self._kept), None)
        if oldest is None:
            return False
        self.forget(oldest.run.id)
        return True


class ParkedRuns(Protocol):
    """The parked runs of one owner, and those of them that have ended.

    Raises (from each): StateUnavailable, if the database does not answer.
    """

    async def result(self, run_id: str, on_wait: OnWait) -> tuple[Run, Sequence[LabelRead]] | None:
        """The record of a run, when it has ended, and what it has read of what is labelled; None if there is none."""

    async def list(self) -> list[dict[str, object]]:
        """As `codemode.KeptRuns.list`."""

    async def cancel(self, run_id: str) -> Run | None:
        """End a run. Its record; None if there is none."""


class OwnRuns:
    """`codemode.runs` for the program with the id `own`: the kept runs of its owner (`codemode.KeptRuns`), those in
    this process and those that are `parked`.

    Through its `line` go the questions of the runs that it waits for. `told_apart`: nobody else is taken for its owner.
    Otherwise, as for callers whom a policy lets in without a login, the ids are the secret, and none is listed.
    `read` is what the program has read of what is labelled: with the record of an earlier run comes what that has.
    """

    def __init__(
        self,
        registry: RunRegistry,
        owner: Owner,
        own: str,
        line: Line,
        *,
        told_apart: bool = True,
        read: RunLabels | None = None,
        parked: ParkedRuns | None = None,
    ) -> None:
        self._parked = parked
        self._registry = registry
        self._owner = owner
        self._own = own
        self._line = line
        self._told_apart = told_apart
        self._read = RunLabels() if read is None else read

    async def result(self, run_id: str, on_wait: OnWait) -> Run:
        run = self._registry.find(run_id, self._owner)
        if run is None:
            found = None if self._parked is None else await _answered(self._parked.result(run_id, on_wait))
            if found is None:
                raise self._unknown(run_id)
            self._note(found[1])
            return found[0]
        with run.line.waited_for_by(self._line):
            while not run.ended:
                async with _sharing_its_waits(run, self._own, on_wait):
                    await run.change()
        # It may have been parked meanwhile.
        return await self.result(run_id, on_wait) if run.parked else self._record(run)

    async def list(self) -> list[dict[str, object]]:
        parked = [] if self._parked is None or not self._told_apart else await _answered(self._parked.list())
        return [
            *parked,
            *(self._listed(*one) for one in (self._registry.of(self._owner) if self._told_apart else ())),
        ]

    def _listed(self, run: LiveRun, since: datetime, expires: datetime) -> dict[str, object]:
        return {
            "id": run.id,
            "status": _status(run),
            "waiting": [one.as_dict() for one in run.handle.waits.open],
            "startedAt": since.isoformat(timespec="seconds"),
            "expiresAt": expires.isoformat(timespec="seconds"),
        }

    async def cancel(self, run_id: str) -> Run:
        run = self._registry.find(run_id, self._owner)
        if run is None:
            record = None if self._parked is None else await _answered(self._parked.cancel(run_id))
            if record is None:
                raise self._unknown(run_id)
            return record
        run.handle.end(Failure("cancelled", "RunCancelled", "the program was cancelled with codemode.runs.cancel"))
        while not run.ended:
            await run.change()
        self._registry.forget(run_id)
        return self._record(run)

    def _record(self, run: LiveRun) -> Run:
        record = run.handle.record
        if record is None or run.stopped:
            raise CatalogError(f"the run {run.id!r} has no result: the portal failed, or was stopped")
        self._note(run.read)
        return record

    def _note(self, reads: Iterable[LabelRead]) -> None:
        for read in reads:
            self._read.add(read)

    def _unknown(self, run_id: str) -> CatalogError:
        minutes = f"{self._registry.settings().keep / 60:g}"
        return CatalogError(
            f"you have no run {run_id!r} here: it ended over {minutes} minutes ago or was cancelled, the portal was "
            "started again, or another client started it"
        )


async def _answered(work: Awaitable[T]) -> T:
    """What the database answers, or an error that the program reads."""
    try:
        return await work
    except StateUnavailable as error:
        raise CatalogError(error.words) from None


@asynccontextmanager
async def _sharing_its_waits(run: LiveRun, own: str, on_wait: OnWait) -> AsyncIterator[None]:
    """A block in which `own` waits for the people that `run` waits for, if it waits for nothing else."""
    async with AsyncExitStack() as stack:
        if run.handle.waits.only_for_people:
            for waiting in run.handle.waits.open:
                # Two programs may wait for each other. One that waits for a run of this process is not parked: nothing
                # would tell it of the end of that run.
                if waiting.run != own:
                    await stack.enter_async_context(on_wait(replace(waiting, repeatable=False)))
        yield


def _status(run: LiveRun) -> str:
    if not run.ended:
        return "paused" if run.handle.waits.only_for_people else "running"
    record = run.handle.record
    return "failed" if record is None or record.failure is not None else "completed"


def size_of(record: Run) -> int:
    """About the bytes that a finished run takes: its value, its logs and its blocks."""
    return _size([record.value, record.emitted]) + sum(len(line.text) for line in record.logs)


def _size(value: object) -> int:
    size, todo = 0, [value]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            todo += part.values()
            size += sum(map(len, part))
        elif isinstance(part, list):
            todo += part
        size += len(part) if isinstance(part, str) else 16
    return size
