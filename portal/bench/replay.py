"""A recorded run, repeated: the same time, the same chance, the same answers in the same order, and no server.

A program that asks for something else than it did diverges, and the replay ends there and says where.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from codemode import CallOutcome, Catalog, Flight, ToolCall, ToolFailed
from portal.bench.backend import Backend
from portal.bench.recording import RecordedCall, Recording
from sandbox import Settlement

_SHOWN = 300


class ReplayDiverged(Exception):
    """The program did something else than the recorded run. `seq` is the call it happened at, if it was a call."""

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.seq = seq


class Replay:
    """For one run: a `ToolCaller` and a `Pace` out of a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._catalog = Catalog.build(recording.servers, recording.unavailable)
        self._calls = {call.seq: call for call in recording.calls}
        self._made: set[int] = set()
        self._position = 0
        self._now = recording.now
        self._held = 0
        self._flight: Flight | None = None
        self.divergence: ReplayDiverged | None = None

    def backend(self) -> Backend:
        return Backend(self._catalog, self, self, corrected=self._correct)

    def left(self) -> ReplayDiverged | None:
        """How the run left the recording, when it has ended: what differed, or what it did not come to."""
        if self.divergence is not None:
            return self.divergence
        left = [call for call in self.recording.calls if call.seq not in self._made]
        if not left:
            return None
        path = self._path(left[0])
        made = f"{len(self._made)} of {len(self.recording.calls)} recorded calls"
        return ReplayDiverged(f"the program ended after {made}; the next one was {path}.", left[0].seq)

    # The calls

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        recorded = self._calls.get(call.seq)
        self._made.add(call.seq)
        if self.divergence is not None:
            return ToolFailed("the replay has diverged before this call")
        if (difference := self._difference(call, recorded)) is not None:
            self.divergence = ReplayDiverged(difference, call.seq)
            return ToolFailed(f"the replay diverged: {difference}")
        if recorded is not None and recorded.outcome is not None:
            return recorded.outcome
        # The recorded run was never answered either.
        self._held += 1
        if self._flight is not None:
            self._flight.wake()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    def _difference(self, call: ToolCall, recorded: RecordedCall | None) -> str | None:
        made = self._catalog.names.path(call.server, call.tool)
        if recorded is None:
            return f"call {call.seq} is {made}({_json(call.arguments)}), and the recording has no call {call.seq}."
        was = self._path(recorded)
        if (call.server, call.tool) != (recorded.server, recorded.tool):
            return f"call {call.seq} is {made}, and was {was} in the recording."
        if call.arguments != recorded.arguments:
            return (
                f"call {call.seq} is {made} with other arguments.\n"
                f"  recorded: {_json(recorded.arguments)}\n  now:      {_json(call.arguments)}"
            )
        return None

    def _path(self, call: RecordedCall) -> str:
        try:
            return self._catalog.names.path(call.server, call.tool)
        except KeyError:
            return f"{call.server}.{call.tool}"

    # The pace

    def begin(self) -> tuple[float, bytes]:
        self._position, self._now = 0, self.recording.now
        return self._now, self.recording.seed

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._now - self.recording.now

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        """As it was recorded; once the program has left the recording, as it comes, and never waiting for a timer."""
        self._flight = flight
        while not flight.faulty:
            if self.divergence is None and (settled := self._next(flight)) is not None:
                return settled
            if self.divergence is not None and flight.ready:
                ready, flight.ready = flight.ready, []
                return ready
            if flight.in_flight > self._held:
                await flight.changed()
            elif self.divergence is None:
                self.divergence = ReplayDiverged(
                    "the program waits on where the recorded run had ended."
                    if self._position == len(self.recording.resumes)
                    else "the program waits for something else than the recorded run did."
                )
            elif wake_at is not None:
                self._now = max(self._now, wake_at)
                return []
            else:
                raise self.divergence
        return []

    def _next(self, flight: Flight) -> list[Settlement] | None:
        """What the program went on with at this place of the recording, when all of it is there."""
        if self._position == len(self.recording.resumes):
            return None
        resume = self.recording.resumes[self._position]
        ready = {settlement.id: settlement for settlement in flight.ready}
        if not ready.keys() >= set(resume.settled):
            return None
        flight.ready = [settlement for settlement in flight.ready if settlement.id not in resume.settled]
        self._position += 1
        self._now = resume.now
        return [ready[id] for id in resume.settled]

    def _correct(self, calls: list[dict[str, Any]]) -> None:
        """Each call's times are those of the recording."""
        for call in calls:
            if (recorded := self._calls.get(call["seq"])) is not None:
                call.update(at=recorded.at, ms=recorded.ms)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
