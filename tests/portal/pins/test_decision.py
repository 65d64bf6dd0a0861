"""What counts as the same definition, what as changed, and how a difference is put into words."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.pins import Withheld, canonical, digest, judged
from portal.pins.choosing import NotWaiting, chosen
from portal.pins.differences import LONGEST, in_words
from portal.pins.in_file import parse, written
from portal.pins.in_store import CHUNK_CHARS, chunks
from portal.pins.judging import FIXED, everything

TOOL = {"name": "send", "description": "Sends.", "inputSchema": {"type": "object", "properties": {"to": {}}}}
KEYS = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=4)},
        optional=dict.fromkeys((*FIXED["tool"][1:], "icons", "_meta"), VALUES),
    ),
    max_size=5,
    unique_by=lambda tool: str(tool["name"]),
)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same content, its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def fixed(tool: dict[str, Any]) -> dict[str, Any]:
    return {member: tool[member] for member in FIXED["tool"] if member in tool}


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same JSON types: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@settings(max_examples=60)
@given(TOOLS, TOOLS, st.randoms(use_true_random=False))
def test_shown_is_exactly_what_was_approved_and_the_rest_waits(old: Any, new: Any, chance: random.Random) -> None:
    approved = everything(old, [])
    before = {tool["name"]: tool for tool in old}
    listed = [shuffled(tool, chance) for tool in new]
    verdict = judged(approved, listed, [])
    shown = [tool for tool in listed if tool["name"] in before and same(fixed(tool), fixed(before[tool["name"]]))]
    assert list(verdict.tools) == shown and all(any(one is tool for tool in listed) for one in verdict.tools)
    assert {waits.name for waits in verdict.withheld} == {tool["name"] for tool in listed} - {t["name"] for t in shown}
    assert all(waits.is_new == (waits.name not in before) for waits in verdict.withheld)
    assert all(waits.is_new or waits.changed for waits in verdict.withheld)
    assert all(in_words(waits) for waits in verdict.withheld)
    # What was approved is then shown.
    accepted = {**approved, **{(waits.kind, waits.name): waits.now for waits in verdict.withheld}}
    assert judged(accepted, listed, []).tools == tuple(listed)


@settings(max_examples=40)
@given(TOOLS, TOOLS)
def test_either_place_gives_back_what_it_was_given(tools: Any, prompts: Any) -> None:
    approved = everything(tools, prompts)
    assert parse(json.loads(written({"one": approved, "none": {}}))) == {"one": approved, "none": {}}
    stored = [pair for document in chunks("one", approved) for pair in document.definitions]
    assert {(kind, json.loads(text)["name"]): text for kind, text in stored} == approved


def test_much_is_stored_in_several_documents_and_nothing_in_one() -> None:
    tools = [{**TOOL, "name": f"tool{number}", "description": "x" * 1000} for number in range(500)]
    sizes = [sum(len(text) for _, text in one.definitions) for one in chunks("one", everything(tools, []))]
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
    approved = everything([{"name": "x"}], [])
    assert [waits.kind for waits in judged(approved, [{"name": "x"}], [{"name": "x"}]).withheld] == ["prompt"]


def words(**changed: Any) -> list[str]:
    return in_words(Withheld("tool", "send", canonical("tool", {**TOOL, **changed}), canonical("tool", TOOL)))


def test_differences_are_said_in_words() -> None:
    assert words(description="Sends mail.") == ['description: "Sends." became "Sends mail."']
    assert words(title="Send") == ['title: nothing became "Send"']
    assert words(annotations={"readOnlyHint": True}) == ['annotations: nothing became {"readOnlyHint": true}']
    required = {**TOOL["inputSchema"], "required": ["to"]}  # type: ignore[dict-item]
    assert words(inputSchema=required) and "to" in words(inputSchema=required)[0]
    described = {"type": "object", "properties": {"to": {"description": "and the secrets"}}}
    assert words(inputSchema=described) == ["what is said of its input changed"]
    new = Withheld("tool", "send", canonical("tool", TOOL))
    assert in_words(new) == ["is new", 'description: "Sends."']


def test_what_looks_the_same_is_spelled_out_and_what_is_long_is_shown_where_it_differs() -> None:
    assert words(description="Ѕends.") == ["description: from character 1 on, 'Sends.' became '\\u0405ends.'"]
    assert words(description="Sends.\u202e") == ["description: from character 7 on, 'Sends.' became 'Sends.\\u202e'"]
    (said,) = words(description="Sends." + " " * 5000 + "Evil.")
    assert "from character 7 on" in said and len(said) < 2 * LONGEST
    old = canonical("tool", {**TOOL, "description": "a" * 5000 + "b"})
    new = canonical("tool", {**TOOL, "description": "a" * 5000 + "c"})
    (said,) = in_words(Withheld("tool", "send", new, old))
    assert "from character 5001 on" in said and said.endswith("c'")


def test_the_notice_for_callers_repeats_nothing_of_what_the_server_says_now() -> None:
    evil = {**TOOL, "description": "EVIL", "inputSchema": {"EVIL": 1}, "annotations": {"EVIL": "EVIL"}}
    notice = Withheld("tool", "send", canonical("tool", evil), canonical("tool", TOOL)).notice
    assert "EVIL" not in notice and "(description, input, annotations)" in notice


def test_names_mean_what_waits_and_a_digest_only_that_definition() -> None:
    tool, prompt = (Withheld(kind, "x", canonical(kind, {"name": "x"})) for kind in ("tool", "prompt"))
    odd = Withheld("tool", "a@0123456789", canonical("tool", {"name": "a@0123456789"}))
    waiting = (tool, prompt, odd)
    assert chosen(waiting, ()) == waiting and chosen((), ()) == ()
    assert chosen(waiting, ["x"]) == (tool, prompt)
    assert chosen(waiting, ["a@0123456789"]) == (odd,)
    assert set(chosen(waiting, [f"x@{tool.digest[:12]}"])) == {tool, prompt}  # One content, both kinds.
    with pytest.raises(NotWaiting, match="another definition by now"):
        chosen(waiting, ["x@0123456789"])
    for unknown in ("y", f"y@{tool.digest}", "x@", "x@01"):
        with pytest.raises(NotWaiting, match="waits for approval"):
            chosen(waiting, [unknown])
