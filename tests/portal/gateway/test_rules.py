"""Rules: which one decides, what a rule that cannot be read costs, and what is refused when it is written."""

from __future__ import annotations

from typing import Any

import pytest

from portal.gateway import HttpRuleRefused, Rulebook, compile_rule, in_order, read_rules, unreadable_rule
from portal.gateway.fields import ValueFacts, address_of
from portal.identity import ANONYMOUS
from portal.objects import RuleDocument

CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'


def facts(**changes: Any) -> ValueFacts:
    usual = {
        "direction": "outgoing",
        "method": "tools/call",
        "server": "crm",
        "name": "delete",
        "address": address_of("https://crm.example.com/mcp"),
        "identity": ANONYMOUS,
    }
    return ValueFacts(**{**usual, **changes})


def rule(name: str, action: str = "block", traffic: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "action": action, "traffic": traffic, **more}


def document(**members: Any) -> RuleDocument:
    return RuleDocument.model_validate({"name": "R", "action": "block", **members})


def test_rules_of_a_document_are_asked_by_precedence_and_one_without_follows_the_one_before_it() -> None:
    rules = read_rules(
        [rule("c", precedence=7), rule("d"), rule("a", precedence=2), rule("b"), rule("off", enabled=False)]
    )
    assert [one.name for one in rules] == ["a", "b", "c", "d"]


def test_stored_rules_of_one_precedence_are_asked_the_strictest_first() -> None:
    documents = [document(action=action, precedence=5, traffic=CREDENTIALS) for action in ("allow", "redact", "block")]
    documents.append(document(action="allow", precedence=4))
    rules = in_order(compile_rule(str(number), one) for number, one in enumerate(documents))
    assert [(one.precedence, one.action) for one in rules] == [(4, "allow"), (5, "block"), (5, "redact"), (5, "allow")]


def test_a_rule_matches_where_all_of_its_expressions_are_true() -> None:
    one = compile_rule(
        "1", document(traffic='mcp.server.id == "crm"', identity='identity.email == ""', device_posture="")
    )
    book = Rulebook((one,))
    assert book.step(facts(), None).kind == "matches"
    assert book.step(facts(server="x"), None).kind == "passes"
    posture = compile_rule("2", document(device_posture='any(device_posture.checks.passed[*] in {"disk"})'))
    assert Rulebook((posture,)).step(facts(), None).kind == "passes"


def test_a_search_is_asked_for_only_if_a_rule_cannot_be_decided_without() -> None:
    book = Rulebook(
        tuple(
            read_rules([rule("a", traffic=f'{CREDENTIALS} and mcp.server.id == "mail"'), rule("b", "log", CREDENTIALS)])
        )
    )
    step = book.step(facts(), None)
    assert step.kind == "search" and step.rule is not None and step.rule.name == "b"
    assert Rulebook(book.rules[:1]).step(facts(), None).kind == "passes"


def test_a_rule_that_cannot_be_read_blocks_what_it_could_be_about() -> None:
    members = {"name": "Old", "action": "allow", "traffic": 'mcp.server.id == "crm"', "precedence": "first"}
    one = unreadable_rule("1", members, "precedence is no number")
    assert one is not None
    book = Rulebook((one,))
    assert (book.step(facts(), None).kind, book.step(facts(server="x"), None).kind) == ("unsure", "passes")
    for traffic in ("mcp.server.id", None, 5, ["a"]):
        other = unreadable_rule("1", {**members, "traffic": traffic}, "")
        assert other is not None and Rulebook((other,)).step(facts(server="x"), None).kind == "unsure"
    assert unreadable_rule("1", {**members, "enabled": False}, "") is None
    everything = unreadable_rule("1", {}, "it is no object")
    assert everything is not None and Rulebook((everything,)).step(facts(server="x"), None).kind == "unsure"


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ("text", "rules[0]: must be an object"),
        ({"action": "block"}, "rules[0].name: is missing"),
        (rule("a", "isolate"), "rules[0].action: must be 'allow', 'approve', 'block', 'log' or 'redact'"),
        (rule("a", traffic="x"), "rules[0].traffic: column 1: "),
        (rule("a", identity='mcp.server.id == "a"'), "rules[0].identity: column 1: "),
        (rule("a", trafic="x"), "rules[0].trafic: is not known here"),
        (rule("a", filters=["dns"]), "rules[0].filters[0]: must be 'http'"),
        (rule("a", schedule={"mon": "08:00-10:00"}), "rules[0].schedule: is for rules about names"),
        (rule("a", expiration={"expires_at": "2027-01-01T00:00:00Z"}), "rules[0].expiration: is for rules about names"),
        (rule("a", rule_settings={"block_page_enabled": True}), "rules[0].rule_settings.block_page_enabled: "),
        (rule("a", "allow", rule_settings={"block_reason": "x"}), "rules[0]: has a block_reason"),
        (rule("a", "redact"), "rules[0].traffic: must ask for what to redact"),
        (rule("a", precedence=-1), "rules[0].precedence: "),
        (rule("a", id="x" * 65), "rules[0].id: "),
        (rule("a", traffic='mcp.method matches "("'), "rules[0].traffic: a pattern of `matches`"),
        (rule("a", traffic="x" * 9000), "rules[0].traffic: must have at most 8192 characters"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_its_place(entry: object, where: str) -> None:
    with pytest.raises(HttpRuleRefused) as refused:
        read_rules([entry])
    assert str(refused.value).startswith(where)


def test_members_that_ask_for_nothing_are_taken() -> None:
    settings = {"block_page_enabled": False, "override_ips": [], "egress": None, "block_reason": "no"}
    entry = rule("a", rule_settings=settings, schedule=None, expiration=None, description=None, identity=None)
    assert read_rules([entry])[0].reason == "no"
    assert read_rules([rule("a", rule_settings=None)])[0].reason == ""


def test_two_rules_of_one_id_are_refused() -> None:
    with pytest.raises(HttpRuleRefused) as refused:
        read_rules([rule("a"), rule("b", id="a")])
    assert str(refused.value) == "rules[1].id: is taken already"
