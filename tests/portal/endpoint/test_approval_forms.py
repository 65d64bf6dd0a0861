"""What a form shows of arguments, whatever is in them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from portal.approvals import canonical
from portal.endpoint.approval_forms import MAX_SHOWN, plain_name, shown_arguments
from portal.unseen import is_unseen

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u202e\u200b\x7f\x00\u2028<`\t\n\\"), max_size=20
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_a_form_shows_is_the_same_value_with_nothing_hidden_and_no_markup(arguments: dict[str, object]) -> None:
    text = canonical(arguments)
    shown = shown_arguments(text)
    if shown is None:
        return
    assert json.loads(shown) == json.loads(text) and len(shown) <= MAX_SHOWN
    assert not any(character in "<`\t" or (is_unseen(character) and character != "\n") for character in shown)


def test_arguments_are_shown_whole_or_not_at_all() -> None:
    assert shown_arguments(canonical({"a": "x" * (MAX_SHOWN - 20)})) is not None
    assert shown_arguments(canonical({"a": "x" * MAX_SHOWN})) is None
    # What hides takes more room than it seems.
    assert shown_arguments(canonical({"a": "\u202e" * (MAX_SHOWN // 2)})) is None


@given(TEXTS)
def test_a_name_is_one_line_without_markup(text: str) -> None:
    shown = plain_name(text)
    assert shown.isprintable() and not set(shown) & set("`<>[]*\n") and len(shown) == len(text)
