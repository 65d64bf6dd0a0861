"""Approvals over a real store: found again, decided once, used once, and ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from portal.approvals import (
    ApprovalConflict,
    ApprovalImpossible,
    ApprovalRefused,
    ApprovalUnknown,
    Decider,
    Remember,
    canonical,
)
from portal.approvals.approvals import MAX_PENDING_OF_PERSON
from portal.state.approval_rows import ApprovalRows
from tests.patience import PATIENCE
from tests.portal.approvals.people import ADA, ADMIN, BOB, CAROL, EVE, desk, group, need, rule

pytestmark = pytest.mark.anyio
PERSON = rule()
TEAM = rule(group(2, "bob", "carol", "ada"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_call_asks_once_and_is_approved_by_its_person(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        assert (await at.approvals.request(need(PERSON))).id == asked.id
        assert await at.approvals.arguments(asked.id) == canonical(need(PERSON).arguments)
        assert not await at.approvals.use(asked.id, asked.digest, "1")
        approved = await at.approvals.decide(asked.id, ADA, True)
        assert approved.state == "approved" and approved.decided_at == at.time.now
        assert (await at.approvals.decide(asked.id, ADA, True)).revision == approved.revision
        assert await at.approvals.use(asked.id, asked.digest, "1")
        assert not await at.approvals.use(asked.id, asked.digest, "1")


async def test_other_arguments_another_policy_and_a_later_time_are_another_call(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        await at.approvals.decide(asked.id, ADA, True)
        other = await at.approvals.request(need(PERSON, arguments={"amount": 501, "to": "planted-secret-account"}))
        revised = await at.approvals.request(need(replace(PERSON, revision="2")))
        assert len({asked.id, other.id, revised.id}) == 3
        assert not await at.approvals.use(asked.id, other.digest, "1")
        assert not await at.approvals.use(asked.id, asked.digest, "2")
        at.time.passes(days=1)
        assert not await at.approvals.use(asked.id, asked.digest, "1")


async def test_a_waiting_call_hears_of_a_decision_of_another_process(tmp_path: Path) -> None:
    async with desk(tmp_path) as here, desk(tmp_path) as elsewhere:
        asked = await here.approvals.request(need(PERSON))
        waiting = asyncio.create_task(here.approvals.changed(asked.id, PATIENCE))
        await elsewhere.approvals.decide(asked.id, ADA, True)
        assert (await waiting).state == "approved"


async def test_two_who_wait_for_one_decision_both_hear_of_it_whoever_reads_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        waiting = asyncio.create_task(at.approvals.changed(asked.id, PATIENCE))
        read, revisions = asyncio.Event(), ApprovalRows.revisions

        async def late(self: ApprovalRows, ids: Collection[str]) -> Mapping[str, int]:
            await read.wait()
            return await revisions(self, ids)

        monkeypatch.setattr(ApprovalRows, "revisions", late)
        await at.approvals.decide(asked.id, ADA, True)
        assert (await at.approvals.changed(asked.id, PATIENCE)).state == "approved"
        read.set()
        assert (await waiting).state == "approved"


async def test_a_waiting_call_hears_that_its_time_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        waiting = asyncio.create_task(at.approvals.changed(asked.id, PATIENCE))
        at.time.passes(days=2)
        assert await at.approvals.expire_due() == 1
        assert (await waiting).state == "expired"
        assert (await at.approvals.changed(asked.id, 0)).state == "expired"


async def test_who_may_not_decide_is_refused_and_a_second_decision_conflicts(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(TEAM))
        for stranger in (EVE, ADMIN):
            with pytest.raises(ApprovalRefused):
                await at.approvals.decide(asked.id, stranger, True)
        await at.approvals.decide(asked.id, ADA, True)
        assert (await at.approvals.decide(asked.id, BOB, True)).state == "approved"
        with pytest.raises(ApprovalConflict, match="otherwise"):
            await at.approvals.decide(asked.id, BOB, False)
        with pytest.raises(ApprovalConflict, match="approved already"):
            await at.approvals.decide(asked.id, CAROL, False)
        assert (await at.approvals.decide(asked.id, CAROL, True)).state == "approved"
        with pytest.raises(ApprovalUnknown):
            await at.approvals.decide("apr_none", BOB, True)


async def test_an_administrator_stops_any_call_and_a_denial_is_not_asked_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        outside = need(TEAM, run="", call=0)
        asked = await at.approvals.request(outside)
        assert (await at.approvals.decide(asked.id, ADMIN, False, comment="not this month")).state == "denied"
        again = await at.approvals.request(outside)
        assert (again.id, again.votes[0].comment) == (asked.id, "not this month")
        at.time.passes(minutes=11)
        assert (await at.approvals.request(outside)).id != asked.id


async def test_three_denials_pause_a_client_and_no_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(3):
            asked = await at.approvals.request(need(PERSON, call=number))
            await at.approvals.decide(asked.id, ADA, False)
            at.time.passes(seconds=1)
        with pytest.raises(ApprovalImpossible, match="denied several"):
            await at.approvals.request(need(PERSON, call=9))
        assert (await at.approvals.request(need(PERSON, call=9, client="other"))).state == "pending"
        at.time.passes(minutes=10)
        assert (await at.approvals.request(need(PERSON, call=9))).state == "pending"


async def test_one_person_has_so_many_waiting_and_no_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(MAX_PENDING_OF_PERSON):
            await at.approvals.request(need(PERSON, call=number))
        with pytest.raises(ApprovalImpossible, match="wait for one already"):
            await at.approvals.request(need(PERSON, call=999))
        assert (await at.approvals.request(need(PERSON, subject="bob", run="exec_2"))).state == "pending"
        assert await at.approvals.withdraw("exec_1") == MAX_PENDING_OF_PERSON
        assert (await at.approvals.request(need(PERSON, call=999))).state == "pending"


async def test_a_remembered_approval_is_for_the_same_tool_client_and_policy_until_it_is_used_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        await at.approvals.decide(asked.id, ADA, True, remember=Remember(seconds=900, uses=2))
        [grant] = await at.approvals.grants(subject="ada")
        assert (grant.uses_left, grant.granted_by) == (2, "ada@example.com")
        for other in ({"client": "other"}, {"tool": "transfer"}, {"subject": "bob"}, {"server": "other"}):
            assert not await at.approvals.use_grant(need(PERSON, call=2, **other))
        assert not await at.approvals.use_grant(need(replace(PERSON, revision="2"), call=2))
        used = [await at.approvals.use_grant(need(PERSON, call=number)) for number in (2, 3, 4)]
        assert used == [True, True, False]


async def test_a_remembered_approval_can_be_revoked_and_ends(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        await at.approvals.decide(asked.id, ADA, True, remember=Remember(seconds=900, this_run=True))
        assert not await at.approvals.use_grant(need(PERSON, call=2, run="exec_2"))
        assert await at.approvals.use_grant(need(PERSON, call=2))
        [grant] = await at.approvals.grants()
        with pytest.raises(ApprovalRefused):
            await at.approvals.revoke(grant.id, EVE)
        assert (await at.approvals.revoke(grant.id, ADA)).id == grant.id
        assert not await at.approvals.use_grant(need(PERSON, call=3))
        second = await at.approvals.request(need(PERSON, call=5))
        await at.approvals.decide(second.id, ADA, True, remember=Remember(seconds=900))
        at.time.passes(seconds=901)
        assert not await at.approvals.use_grant(need(PERSON, call=6))
        assert await at.approvals.grants() == []


async def test_what_a_group_approves_is_remembered_only_if_all_of_them_say_so(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        kept = Remember(seconds=900)
        one = await at.approvals.request(need(TEAM, call=1))
        await at.approvals.decide(one.id, BOB, True, remember=kept)
        await at.approvals.decide(one.id, CAROL, True)
        assert await at.approvals.grants() == []
        two = await at.approvals.request(need(TEAM, call=2))
        await at.approvals.decide(two.id, BOB, True, remember=kept)
        await at.approvals.decide(two.id, CAROL, True, remember=Remember(seconds=60, uses=1))
        [grant] = await at.approvals.grants()
        assert (grant.until - at.time.now).total_seconds() == 60 and grant.uses_left == 1


async def test_an_approval_of_a_call_that_did_not_run_is_good_again_for_that_call(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(PERSON))
        await at.approvals.decide(asked.id, ADA, True)
        assert not await at.approvals.give_back(asked.id, asked.digest, "1")
        assert await at.approvals.use(asked.id, asked.digest, "1")
        assert await at.approvals.give_back(asked.id, asked.digest, "1")
        assert await at.approvals.use(asked.id, asked.digest, "1")
        at.time.passes(days=1)
        assert not await at.approvals.give_back(asked.id, asked.digest, "1")


async def test_all_that_a_run_waits_for_is_decided_at_once_and_counts_as_one_denial(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(5):
            await at.approvals.request(need(PERSON, call=number))
        denied = await at.approvals.decide_all("exec_1", ADA, False)
        assert [one.state for one in denied] == ["denied"] * 5
        assert (await at.approvals.request(need(PERSON, call=9))).state == "pending"
        assert [one.state for one in await at.approvals.of_run("exec_1")] == ["denied"] * 5 + ["pending"]


async def test_people_see_what_they_decide_about(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        mine = await at.approvals.request(need(PERSON, call=1))
        ours = await at.approvals.request(need(TEAM, call=2))
        seen = {
            who.subject: {one.id for one in await at.approvals.listed(decider=who)} for who in (ADA, BOB, EVE, ADMIN)
        }
        assert seen == {"ada": {mine.id, ours.id}, "bob": {ours.id}, "eve": set(), "root": {mine.id, ours.id}}


async def test_calls_of_somebody_with_a_longer_address_do_not_hide_what_waits_for_one(tmp_path: Path) -> None:
    b = Decider(subject="b", email="b@example.com", via="browser")
    async with desk(tmp_path) as at:
        theirs = await at.approvals.request(need(rule(group(1, "b"))))
        for number in range(2, 7):
            at.time.passes(seconds=1)
            await at.approvals.request(need(rule(group(1, "bob")), call=number))
        assert [one.id for one in await at.approvals.listed(decider=b, limit=3)] == [theirs.id]


async def test_arguments_of_any_size_are_written_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_by: list[threading.Thread] = []

    def watched(arguments: Mapping[str, object]) -> str:
        written_by.append(threading.current_thread())
        return canonical(arguments)

    monkeypatch.setattr("portal.approvals.approvals.canonical", watched)
    async with desk(tmp_path) as at:
        for number in range(2):
            with pytest.raises(ApprovalImpossible, match="larger than they can be shown"):
                await at.approvals.request(need(PERSON, call=number, arguments={"text": "\u00e9" * 1_000_000}))
        with pytest.raises(ApprovalImpossible):
            await at.approvals.found(need(PERSON, arguments={str(number): number for number in range(200_000)}))
    assert len(written_by) == 3 and threading.main_thread() not in written_by


async def test_several_that_are_denied_with_one_decision_are_one_denial(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = [await at.approvals.request(need(PERSON, run="", call=0, arguments={"n": n})) for n in range(3)]
        moment = at.time()
        for one in asked:
            at.time.passes(seconds=1)
            assert (await at.approvals.decide(one.id, ADA, False, at=moment)).state == "denied"
        assert (await at.approvals.request(need(PERSON, run="", call=0))).state == "pending"


async def test_a_purpose_is_said_first_and_kept_sealed(tmp_path: Path) -> None:
    asked_for = replace(TEAM, justified=True, prompt="Which invoice?")
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(asked_for))
        with pytest.raises(ApprovalRefused, match="what it is for"):
            await at.approvals.decide(asked.id, BOB, True)
        with pytest.raises(ApprovalRefused):
            await at.approvals.justify(asked.id, BOB, "because")
        said = await at.approvals.justify(asked.id, ADA, "planted-justification 4711")
        assert said.justification == "planted-justification 4711"
        # Said once: somebody may have read it, and decides about that.
        assert await at.approvals.justify(asked.id, ADA, "planted-justification 4711") == said
        with pytest.raises(ApprovalRefused, match="stays as it was said"):
            await at.approvals.justify(asked.id, ADA, "something else")
        await at.approvals.decide(asked.id, BOB, True)
        assert (await at.approvals.decide(asked.id, CAROL, True)).state == "approved"
        assert await at.approvals.arguments(asked.id) == canonical(need(asked_for).arguments)


async def test_arguments_and_purposes_are_nowhere_readable_and_decisions_are_in_the_log(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = await at.approvals.request(need(replace(PERSON, justified=True)))
        await at.approvals.decide(asked.id, ADA, True, justification="planted-justification")
        [row] = at.events.rows
        assert (row.identity, row.method, row.name) == ("ada", "approval/approve", "bank.pay")
        assert row.reason == f"{asked.id} via browser: approved" and "planted" not in str(row)
        assert "planted" not in repr(await at.approvals.get(asked.id))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"bank" in written and b"planted" not in written


async def test_what_has_ended_loses_its_arguments_and_then_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        decided = await at.approvals.request(need(PERSON, call=1))
        await at.approvals.decide(decided.id, ADA, False)
        left = await at.approvals.request(need(PERSON, call=2))
        await at.approvals.withdraw("exec_1")
        at.time.passes(minutes=16)
        await at.approvals.purge()
        assert await at.approvals.arguments(decided.id) is None
        at.time.passes(days=2)
        await at.approvals.purge()
        assert (await at.approvals.get(decided.id)).state == "denied"
        with pytest.raises(ApprovalUnknown):
            await at.approvals.get(left.id)
