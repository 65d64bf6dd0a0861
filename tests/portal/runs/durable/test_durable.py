"""Runs that are parked go on in whichever process claims them, and who waits for one hears of its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import structlog
from sqlalchemy import text

import portal.runs
from portal.identity import Identity, identity_document
from portal.oauth import Logins
from portal.runs import (
    DurableRuns,
    DurableSettings,
    NextAttempt,
    NextEnd,
    NextHold,
    NextPark,
    Owner,
    PersonRuns,
    RunHistory,
    RunOutcome,
    WatchedRuns,
)
from portal.state import (
    CallEnd,
    FinishedRun,
    ParkReason,
    RunClaim,
    RunDocument,
    RunFilter,
    RunTaken,
    RunTooLarge,
    StateUnavailable,
    Store,
    StoredRun,
    WaitOfRun,
    plain,
    utc_now,
)
from portal.state.run_values import MAX_RESULT_BYTES, MOST_ATTEMPTS
from tests.patience import PATIENCE
from tests.portal.state.conftest import Opener
from tests.portal.state.run_parts import DAY, LEASE, SetClock, call_start, completed, parking

pytestmark = pytest.mark.anyio

NewPortal = Callable[..., Awaitable["Portal"]]
ANN = Owner("ann", "editor")
BOB = Owner("bob", "editor")


class Portal:
    """A process that resumes runs: what each resumed run does is a function by the id of the run."""

    def __init__(self, store: Store, clock: SetClock, owner: str, settings: DurableSettings | None = None) -> None:
        self.store = store
        self.clock = clock
        self.resumed: list[str] = []
        self.programs: dict[str, Callable[[RunClaim], Awaitable[RunOutcome]]] = {}
        self.runs = DurableRuns(store, self._resume, owner=owner, clock=clock, settings=settings or DurableSettings())

    async def _resume(self, claim: RunClaim) -> RunOutcome:
        self.resumed.append(claim.run.id)
        program = self.programs.get(claim.run.id)
        return completed(self.clock.now, claim.checkpoint) if program is None else await program(claim)


class Program:
    """One that goes on until it is let go. `began` and `stopped` say how far it has come."""

    def __init__(self, outcome: Callable[[RunClaim], RunOutcome]) -> None:
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.go = asyncio.Event()
        self._outcome = outcome

    async def __call__(self, claim: RunClaim) -> RunOutcome:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return self._outcome(claim)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def opener(opened: Opener, clock: SetClock) -> AsyncIterator[NewPortal]:
    async with AsyncExitStack() as stack:

        async def open_portal(owner: str = "p1", settings: DurableSettings | None = None) -> Portal:
            portal = Portal(await stack.enter_async_context(opened(clock)), clock, owner, settings)
            await stack.enter_async_context(portal.runs)
            return portal

        yield open_portal


async def until(portal: Portal, id: str, *states: str) -> StoredRun:
    """The run once it is in one of these states."""
    changed = asyncio.Event()
    unsubscribe = portal.store.subscribe(lambda _: changed.set())
    try:
        with anyio.fail_after(PATIENCE):
            while True:
                changed.clear()
                run = await portal.runs.rows.get(id)
                if run is not None and run.state in states:
                    return run
                with anyio.move_on_after(1):
                    await changed.wait()
    finally:
        unsubscribe()


async def test_a_run_that_is_ready_goes_on_and_who_waits_elsewhere_hears_of_its_end(
    opener: NewPortal, clock: SetClock
) -> None:
    one, other = await opener("p1"), await opener("p2")
    await one.runs.park(parking("a", clock.now), b"heap")
    waits = asyncio.create_task(other.runs.wait("a", "main", ANN))
    await other.runs.rows.ready("a")
    with anyio.fail_after(PATIENCE):
        ended = await waits
    assert ended is not None and ended.state == "completed"
    assert await one.runs.result("a", "main", ANN) == b"heap"
    assert one.resumed + other.resumed == ["a"]


async def test_a_run_that_sleeps_goes_on_when_its_time_has_come(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    await portal.runs.park(parking("a", clock.now, reason="sleep", wake_in=3600), b"heap")
    clock.move(3599)
    portal.runs.again()
    await portal.runs.park(parking("b", clock.now, reason="drain"), b"heap")
    await until(portal, "b", "completed")
    assert portal.resumed == ["b"]
    clock.move(1)
    portal.runs.again()
    await until(portal, "a", "completed")


async def test_a_run_may_wait_again_with_another_checkpoint_or_as_it_is(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    outcomes: list[RunOutcome] = [
        NextPark(parking("a", clock.now, reason="question"), b"second"),
        NextHold("login", RunDocument(calls=5)),
        NextPark(parking("a", clock.now, reason="drain"), b"third"),
    ]
    seen: list[bytes] = []

    async def program(claim: RunClaim) -> RunOutcome:
        seen.append(claim.checkpoint)
        return outcomes.pop(0) if outcomes else completed(clock.now)

    portal.programs["a"] = program
    await portal.runs.park(parking("a", clock.now), b"first")
    for reason in ("question", "login"):
        await portal.runs.rows.ready("a")
        run = await until(portal, "a", "parked")
        with anyio.fail_after(PATIENCE):
            while run.reason != reason:
                run = await until(portal, "a", "parked")
    await portal.runs.rows.ready("a")
    await until(portal, "a", "completed")
    assert seen == [b"first", b"second", b"second", b"third"]


async def test_a_run_of_somebody_else_or_of_another_client_is_not_there(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    await portal.runs.park(parking("a", clock.now), b"heap")
    for place, owner in (("main", BOB), ("main", Owner("ann", "other")), ("other", ANN)):
        assert await portal.runs.find("a", place, owner) is None
        assert await portal.runs.wait("a", place, owner) is None
        assert await portal.runs.result("a", place, owner) is None
        assert not await portal.runs.cancel("a", place, owner)
        assert await portal.runs.list(place, owner) == []
    assert [run.id for run in await portal.runs.list("main", ANN)] == ["a"]


async def test_a_run_that_is_cancelled_stops_in_the_process_that_runs_it(opener: NewPortal, clock: SetClock) -> None:
    one, other = await opener("p1"), await opener("p2")
    program = Program(lambda claim: completed(clock.now))
    one.programs["a"] = other.programs["a"] = program
    await one.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
        elsewhere = one if other.runs.going_on else other
        waits = asyncio.create_task(elsewhere.runs.wait("a", "main", ANN))
        assert await elsewhere.runs.cancel("a", "main", ANN)
        await program.stopped.wait()
        ended = await waits
    assert ended is not None and ended.state == "cancelled"
    assert not await one.runs.cancel("a", "main", ANN)


async def test_a_run_whose_time_is_over_stops_while_it_runs(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    program = portal.programs["a"] = Program(lambda claim: completed(clock.now))
    await portal.runs.park(parking("a", clock.now, reason="drain", expires_in=timedelta(seconds=60)), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
        clock.move(60)
        portal.runs.again()
        await program.stopped.wait()
    assert (await until(portal, "a", "expired")).document.end is not None


async def test_a_process_that_stops_gives_its_runs_back_and_another_takes_them_at_once(
    opener: NewPortal, clock: SetClock
) -> None:
    one = await opener("p1")
    program = one.programs["a"] = Program(lambda claim: completed(clock.now))
    await one.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
    waits = asyncio.create_task(one.runs.wait("a", "main", ANN))
    await one.runs.aclose()
    assert program.stopped.is_set()
    with pytest.raises(StateUnavailable):
        await waits
    other = await opener("p2")
    run = await until(other, "a", "completed")
    assert (run.revision, other.resumed) == (3, ["a"])


async def test_a_process_that_stops_lets_a_run_end_that_does_so_in_time(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    program = portal.programs["a"] = Program(lambda claim: completed(clock.now))
    await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
        closes = asyncio.create_task(portal.runs.aclose(PATIENCE))
        program.go.set()
        await closes
    assert not program.stopped.is_set()
    run = await portal.store.runs.get("a")
    assert run is not None and run.state == "completed"


async def test_a_lease_is_renewed_while_its_run_goes_on(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    program = portal.programs["a"] = Program(lambda claim: completed(clock.now))
    await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
        for _ in range(4):
            clock.move(10)
            portal.runs.again()
            while (run := await portal.store.runs.get("a")) is None or run.lease_until != clock.now + LEASE:
                await asyncio.sleep(0)
    assert await portal.store.runs.candidates(LEASE) == []
    program.go.set()
    await until(portal, "a", "completed")


async def test_a_process_that_was_asleep_stops_the_runs_that_others_have_claimed(
    opener: NewPortal, clock: SetClock
) -> None:
    one = await opener("p1")
    late = asyncio.Event()

    async def asleep(claim: RunClaim) -> RunOutcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # It goes on all the same, as one that was stopped in the middle of a step.
            with pytest.raises(RunTaken):
                await one.runs.rows.started("a", claim.run.revision, call_start(1))
            with pytest.raises(RunTaken):
                await one.runs.rows.settled("a", claim.run.revision, 1, b"late", [CallEnd(call=1)])
            late.set()
            raise
        raise AssertionError

    one.programs["a"] = asleep
    await one.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        while not one.resumed:
            await asyncio.sleep(0)
        clock.move(31)
        # Before it renews.
        claim = await one.runs.rows.claim("p2", LEASE)
        assert claim is not None
        one.runs.again()
        await late.wait()
        while one.runs.going_on:
            await asyncio.sleep(0)
    await one.runs.rows.end("a", claim.run.revision, completed(clock.now))
    assert one.resumed == ["a"]


async def test_a_run_that_fails_to_be_resumed_is_tried_again_and_is_lost_at_last(
    opener: NewPortal, clock: SetClock
) -> None:
    portal = await opener()

    async def broken(claim: RunClaim) -> RunOutcome:
        raise ValueError("a fault of ours")

    portal.programs["a"] = broken
    with structlog.testing.capture_logs() as logged:
        await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
        for _ in range(MOST_ATTEMPTS):
            await until(portal, "a", "ready")
            clock.move(10)
            portal.runs.again()
            with anyio.fail_after(PATIENCE):
                count = len(portal.resumed)
                while len(portal.resumed) == count and (await portal.store.runs.get("a")).state != "lost":  # type: ignore[union-attr]
                    await asyncio.sleep(0)
        await until(portal, "a", "lost")
    assert len(portal.resumed) == MOST_ATTEMPTS
    assert sum(line["event"] == "a parked run could not be resumed" for line in logged) == MOST_ATTEMPTS


async def test_a_run_that_cannot_be_resumed_now_is_not_an_attempt_that_counts(
    opener: NewPortal, clock: SetClock
) -> None:
    portal = await opener()

    async def later(claim: RunClaim) -> RunOutcome:
        return NextAttempt() if len(portal.resumed) <= 2 * MOST_ATTEMPTS else completed(clock.now)

    portal.programs["a"] = later
    await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        while (run := await portal.store.runs.get("a")) is not None and run.state != "completed":
            if run.state == "ready":
                clock.move(10)
                portal.runs.again()
            await asyncio.sleep(0)


async def test_what_is_too_large_to_be_kept_ends_the_run_in_words(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()

    async def large(claim: RunClaim) -> RunOutcome:
        return completed(clock.now, bytes(MAX_RESULT_BYTES + 1))

    async def stopped_by_its_journal(claim: RunClaim) -> RunOutcome:
        raise RunTooLarge("ask for less")

    portal.programs |= {"a": large, "b": stopped_by_its_journal}
    for id in ("a", "b"):
        await portal.runs.park(parking(id, clock.now, reason="drain"), b"heap")
        run = await until(portal, id, "failed")
        assert run.document.end is not None and run.document.end.name == "RunTooLarge"
        assert ("ask for less" if id == "b" else "hold less") in run.document.end.words


async def test_nobody_has_more_than_a_part_of_the_runs_that_go_on(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener(settings=DurableSettings(at_once=3, each=1))
    program = Program(lambda claim: completed(clock.now))
    for number, subject in enumerate(["ann", "ann", "ann", "bob"]):
        portal.programs[f"r{number}"] = program
        await portal.runs.park(parking(f"r{number}", clock.now, subject=subject, reason="drain"), b"heap")
    await until(portal, "r3", "running")
    assert sorted(portal.resumed) == ["r0", "r3"] and portal.runs.going_on == 2
    program.go.set()
    for number in range(4):
        await until(portal, f"r{number}", "completed")


async def test_nothing_is_lost_while_the_database_does_not_answer(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    program = portal.programs["a"] = Program(lambda claim: completed(clock.now, b"answer"))
    await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    with anyio.fail_after(PATIENCE):
        await program.began.wait()
    database = portal.store._database
    with structlog.testing.capture_logs() as logged:
        async with database.writing() as connection:
            await connection.execute(text("ALTER TABLE runs RENAME TO away"))
        parks = asyncio.create_task(portal.runs.park(parking("b", clock.now), b"heap"))
        program.go.set()
        portal.runs.again()
        with anyio.fail_after(PATIENCE):
            while not database.trouble:
                await asyncio.sleep(0)
        while True:
            # While it is in trouble, writing is refused at times.
            try:
                async with database.writing() as connection:
                    await connection.execute(text("ALTER TABLE away RENAME TO runs"))
                break
            except StateUnavailable:
                await asyncio.sleep(0)
        with anyio.fail_after(PATIENCE):
            assert (await parks).state == "parked"
        await until(portal, "a", "completed")
    assert await portal.runs.result("a", "main", ANN) == b"answer"
    assert sum("in trouble" in line["event"] for line in logged) == 1
    assert not any("exception" in str(line.get("exc_info")) for line in logged)


async def test_two_processes_run_each_run_once(opener: NewPortal, clock: SetClock) -> None:
    portals = [await opener("p1"), await opener("p2")]
    for number in range(30):
        place = portals[number % 2]
        await place.runs.park(parking(f"r{number}", clock.now, subject=f"s{number % 5}", reason="drain"), b"heap")
    for number in range(30):
        await until(portals[0], f"r{number}", "completed")
    assert sorted(portals[0].resumed + portals[1].resumed) == sorted(f"r{number}" for number in range(30))


async def test_a_run_that_has_ended_is_kept_for_its_owner_and_then_purged(opener: NewPortal, clock: SetClock) -> None:
    portal = await opener()
    await portal.runs.park(parking("a", clock.now, reason="drain"), b"heap")
    await until(portal, "a", "completed")
    clock.move(DAY.total_seconds())
    portal.runs.again()
    with anyio.fail_after(PATIENCE):
        while await portal.store.runs.get("a") is not None:
            await asyncio.sleep(0)
    assert await portal.runs.wait("a", "main", ANN) is None


async def test_the_example_of_the_chapter_runs(opened: Opener) -> None:
    chapter = (Path(portal.runs.__file__).parent / "README.md").read_text(encoding="utf-8")
    example = next(one for one in re.findall(r"```python\n(.*?)```", chapter, re.S) if "DurableRuns" in one)
    names: dict[str, Any] = {}
    exec(example, names)
    async with opened() as store:
        with anyio.fail_after(PATIENCE):
            assert await names["wait_elsewhere"](store, parking("a", utc_now()), b"heap") == b"heap"


async def test_a_person_sees_their_parked_runs_with_what_waits_for_them_and_ends_one(
    opened: Opener, clock: SetClock
) -> None:
    async with opened(clock) as store:
        ended: list[str] = []

        async def resume(claim: RunClaim) -> RunOutcome:
            raise AssertionError("it is not entered")

        runs = DurableRuns(store, resume, owner="p1", on_end=lambda run: ended.append(run.id), clock=clock)
        live = WatchedRuns()
        of = partial(PersonRuns, RunHistory(live), live, kept=runs, now=clock)
        url = "https://portal.example/servers"
        for id, subject, place, reason in (
            ("mine", "ann", "main", "login"),
            ("timer", "ann", "main", "sleep"),
            ("there", "ann", "other", "login"),
            ("bobs", "bob", "main", "login"),
        ):
            kind = "timer" if reason == "sleep" else "login"
            document = RunDocument(client_name="Editor", calls=2, waits=(WaitOfRun(kind=kind, tool="a.b", url=url),))
            wanted = parking(id, clock.now, subject=subject, portal=place, wake_in=3600.0)
            await runs.park(replace(wanted, reason=cast(ParkReason, reason), document=document), b"heap")
            clock.move(60)
        ann, bob = of("ann", "main"), of("bob", "main")
        assert [(one.row.run, one.outcome, one.parked_for, one.made) for one in (await ann.recent()).live] == [
            ("timer", "parked", "sleep", 2),
            ("mine", "parked", "login", 2),
        ]
        assert [one.row.run for one in (await of("ann").recent()).live] == ["there", "timer", "mine"]
        assert [(run.row.run, one.tool, one.url) for run, one in await ann.waiting()] == [("mine", "a.b", url)]
        found = await ann.find("mine")
        assert found is not None and found.run.us == 240_000_000 and found.run.row.client == "Editor"
        assert found.run.goes_on and found.bytes_unseen is None and found.run.expires_at is not None
        for id in ("bobs", "there", "unknown", ""):
            assert await ann.find(id) is None and not await ann.end(id)
        assert not await bob.end("mine") and ended == []
        assert await ann.end("mine") and not await ann.end("mine") and ended == ["mine"]
        after = await ann.find("mine")
        assert after is not None and after.run.outcome == "cancelled" and "the person whose it is" in after.failure
        assert [one.row.run for one in (await ann.recent()).live] == ["timer"]


async def test_the_row_of_a_run_is_written_once_it_is_stored_and_by_whoever_ended_it(
    opener: NewPortal, clock: SetClock
) -> None:
    portal = await opener()
    rows: list[str] = []

    def ending(claim: RunClaim) -> RunOutcome:
        return NextEnd(completed(clock.now), lambda: rows.append(claim.run.id))

    async def ends(claim: RunClaim) -> RunOutcome:
        return ending(claim)

    async def ended_meanwhile(claim: RunClaim) -> RunOutcome:
        assert await portal.runs.end(claim.run.id, "an administrator ended it")
        return ending(claim)

    portal.programs = {"a": ends, "b": ended_meanwhile}
    for id, state in (("a", "completed"), ("b", "cancelled")):
        await portal.runs.park(parking(id, clock.now), b"heap")
        await portal.runs.rows.ready(id)
        await until(portal, id, state)
    with anyio.fail_after(PATIENCE):
        while portal.runs.going_on:
            await asyncio.sleep(0.01)
    assert rows == ["a"]


async def test_the_parked_runs_of_a_login_that_has_ended_go_on_at_once_and_others_wait(
    opened: Opener, clock: SetClock
) -> None:
    resumed: list[str] = []

    async def resume(claim: RunClaim) -> RunOutcome:
        resumed.append(claim.run.id)
        return FinishedRun("denied", clock.now + DAY, claim.run.document)

    until = (clock.now + DAY).isoformat()
    async with opened(clock) as store:
        for family in ("one", "two"):
            document = {"identity": identity_document(Identity(id="ann")), "resource": "", "scopes": [], "until": until}
            await store.tokens.issue(
                plain("access"), family, subject="ann", document=document, expires_at=clock.now + DAY, family=family
            )
        logins = Logins(store)
        async with DurableRuns(store, resume, owner="p1", logins=logins, clock=clock) as runs:
            for id, login in (("first", "one"), ("second", "two"), ("nobodys", "")):
                wanted = parking(id, clock.now, reason="approval")
                await runs.park(replace(wanted, document=RunDocument(login=login)), b"heap")
            await store.tokens.revoke_family("one")
            with anyio.fail_after(PATIENCE):
                assert (await runs.wait("first", "main", ANN)) is not None
        await logins.aclose()
        assert resumed == ["first"]
        assert {one.id: one.state for one in await store.runs.list(RunFilter())} == {
            "first": "denied",
            "second": "parked",
            "nobodys": "parked",
        }


async def test_the_runs_of_a_portal_end_together_in_words_and_those_of_others_go_on(
    opened: Opener, clock: SetClock
) -> None:
    told: list[tuple[str, str]] = []

    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("it is not entered")

    def note(run: StoredRun) -> None:
        told.append((run.id, "" if run.document.end is None else run.document.end.words))

    async with opened(clock) as store:
        runs = DurableRuns(store, resume, owner="p1", on_end=note, clock=clock)
        for id, place in (("a", "gone"), ("b", "gone"), ("c", "main")):
            await runs.park(parking(id, clock.now, portal=place), b"heap")
        assert await runs.end_all("gone", "its portal was removed") == 2
        assert sorted(told) == [("a", "its portal was removed"), ("b", "its portal was removed")]
        assert (await runs.find("c", "main", ANN) or pytest.fail("gone")).state == "parked"


async def test_a_process_that_finds_no_runs_asks_one_thing_of_the_database(
    opened: Opener, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("there is none")

    async with opened(clock) as store:
        asked: list[str] = []
        looked, look = asyncio.Event(), store.runs.any

        async def looks() -> bool:
            try:
                return await look()
            finally:
                looked.set()

        monkeypatch.setattr(store.runs, "any", looks)
        for name in ("expire_due", "purge", "ready_decided", "candidates", "next_due"):
            monkeypatch.setattr(store.runs, name, partial(asked.append, name))
        async with DurableRuns(store, resume, owner="p1", clock=clock):
            with anyio.fail_after(PATIENCE):
                await looked.wait()
            await anyio.lowlevel.checkpoint()
        assert asked == []


async def test_the_runs_of_portals_that_were_removed_end_as_a_process_begins_and_as_it_hears_of_it(
    opened: Opener, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}
    failures = [StateUnavailable("the connection was lost")]

    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("they wait")

    def note(run: StoredRun) -> None:
        told[run.id] = "" if run.document.end is None else run.document.end.words

    async with opened(clock) as store:
        for id, place in (("a", "gone"), ("b", "elsewhere"), ("c", "main"), ("d", "main"), ("e", "docs")):
            await store.runs.park(parking(id, clock.now, portal=place), b"heap")
        clock.now += timedelta(hours=2)
        await store.runs.park(parking("f", clock.now, portal="made just now"), b"heap")
        cancel = store.runs.cancel

        async def lossy(id: str, words: str) -> StoredRun | None:
            if failures:
                raise failures.pop()
            return await cancel(id, words)

        monkeypatch.setattr(store.runs, "cancel", lossy)
        served, known = {"main", "docs"}, ("main", "docs", "elsewhere")
        runs = DurableRuns(
            store, resume, owner="p1", portals=lambda: served, known=lambda: known, on_end=note, clock=clock
        )
        async with runs:
            with anyio.fail_after(PATIENCE):
                assert (await runs.wait("a", "gone", ANN) or pytest.fail("gone")).state == "cancelled"
            assert told == {"a": portal.runs.durable.PORTAL_REMOVED}
            failures.append(StateUnavailable("the connection was lost"))
            served.remove("main")
            runs.portals_removed(("main",))
            with anyio.fail_after(PATIENCE):
                for id in ("c", "d"):
                    assert (await runs.wait(id, "main", ANN) or pytest.fail("gone")).state == "cancelled"
            assert sorted(told) == ["a", "c", "d"]
            found = await store.runs.list(RunFilter(states=("parked",)))
            assert sorted(one.id for one in found) == ["b", "e", "f"]


async def test_a_portal_without_runs_that_was_removed_and_is_there_again_keeps_its_new_ones(
    opened: Opener, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("it waits")

    async with opened(clock) as store:
        looked, any_run = asyncio.Event(), store.runs.any

        async def looks() -> bool:
            found = await any_run()
            looked.set()
            return found

        monkeypatch.setattr(store.runs, "any", looks)
        async with DurableRuns(store, resume, owner="p1", clock=clock) as runs:
            with anyio.fail_after(PATIENCE):
                await looked.wait()
                looked.clear()
                runs.portals_removed(("main",))
                await looked.wait()
                await runs.park(parking("a", clock.now), b"heap")
                for _ in range(2):
                    looked.clear()
                    runs.again()
                    await looked.wait()
        assert (await store.runs.get("a") or pytest.fail("gone")).state == "parked"


async def test_a_decision_that_comes_while_decisions_are_looked_for_is_looked_for_again(
    opened: Opener, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("it waits")

    async with opened(clock) as store:
        looks, twice = list[int](), asyncio.Event()
        await store.runs.park(parking("a", clock.now, reason="approval"), b"heap")
        runs = DurableRuns(store, resume, owner="p1", clock=clock)

        async def decided() -> int:
            looks.append(1)
            if len(looks) == 1:
                runs._heard(frozenset({"approvals"}))
            else:
                twice.set()
            return 0

        monkeypatch.setattr(store.runs, "ready_decided", decided)
        async with runs:
            with anyio.fail_after(PATIENCE):
                await twice.wait()


async def test_whoever_writes_the_row_of_an_expired_run_is_told_of_it_whatever_the_database_does_then(
    opened: Opener, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()

    async def resume(claim: RunClaim) -> RunOutcome:
        raise AssertionError("it waits")

    async def lost(id: str) -> StoredRun | None:
        raise StateUnavailable("the connection was lost")

    def note(run: StoredRun) -> None:
        assert (run.id, run.state, run.portal) == ("a", "expired", "docs")
        told.set()

    async with opened(clock) as store:
        await store.runs.park(parking("a", clock.now, portal="docs", expires_in=timedelta(seconds=5)), b"heap")
        clock.move(5)
        monkeypatch.setattr(store.runs, "get", lost)
        async with DurableRuns(store, resume, owner="p1", portals=lambda: ("main",), on_end=note, clock=clock):
            with anyio.fail_after(PATIENCE):
                await told.wait()
