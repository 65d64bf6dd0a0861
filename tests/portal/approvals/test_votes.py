"""What votes come to, whatever they are and in whichever order: held against the rules as sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.access import ApprovalGroup, ApprovalRule
from portal.approvals import Approval, ApprovalConflict, ApprovalError, ApprovalRefused, Decider, Via, tally
from portal.approvals.votes import paused_until, voted
from tests.portal.approvals.people import ADA, ADMIN, BOB, CAROL, group, rule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("ada", "bob", "carol", "dan", "eve")
VIAS: tuple[Via, ...] = ("browser", "client", "api", "cli")
DECIDERS = st.builds(
    lambda name, via, administers: Decider(subject=name, email=f"{name}@example.com", via=via, administers=administers),
    st.sampled_from(NAMES),
    st.sampled_from(VIAS),
    st.booleans(),
)
GROUPS = st.builds(
    lambda needed, names: group(needed, *names), st.integers(1, 4), st.lists(st.sampled_from(NAMES), max_size=5)
)
RULES = st.one_of(
    st.builds(lambda groups, also: rule(*groups, also_person=also), st.lists(GROUPS, min_size=1), st.booleans()),
    st.builds(lambda by: rule(by=by), st.sampled_from(["person", "client"])),
)


def approval(by: ApprovalRule, *, destructive: bool = True, **more: object) -> Approval:
    """A pending approval of a call of Ada's."""
    pending = Approval(
        id="apr_1",
        portal="",
        subject="ada",
        email="ada@example.com",
        client="agent",
        run="exec_1",
        call=1,
        server="bank",
        tool="pay",
        digest=b"",
        rule=by,
        destructive=destructive,
        justification="",
        state="pending",
        revision=1,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )
    return replace(pending, **more)  # type: ignore[arg-type]


def decided(start: Approval, decisions: list[tuple[Decider, bool]]) -> Approval:
    """The approval after all of these have tried to decide."""
    for decider, approves in decisions:
        try:
            start = voted(start, decider, approves, now=NOW)
        except ApprovalError:
            continue
    return start


@given(RULES, st.lists(st.tuples(DECIDERS, st.booleans()), max_size=12), st.booleans())
def test_whoever_decides_the_rules_hold(by: ApprovalRule, decisions: list[tuple[Decider, bool]], harmful: bool) -> None:
    after = decided(approval(by, destructive=harmful), decisions)
    yes = [vote for vote in after.votes if vote.approves]
    assert len({vote.subject for vote in after.votes}) == len(after.votes)
    assert after.state == tally(after) and (after.decided_at is None) == (after.state == "pending")
    if any(not vote.approves for vote in after.votes):
        assert after.state == "denied"
    if after.state != "approved":
        return
    if by.by == "group":
        for needed in by.groups:
            members = {vote.email for vote in yes if vote.email in needed.emails and vote.via != "client"}
            assert len(members) >= needed.needed and members - {"ada@example.com"}
        assert not by.also_person or any(vote.subject == "ada" and vote.via == "browser" for vote in yes)
    else:
        vias = {"browser", "client"} if by.by == "client" and not harmful else {"browser"}
        assert [vote.subject for vote in yes] == ["ada"] and yes[0].via in vias


@given(RULES, st.lists(st.tuples(DECIDERS, st.just(True)), max_size=4, unique_by=lambda one: one[0].subject))
def test_the_order_of_approvals_does_not_matter(by: ApprovalRule, decisions: list[tuple[Decider, bool]]) -> None:
    outcomes = {decided(approval(by), list(order)).state for order in permutations(decisions)}
    assert len(outcomes) == 1


@given(RULES, st.lists(st.tuples(DECIDERS, st.booleans()), max_size=8), DECIDERS, st.booleans())
def test_a_decision_that_is_made_again_changes_nothing(
    by: ApprovalRule, before: list[tuple[Decider, bool]], decider: Decider, approves: bool
) -> None:
    once = decided(approval(by), [*before, (decider, approves)])
    assert decided(once, [(decider, approves), *before]) == once


def test_of_a_group_the_requester_is_never_the_only_one_who_approves() -> None:
    alone = approval(rule(group(1, "ada", "bob")))
    assert decided(alone, [(ADA, True)]).state == "pending"
    assert decided(alone, [(ADA, True), (BOB, True)]).state == "approved"
    twice = Decider(subject="second-account", email="ADA@example.com", via="browser")
    assert decided(alone, [(twice, True), (ADA, True)]).state == "pending"


def test_every_group_has_to_approve_and_the_person_where_they_have_to_as_well() -> None:
    both = approval(rule(group(1, "bob"), group(1, "carol"), also_person=True))
    assert decided(both, [(BOB, True), (ADA, True)]).state == "pending"
    assert decided(both, [(BOB, True), (CAROL, True)]).state == "pending"
    assert decided(both, [(BOB, True), (CAROL, True), (ADA, True)]).state == "approved"


@pytest.mark.parametrize("via", ["api", "cli"])
def test_a_member_whose_own_call_it_is_can_still_approve_in_the_browser_after_a_try_elsewhere(via: Via) -> None:
    both = approval(rule(group(1, "ada", "bob"), also_person=True))
    with pytest.raises(ApprovalRefused, match="browser"):
        voted(both, replace(ADA, via=via), True, now=NOW)
    assert decided(both, [(replace(ADA, via=via), True), (ADA, True), (BOB, True)]).state == "approved"


def test_what_a_call_is_for_does_not_change_once_somebody_has_approved_it_for_that() -> None:
    by = rule(group(1, "bob"), also_person=True, justified=True)
    shown = voted(approval(by, justification="a refund"), BOB, True, now=NOW)
    with pytest.raises(ApprovalRefused, match="others have decided"):
        voted(shown, ADA, True, now=NOW, justification="a present for myself")
    for same in ("", "a refund"):
        after = voted(shown, ADA, True, now=NOW, justification=same)
        assert (after.state, after.justification) == ("approved", "a refund")


@pytest.mark.parametrize("via", ["api", "cli", "client"])
def test_a_person_approves_their_own_call_in_the_browser_only(via: Via) -> None:
    asked = approval(rule())
    with pytest.raises(ApprovalRefused, match="browser|client"):
        voted(asked, replace(ADA, via=via), True, now=NOW)


def test_an_administrator_may_deny_anything_and_approve_nothing_by_their_role() -> None:
    for by in (rule(), rule(group(1, "bob"))):
        with pytest.raises(ApprovalRefused):
            voted(approval(by), ADMIN, True, now=NOW)
        assert voted(approval(by), ADMIN, False, now=NOW).state == "denied"


def test_what_is_over_cannot_be_decided() -> None:
    for over in (
        approval(rule(), expires_at=NOW),
        approval(rule(), state="withdrawn"),
        approval(rule(), state="denied"),
    ):
        with pytest.raises(ApprovalConflict):
            voted(over, ADA, True, now=NOW)


def test_a_group_that_nobody_is_in_approves_nothing() -> None:
    empty = approval(rule(ApprovalGroup(1, frozenset())))
    everyone = [(Decider(subject=name, email="", via="browser"), True) for name in NAMES]
    assert decided(empty, everyone).state == "pending"


@given(st.lists(st.integers(0, 3600), max_size=8), st.integers(0, 3600))
def test_three_denials_in_ten_minutes_pause_for_ten_minutes(seconds: list[int], now: int) -> None:
    moments = sorted({second for second in seconds if second <= now})
    until = paused_until(
        [NOW + timedelta(seconds=second) for second in seconds if second <= now], NOW + timedelta(seconds=now)
    )
    last = moments[-3:]
    expected = len(last) == 3 and last[-1] - last[0] <= 600 and last[-1] + 600 > now
    assert (until is not None) is expected
