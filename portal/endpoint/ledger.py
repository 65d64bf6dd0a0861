"""What one process writes down of a run that it has claimed, before it happens: calls that leave, and what the program
gets. And what it was left by the process before it.

Every write names the revision of the claim. After a refusal nothing of this run leaves any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from codemode import (
    Adherence,
    CallOutcome,
    LoggedResume,
    OnWait,
    ToolCall,
    ToolFailed,
    ToolReturned,
    Waiting,
    digest_of,
)
from portal.endpoint.parked import entry
from portal.endpoint.parking import until_done
from portal.errors import CallDenied, StoreUnavailable
from portal.exact import encode
from portal.state import (
    CallEffect,
    CallEnd,
    CallStart,
    LabelRead,
    Misused,
    RunClaim,
    RunTaken,
    RunTooLarge,
    StateUnavailable,
    StoredCall,
)

if TYPE_CHECKING:
    from portal.state import RunRows

UNKNOWN = "nobody knows whether this call did anything: the portal stopped while it was made"
_REFUSED = "somebody has decided that it fails. Look what it did before it is made again."


class RunLedger:
    """The journal of one claim (`codemode.RunJournal`, `portal.calls.CallJournal`). `spent` are the budgets that the
    run uses, `read` is what it reads of what is labelled, and `adherence` says which calls of its plan it has made: a
    later process counts on from there."""

    def __init__(
        self,
        rows: RunRows,
        claim: RunClaim,
        spent: Mapping[str, int],
        read: Iterable[LabelRead],
        adherence: Adherence | None = None,
    ) -> None:
        self._rows = rows
        self._spent, self._read, self._adherence = spent, read, adherence
        self._id, self._revision = claim.run.id, claim.run.revision
        self._number = len(claim.tail)
        self._known: dict[int, StoredCall] = {one.call: one for one in claim.calls}
        self._open: dict[int, float] = {}
        """The calls that have left, by the ids that the program gave them, with the time of the event loop."""

    async def resumed(self, resume: LoggedResume) -> None:
        """Store what the program is about to get. While the database does not answer, it is tried again: what the calls
        have answered is in this process alone, and without it nobody knows what they did. Raises RunTaken, RunTooLarge.
        """
        now, ends = asyncio.get_running_loop().time(), list[CallEnd]()
        for settlement in resume.settlements:
            if (left := self._open.get(settlement.id)) is not None:
                took = int((now - left) * 1_000_000)
                ends.append(CallEnd(call=settlement.id, failed=not settlement.ok, us=took))
        data = entry(await asyncio.to_thread(resume.as_bytes), self._spent, self._read, self._adherence)
        number = self._number + 1
        # Nobody else can have taken the run up. If somebody does before this process, its next try is refused.
        await until_done(lambda: self._rows.settled(self._id, self._revision, number, data, ends))
        self._number = number
        for end in ends:
            self._open.pop(end.call, None)

    async def outcome(self, call: ToolCall) -> CallOutcome | None:
        """What is known of a call that was made before; None for one that may be made."""
        known = self._known.get(call.id)
        if known is None or known.state == "repeat":
            return None
        if known.state == "happened":
            return _given(known.answer)
        if known.state == "refused":
            return ToolFailed(f"{UNKNOWN}; {_REFUSED}", data={"kind": "unknown_outcome"})
        if known.effect != "effect":
            return None
        if call.on_wait is None:
            return ToolFailed(f"{UNKNOWN}. Look what it did before it is made again.", data={"kind": "unknown_outcome"})
        await _decided(call.on_wait, f"{call.server}.{call.tool}")
        return None

    async def leaves(self, call: ToolCall, arguments: Mapping[str, object], effect: CallEffect) -> None:
        """Store that a call leaves.

        Raises:
            StoreUnavailable: the database does not answer.
            CallDenied: the run is not this process's any more, or the call was made before.
        """
        if call.id in self._open:
            # It came back and nothing ran, which could not be written down.
            return
        try:
            data, digest = await asyncio.to_thread(_written, arguments)
            start = CallStart(
                call=call.id,
                seq=call.seq,
                server=call.server,
                tool=call.tool,
                effect=effect,
                digest=digest,
                arguments=data,
            )
            state = await self._rows.started(self._id, self._revision, start)
        except StateUnavailable as error:
            raise StoreUnavailable(error.words, ran="no", seconds=error.seconds) from error
        except RunTaken as error:
            raise _not_made(call, "another process has taken this program over, or it has ended") from error
        except (RunTooLarge, Misused) as error:
            raise _not_made(call, str(error)) from error
        if state != "started":
            raise _not_made(call, UNKNOWN)
        self._open[call.id] = asyncio.get_running_loop().time()

    async def came_back(self, call: ToolCall) -> None:
        """Take back that the call has left. Where that cannot be stored, a later process takes it for uncertain."""
        if call.id not in self._open:
            return
        with suppress(StateUnavailable, RunTaken):
            await self._rows.came_back(self._id, self._revision, call.id)
            self._known.pop(call.id, None)
            del self._open[call.id]


async def _decided(on_wait: OnWait, tool: str) -> None:
    """Wait until somebody says what became of a call. That ends with the run, which is parked meanwhile."""
    text = f"{tool}: {UNKNOWN}. Somebody has to say whether it did"
    with suppress(TimeoutError):
        async with on_wait(Waiting(text, kind="uncertain", repeatable=True)):
            await asyncio.get_running_loop().create_future()


def _written(arguments: Mapping[str, object]) -> tuple[bytes, bytes]:
    """The arguments as they are shown to whoever decides about the call, and their digest."""
    return encode(dict(arguments)), digest_of(dict(arguments))


def _given(answer: bytes | None) -> CallOutcome:
    """The answer that a person gave for a call, as a tool would have given it."""
    value = None if answer is None else orjson.loads(answer)
    if isinstance(value, dict) and isinstance(value.get("content"), list):
        return ToolReturned(value)
    if value is None:
        return ToolReturned({"content": []})
    return ToolReturned({"content": [{"type": "text", "text": orjson.dumps(value).decode()}]})


def _not_made(call: ToolCall, why: str) -> CallDenied:
    reason = f"The call of {call.server}.{call.tool} was not made: {why}."
    return CallDenied(reason, policy="durable-runs", server=call.server)
