"""Many cases and many examples: a part of each runs every time, all of it with `make test-deep`.

Of a large matrix that part is a representative tenth, of the examples that hypothesis draws a quarter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

Key = tuple[int, str]
T = TypeVar("T")
ORDINARY, DEEP = "ordinary", "deep"
# Hypothesis's own number for a test that names none.
EXAMPLES = 100


def register_profiles() -> None:
    """Neither profile has a deadline: no test measures a wall clock."""
    for name, count in ((ORDINARY, EXAMPLES // 4), (DEEP, EXAMPLES)):
        settings.register_profile(name, deadline=None, max_examples=count, suppress_health_check=[HealthCheck.too_slow])


def is_deep() -> bool:
    """Whether all cases run, as with `make test-deep`."""
    return settings.get_current_profile_name() == DEEP


def examples(count: int, like: settings | None = None) -> settings:
    """The settings of a test that draws so many examples, a quarter of them with `pytest` and `make test`.

    `like` has the other settings. It is for 40 examples or more, or for fewer that are expensive; of others all are
    drawn every time.
    """
    if not is_deep():
        count = count // 4
    return settings(like, max_examples=count)


def deep(cases: Iterable[Any], kind: Callable[..., object] | None = None) -> list[Any]:
    """The cases for `pytest.mark.parametrize`, with the marker `deep` on all but a tenth of them.

    A case is what parametrize takes: one value, or a tuple of the values of several parameters, such as
    `itertools.product` makes. `kind` is called with the values of a case and returns the kind it belongs to.

    `pytest` and `make test` leave out what is marked `deep`; `make test-deep` runs everything. It is for a test that
    tries one sentence on 25 cases or more, above all on the product of several lists, or whose cases take seconds each.
    A table whose rows are rules of their own stays whole.

    The tenth depends on nothing but the cases and their order:

    1. Each kind is in it, and each value of a parameter that occurs in more than one case. The case that adds most of
       these is taken first; of equal ones, the one whose values were taken least often; then the first.
    2. If that is less than a tenth, every tenth case is added, counted from the first, until it is one.
    """
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    ordinary = _representatives([_keys(row, kind) for row in rows])
    return [pytest.param(*row, marks=() if at in ordinary else pytest.mark.deep) for at, row in enumerate(rows)]


def times(few: int, many: int) -> list[Any]:
    """How often a test repeats itself, for `pytest.mark.parametrize`: `few` times every time, `many` times marked
    `deep`. `few` is enough for a fault that each repetition shows, `many` for one that a few of them do."""
    return [few, pytest.param(many, marks=pytest.mark.deep)]


WHOLE = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["sixth", "whole"])
"""For a test that tries every case at every place of one portal: a sixth of them each time, all of them are `deep`."""


def sixth(cases: Sequence[T], place: int, whole: bool) -> Sequence[T]:
    """The cases for this place: every sixth one, others at the next place; all of them if the test is `whole`.

    What is alike stands side by side in the cases, so that each place gets some of every kind.
    """
    return cases if whole else cases[place % 6 :: 6]


def _keys(row: tuple[Any, ...], kind: Callable[..., object] | None) -> frozenset[Key]:
    """The values of a case by parameter; its kind stands before the first of them. Values need not be hashable."""
    values = {(at, repr(value)) for at, value in enumerate(row)}
    return frozenset(values if kind is None else {*values, (-1, repr(kind(*row)))})


def _representatives(rows: list[frozenset[Key]]) -> set[int]:
    count = Counter(key for row in rows for key in row)
    missing = {key for key, times in count.items() if times > 1 or key[0] == -1}
    chosen: set[int] = set()
    taken: Counter[Key] = Counter()

    def merit(at: int) -> tuple[int, int, int]:
        return len(rows[at] & missing), -sum(taken[key] for key in rows[at]), -at

    while missing:
        best = max(range(len(rows)), key=merit)
        chosen.add(best)
        taken.update(rows[best])
        missing -= rows[best]
    tenth = -(-len(rows) // 10)
    for at in (*range(0, len(rows), 10), *range(len(rows))):
        if len(chosen) >= tenth:
            break
        chosen.add(at)
    return chosen
