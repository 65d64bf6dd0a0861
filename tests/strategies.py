"""What several tests let hypothesis draw: JSON values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHORT = st.text(max_size=8)


def json_values(
    *scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str] = SHORT, size: int = 4, leaves: int = 12
) -> st.SearchStrategy[Any]:
    """Null, booleans and `scalars`, alone and in arrays and objects of at most `size`, about `leaves` in all.

    Without `scalars`: integers, finite numbers and short strings. No string has a lone surrogate.
    """
    leaf = st.one_of(st.none(), st.booleans(), *(scalars or (st.integers(), FINITE, SHORT)))
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=size) | st.dictionaries(keys, inner, max_size=size),
        max_leaves=leaves,
    )
