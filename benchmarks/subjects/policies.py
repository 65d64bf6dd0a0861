"""Access policies: one decision of twenty policies of which the last one matches, as compiled for a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.cases import Case, Reading
from portal.access import Access, Policy, Sources, Standing, compile_policies, read_document
from portal.identity import Group, Identity

SOURCES = Sources(identity_providers={"idp": "okta"}, geo=True)
ADA = Identity(
    id="ada",
    email="ada@d19.example",
    idp_id="idp",
    login_method="idp",
    ip="192.0.2.1",
    country="DE",
    groups=tuple(Group(name=f"team-{number}") for number in range(10)),
)


def cases() -> Mapping[str, Case | Reading]:
    return {"decide_20": Case(decide, per=100, rounds=200), "admit": Case(admit, per=100, rounds=200)}


def decide() -> Callable[[], object]:
    policies = compile_policies([Policy.model_validate(_policy(number)) for number in range(20)], sources=SOURCES)
    if policies.decide(ADA).policy != "p19":
        raise RuntimeError("the last policy was to decide")

    def operation() -> object:
        for _ in range(100):
            found = policies.decide(ADA)
        return found

    return operation


def admit() -> Callable[[], object]:
    """A call of a caller whose standing is known, as each call of a program is: server, tool policies, arguments."""
    document = {
        "portal": {"policies": [_policy(19)]},
        "servers": [
            {
                "id": "s",
                "policies": [_policy(number) for number in range(20)],
                "tool_policies": [
                    {
                        "id": "calm",
                        "decision": "deny",
                        "include": [{"okta": {"name": "interns", "identity_provider_id": "idp"}}],
                        "tools": {"annotations": {"destructiveHint": True}},
                    }
                ],
            }
        ],
    }
    standing = Standing(Access(read_document(document), SOURCES), ADA)

    def operation() -> object:
        for _ in range(100):
            decision, _ = standing.tool("s", "get", {}, {"id": 1})
        if not decision.allowed:
            raise RuntimeError(decision.reason)
        return decision

    return operation


def _policy(number: int) -> dict[str, object]:
    return {
        "id": f"p{number}",
        "name": f"Policy {number}",
        "decision": "allow" if number % 3 or number == 19 else "deny",
        "include": [
            {"email_domain": {"domain": f"d{number}.example"}},
            {"email": {"email": f"a{number}@x.example"}},
            {"ip": {"ip": f"10.{number}.0.0/16"}},
            {"okta": {"name": f"group-{number}", "identity_provider_id": "idp"}},
        ],
        "require": [{"login_method": {"id": "idp"}}],
        "exclude": [{"geo": {"country_code": "RU"}}],
    }
