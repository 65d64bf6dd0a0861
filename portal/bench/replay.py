"""Repeats a recorded run: the same time, the same randomness, the same answers in the same order, without a server.

A program that makes another call than in the recording diverges. The replay ends there and says where.
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
    """The program differs from the recorded run. `seq` is the number of the call that differs, or None."""

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.seq = seq


class Replay:
    """A `ToolCaller` and a `Pace` for one run, from a recording. `divergence` is set when the run differs."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._catalog = Catalog.build(recording.servers, recording.unavailable)
        self._calls = {call.seq: call for call in recording.calls}
        self._seen_calls: set[int] = set()
        self._position = 0
        self._now = recording.now
        self._unanswered = 0
        self._flight: Flight | None = None
        self.divergence: ReplayDiverged | None = None

    def backend(self) -> Backend:
        return Backend(self._catalog, self, self, correct_times=self._correct)

    def final_divergence(self) -> ReplayDiverged | None:
        """The divergence after the end of a run, or None. A recorded call that the run did not make counts too."""
        if self.divergence is not None:
            return self.divergence
        missing = [call for call in self.recording.calls if call.seq not in self._seen_calls]
        if not missing:
            return None
        path = self._path(missing[0])
        progress = f"{len(self._seen_calls)} of {len(self.recording.calls)} recorded calls"
        return ReplayDiverged(f"the program ended after {progress}; the next one was {path}.", missing[0].seq)

    # The calls

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        recorded = self._calls.get(call.seq)
        self._seen_calls.add(call.seq)
        if self.divergence is not None:
            return ToolFailed("the replay has diverged before this call")
        if (difference := self._difference(call, recorded)) is not None:
            self.divergence = ReplayDiverged(difference, call.seq)
            return ToolFailed(f"the replay diverged: {difference}")
        if recorded is not None and recorded.outcome is not None:
            return recorded.outcome
        # The recorded call had no answer: this one waits for the end of the run too.
        self._unanswered += 1
        if self._flight is not None:
            self._flight.wake()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    def _difference(self, call: ToolCall, recorded: RecordedCall | None) -> str | None:
        path = self._catalog.names.path(call.server, call.tool)
        if recorded is None:
            return f"call {call.seq} is {path}({_json(call.arguments)}), and the recording has no call {call.seq}."
        recorded_path = self._path(recorded)
        if (call.server, call.tool) != (recorded.server, recorded.tool):
            return f"call {call.seq} is {path}, and was {recorded_path} in the recording."
        if call.arguments != recorded.arguments:
            return (
                f"call {call.seq} is {path} with other arguments.\n"
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
        """The recorded settlements. After a divergence, those that are ready, and timers fire without waiting."""
        self._flight = flight
        while not flight.faulty:
            if self.divergence is None and (settled := self._next(flight)) is not None:
                return settled
            if self.divergence is not None and flight.ready:
                ready, flight.ready = flight.ready, []
                return ready
            if flight.in_flight > self._unanswered:
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
        """The settlements of the next recorded continuation, or None if they are not all ready."""
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
        """Set the times of the calls to the recorded ones."""
        for call in calls:
            if (recorded := self._calls.get(call["seq"])) is not None:
                call.update(at=recorded.at, ms=recorded.ms)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
