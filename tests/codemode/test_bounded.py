"""A bounded map keeps what was used last, and never more than its size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codemode.bounded import RecentlyUsed


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60))
def test_it_holds_the_keys_used_last_whatever_the_order_of_uses(size: int, uses: list[tuple[bool, int]]) -> None:
    found: RecentlyUsed[int, str] = RecentlyUsed(size)
    recent: list[int] = []  # the keys it must hold, the one used last at the end
    for puts, key in uses:
        if puts:
            found.put(key, str(key))
        else:
            assert found.get(key) == (str(key) if key in recent else None)
        if puts or key in recent:
            recent = [*(one for one in recent if one != key), key][-size:]
        assert len(found) == len(recent) <= size
    assert all(found.get(key) == str(key) for key in recent)


def test_a_key_set_again_has_the_new_value() -> None:
    found: RecentlyUsed[str, int] = RecentlyUsed(2)
    found.put("a", 1)
    found.put("a", 2)
    assert (found.get("a"), len(found)) == (2, 1)
