"""Runs that are parked, claimed, written ahead and ended, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select, text, update

from portal.state import (
    AlreadyExists,
    ApprovalFilter,
    CallEffect,
    CallEnd,
    DocumentInvalid,
    KeyRing,
    Misused,
    RunClaim,
    RunDocument,
    RunFilter,
    RunLimits,
    RunRows,
    RunsFull,
    RunTaken,
    RunTooLarge,
    Store,
    StoredResume,
)
from portal.state.clock import to_stored
from portal.state.run_values import (
    LOG_SECONDS,
    MAX_CHECKPOINT_BYTES,
    MAX_RESULT_BYTES,
    MAX_RUN_BYTES,
    MOST_ATTEMPTS,
    MOST_ENDED_OF_SUBJECT,
    MOST_RESULT_BYTES_OF_SUBJECT,
)
from portal.state.schema import approvals, run_calls, run_resumes, runs
from tests.portal.state.conftest import Opener
from tests.portal.state.databases import new_state
from tests.portal.state.run_parts import DAY, LEASE, SetClock, call_start, completed, parking

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(opened: Opener, clock: SetClock) -> AsyncIterator[Store]:
    async with opened(clock) as store:
        yield store


async def claimed(store: Store, clock: SetClock, id: str = "a", checkpoint: bytes = b"heap") -> RunClaim:
    """A run that was parked, made ready, and claimed by p1."""
    await store.runs.park(parking(id, clock.now), checkpoint)
    assert await store.runs.ready(id)
    claim = await store.runs.claim("p1", LEASE)
    assert claim is not None and claim.run.id == id
    return claim


async def test_a_run_is_parked_made_ready_claimed_and_ended(store: Store, clock: SetClock) -> None:
    parked = await store.runs.park(parking("a", clock.now), b"heap")
    assert (parked.state, parked.reason, parked.revision, parked.size) == ("parked", "login", 1, 4)
    assert await store.runs.claim("p1", LEASE) is None
    assert await store.runs.ready("a")
    claim = await store.runs.claim("p1", LEASE)
    assert claim is not None
    assert (claim.checkpoint, claim.tail, claim.calls) == (b"heap", (), ())
    assert (claim.run.state, claim.run.revision, claim.run.owner) == ("running", 2, "p1")
    assert claim.run.lease_until == clock.now + LEASE
    assert await store.runs.claim("p2", LEASE) is None
    ended = await store.runs.end("a", 2, completed(clock.now))
    assert (ended.state, ended.document.calls) == ("completed", 3)
    assert await store.runs.result("a") == b"3"


async def test_what_happened_since_the_checkpoint_comes_with_the_next_claim(store: Store, clock: SetClock) -> None:
    claim = await claimed(store, clock)
    assert await store.runs.started("a", 2, call_start(7)) == "started"
    await store.runs.settled("a", 2, 1, b"first", [CallEnd(call=7, us=5)])
    await store.runs.settled("a", 2, 2, b"second")
    clock.move(31)
    again = await store.runs.claim("p2", LEASE)
    assert again is not None and again.run.revision == claim.run.revision + 1
    assert again.checkpoint == b"heap"
    assert again.tail == (StoredResume(1, b"first"), StoredResume(2, b"second"))
    assert [(call.call, call.state, call.us) for call in again.calls] == [(7, "done", 5)]


async def test_the_next_checkpoint_takes_the_place_of_the_former_one_and_its_tail(
    store: Store, clock: SetClock
) -> None:
    await claimed(store, clock)
    await store.runs.settled("a", 2, 1, b"first")
    await store.runs.park(parking("a", clock.now, reason="sleep", wake_in=5), b"later heap", revision=2)
    assert await store.runs.claim("p1", LEASE) is None
    clock.move(5)
    claim = await store.runs.claim("p2", LEASE)
    assert claim is not None
    assert (claim.checkpoint, claim.tail, claim.run.revision) == (b"later heap", (), 3)
    await store.runs.settled("a", 3, 1, b"first of the new tail")


async def test_whoever_lost_a_run_can_write_nothing_of_it(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    clock.move(31)
    assert await store.runs.claim("p2", LEASE) is not None
    for attempt in (
        store.runs.started("a", 2, call_start(1)),
        store.runs.settled("a", 2, 1, b"late"),
        store.runs.park(parking("a", clock.now), b"late", revision=2),
        store.runs.hold("a", 2, "login", RunDocument()),
        store.runs.end("a", 2, completed(clock.now)),
    ):
        with pytest.raises(RunTaken):
            await attempt
    assert not await store.runs.renew("a", 2, LEASE)
    assert not await store.runs.release("a", 2)
    assert await store.runs.renew("a", 3, LEASE)
    assert await store.runs.calls("a") == []
    await store.runs.end("a", 3, completed(clock.now))


async def test_a_renewed_lease_keeps_others_away(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    clock.move(20)
    assert await store.runs.renew("a", 2, LEASE)
    clock.move(20)
    assert await store.runs.claim("p2", LEASE) is None
    clock.move(10)
    assert await store.runs.claim("p2", LEASE) is not None


async def test_a_lease_of_a_clock_that_is_wrong_does_not_hold(store: Store, clock: SetClock) -> None:
    await store.runs.park(parking("a", clock.now), b"heap")
    await store.runs.ready("a")
    clock.move(3600)
    assert await store.runs.claim("p1", LEASE) is not None
    clock.move(-3600)
    assert await store.runs.claim("p2", LEASE) is not None


async def test_an_effect_that_was_started_is_not_started_again_under_a_later_claim(
    store: Store, clock: SetClock
) -> None:
    await claimed(store, clock)
    assert await store.runs.started("a", 2, call_start(1)) == "started"
    assert await store.runs.started("a", 2, call_start(1)) == "unknown"
    clock.move(31)
    claim = await store.runs.claim("p2", LEASE)
    assert claim is not None and [call.state for call in claim.calls] == ["unknown"]
    assert await store.runs.started("a", 3, call_start(1)) == "unknown"
    assert await store.runs.arguments("a", 1) == b'{"n":1}'


async def test_a_call_that_came_back_and_did_nothing_may_leave_again_under_a_later_claim(
    store: Store, clock: SetClock
) -> None:
    claim = await claimed(store, clock)
    assert await store.runs.started("a", claim.run.revision, call_start(1)) == "started"
    await store.runs.came_back("a", claim.run.revision, 1)
    await store.runs.release("a", claim.run.revision)
    again = await store.runs.claim("p2", LEASE)
    assert again is not None and again.calls == ()
    with pytest.raises(RunTaken):
        await store.runs.came_back("a", claim.run.revision, 1)


@pytest.mark.parametrize("effect", ["read", "idempotent"])
async def test_a_call_that_may_be_repeated_is_started_again_with_the_same_arguments(
    store: Store, clock: SetClock, effect: CallEffect
) -> None:
    start = replace(call_start(1), effect=effect)
    await claimed(store, clock)
    assert await store.runs.started("a", 2, start) == "started"
    clock.move(31)
    assert await store.runs.claim("p2", LEASE) is not None
    with pytest.raises(Misused):
        await store.runs.started("a", 3, replace(start, digest=bytes(32)))
    assert await store.runs.started("a", 3, start) == "started"
    assert [call.revision for call in await store.runs.calls("a")] == [3]


async def test_a_person_says_once_what_became_of_an_unknown_call(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    for call in (1, 2, 3):
        await store.runs.started("a", 2, call_start(call))
    clock.move(31)
    assert await store.runs.claim("p2", LEASE) is not None
    held = await store.runs.hold("a", 3, "uncertain", RunDocument(calls=9))
    assert (held.state, held.reason, held.document.calls) == ("parked", "uncertain", 9)
    assert await store.runs.resolve("a", 1, "happened", b"bought")
    assert not await store.runs.resolve("a", 1, "repeat")
    assert await store.runs.resolve("a", 2, "repeat")
    assert await store.runs.resolve("a", 3, "refused")
    assert not await store.runs.resolve("a", 4, "repeat")
    claim = await store.runs.claim("p1", LEASE)
    assert claim is not None and claim.checkpoint == b"heap"
    assert [(call.state, call.answer) for call in claim.calls] == [
        ("happened", b"bought"),
        ("repeat", None),
        ("refused", None),
    ]
    assert await store.runs.started("a", 4, call_start(1)) == "happened"
    assert await store.runs.started("a", 4, call_start(2)) == "started"
    assert await store.runs.started("a", 4, call_start(3)) == "refused"


async def test_a_write_whose_answer_was_lost_may_be_repeated(store: Store, clock: SetClock) -> None:
    first = parking("a", clock.now)
    assert await store.runs.park(first, b"heap") == await store.runs.park(first, b"heap")
    with pytest.raises(AlreadyExists):
        await store.runs.park(parking("a", clock.now, subject="bob"), b"heap")
    await store.runs.ready("a")
    await store.runs.claim("p1", LEASE)
    await store.runs.settled("a", 2, 1, b"first")
    await store.runs.settled("a", 2, 1, b"first")
    with pytest.raises(Misused):
        await store.runs.settled("a", 2, 3, b"third")
    again = parking("a", clock.now, reason="sleep", wake_in=0)
    assert await store.runs.park(again, b"x", revision=2) == await store.runs.park(again, b"x", revision=2)
    await store.runs.claim("p1", LEASE)
    finished = completed(clock.now)
    assert await store.runs.end("a", 3, finished) == await store.runs.end("a", 3, finished)


async def test_what_comes_while_the_run_is_on_its_way_to_be_parked_makes_it_ready(
    store: Store, clock: SetClock
) -> None:
    await claimed(store, clock)
    assert await store.runs.ready("a")
    parked = await store.runs.park(parking("a", clock.now), b"heap", revision=2)
    assert parked.state == "ready"
    await store.runs.claim("p1", LEASE)
    assert await store.runs.ready_all("ann", "login") == 1
    assert (await store.runs.hold("a", 3, "login", RunDocument())).state == "ready"
    await store.runs.claim("p1", LEASE)
    assert (await store.runs.park(parking("a", clock.now), b"heap", revision=4)).state == "parked"


async def test_a_login_wakes_the_runs_of_that_person_which_wait_for_one(store: Store, clock: SetClock) -> None:
    await store.runs.park(parking("a", clock.now), b"")
    await store.runs.park(parking("b", clock.now, subject="bob"), b"")
    await store.runs.park(parking("c", clock.now, portal="other"), b"")
    await store.runs.park(parking("d", clock.now, reason="question"), b"")
    assert await store.runs.ready_all("ann", "login") == 2
    assert {run.id for run in await store.runs.list(RunFilter(states=["ready"]))} == {"a", "c"}


async def _ask(
    store: Store, clock: SetClock, id: str, run: str, state: str = "pending", *, call: int = 1, lasts: int = 10**9
) -> None:
    values = dict.fromkeys(("portal", "subject", "client", "server", "tool", "policy", "policy_revision"), "x")
    at = to_stored(clock.now)
    async with store._database.writing() as connection:
        await connection.execute(
            insert(approvals).values(
                id=id,
                run=run,
                call=call,
                arguments=bytes(32),
                state=state,
                revision=1,
                created_at=at,
                expires_at=at + lasts,
                document="{}",
                **values,
            )
        )


async def test_a_run_whose_approval_was_decided_before_it_was_parked_is_ready_at_once(
    store: Store, clock: SetClock
) -> None:
    await _ask(store, clock, "1", "a", "approved")
    await _ask(store, clock, "2", "a")
    waiting = parking("a", clock.now, reason="approval", waits=2)
    assert (await store.runs.park(waiting, b"heap")).state == "ready"


async def test_the_approval_of_a_call_that_did_not_happen_is_good_for_its_repeat_alone(
    store: Store, clock: SetClock
) -> None:
    await claimed(store, clock)
    for call in (1, 2, 3):
        await _ask(store, clock, str(call), "a", "used", call=call, lasts=20 * 10**6 if call == 3 else 10**9)
        await store.runs.started("a", 2, call_start(call))
    clock.move(31)
    assert await store.runs.claim("p2", LEASE) is not None
    assert await store.runs.resolve("a", 1, "repeat") and await store.runs.resolve("a", 2, "happened", b"bought")
    # The time of the third approval is over: people are asked again.
    assert await store.runs.resolve("a", 3, "repeat")
    found = {row.id: row.state for row in await store.approvals.list(ApprovalFilter(run="a"))}
    assert found == {"1": "approved", "2": "used", "3": "used"}
    assert not await store.approvals.use("1", bytes(32), "another revision")
    assert await store.approvals.use("1", bytes(32), "x")
    assert not await store.runs.resolve("a", 1, "repeat") and not await store.approvals.use("1", bytes(32), "x")


async def test_a_run_is_found_ready_when_whoever_decided_was_killed_before_saying_so(
    store: Store, clock: SetClock
) -> None:
    await _ask(store, clock, "1", "a")
    await _ask(store, clock, "2", "a")
    assert (await store.runs.park(parking("a", clock.now, reason="approval", waits=2), b"heap")).state == "parked"
    assert await store.runs.ready_decided() == 0
    async with store._database.writing() as connection:
        await connection.execute(update(approvals).where(approvals.c.id == "2").values(state="denied"))
    assert await store.runs.ready_decided() == 1
    assert await store.runs.ready_decided() == 0
    assert await store.runs.claim("p1", LEASE) is not None


async def test_the_end_of_a_run_deletes_what_it_kept(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    await store.runs.started("a", 2, call_start(1))
    await store.runs.settled("a", 2, 1, b"first")
    await store.runs.end("a", 2, completed(clock.now, None))
    assert await store.runs.result("a") is None
    async with store._database.reading() as connection:
        for table in (run_calls, run_resumes):
            assert (await connection.execute(select(func.count()).select_from(table))).scalar() == 0
        assert (await connection.execute(select(runs.c.secret))).scalars().all() == [None]


async def test_a_result_is_kept_until_its_time_and_then_purged(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    await store.runs.end("a", 2, completed(clock.now))
    clock.move(DAY.total_seconds() - 1)
    assert await store.runs.result("a") == b"3" and await store.runs.purge() == 0
    clock.move(1)
    assert await store.runs.result("a") is None
    # Whoever writes the row of the log has not said so.
    assert await store.runs.purge() == 0
    await store.runs.logged(["a"])
    assert await store.runs.purge() == 1
    assert await store.runs.get("a") is None


async def test_a_run_expires_whatever_it_waits_for_and_whoever_runs_it(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    await store.runs.park(parking("b", clock.now, expires_in=timedelta(seconds=5)), b"heap")
    clock.move(5)
    assert [(one.id, one.state) for one in await store.runs.expire_due()] == [("b", "expired")]
    clock.move(DAY.total_seconds())
    assert [(one.id, one.state) for one in await store.runs.expire_due()] == [("a", "expired")]
    assert await store.runs.expire_due() == ()
    with pytest.raises(RunTaken):
        await store.runs.settled("a", 2, 1, b"late")
    expired = await store.runs.get("a")
    assert expired is not None and expired.document.end is not None
    assert (expired.state, expired.document.end.name) == ("expired", "RunExpired")
    assert not await store.runs.ready("a")


async def test_a_run_that_is_cancelled_ends_whoever_runs_it(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    cancelled = await store.runs.cancel("a", "its person said so")
    assert cancelled is not None and cancelled.state == "cancelled" and cancelled.document.end is not None
    assert cancelled.document.end.words == "its person said so"
    with pytest.raises(RunTaken):
        await store.runs.started("a", 2, call_start(1))
    assert await store.runs.cancel("a") is None
    assert await store.runs.cancel("nobody's") is None


async def test_a_claim_that_is_given_back_may_be_taken_at_once_or_later(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    assert await store.runs.release("a", 2)
    assert await store.runs.claim("p2", LEASE) is not None
    assert await store.runs.release("a", 3, wake_at=clock.now + timedelta(seconds=5))
    assert await store.runs.claim("p1", LEASE) is None
    clock.move(5)
    assert await store.runs.claim("p1", LEASE) is not None


async def test_a_run_that_nobody_gets_on_with_is_lost(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    for _ in range(MOST_ATTEMPTS - 1):
        clock.move(31)
        assert await store.runs.claim("p1", LEASE) is not None
    clock.move(31)
    assert await store.runs.claim("p1", LEASE) is None
    lost = await store.runs.get("a")
    assert lost is not None and lost.state == "lost" and lost.document.end is not None
    assert "5 processes" in lost.document.end.words


async def test_a_run_that_gets_on_is_not_lost(store: Store, clock: SetClock) -> None:
    claim = await claimed(store, clock)
    for number in range(1, MOST_ATTEMPTS + 3):
        await store.runs.settled("a", claim.run.revision, number, b"on")
        clock.move(31)
        found = await store.runs.claim("p1", LEASE)
        assert found is not None
        claim = found


async def test_of_fifty_claimers_each_run_has_one(opened: Opener, clock: SetClock) -> None:
    async with opened(clock) as one, opened(clock) as other:
        for number in range(10):
            await one.runs.park(parking(f"r{number}", clock.now, subject=f"s{number % 3}"), b"heap")
            await one.runs.ready(f"r{number}")
        claims = await asyncio.gather(*((one, other)[n % 2].runs.claim(f"p{n}", LEASE) for n in range(50)))
        won = [claim.run.id for claim in claims if claim is not None]
        assert sorted(won) == sorted(f"r{number}" for number in range(10))


async def test_of_fifty_processes_that_want_one_run_one_gets_it(opened: Opener, clock: SetClock) -> None:
    async with opened(clock) as one, opened(clock) as other:
        await one.runs.park(parking("a", clock.now), b"heap")
        await one.runs.ready("a")
        candidate = (await one.runs.candidates(LEASE))[0]
        claims = await asyncio.gather(*((one, other)[n % 2].runs.take(candidate, f"p{n}", LEASE) for n in range(50)))
        assert sum(claim is not None for claim in claims) == 1


async def test_who_has_many_runs_does_not_keep_others_waiting(store: Store, clock: SetClock) -> None:
    for number, subject in enumerate(["ann", "ann", "ann", "bob", "eve", "bob"]):
        clock.move(1)
        await store.runs.park(parking(f"{subject}{number}", clock.now, subject=subject), b"")
        await store.runs.ready(f"{subject}{number}")
    found = await store.runs.candidates(LEASE)
    assert [run.id for run in found] == ["ann0", "bob3", "eve4", "ann1", "bob5", "ann2"]


async def test_a_process_claims_runs_of_its_own_portals(store: Store, clock: SetClock) -> None:
    await store.runs.park(parking("a", clock.now, portal="other"), b"")
    await store.runs.ready("a")
    assert await store.runs.claim("p1", LEASE, portals=["main"]) is None
    assert await store.runs.next_due(["main"]) == clock.now + DAY
    assert await store.runs.claim("p1", LEASE, portals=["main", "other"]) is not None


async def test_it_is_known_when_a_run_is_due_next(store: Store, clock: SetClock) -> None:
    assert await store.runs.next_due() is None
    await store.runs.park(parking("a", clock.now), b"")
    assert await store.runs.next_due() == clock.now + DAY
    await store.runs.park(parking("b", clock.now, reason="sleep", wake_in=60), b"")
    assert await store.runs.next_due() == clock.now + timedelta(seconds=60)
    await store.runs.ready("a")
    await store.runs.claim("p1", LEASE)
    assert await store.runs.next_due() == clock.now + LEASE


async def test_one_person_has_room_for_so_many_runs_and_bytes(store: Store, clock: SetClock) -> None:
    limits = RunLimits(of_subject=2, bytes_of_subject=100, of_portal=3, bytes_of_portal=150)
    rows = RunRows(store.runs._reading, store.runs._writing, clock, store.runs._find_key, limits)
    await rows.park(parking("a", clock.now), b"x" * 60)
    with pytest.raises(RunsFull) as full:
        await rows.park(parking("b", clock.now), b"x" * 60)
    assert full.value.own
    await rows.park(parking("b", clock.now), b"x" * 40)
    with pytest.raises(RunsFull) as full:
        await rows.park(parking("c", clock.now), b"")
    assert full.value.own and "codemode.runs.cancel" in str(full.value)
    with pytest.raises(RunsFull) as full:
        await rows.park(parking("c", clock.now, subject="bob"), b"x" * 60)
    assert not full.value.own and "at this portal" in str(full.value)
    await rows.park(parking("c", clock.now, subject="bob"), b"x" * 50)
    with pytest.raises(RunsFull):
        await rows.park(parking("d", clock.now, subject="eve"), b"")
    await rows.park(parking("d", clock.now, subject="eve", portal="other"), b"")
    assert await rows.cancel("a") is not None
    await rows.park(parking("e", clock.now), b"x" * 60)


async def test_a_run_that_is_parked_again_needs_room_for_what_it_has_more(store: Store, clock: SetClock) -> None:
    limits = RunLimits(of_subject=1, bytes_of_subject=100)
    rows = RunRows(store.runs._reading, store.runs._writing, clock, store.runs._find_key, limits)
    await rows.park(parking("a", clock.now), b"x" * 60)
    await rows.ready("a")
    await rows.claim("p1", LEASE)
    with pytest.raises(RunsFull):
        await rows.park(parking("a", clock.now), b"x" * 101, revision=2)
    assert (await rows.park(parking("a", clock.now), b"x" * 100, revision=2)).state == "parked"


async def test_what_is_too_large_is_refused_in_words_that_say_what_to_do(store: Store, clock: SetClock) -> None:
    with pytest.raises(RunTooLarge, match="hold less"):
        await store.runs.park(parking("a", clock.now), bytes(MAX_CHECKPOINT_BYTES + 1))
    await claimed(store, clock)
    with pytest.raises(RunTooLarge):
        await store.runs.end("a", 2, completed(clock.now, bytes(MAX_RESULT_BYTES + 1)))
    with pytest.raises(DocumentInvalid):
        await store.runs.hold("a", 2, "login", RunDocument.model_validate({"more": "x" * 20_000}))
    each = MAX_RUN_BYTES // 4 - 1
    for number in range(1, 5):
        await store.runs.settled("a", 2, number, bytes(each))
    with pytest.raises(RunTooLarge, match="ask for less"):
        await store.runs.settled("a", 2, 5, bytes(5))
    await store.runs.end("a", 2, completed(clock.now))


async def test_the_oldest_results_of_a_person_give_way(store: Store, clock: SetClock) -> None:
    each = MAX_RESULT_BYTES
    fit = MOST_RESULT_BYTES_OF_SUBJECT // each
    for number in range(fit + 2):
        clock.move(1)
        await claimed(store, clock, f"r{number:02}")
        await store.runs.end(f"r{number:02}", 2, completed(clock.now, bytes(each)))
        await store.runs.logged([f"r{number:02}"])
    kept = [run.id for run in await store.runs.list(RunFilter(subject="ann"))]
    assert kept == [f"r{number:02}" for number in range(fit + 1, 1, -1)]
    assert MOST_ENDED_OF_SUBJECT > fit


async def test_the_oldest_result_gives_way_and_its_end_stays_until_the_log_has_its_row(
    store: Store, clock: SetClock
) -> None:
    fit = MOST_RESULT_BYTES_OF_SUBJECT // MAX_RESULT_BYTES
    for number in range(fit + 1):
        clock.move(1)
        await claimed(store, clock, f"r{number:02}")
        await store.runs.end(f"r{number:02}", 2, completed(clock.now, bytes(MAX_RESULT_BYTES)))
    assert await store.runs.result("r00") is None and await store.runs.result("r01") is not None
    run = await store.runs.get("r00")
    assert run is not None and (run.state, run.size) == ("completed", 0)


async def test_an_end_is_looked_for_in_the_log_a_while_later_by_one_process_at_a_time(
    store: Store, clock: SetClock
) -> None:
    await claimed(store, clock)
    await store.runs.end("a", 2, completed(clock.now))
    assert await store.runs.next_due() == clock.now + timedelta(seconds=LOG_SECONDS)
    assert await store.runs.take_unlogged() == ()
    clock.move(LOG_SECONDS)
    [run] = await store.runs.take_unlogged()
    assert run.id == "a" and await store.runs.take_unlogged() == ()
    # Whoever took it was killed.
    clock.move(LOG_SECONDS)
    assert [run] == await store.runs.take_unlogged()
    await store.runs.logged(["a"])
    clock.move(LOG_SECONDS)
    assert await store.runs.take_unlogged() == ()


async def test_runs_are_listed_newest_first_a_page_at_a_time(store: Store, clock: SetClock) -> None:
    for number in range(5):
        clock.move(number % 2)
        await store.runs.park(parking(f"r{number}", clock.now, client=f"c{number % 2}"), b"")
    first = await store.runs.list(RunFilter(portal="main", limit=2))
    rest = await store.runs.list(RunFilter(portal="main", before=first[-1]))
    assert [run.id for run in (*first, *rest)] == ["r4", "r3", "r2", "r1", "r0"]
    assert [run.id for run in await store.runs.list(RunFilter(subject="ann", client="c1"))] == ["r3", "r1"]
    assert await store.runs.list(RunFilter(subject="bob")) == []
    assert await store.runs.list(RunFilter(subject="ann", reason="approval")) == []
    assert await store.runs.states(["r1", "none"]) == {"r1": ("parked", 1)}
    assert await store.runs.states([]) == {}


async def test_subscribers_hear_of_runs_that_others_may_wait_for(store: Store, clock: SetClock) -> None:
    told: list[frozenset[str]] = []
    store.subscribe(told.append)
    await claimed(store, clock)
    assert told == [{"runs"}, {"runs"}]
    await store.runs.started("a", 2, call_start(1))
    await store.runs.settled("a", 2, 1, b"")
    await store.runs.renew("a", 2, LEASE)
    assert len(told) == 2
    await store.runs.end("a", 2, completed(clock.now))
    assert told[2:] == [{"approvals", "runs"}]


async def test_sealed_values_open_nowhere_but_in_their_own_place(store: Store, clock: SetClock) -> None:
    await claimed(store, clock)
    await store.runs.started("a", 2, call_start(1))
    await store.runs.started("a", 2, call_start(2))
    await store.runs.settled("a", 2, 1, b"first")
    await store.runs.settled("a", 2, 2, b"second")
    await store.runs.park(parking("b", clock.now), b"other heap")
    swaps = {
        "calls": "UPDATE run_calls SET secret = (SELECT secret FROM run_calls WHERE call = 2) WHERE call = 1",
        "resumes": "UPDATE run_resumes SET secret = (SELECT secret FROM run_resumes WHERE number = 2) WHERE number = 1",
        "revision": "UPDATE runs SET sealed = 2 WHERE id = 'a'",
        "run": "UPDATE runs SET secret = (SELECT secret FROM runs WHERE id = 'b') WHERE id = 'a'",
        "subject": "UPDATE runs SET subject = 'eve' WHERE id = 'b'",
    }
    for name in ("calls", "subject"):
        async with store._database.writing() as connection:
            await connection.execute(text(swaps[name]))
    with pytest.raises(Exception, match="belongs elsewhere"):
        await store.runs.arguments("a", 1)
    await store.runs.ready("b")
    assert await store.runs.claim("p1", LEASE) is None
    lost = await store.runs.get("b")
    assert lost is not None and lost.state == "lost"


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE run_resumes SET secret = (SELECT secret FROM run_resumes WHERE number = 2) WHERE number = 1",
        "UPDATE run_resumes SET revision = 1 WHERE number = 1",
        "UPDATE runs SET sealed = 2 WHERE id = 'a'",
        "UPDATE runs SET secret = (SELECT secret FROM runs WHERE id = 'b') WHERE id = 'a'",
        "UPDATE runs SET client = 'other' WHERE id = 'a'",
        "UPDATE runs SET secret = NULL WHERE id = 'a'",
    ],
)
async def test_a_run_whose_kept_values_were_moved_or_changed_is_lost_and_costs_itself_alone(
    store: Store, clock: SetClock, swap: str
) -> None:
    await claimed(store, clock)
    await store.runs.settled("a", 2, 1, b"first")
    await store.runs.settled("a", 2, 2, b"second")
    await store.runs.park(parking("b", clock.now), b"other heap")
    await store.runs.ready("b")
    clock.move(31)
    async with store._database.writing() as connection:
        await connection.execute(text(swap))
    claims = [await store.runs.claim("p2", LEASE), await store.runs.claim("p2", LEASE)]
    assert [claim.run.id for claim in claims if claim is not None] == ["b"]
    lost = await store.runs.get("a")
    assert lost is not None and lost.state == "lost" and lost.document.end is not None
    assert "does not open" in lost.document.end.words


async def test_a_run_goes_on_after_the_keys_were_rotated(store: Store, keys: KeyRing, clock: SetClock) -> None:
    await claimed(store, clock)
    await store.runs.started("a", 2, call_start(1))
    await store.runs.settled("a", 2, 1, b"first")
    rotation = await store.rotate_keys(forget=True)
    assert rotation.rewrapped == 3 and keys.kids == (rotation.kid,)
    assert await store.runs.arguments("a", 1) == b'{"n":1}'
    clock.move(31)
    claim = await store.runs.claim("p2", LEASE)
    assert claim is not None and (claim.checkpoint, claim.tail) == (b"heap", (StoredResume(1, b"first"),))
    await store.runs.end("a", 3, completed(clock.now))
    await store.rotate_keys(forget=True)
    assert await store.runs.result("a") == b"3"


async def test_a_document_that_cannot_be_read_costs_nobody_the_run(store: Store, clock: SetClock) -> None:
    await store.runs.park(parking("a", clock.now), b"heap")
    await store.runs.ready("a")
    async with store._database.writing() as connection:
        await connection.execute(update(runs).values(document="[]"))
    claim = await store.runs.claim("p1", LEASE)
    assert claim is not None and claim.checkpoint == b"heap" and claim.run.document == RunDocument()


async def test_no_look_for_runs_goes_through_all_that_wait(tmp_path: Path, clock: SetClock) -> None:
    asked: dict[str, object] = {}
    async with Store.open(new_state(tmp_path), KeyRing.in_memory(), clock=clock) as store:
        await store.runs.park(parking("a", clock.now), b"heap")
        engine = store._database._engine
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *of: asked.setdefault(of[2], of[3]))
        for portals in (None, ["main"]):
            await store.runs.candidates(LEASE, portals)
            await store.runs.next_due(portals)
        await store.runs.expire_due()
        await store.runs.purge()
        await store.runs.take_unlogged()
        await store.runs.list(RunFilter(portal="main", subject="ann", client="editor"))
        await store.runs.park(parking("b", clock.now), b"heap")
        queries = {query: values for query, values in asked.items() if query.startswith("SELECT") and " runs" in query}
        plans: list[tuple[str, str]] = []
        async with engine.connect() as connection:
            for query, values in queries.items():
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)  # type: ignore[arg-type]
                plans += [(query, row[-1]) for row in plan]
    assert len(queries) >= 10 and any("SEARCH runs USING" in plan for _, plan in plans)
    assert [one for one in plans if one[1].startswith("SCAN runs")] == []
