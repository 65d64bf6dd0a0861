"""A bounded map forgets the entry that was used least recently, and no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portal.bounded import Bounded

KEYS = st.integers(0, 6)
USES = st.one_of(
    st.tuples(st.just("write"), KEYS),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("look"), KEYS),
    st.tuples(st.just("pop"), KEYS),
    st.tuples(st.just("clear"), st.none()),
)


def test_writing_and_reading_use_an_entry_and_looking_through_does_not() -> None:
    entries: Bounded[str, int] = Bounded(3)
    for number, key in enumerate("abc"):
        entries[key] = number
    assert entries.get("a") == 0
    entries["b"] = 7
    assert "c" in entries and list(entries.values()) == [2, 0, 7]
    entries["d"] = 3
    assert list(entries.items()) == [("a", 0), ("b", 7), ("d", 3)]
    assert (entries.get("c"), entries.pop("c"), entries.pop("a"), len(entries)) == (None, None, 0, 2)


@given(st.integers(1, 4), st.lists(USES, max_size=60))
def test_it_holds_the_entries_that_were_used_last(size: int, uses: list[tuple[str, int | None]]) -> None:
    entries: Bounded[int, int] = Bounded(size)
    # The model: every live entry in order of use, of which the last `size` are there.
    used: list[tuple[int, int]] = []
    for number, (use, key) in enumerate(uses):
        there = dict(used)
        if key is None:
            entries.clear()
            used = []
            continue
        if use == "write":
            entries[key] = number
            used = [*((other, value) for other, value in used if other != key), (key, number)][-size:]
        elif use == "get":
            assert entries.get(key) == there.get(key)
            if key in there:
                used = [*((other, value) for other, value in used if other != key), (key, there[key])]
        elif use == "pop":
            assert entries.pop(key) == there.get(key)
            used = [(other, value) for other, value in used if other != key]
        else:
            assert (key in entries) == (key in there)
        assert list(entries.items()) == used
        assert len(entries) == len(used) <= size
