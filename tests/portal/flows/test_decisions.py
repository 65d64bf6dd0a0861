"""Which labels a call has, and which rule refuses it after what was read: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from portal.config import DataFlowSection, FlowRule, labels_of_tool
from portal.config.config import HttpServer
from portal.flows import (
    CompiledRule,
    FlowRefusal,
    FlowSettings,
    RunLabels,
    ServerLabels,
    compiled,
    denial_text,
    refusals,
    refuses_everything,
)
from portal.state import LabelRead

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
labels = st.sampled_from(["a", "b", "c", "d"])
some = st.frozensets(labels, max_size=4)


def read(label: str, hours: float = 8, **where: str) -> LabelRead:
    until = NOON + timedelta(hours=hours)
    return LabelRead(
        person="ada",
        client="",
        label=label,
        portal=where.get("portal", ""),
        server="crm",
        tool="get",
        at=NOON,
        until=until,
    )


def refusal(
    rules: Iterable[CompiledRule],
    labels: frozenset[str],
    server: str,
    tool: str,
    person: Mapping[str, LabelRead],
    run: RunLabels | None,
) -> FlowRefusal | None:
    """The first refusal, the one that is told."""
    return next(iter(refusals(rules, labels, server, tool, person, run)), None)


def reads(*names: str) -> Mapping[str, LabelRead]:
    return {name: read(name) for name in names}


def rule(when: str, target: str, **more: object) -> FlowRule:
    return FlowRule.model_validate({"name": "r", "when": when.split(), "target": target.split(), **more})


@pytest.mark.parametrize(
    ("given", "when", "target", "every", "denied"),
    [
        ("a", "a", "x", False, True),
        ("a", "a b", "x", False, True),
        ("a", "a b", "x", True, False),
        ("a b c", "a b", "x", True, True),
        ("", "a", "x", False, False),
        ("b", "a", "x", False, False),
        ("a", "a", "y", False, False),
        ("a", "a", "y x", False, True),
    ],
)
def test_a_rule_refuses_by_what_was_read_and_by_what_is_called(
    given: str, when: str, target: str, every: bool, denied: bool
) -> None:
    rules = [compiled(rule(when, target, all=every))]
    found = refusal(rules, frozenset({"x"}), "mail", "send", reads(*given.split()), None)
    assert (found is not None) is denied


def test_the_first_rule_that_refuses_is_named() -> None:
    rules = [
        compiled(rule("a", "x").model_copy(update={"name": name, "exempt": exempt}))
        for name, exempt in (("one", ("mail",)), ("two", ("mail.send",)), ("three", ("mail.other", "other.send")))
    ]
    found = refusal(rules, frozenset({"x"}), "mail", "send", reads("a"), None)
    assert found is not None and found.rule == "three"
    # What is no tool has no name of its own to be exempt by.
    found = refusal(rules, frozenset({"x"}), "mail", "", reads("a"), None)
    assert found is not None and found.rule == "two"


def test_in_the_place_of_a_rule_that_cannot_be_read_nothing_labelled_follows_anything_labelled() -> None:
    rules = [refuses_everything("unreadable")]
    assert refusal(rules, frozenset({"x"}), "mail", "send", reads("a"), None) is not None
    assert refusal(rules, frozenset(), "mail", "send", reads("a"), None) is None
    assert refusal(rules, frozenset({"x"}), "mail", "send", {}, None) is None


@given(st.lists(st.tuples(some, some, st.booleans())), some, some, some, some)
def test_who_has_read_more_may_do_no_more(
    written: list[tuple[frozenset[str], frozenset[str], bool]],
    target: frozenset[str],
    person: frozenset[str],
    run: frozenset[str],
    more: frozenset[str],
) -> None:
    rules = [
        compiled(FlowRule(name="r", when=tuple(when), target=tuple(to), all=every))
        for when, to, every in written
        if when and to
    ]
    run_labels = RunLabels()
    for label in run:
        run_labels.add(read(label))
    before = refusal(rules, target, "s", "t", reads(*person), run_labels)
    after = refusal(rules, target, "s", "t", reads(*person, *more), run_labels)
    assert before is None or after is not None
    for label in more:
        run_labels.add(read(label))
    after = refusal(rules, target, "s", "t", reads(*person), run_labels)
    assert before is None or after is not None
    assert run_labels.labels == run | more


@given(some, st.one_of(some, st.lists(st.tuples(st.booleans(), labels), unique_by=lambda change: change[1])))
def test_labels_of_a_tool_are_its_own_or_those_of_its_server_changed(
    server: frozenset[str], written: frozenset[str] | list[tuple[bool, str]]
) -> None:
    if isinstance(written, frozenset):
        assert labels_of_tool(tuple(server), tuple(written)) == written
        return
    changes = tuple(f"{'+' if adds else '-'}{label}" for adds, label in written)
    if not changes:
        return
    added = {label for adds, label in written if adds}
    removed = {label for adds, label in written if not adds}
    assert labels_of_tool(tuple(server), changes) == (server | added) - removed


def test_a_tool_without_labels_of_its_own_has_those_of_its_server() -> None:
    server = ServerLabels.of(("a",), {"plain": ()})
    assert (server.labels, server.tools) == (frozenset({"a"}), {"plain": frozenset()})
    assert ServerLabels.of((), {"one": ()}).__bool__() is False
    assert ServerLabels.of((), {"one": ("a",)}).__bool__() is True


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (["Confidential"], "must be a label"),
        ([""], "must be a label"),
        (["a" * 41], "at most 40"),
        (["a b"], "must be a label"),
        (["a,b"], "must be a label"),
        (["a", "a"], "twice"),
        (["+a"], "must be a label"),
        ([f"l{n}" for n in range(17)], "at most 16"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(written: list[str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        HttpServer.model_validate({"id": "x", "name": "x", "url": "http://x/", "labels": written})


@pytest.mark.parametrize("written", [["+a", "b"], ["+a", "-a"], ["+"], ["++a"], ["+A"], ["a", "a"]])
def test_labels_of_a_tool_that_cannot_be_used_are_refused(written: list[str]) -> None:
    with pytest.raises(ValidationError):
        HttpServer.model_validate({"id": "x", "name": "x", "url": "http://x/", "toolLabels": {"t": written}})


def test_two_rules_of_one_name_and_a_rule_without_labels_are_refused() -> None:
    one = {"name": "r", "when": ["a"], "target": ["b"]}
    with pytest.raises(ValidationError, match="two rules of one name"):
        DataFlowSection.model_validate({"rules": [one, one]})
    faults: list[dict[str, object]] = [{"when": []}, {"target": []}, {"then": "allow"}, {"name": ""}, {"name": " r"}]
    faults += [{"other": 1}]
    for wrong in faults:
        with pytest.raises(ValidationError):
            DataFlowSection.model_validate({"rules": [{**one, **wrong}]})
    for window in (0, 59, 30 * 86_400 + 1, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            DataFlowSection.model_validate({"window": window})


def test_a_rule_that_names_a_label_that_nothing_has_is_said() -> None:
    servers = {"crm": ServerLabels.of(("a",), {"t": ("+b",)}), "mail": ServerLabels.of((), {"t": ("x",)})}
    assert FlowSettings(rules=(compiled(rule("a b", "x")),), servers=servers).mistakes() == []
    settings = FlowSettings(rules=(compiled(rule("a c", "y x")), refuses_everything("broken")), servers=servers)
    assert settings.mistakes() == [
        "the data-flow rule 'r' names the label 'c', which no server or tool has",
        "the data-flow rule 'r' names the label 'y', which no server or tool has",
    ]


def said(person: Mapping[str, LabelRead], run: RunLabels | None = None, **how: object) -> str:
    found = refusal([compiled(rule("a b", "x", **how))], frozenset({"x", "y"}), "mail", "send", person, run)
    assert found is not None
    return denial_text(found, what="a call of mail.send", portal="", told=True, now=NOON)


def test_a_denial_says_until_when_it_holds() -> None:
    both = {"a": read("a", 8), "b": read("b", 20)}
    assert "until 2026-12-01 08:00 UTC" in said(both)
    assert "until 20:00 UTC" in said(both, all=True)
    assert "labelled a and b (by crm.get)" in said(both)
    run = RunLabels()
    run.add(read("a", -1))
    assert "this program has read something labelled a" in said({}, run) and "until the program ends" in said({}, run)
    # What the window has as well outlives the program.
    assert "until 20:00 UTC" in said(reads("a"), run)


def test_a_denial_tells_where_it_was_read_to_those_alone_who_may_know() -> None:
    found = refusal([compiled(rule("a", "x"))], frozenset({"x"}), "mail", "send", {"a": read("a", portal="hr")}, None)
    assert found is not None
    told = denial_text(found, what="a call", portal="hr", told=True, now=NOON)
    elsewhere = denial_text(found, what="a call", portal="", told=True, now=NOON)
    stranger = denial_text(found, what="a call", portal="hr", told=False, now=NOON)
    assert "(by crm.get)" in told and "crm" not in elsewhere and "crm" not in stranger
    assert "somebody of your network has read" in stranger


def test_a_rule_that_denies_wins_over_those_that_ask() -> None:
    rules = [compiled(rule("a", "x"), "people"), compiled(rule("a", "x")), compiled(rule("b", "x"), "others")]
    found = refusals(rules, frozenset({"x"}), "mail", "send", reads("a", "b"), None)
    assert [one.asks for one in found] == [None, "people", "others"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"approve_by": "person"}, "is for rules with `then` approve"),
        ({"then": "approve", "approve_by": "group"}, "approve_by group needs approval_groups"),
        ({"then": "approve", "approve_by": "client"}, "approve_by"),
        ({"then": "approve", "approval_seconds": 299}, "approval_seconds"),
        ({"then": "approve", "approval_groups": [{"approvals_needed": 0}]}, "approvals_needed"),
        ({"then": "approve", "approval_groups": [{"email_addresses": ["nobody"]}]}, "email_addresses"),
        ({"then": "ask"}, "then"),
    ],
)
def test_a_rule_says_who_approves_only_where_it_asks(more: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        rule("a", "x", **more)
