"""What a form shows of arguments, whatever is in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from portal.access import ApprovalRule
from portal.approvals import Approval, canonical
from portal.endpoint.approval_forms import MAX_SHOWN, answer_in, plain_name, question_of, shown_arguments
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
    assert shown_arguments('{"a":' + "[" * 990 + "]" * 990 + "}") is None


def approval(*, memorable: bool = True) -> Approval:
    now = datetime.now(UTC)
    return Approval(
        id="apr_1",
        portal="",
        subject="ada",
        email="",
        client="",
        run="exec_1",
        call=1,
        server="up",
        tool="echo",
        digest=b"",
        rule=ApprovalRule(policy="p", policy_name="P", revision="1", by="client", memorable=memorable),
        destructive=False,
        justification="",
        state="pending",
        revision=1,
        created_at=now,
        expires_at=now,
    )


def test_a_form_offers_to_remember_only_what_may_be_remembered() -> None:
    answer = {"action": "accept", "content": {"decision": "approve", "remember": "15 minutes"}}
    for memorable in (True, False):
        one = approval(memorable=memorable)
        question = question_of(one, "{}", "https://p/approve/apr_1", forms=True, urls=False, modern=True)
        assert question is not None and ("15 minutes" in str(question.params)) is memorable
        decided = answer_in(one, answer)
        assert decided is not None and decided.approves and (decided.remember is not None) is memorable


def test_only_a_client_with_the_login_of_a_person_is_shown_a_form_that_decides() -> None:
    shown: dict[tuple[bool, bool], str | None] = {}
    for signed_in in (True, False):
        for urls in (True, False):
            question = question_of(
                approval(), "{}", "https://p/apr_1", forms=True, urls=urls, modern=True, signed_in=signed_in
            )
            shown[signed_in, urls] = None if question is None else question.shown
    assert shown == {(True, True): "form", (True, False): "form", (False, True): "url", (False, False): None}


@given(TEXTS)
def test_a_name_is_one_line_without_markup(text: str) -> None:
    shown = plain_name(text)
    assert shown.isprintable() and not set(shown) & set("`<>[]*\n") and len(shown) == len(text)
