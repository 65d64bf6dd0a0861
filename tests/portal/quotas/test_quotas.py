"""The counts behind quotas, against a simple model: a list of all calls that were let through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.objects import QuotaDocument
from portal.quotas import OTHERS, CountedCall, Quota, Quotas
from portal.quotas.quotas import SavedCount, steady_clock
from portal.quotas.windows import SLICES
from tests.deep import examples

ADA = CountedCall("okta:ada", False, "docs", "tickets", "search")
BOB = replace(ADA, person="okta:bob")


class Hands:
    """A clock that somebody moves."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def quota(name: str = "Each", calls: int = 2, period: int = 60, per: tuple[str, ...] = ("person",)) -> Quota:
    return Quota.of_stored(
        "", QuotaDocument.model_validate({"name": name, "calls": calls, "period": period, "per": per})
    )


def counting(*quotas: Quota, clock: Hands | None = None, most: int = 1000) -> Quotas:
    counted = Quotas(clock or Hands(), most)
    counted.apply(quotas)
    return counted


@settings(examples(100))
@given(
    calls=st.integers(1, 6),
    period=st.integers(1, 100),
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.one_of(st.just(0), st.integers(0, 30_000))), max_size=80),
)
def test_no_period_has_more_calls_than_allowed_and_none_is_refused_for_a_call_that_is_long_past(
    calls: int, period: int, steps: list[tuple[str, int]]
) -> None:
    clock = Hands()
    counted = counting(quota(calls=calls, period=period), clock=clock)
    passed: dict[str, list[int]] = {"a": [], "b": []}
    at = int(clock.at * 1000)
    longest = period * 1000 + -(-period * 1000 // SLICES)
    for person, pause in steps:
        at += pause
        clock.at = at / 1000
        over = counted.take(replace(ADA, person=person))
        mine = passed[person]
        if over is None:
            mine.append(at)
            # The strict side: with this call, at most `calls` in the last period.
            assert len([one for one in mine if one > at - period * 1000]) <= calls
        else:
            # The lenient side: as many calls are at most a slice older than the period.
            assert len([one for one in mine if one >= at - longest - 1]) >= calls
            assert 1 <= over.seconds <= -(-longest // 1000) + 1


@settings(examples(100))
@given(
    calls=st.integers(1, 4),
    period=st.integers(1, 3000),
    at=st.integers(0, 10**7),
    pauses=st.lists(st.integers(0, 9000)),
)
def test_a_call_may_be_made_at_the_moment_that_the_refusal_says(
    calls: int, period: int, at: int, pauses: list[int]
) -> None:
    clock = Hands(1_800_000_000.0 + at / 1000)
    counted = counting(quota(calls=calls, period=period), clock=clock)
    for pause in pauses:
        clock.at += pause / 1000
        counted.take(ADA)
    for _ in range(calls + 1):
        if (over := counted.take(ADA)) is not None:
            break
    assert over is not None
    clock.at += over.seconds
    assert counted.take(ADA) is None


def test_two_people_do_not_touch_each_others_counts() -> None:
    counted = counting(quota(calls=1))
    assert counted.take(ADA) is None and counted.take(BOB) is None
    assert counted.take(ADA) is not None and counted.take(BOB) is not None


@pytest.mark.parametrize(
    ("per", "others", "same"),
    [
        (("person",), replace(ADA, person="okta:bob"), replace(ADA, server="wiki", tool="x", portal="")),
        (("server",), replace(ADA, server="wiki"), replace(BOB, tool="x", portal="")),
        (("tool",), replace(ADA, tool="create"), replace(BOB, portal="")),
        # Two servers may have tools of one name.
        (("tool",), replace(ADA, server="wiki"), replace(BOB, portal="")),
        (("portal",), replace(ADA, portal=""), replace(BOB, server="wiki", tool="x")),
        (("person", "tool"), replace(BOB, tool="search"), replace(ADA, portal="")),
        ((), None, CountedCall("x", True, "y", "z", "w")),
    ],
)
def test_what_a_quota_counts_for(per: tuple[str, ...], others: CountedCall | None, same: CountedCall) -> None:
    counted = counting(quota(calls=1, per=per))
    assert counted.take(ADA) is None
    assert counted.take(same) is not None
    if others is not None:
        assert counted.take(others) is None


def test_a_quota_is_about_the_portals_servers_and_tools_that_it_names_and_those_of_tools_about_tools_alone() -> None:
    narrow = replace(quota(calls=1, per=()), servers=frozenset({"tickets"}), tools=frozenset({"search"}))
    counted = counting(
        narrow, replace(quota("Docs", 1, per=()), portals=frozenset({"docs"}), servers=frozenset({"wiki"}))
    )
    read = replace(ADA, tool="")
    for free in (
        replace(ADA, server="mail"),
        replace(ADA, tool="create"),
        read,
        replace(ADA, portal="", server="wiki"),
    ):
        assert counted.take(free) is None and counted.take(free) is None
    assert counted.take(ADA) is None and counted.take(ADA) is not None
    wiki = replace(read, server="wiki")
    assert counted.take(wiki) is None and counted.take(wiki) is not None
    assert counting(quota(calls=1, per=("tool",))).take(read) is None


def test_a_call_that_one_quota_refuses_is_counted_by_none() -> None:
    counted = counting(quota("Everyone", 10, per=()), quota("Each", 2), quota("Tool", 10, per=("tool",)))
    results = [counted.take(ADA) for _ in range(6)]
    assert [over is None for over in results] == [True, True, False, False, False, False]
    assert {(used.quota.name, used.calls) for used in counted.used(9)} == {("Everyone", 2), ("Each", 2), ("Tool", 2)}


def test_the_refusal_is_that_of_the_quota_that_one_has_to_wait_for_longest() -> None:
    for order in (1, -1):
        quotas = [quota("Minute", 1, 60), quota("Hour", 1, 3600), quota("Second", 1, 1)][::order]
        counted = counting(*quotas)
        assert counted.take(ADA) is None
        over = counted.take(ADA)
        assert over is not None and over.quota.name == "Hour" and 3600 <= over.seconds <= 3900
        assert over.reason == (
            "The quota 'Hour' allows 1 call for each person in 1 hour, and that is used up. The call did not run. "
            f"Try again in {over.seconds} s."
        )


def test_a_flood_of_strangers_stays_within_its_bounds_and_costs_nobody_who_signed_in() -> None:
    clock = Hands()
    counted = counting(quota(calls=2), clock=clock, most=100)
    assert counted.take(ADA) is None
    refused = 0
    for number in range(5000):
        refused += counted.take(replace(ADA, person=f"address:2001:db8:{number:x}::/64", stranger=True)) is not None
        clock.at += 0.001
    assert len(counted) <= 101 + 1 and refused > 4000
    # Who had a count keeps it, whoever comes after the flood has one, and strangers share what is left.
    assert counted.take(ADA) is None and counted.take(ADA) is not None
    assert counted.take(BOB) is None
    shared = [used for used in counted.used(200) if used.key == (OTHERS,)]
    assert [used.calls for used in shared] == [2]
    clock.at += 70
    for number in range(9000, 9020):
        assert counted.take(replace(ADA, person=f"address:{number}", stranger=True)) is None
    assert len(counted) <= 102


def test_names_that_a_caller_makes_up_stay_within_bounds_too() -> None:
    counted = counting(quota(calls=5, per=("person", "tool")), most=100)
    for number in range(1000):
        counted.take(replace(ADA, tool=f"tool-{number}"))
    assert len(counted) <= 102


def test_counts_that_are_over_make_room_for_others() -> None:
    clock = Hands()
    counted = counting(quota(calls=1, period=10), clock=clock, most=100)
    for number in range(1000):
        assert counted.take(replace(ADA, person=f"okta:{number}")) is None
        clock.at += 1
    assert len(counted) < 20


def test_a_changed_list_of_quotas_keeps_the_counts_of_those_that_count_the_same() -> None:
    counted = counting(quota("Each", 3), quota("All", 100, per=()))
    for _ in range(3):
        assert counted.take(ADA) is None
    counted.apply([quota("New", 9, per=("server",)), quota("Each", 3)])
    assert counted.take(ADA) is not None
    counted.apply([quota("Each", 5)])
    assert [counted.take(ADA) is None for _ in range(3)] == [True, True, False]
    # Fewer than were made already: the wait is for as many to go.
    counted.apply([quota("Each", 1)])
    assert counted.take(ADA) is not None and [used.calls for used in counted.used(9)] == [5]
    counted.apply([quota("Each", 5, period=120)])
    assert counted.take(ADA) is None
    counted.apply([])
    assert not counted.active and len(counted) == 0 and counted.take(ADA) is None


def test_less_room_after_a_change_keeps_what_was_used_last() -> None:
    counted = counting(quota(calls=1), most=40)
    for number in range(30):
        assert counted.take(replace(ADA, person=f"okta:{number}")) is None
    counted.apply([quota(calls=1), *(quota(f"More {number}", 9, per=()) for number in range(9))])
    assert counted.take(replace(ADA, person="okta:29")) is not None
    assert len(counted) <= 40


def test_a_clock_that_goes_back_gives_nothing_back_and_breaks_nothing() -> None:
    clock = Hands()
    counted = counting(quota(calls=1), clock=clock)
    assert counted.take(ADA) is None
    clock.at -= 100_000
    over = counted.take(ADA)
    assert over is not None and over.seconds <= 66
    before = steady_clock()
    assert before() <= before()


@given(flat=st.lists(st.integers(-(2**70), 2**70), max_size=60))
def test_saved_counts_of_any_numbers_are_taken_up_or_left(flat: list[int]) -> None:
    counted = counting(quota(calls=3))
    counted.restore(quota(calls=3).mark, [SavedCount(("okta:ada",), False, flat), SavedCount(("a", "b"), False, flat)])
    over = counted.take(ADA)
    assert over is None or 1 <= over.seconds <= 66


def test_saved_counts_go_on_in_the_next_process_whatever_the_quota_allows_now() -> None:
    before = counting(quota("Day", 3, 86_400), quota("Minute", 3, 60))
    for _ in range(3):
        assert before.take(ADA) is None
    saved = before.saved(600, 10)
    assert saved.keys() == {quota("Day", 9, 86_400).mark}
    after = counting(quota("Day", 4, 86_400))
    for mark, counts in saved.items():
        after.restore(mark, counts)
    assert after.take(ADA) is None and after.take(ADA) is not None and after.take(BOB) is None
