"""Policies of tools and settings of capabilities: names, hints, conditions on arguments, budgets; nothing unbounded."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.access import Access, PolicyError, Standing, ToolList, read_document
from portal.access.expressions import MAX_NODES, compile_expression, within_bounds
from portal.access.tools import _fits, hint
from portal.identity import Group, Identity
from tests.strategies import json_values

ADA = Identity(id="ada", email="ada@example.com", groups=(Group(name="ops"),), country="DE")
EVERYONE: dict[str, Any] = {"include": [{"everyone": {}}]}
ALLOWED = [{"id": "in", "decision": "allow", **EVERYONE}]


def access(*policies: dict[str, Any], portal: list[dict[str, Any]] | None = None, **server: Any) -> Access:
    numbered = [{"id": f"t{number}", **EVERYONE, **policy} for number, policy in enumerate(policies)]
    document = {
        "portal": {"policies": ALLOWED, "tool_policies": portal or []},
        "servers": [{"id": "s", "policies": ALLOWED, "tool_policies": numbered, **server}],
    }
    return Access(read_document(document))


def allowed(found: Access, tool: str, arguments: Any = None, identity: Identity = ADA, **annotations: Any) -> bool:
    return found.tool(identity, "s", tool, annotations, arguments).allowed


def test_the_first_policy_that_matches_decides_and_none_leaves_the_tool_allowed() -> None:
    found = access(
        {"decision": "allow", "tools": {"names": ["read_secret"]}},
        {"decision": "deny", "tools": {"names": ["*_secret", "wip?"]}},
    )
    assert [allowed(found, name) for name in ("read_secret", "write_secret", "wipe", "wiper", "other")] == [
        True,
        False,
        False,
        True,
        True,
    ]
    decision = found.tool(ADA, "s", "wipe", {})
    assert (decision.policy, decision.reason) == ("t1", "Policy 't1' denies s.wipe to ada@example.com.")


def test_a_policy_of_the_portal_is_asked_before_those_of_the_server_and_both_must_agree() -> None:
    portal = [{"id": "p", "decision": "deny", **EVERYONE, "tools": {"servers": ["s"], "names": ["a"]}}]
    found = access({"decision": "allow"}, {"decision": "deny"}, portal=portal)
    assert not allowed(found, "a") and allowed(found, "b")
    other = [{"id": "p", "decision": "deny", **EVERYONE, "tools": {"servers": ["other"]}}]
    assert allowed(access(portal=other), "a")


def test_hints_that_are_not_given_have_the_values_mcp_assumes() -> None:
    no_destruction = access({"decision": "deny", "tools": {"annotations": {"destructiveHint": True}}})
    assert not allowed(no_destruction, "x")
    assert allowed(no_destruction, "x", readOnlyHint=True)
    assert allowed(no_destruction, "x", destructiveHint=False)
    assert not allowed(no_destruction, "x", destructiveHint="no")
    read_only = access({"decision": "allow", "tools": {"annotations": {"readOnlyHint": True}}}, {"decision": "deny"})
    assert allowed(read_only, "x", readOnlyHint=True) and not allowed(read_only, "x")
    assert not allowed(read_only, "x", readOnlyHint="true")
    assert hint({}, "openWorldHint") and not hint({}, "ours")


def test_a_rule_that_cannot_be_known_matches_a_deny_and_no_allow() -> None:
    risky = {"include": [{"user_risk_score": {"user_risk_score": ["high"]}}]}
    assert not allowed(access({"decision": "deny", **risky}), "x")
    assert not allowed(access({"decision": "allow", **risky}, {"decision": "deny"}), "x")


def test_conditions_on_arguments_hold_for_calls_and_leave_the_list_alone() -> None:
    found = access({"decision": "deny", "tools": {"expression": "arguments.amount > 100 && tool == 'pay'"}})
    assert allowed(found, "pay")
    assert allowed(found, "pay", {"amount": 100}) and not allowed(found, "pay", {"amount": 101})
    assert allowed(found, "other", {"amount": 101})
    doubtful = found.tool(ADA, "s", "pay", {}, {})
    assert not doubtful.allowed and "could not be evaluated" in doubtful.reason
    assert not allowed(found, "pay", {"amount": "a lot"})
    only = access(
        {"decision": "allow", "tools": {"expression": "arguments.to.endsWith('@example.com')"}}, {"decision": "deny"}
    )
    assert allowed(only, "mail")
    assert allowed(only, "mail", {"to": "a@example.com"}) and not allowed(only, "mail", {"to": "a@evil.example"})
    assert not allowed(only, "mail", {})


def test_conditions_know_who_calls_what_and_where() -> None:
    for expression, holds in (
        ("'ops' in identity.groups && identity.country == 'DE'", True),
        ("server == 's' && annotations.destructiveHint", True),
        ("identity.email == 'bob@example.com'", False),
        ("1 + 1", None),
        ("identity.nothing", None),
    ):
        found = access({"decision": "deny", "tools": {"expression": expression}})
        assert allowed(found, "x") is (holds is False)


def test_a_list_that_depends_on_who_somebody_is_is_not_shared() -> None:
    by_mail = access({"decision": "deny", "tools": {"expression": "identity.email != 'ada@example.com'"}})
    bob = Identity(id="bob", email="bob@example.com", groups=ADA.groups)
    assert allowed(by_mail, "x") and not allowed(by_mail, "x", identity=bob)
    assert Standing(by_mail, ADA).profile != Standing(by_mail, bob).profile
    by_group = access({"decision": "deny"})
    assert Standing(by_group, ADA).profile == Standing(by_group, bob).profile


def test_budgets_come_with_the_decision() -> None:
    found = access({"decision": "allow", "tools": {"names": ["x"]}, "calls_per_run": 3})
    _, budgets = Standing(found, ADA).tool("s", "x", {}, {})
    assert [(budget.policy, budget.calls) for budget in budgets] == [("t0", 3)]
    assert budgets[0].spent().policy == "t0" and not budgets[0].spent().allowed
    assert Standing(found, ADA).tool("s", "y", {}, {})[1] == ()
    with pytest.raises(PolicyError, match="calls_per_run belongs"):
        access({"decision": "deny", "calls_per_run": 1})


# Expressions


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("arguments.", "is no CEL expression"),
        ("arguments.x ==", "is no CEL expression: line 1, column 15: it ends too early"),
        ("tool server", "is no CEL expression: line 1, column 6: extraneous input 'server'"),
        ("argument.amount > 1", "does not know argument; there are annotations, arguments, identity, server, tool"),
        ("arguments.a.all(x, arguments.b.exists(y, x == y))", "may not be nested"),
        ("arguments.a.map(arguments, arguments > 1) == []", "does not know arguments"),
        ('"""x""" == tool', "single or double quotes"),
    ],
)
def test_a_wrong_expression_is_refused_when_it_is_configured(source: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(problem)) as caught:
        access({"decision": "deny", "tools": {"expression": source}})
    assert "tool policy 't0', expression" in str(caught.value)
    assert "expecting" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "arguments.items.all(i, i.qty < 3) && arguments.items.exists(i, i.qty > 0)",
        "arguments.text.contains(').all(x, y.all(')",
        "has(arguments.force) && arguments.force",
        r"arguments.path.matches('^/srv/[a-z]+$')",
    ],
)
def test_what_only_looks_wrong_is_accepted(source: str) -> None:
    assert compile_expression(source).uses_arguments


def test_arguments_too_large_to_be_evaluated_are_not() -> None:
    expression = compile_expression("arguments.items.all(i, i < 5)")
    assert expression.holds({"arguments": {"items": [1] * 100}}) is True
    assert expression.holds({"arguments": {"items": [1] * (MAX_NODES + 1)}}) is None
    assert not within_bounds("x" * 300_000) and within_bounds({"a": ["x" * 1000]})
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert not within_bounds(deep)


JSON = json_values(st.integers(), st.floats(), st.text(max_size=20), size=5, leaves=20)
EXPRESSIONS = [
    compile_expression(source)
    for source in (
        "arguments.a > 1",
        "arguments.a == arguments.b",
        "arguments.a.all(x, x == 1)",
        "size(arguments.a) > 2",
        "arguments.a.startsWith('x')",
        "arguments['a'] in ['x', 1]",
        "has(arguments.a.b)",
        "arguments.a.matches('^(a+)+$')",
    )
]


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, max_size=3), st.sampled_from(EXPRESSIONS))
def test_no_arguments_make_an_expression_anything_but_true_false_or_unknown(
    arguments: dict[str, Any], expression: Any
) -> None:
    assert expression.holds({"arguments": arguments}) in (True, False, None)


@given(st.text("ab_*?", max_size=8), st.text("ab_", max_size=10))
def test_patterns_mean_what_they_mean_in_a_shell(pattern: str, name: str) -> None:
    assert _fits(name, pattern) == fnmatch.fnmatchcase(name, pattern)


def test_no_pattern_takes_longer_than_its_length_times_the_names() -> None:
    assert not _fits("a" * 256, "*a" * 60 + "b")  # Tried in every way there is, this would not end.


# Settings


def test_the_portals_setting_goes_before_the_servers() -> None:
    document = {
        "portal": {
            "policies": ALLOWED,
            "servers": [
                {
                    "server_id": "s",
                    "updated_tools": [{"name": "a", "alias": "ours"}, {"name": "b", "enabled": True}, {"name": "d"}],
                }
            ],
        },
        "servers": [
            {
                "id": "s",
                "policies": ALLOWED,
                "updated_tools": [
                    {"name": "a", "alias": "theirs", "description": "said by the server"},
                    {"name": "b", "enabled": False},
                    {"name": "c", "enabled": False},
                    {"name": "d", "enabled": False},
                ],
            }
        ],
    }
    tools = Access(read_document(document)).view(ADA)["s"].tools
    assert (tools.of("a").alias, tools.of("a").description) == ("ours", "said by the server")
    assert [tools.of(name).enabled for name in "abcde"] == [True, True, False, False, True]
    document["portal"]["servers"][0]["default_disabled"] = True  # type: ignore[index]
    tools = Access(read_document(document)).view(ADA)["s"].tools
    assert [tools.of(name).enabled for name in "abcde"] == [False, True, False, False, False]


def test_two_tools_under_one_alias_are_told_of() -> None:
    twice = [{"name": "a", "alias": "x"}, {"name": "b", "alias": "x"}]
    assert any("'x' of 'b' is already that of 'a'" in said for said in access(updated_tools=twice).warnings)


# All tools of a server at once

DECISIONS = st.sampled_from(["allow", "deny"])
RULES: Any = st.sampled_from(
    [
        EVERYONE,
        {"include": [{"email": {"email": "ada@example.com"}}]},
        {"include": [{"email": {"email": "bob@example.com"}}]},
        {"include": [{"device_posture": {"integration_uid": "unknown"}}]},
    ]
)
WHICH: Any = st.fixed_dictionaries(
    {},
    optional={
        "names": st.lists(st.sampled_from(["a*", "b", "?c", "d"]), max_size=2),
        "servers": st.lists(st.sampled_from(["s", "other"]), max_size=1),
        "annotations": st.dictionaries(st.sampled_from(["readOnlyHint", "destructiveHint"]), st.booleans(), max_size=1),
        "expression": st.sampled_from(
            [
                "annotations.readOnlyHint",
                "tool.startsWith('a')",
                "arguments.x > 1",
                "tool.nothing == 1",
                "identity.country == 'DE'",
            ]
        ),
    },
)
POLICIES: Any = st.lists(
    st.builds(lambda rules, tools, decision: {**rules, "tools": tools, "decision": decision}, RULES, WHICH, DECISIONS),
    max_size=5,
)


@given(POLICIES, POLICIES, st.sets(st.sampled_from("abcd")), st.booleans())
def test_a_list_of_tools_is_decided_as_its_tools_are_one_by_one(
    of_server: list[dict[str, Any]], of_portal: list[dict[str, Any]], off: set[str], by_default: bool
) -> None:
    portal = [{"id": f"p{number}", **policy} for number, policy in enumerate(of_portal)]
    settings = [{"name": name, "enabled": by_default} for name in sorted(off)]
    found = access(*of_server, portal=portal, updated_tools=settings)
    tools = ToolList(
        "s", tuple((name, {"readOnlyHint": True} if name > "b" else {}) for name in ("a", "ab", "b", "bc", "c", "d"))
    )
    for identity in (ADA, Identity(id="bob", email="bob@example.com")):
        standing = Standing(found, identity)
        each = [standing.lists("s", name, annotations) for name, annotations in tools.tools]
        at_once, hidden = standing.tools(tools)
        assert ([True] * len(each) if at_once is None else list(map(bool, at_once))) == each
        enabled = [found.enabled(tools) >> place & 1 for place in range(len(each))]
        assert hidden == any(on and not shown for on, shown in zip(enabled, each, strict=True))
        assert standing.tools(tools) == (at_once, hidden)
