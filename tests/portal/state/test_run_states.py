"""The states of a parked run: the picture as it is drawn, and the rows against a model of it."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portal.state import (
    LIVE,
    AlreadyExists,
    CallEffect,
    CallEnd,
    CallState,
    EndState,
    FinishedRun,
    KeyRing,
    RunDocument,
    RunEvent,
    RunState,
    RunTaken,
    Store,
    Verdict,
    next_state,
)
from tests.deep import examples
from tests.portal.state.databases import new_state
from tests.portal.state.run_parts import DAY, LEASE, SetClock, call_start, parking

STATES: tuple[RunState | None, ...] = (None, *get_args(RunState))
EVENTS: tuple[RunEvent, ...] = get_args(RunEvent)
ENDED = frozenset(get_args(EndState))
MAY_HAPPEN = {
    (None, "park", "parked"),
    ("running", "park", "parked"),
    ("running", "hold", "parked"),
    ("parked", "ready", "ready"),
    ("ready", "ready", "ready"),
    ("ready", "claim", "running"),
    ("parked", "claim", "running"),
    ("running", "claim", "running"),
    ("running", "release", "ready"),
    ("running", "complete", "completed"),
    ("running", "fail", "failed"),
    ("running", "deny", "denied"),
    ("running", "lose", "lost"),
    *((state, event, after) for state in LIVE for event, after in (("cancel", "cancelled"), ("expire", "expired"))),
}


def test_the_states_follow_each_other_as_in_the_picture_and_not_otherwise() -> None:
    found = {(state, event, next_state(state, event)) for state in STATES for event in EVENTS}
    assert {one for one in found if one[2] is not None} == MAY_HAPPEN


@pytest.mark.parametrize("state", sorted(ENDED))
def test_a_run_that_has_ended_stays_as_it_is(state: EndState) -> None:
    assert all(next_state(state, event) is None for event in EVENTS)


@dataclass
class Known:
    """What the model knows of a run. `calls` are the states of its calls, `sent` how often each one left."""

    state: RunState
    revision: int
    checkpoint: bytes
    expires: float
    tail: list[bytes] = field(default_factory=list)
    calls: dict[int, CallState] = field(default_factory=dict)
    effects: dict[int, CallEffect] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    allowed: dict[int, int] = field(default_factory=dict)
    wake: float | None = None
    lease: float = 0.0
    again: bool = False
    attempts: int = 0


IDS = st.sampled_from(["a", "b"])
CALLS = st.integers(1, 2)
# Of the claim that is in force, or of one before it.
AGE = st.sampled_from([0, 0, 0, 0, 0, 1, 2])


class AgainstAModel(RuleBasedStateMachine):
    """Any sequence of what processes, people and time do, on a database that is opened once and again."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.url = new_state(Path(self.folder.name))
        self.keys = KeyRing.in_memory()
        self.clock = SetClock()
        self.began = self.clock.now
        self.model: dict[str, Known] = {}
        self._enter()

    def _enter(self) -> None:
        context: AbstractAsyncContextManager[Store] = Store.open(self.url, self.keys, clock=self.clock)
        self.context = context
        self.store = self.runner.run(context.__aenter__())

    @property
    def now(self) -> float:
        return (self.clock.now - self.began).total_seconds()

    def _fenced(self, id: str, age: int) -> tuple[int, bool]:
        """A revision to write under, and whether it is that of the claim in force."""
        known = self.model[id]
        return known.revision - age, age == 0 and known.state == "running"

    @rule(id=IDS, data=st.binary(max_size=8), wake=st.none() | st.integers(0, 60))
    def park_first(self, id: str, data: bytes, wake: int | None) -> None:
        known = self.model.get(id)
        first = parking(id, self.clock.now, wake_in=wake, expires_in=DAY)
        try:
            self.runner.run(self.store.runs.park(first, data))
        except AlreadyExists:
            assert known is not None
        else:
            if known is None:
                at = None if wake is None else self.now + wake
                self.model[id] = Known("parked", 1, data, self.now + DAY.total_seconds(), wake=at)
            else:
                # As if its answer had been lost: nothing is changed.
                assert known.state in ("parked", "ready") and known.revision == 1

    @precondition(lambda self: self.model)
    @rule(id=IDS, age=AGE, data=st.binary(max_size=8))
    def park_again(self, id: str, age: int, data: bytes) -> None:
        if id not in self.model:
            return
        known = self.model[id]
        revision, mine = self._fenced(id, age)
        try:
            self.runner.run(self.store.runs.park(parking(id, self.clock.now), data, revision=revision))
        except RunTaken:
            assert not mine
            return
        if not mine:
            # The same parking once more.
            assert age == 0 and known.state in ("parked", "ready")
            return
        known.checkpoint, known.tail, known.wake, known.attempts = data, [], None, 0
        known.expires = self.now + DAY.total_seconds()
        known.state, known.again = "ready" if known.again else "parked", False

    @rule(id=IDS, age=AGE)
    def hold(self, id: str, age: int) -> None:
        if id not in self.model:
            return
        known = self.model[id]
        revision, mine = self._fenced(id, age)
        try:
            self.runner.run(self.store.runs.hold(id, revision, "uncertain", RunDocument()))
        except RunTaken:
            assert not mine
            return
        assert mine
        known.state, known.again, known.wake, known.attempts = "ready" if known.again else "parked", False, None, 0

    @rule(id=IDS)
    def ready(self, id: str) -> None:
        known = self.model.get(id)
        told = self.runner.run(self.store.runs.ready(id))
        assert told == (known is not None and known.state in LIVE)
        if known is not None and told:
            if known.state == "running":
                known.again = True
            else:
                known.state, known.wake = "ready", None

    @rule(seconds=st.sampled_from([1, 20, 31, 7200]))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(seconds)

    @rule(owner=st.sampled_from(["p1", "p2"]))
    def process_is_killed_and_another_claims(self, owner: str) -> None:
        self.clock.move(31)
        self.claim(owner)

    def _may_be_claimed(self, known: Known) -> bool:
        due = known.wake is not None and known.wake <= self.now
        return known.expires > self.now and (
            (known.state == "ready" and (known.wake is None or due))
            or (known.state == "parked" and due)
            or (known.state == "running" and known.lease <= self.now)
        )

    @rule(owner=st.sampled_from(["p1", "p2"]))
    def some_process_claims(self, owner: str) -> None:
        self.claim(owner)

    def claim(self, owner: str) -> None:
        claim = self.runner.run(self.store.runs.claim(owner, LEASE))
        may = {id for id, known in self.model.items() if self._may_be_claimed(known)}
        for id in sorted(may):
            if self.model[id].attempts == 5 and (claim is None or claim.run.id != id):
                stored = self.runner.run(self.store.runs.get(id))
                assert stored is not None
                if stored.state == "lost":
                    self.model[id] = Known("lost", stored.revision, b"", self.now + DAY.total_seconds())
                    may.remove(id)
        if claim is None:
            assert not may
            return
        known = self.model[claim.run.id]
        assert claim.run.id in may and claim.run.revision == known.revision + 1
        known.revision += 1
        known.state, known.lease, known.wake, known.again = "running", self.now + LEASE.total_seconds(), None, False
        known.attempts += 1
        known.calls = {call: "unknown" if state == "started" else state for call, state in known.calls.items()}
        assert claim.checkpoint == known.checkpoint
        assert [resume.data for resume in claim.tail] == known.tail
        assert {call.call: call.state for call in claim.calls} == known.calls

    @rule(id=IDS, age=AGE)
    def renew(self, id: str, age: int) -> None:
        if id in self.model:
            revision, mine = self._fenced(id, age)
            assert self.runner.run(self.store.runs.renew(id, revision, LEASE)) == mine
            if mine:
                self.model[id].lease = self.now + LEASE.total_seconds()

    @rule(id=IDS, age=AGE, later=st.none() | st.integers(1, 60))
    def release(self, id: str, age: int, later: int | None) -> None:
        if id in self.model:
            known = self.model[id]
            revision, mine = self._fenced(id, age)
            wake_at = None if later is None else self.clock.now + timedelta(seconds=later)
            assert self.runner.run(self.store.runs.release(id, revision, wake_at=wake_at)) == mine
            if mine:
                known.state, known.wake = "ready", None if later is None else self.now + later
                known.attempts -= 1

    @rule(id=IDS, age=AGE, call=CALLS, effect=st.sampled_from(["effect", "idempotent"]))
    def start(self, id: str, age: int, call: int, effect: CallEffect) -> None:
        if id not in self.model:
            return
        known = self.model[id]
        revision, mine = self._fenced(id, age)
        effect = known.effects.get(call, effect)
        try:
            state = self.runner.run(self.store.runs.started(id, revision, call_start(call, effect)))
        except RunTaken:
            assert not mine
            return
        assert mine
        before = known.calls.get(call)
        may = before in (None, "repeat") or (before == "unknown" and effect != "effect")
        assert state == ("started" if may else "unknown" if before == "started" else before)
        if may:
            known.calls[call] = "started"
            known.effects[call] = effect
            known.sent[call] = known.sent.get(call, 0) + 1

    @rule(id=IDS, age=AGE, data=st.binary(max_size=8), call=CALLS)
    def settle(self, id: str, age: int, data: bytes, call: int) -> None:
        if id not in self.model:
            return
        known = self.model[id]
        revision, mine = self._fenced(id, age)
        # A program gets what a call has come to, and so a call that nobody knows of has not ended.
        ends = [CallEnd(call=call)] if known.calls.get(call) in ("started", "happened") else []
        try:
            self.runner.run(self.store.runs.settled(id, revision, len(known.tail) + 1, data, ends))
        except RunTaken:
            assert not mine
            return
        assert mine
        known.tail.append(data)
        known.attempts = 0
        if ends:
            known.calls[call] = "done"

    @rule(id=IDS, call=CALLS, verdict=st.sampled_from(["happened", "repeat", "refused"]))
    def resolve(self, id: str, call: int, verdict: Verdict) -> None:
        known = self.model.get(id)
        said = self.runner.run(self.store.runs.resolve(id, call, verdict, b"answer" if verdict == "happened" else None))
        assert said == (known is not None and known.calls.get(call) == "unknown")
        if known is not None and said:
            known.calls[call] = verdict
            if verdict == "repeat":
                known.allowed[call] = known.allowed.get(call, 0) + 1
            if known.state == "running":
                known.again = True
            else:
                known.state, known.wake = "ready", None

    @rule(id=IDS, age=AGE, state=st.sampled_from(["completed", "failed", "denied", "lost"]))
    def end(self, id: str, age: int, state: EndState) -> None:
        if id not in self.model:
            return
        known = self.model[id]
        revision, mine = self._fenced(id, age)
        finished = FinishedRun(state, self.clock.now + DAY, RunDocument(), b"result")
        try:
            self.runner.run(self.store.runs.end(id, revision, finished))
        except RunTaken:
            assert not mine
            return
        # The same end once more changes nothing.
        assert mine or (age == 0 and known.state == state)
        if mine:
            self.model[id] = Known(state, revision, b"", self.now + DAY.total_seconds())

    @rule(id=IDS)
    def cancel(self, id: str) -> None:
        known = self.model.get(id)
        cancelled = self.runner.run(self.store.runs.cancel(id))
        assert (cancelled is not None) == (known is not None and known.state in LIVE)
        if cancelled is not None:
            self.model[id] = Known("cancelled", cancelled.revision, b"", self.now + 2 * DAY.total_seconds())

    @rule()
    def expire(self) -> None:
        due = {id for id, known in self.model.items() if known.state in LIVE and known.expires <= self.now}
        assert {one.id for one in self.runner.run(self.store.runs.expire_due())} == due
        for id in due:
            self.model[id] = Known("expired", self.model[id].revision, b"", float("inf"))

    @rule()
    def open_again(self) -> None:
        self.runner.run(self.context.__aexit__(None, None, None))
        self._enter()

    @rule()
    def rotate(self) -> None:
        self.runner.run(self.store.rotate_keys(forget=True))

    @invariant()
    def the_rows_are_as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        for id, known in self.model.items():
            run = self.runner.run(self.store.runs.get(id))
            assert run is not None and (run.state, run.revision) == (known.state, known.revision)
            assert (run.owner is not None) == (run.state == "running") == (run.lease_until is not None)
            calls = self.runner.run(self.store.runs.calls(id))
            assert {call.call: call.state for call in calls} == ({} if known.state in ENDED else known.calls)
            for call, sent in known.sent.items():
                if known.effects[call] == "effect":
                    assert sent <= 1 + known.allowed.get(call, 0)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()


AgainstAModel.TestCase.settings = examples(80)
TestRunRowsAgainstAModel = AgainstAModel.TestCase
