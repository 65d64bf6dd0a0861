"""Definitions: which are equal, which have changed, and the words for a change."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pins import PendingDefinition, canonical, digest, judge
from portal.pins.definitions import FIXED, approve_all
from portal.pins.file_approvals import parse, render
from portal.pins.selection import NotPending, select_pending
from portal.pins.stored_approvals import CHUNK_CHARS, chunks
from portal.pins.wording import MAX_QUOTE, describe_changes
from tests.deep import examples
from tests.strategies import SHORT, json_values

TOOL = {"name": "send", "description": "Sends.", "inputSchema": {"type": "object", "properties": {"to": {}}}}
KEYS = st.text(max_size=6)
VALUES = json_values(st.integers(), st.floats(allow_nan=False), SHORT, keys=KEYS, size=3)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=4)},
        optional=dict.fromkeys((*FIXED["tool"][1:], "icons", "_meta"), VALUES),
    ),
    max_size=5,
    unique_by=lambda tool: str(tool["name"]),
)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same content with its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def fixed(tool: dict[str, Any]) -> dict[str, Any]:
    return {member: tool[member] for member in FIXED["tool"] if member in tool}


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and have the same JSON types: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@examples(60)
@given(TOOLS, TOOLS, st.randoms(use_true_random=False))
def test_shown_is_exactly_what_was_approved_and_the_rest_waits(old: Any, new: Any, chance: random.Random) -> None:
    approved = approve_all(old, [])
    before = {tool["name"]: tool for tool in old}
    listed = [shuffled(tool, chance) for tool in new]
    verdict = judge(approved, listed, [])
    shown = [tool for tool in listed if tool["name"] in before and same(fixed(tool), fixed(before[tool["name"]]))]
    assert list(verdict.tools) == shown and all(any(one is tool for tool in listed) for one in verdict.tools)
    assert {waits.name for waits in verdict.pending} == {tool["name"] for tool in listed} - {t["name"] for t in shown}
    assert all(waits.is_new == (waits.name not in before) for waits in verdict.pending)
    assert all(waits.is_new or waits.changed for waits in verdict.pending)
    assert all(describe_changes(waits) for waits in verdict.pending)
    # What was approved is then shown.
    accepted = {**approved, **{(waits.kind, waits.name): waits.now for waits in verdict.pending}}
    assert judge(accepted, listed, []).tools == tuple(listed)


@examples(40)
@given(TOOLS, TOOLS)
def test_either_place_gives_back_what_it_was_given(tools: Any, prompts: Any) -> None:
    approved = approve_all(tools, prompts)
    assert parse(json.loads(render({"one": approved, "none": {}}))) == {"one": approved, "none": {}}
    stored = [pair for document in chunks("one", approved) for pair in document.definitions]
    assert {(kind, json.loads(text)["name"]): text for kind, text in stored} == approved


def test_much_is_stored_in_several_documents_and_nothing_in_one() -> None:
    tools = [{**TOOL, "name": f"tool{number}", "description": "x" * 1000} for number in range(500)]
    sizes = [sum(len(text) for _, text in one.definitions) for one in chunks("one", approve_all(tools, []))]
    assert len(sizes) > 3 and max(sizes) <= CHUNK_CHARS
    assert [one.definitions for one in chunks("one", {})] == [()]


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "Sends "},
        {"description": "Ѕends."},  # Cyrillic
        {"description": "Sends.\u200b"},
        {"description": "Se\u0301nds."},
        {"description": None},
        {"title": "Send"},
        {"inputSchema": {"type": "object", "properties": {"to": {"description": "and the secrets"}}}},
        {"inputSchema": {"type": "object", "properties": {"to": {}}, "required": []}},
        {"outputSchema": {}},
        {"annotations": {}},
        {"annotations": {"readOnlyHint": 1}},
    ],
)
def test_another_definition_is_another_digest_however_alike(changed: dict[str, Any]) -> None:
    assert digest(canonical("tool", TOOL)) != digest(canonical("tool", {**TOOL, **changed}))


def test_two_spellings_of_one_letter_are_two_definitions() -> None:
    composed, decomposed = ({**TOOL, "description": text} for text in ("caf\u00e9", "cafe\u0301"))
    assert canonical("tool", composed) != canonical("tool", decomposed)
    assert canonical("tool", {**TOOL, "annotations": {"x": True}}) != canonical(
        "tool", {**TOOL, "annotations": {"x": 1}}
    )


def test_what_is_said_to_nobody_is_not_fixed() -> None:
    assert canonical("tool", TOOL) == canonical("tool", {**TOOL, "icons": [], "_meta": {"a": 1}})


def test_a_tool_and_a_prompt_of_one_name_are_approved_apart() -> None:
    approved = approve_all([{"name": "x"}], [])
    assert [waits.kind for waits in judge(approved, [{"name": "x"}], [{"name": "x"}]).pending] == ["prompt"]


def words(**changed: Any) -> list[str]:
    return describe_changes(
        PendingDefinition("tool", "send", canonical("tool", {**TOOL, **changed}), canonical("tool", TOOL))
    )


def test_differences_are_said_in_words() -> None:
    assert words(description="Sends mail.") == ['description: "Sends." became "Sends mail."']
    assert words(title="Send") == ['title: nothing became "Send"']
    assert words(annotations={"readOnlyHint": True}) == ['annotations: nothing became {"readOnlyHint": true}']
    required = {**TOOL["inputSchema"], "required": ["to"]}  # type: ignore[dict-item]
    assert words(inputSchema=required) and "to" in words(inputSchema=required)[0]
    described = {"type": "object", "properties": {"to": {"description": "and the secrets"}}}
    assert words(inputSchema=described) == ["the descriptions in its input schema changed"]
    new = PendingDefinition("tool", "send", canonical("tool", TOOL))
    assert describe_changes(new) == ["is new", 'description: "Sends."']


def test_what_looks_the_same_is_spelled_out_and_what_is_long_is_shown_where_it_differs() -> None:
    assert words(description="Ѕends.") == ["description: from character 1 on, 'Sends.' became '\\u0405ends.'"]
    assert words(description="Sends.\u202e") == ["description: from character 7 on, 'Sends.' became 'Sends.\\u202e'"]
    (said,) = words(description="Sends." + " " * 5000 + "Evil.")
    assert "from character 7 on" in said and len(said) < 2 * MAX_QUOTE
    old = canonical("tool", {**TOOL, "description": "a" * 5000 + "b"})
    new = canonical("tool", {**TOOL, "description": "a" * 5000 + "c"})
    (said,) = describe_changes(PendingDefinition("tool", "send", new, old))
    assert "from character 5001 on" in said and said.endswith("c'")


def test_the_notice_for_callers_repeats_nothing_of_what_the_server_says_now() -> None:
    evil = {**TOOL, "description": "EVIL", "inputSchema": {"EVIL": 1}, "annotations": {"EVIL": "EVIL"}}
    notice = PendingDefinition("tool", "send", canonical("tool", evil), canonical("tool", TOOL)).notice
    assert "EVIL" not in notice and "(description, input, annotations)" in notice


def test_names_mean_what_waits_and_a_digest_only_that_definition() -> None:
    tool, prompt = (PendingDefinition(kind, "x", canonical(kind, {"name": "x"})) for kind in ("tool", "prompt"))
    odd = PendingDefinition("tool", "a@0123456789", canonical("tool", {"name": "a@0123456789"}))
    waiting = (tool, prompt, odd)
    assert select_pending(waiting, ()) == waiting and select_pending((), ()) == ()
    assert select_pending(waiting, ["x"]) == (tool, prompt)
    assert select_pending(waiting, ["a@0123456789"]) == (odd,)
    assert set(select_pending(waiting, [f"x@{tool.digest[:12]}"])) == {tool, prompt}  # One content, both kinds.
    with pytest.raises(NotPending, match="another definition by now"):
        select_pending(waiting, ["x@0123456789"])
    for unknown in ("y", f"y@{tool.digest}", "x@", "x@01"):
        with pytest.raises(NotPending, match="waits for approval"):
            select_pending(waiting, [unknown])
