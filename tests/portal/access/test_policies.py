"""Who is allowed: every selector, the order of policies, what is not known; and the same as a naive evaluator says."""

from __future__ import annotations

from typing import Any

import pytest
from cloudflare.types.zero_trust.access import policy_get_response
from cloudflare.types.zero_trust.access.applications import access_rule_param
from hypothesis import given
from hypothesis import strategies as st

from portal.access import (
    DEFAULT_DENY,
    NO_SOURCES,
    SELECTORS,
    Access,
    AccessGroup,
    AccessList,
    Policy,
    PolicyError,
    Sources,
    compile_policies,
    read_document,
)
from portal.identity import ANONYMOUS, Group, Identity, evaluation_key
from tests.deep import examples
from tests.portal.access import naive

EVERY = Sources(
    identity_providers={"idp": "oidc", "other": "okta"},
    service_tokens=frozenset({"token"}),
    linked_apps=frozenset({"app"}),
    certificates=True,
    geo=True,
    device_posture=frozenset({"disk"}),
    user_risk=True,
    external_evaluation=True,
)
ADA = Identity(
    id="ada",
    email="Ada@Example.com",
    groups=(Group("g1", "engineers", "eng@example.com"), Group("", "acme"), Group("", "acme/platform")),
    idp_id="idp",
    login_method="idp",
    auth_methods=("mfa", "pwd"),
    claims={"roles": ["admin", "dev"], "level": 3, "staff": True, "acrs": ["c1"]},
    ip="192.0.2.7",
    country="DE",
    certificate=True,
    common_name="laptop",
    device_posture={"disk": True},
    user_risk="low",
    linked_apps=("app",),
    service_token_id="token",
    evaluations={evaluation_key("https://e/x", "https://e/keys"): True},
)
LISTS = [
    AccessList.model_validate({"id": "people", "type": "EMAIL", "items": [{"value": "ADA@example.com"}]}),
    AccessList.model_validate({"id": "offices", "type": "IP", "items": [{"value": "192.0.2.0/28"}, {"value": "::1"}]}),
]
GROUPS = [AccessGroup.model_validate({"id": "team", "include": [{"email_domain": {"domain": "@example.com"}}]})]
IDP = {"identity_provider_id": "idp"}
OTHER = {"identity_provider_id": "other"}
EVALUATION = {"evaluate_url": "https://e/x", "keys_url": "https://e/keys"}

# Every selector: parameters that match ADA, and parameters that do not.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "email": ({"email": "ada@EXAMPLE.com"}, {"email": "bob@example.com"}),
    "email_domain": ({"domain": "example.com"}, {"domain": "ample.com"}),
    "email_list": ({"id": "people"}, {"id": "nobody"}),
    "group": ({"id": "team"}, {"id": "no team"}),
    "ip": ({"ip": "192.0.2.0/24"}, {"ip": "192.0.3.0/24"}),
    "ip_list": ({"id": "offices"}, {"id": "people"}),
    "geo": ({"country_code": "de"}, {"country_code": "FR"}),
    "login_method": ({"id": "idp"}, {"id": "other"}),
    "auth_method": ({"auth_method": "mfa"}, {"auth_method": "hwk"}),
    "oidc": ({"claim_name": "roles", "claim_value": "dev", **IDP}, {"claim_name": "roles", "claim_value": "x", **IDP}),
    "github-organization": ({"name": "acme", "team": "platform", **IDP}, {"name": "acme", "team": "x", **IDP}),
    "azureAD": ({"id": "g1", **IDP}, {"id": "g1", **OTHER}),
    "okta": ({"name": "engineers", **IDP}, {"name": "engineers", **OTHER}),
    "gsuite": ({"email": "ENG@example.com", **IDP}, {"email": "x@example.com", **IDP}),
    "saml": (
        {"attribute_name": "level", "attribute_value": "3", **IDP},
        {"attribute_name": "staff", "attribute_value": "false", **IDP},
    ),
    "auth_context": ({"id": "x", "ac_id": "c1", **IDP}, {"id": "x", "ac_id": "c2", **IDP}),
    "service_token": ({"token_id": "token"}, {"token_id": "another"}),
    "common_name": ({"common_name": "laptop"}, {"common_name": "phone"}),
    "device_posture": ({"integration_uid": "disk"}, {"integration_uid": "firewall"}),
    "user_risk_score": ({"user_risk_score": ["low", "unscored"]}, {"user_risk_score": ["high"]}),
    "external_evaluation": (EVALUATION, {**EVALUATION, "evaluate_url": "https://e/y"}),
    "linked_app_token": ({"app_uid": "app"}, {"app_uid": "another"}),
}
ALWAYS = ("everyone", "any_valid_service_token", "certificate")
NEVER = ("cloudflare_account_member",)


def decided(decision: str, identity: Identity = ADA, sources: Sources = EVERY, **rules: Any) -> str:
    policy = Policy.model_validate({"id": "p", "decision": decision, **rules})
    return compile_policies([policy], GROUPS, LISTS, sources).decide(identity).effect


def test_every_selector_of_the_sdk_is_known_and_has_a_case() -> None:
    of_sdk = {
        next(name for name in rule.__annotations__)
        for rule in access_rule_param.AccessRuleParam.__args__  # type: ignore[attr-defined]
    }
    spelled = {"azure_ad": "azureAD", "github_organization": "github-organization"}
    assert {spelled.get(name, name) for name in of_sdk} == set(SELECTORS)
    assert {*CASES, *ALWAYS, *NEVER} == set(SELECTORS)


@pytest.mark.parametrize("selector", CASES)
def test_a_selector_matches_whom_it_means_and_nobody_else(selector: str) -> None:
    matching, other = ({selector: parameters} for parameters in CASES[selector])
    assert decided("allow", include=[matching]) == "allow"
    assert decided("allow", include=[other]) == "deny"
    assert decided("allow", include=[{"everyone": {}}], require=[matching]) == "allow"
    assert decided("allow", include=[{"everyone": {}}], require=[other]) == "deny"
    assert decided("allow", include=[{"everyone": {}}], exclude=[matching]) == "deny"


@pytest.mark.parametrize("selector", [name for name in CASES if name not in ("email", "email_domain", "ip")])
def test_without_its_source_a_selector_allows_nobody_excludes_everybody_and_says_so(selector: str) -> None:
    rule = {selector: CASES[selector][0]}
    policies = [
        Policy.model_validate({"id": "in", "name": "In", "decision": "allow", "include": [rule]}),
        Policy.model_validate(
            {"id": "out", "name": "Out", "decision": "allow", "include": [{"everyone": {}}], "exclude": [rule]}
        ),
    ]
    for policy in policies:
        compiled = compile_policies([policy], sources=NO_SOURCES)
        assert compiled.decide(ADA).effect == "deny"
        assert any(selector in warning and repr(policy.name) in warning for warning in compiled.warnings)
    assert decided("deny", sources=NO_SOURCES, include=[rule]) == "deny"


def test_a_stale_or_missing_answer_is_not_the_absence_of_a_match() -> None:
    unknown = Identity(id="x", idp_id="idp", country="XX")
    for rule in (
        {"geo": {"country_code": "FR"}},
        {"device_posture": {"integration_uid": "disk"}},
        {"user_risk_score": {"user_risk_score": ["high"]}},
        {"external_evaluation": EVALUATION},
        {"auth_method": {"auth_method": "mfa"}},
        {"ip": {"ip": "192.0.2.0/24"}},
        {"email": {"email": "ada@example.com"}},
    ):
        assert decided("allow", unknown, include=[rule]) == "deny"
        assert decided("allow", unknown, include=[{"everyone": {}}], exclude=[rule]) == "deny"
        everyone = Policy.model_validate({"id": "all", "decision": "allow", "include": [{"everyone": {}}]})
        denies = Policy.model_validate({"id": "no", "decision": "deny", "include": [rule]})
        found = compile_policies([denies, everyone], sources=EVERY).decide(unknown)
        assert (found.effect, found.policy) == ("deny", "no") and "cannot be known" in found.reason


def test_bypass_and_service_authentication_come_first_then_precedence_and_the_default_is_no() -> None:
    def one(id: str, decision: str, precedence: int | None, rule: dict[str, Any]) -> Policy:
        document = {"id": id, "name": id.upper(), "decision": decision, "include": [rule], "precedence": precedence}
        return Policy.model_validate(document)

    everyone: dict[str, Any] = {"everyone": {}}
    ada, bob = Identity(id="ada", email="ada@example.com"), Identity(id="bob", email="bob@example.com", ip="10.0.0.1")
    policies = compile_policies(
        [
            one("late", "allow", None, everyone),
            one("no-bob", "deny", 2, {"email": {"email": "bob@example.com"}}),
            one("robots", "non_identity", 9, {"any_valid_service_token": {}}),
            one("office", "bypass", 10, {"ip": {"ip": "10.0.0.0/8"}}),
        ],
        sources=EVERY,
    )
    assert policies.decide(ada).policy == "late"
    assert policies.decide(bob).policy == "office"
    assert policies.decide(Identity(id="bob", email="bob@example.com", ip="11.0.0.1")).policy == "no-bob"
    assert policies.decide(Identity(service_token_id="token")).policy == "robots"
    assert policies.decide(Identity(ip="10.9.9.9")).policy == "office"
    found = policies.decide(ANONYMOUS)
    assert (found.effect, found.policy) == ("deny", DEFAULT_DENY)
    assert found.reason == "No policy of this portal allows an anonymous caller."
    assert policies.decide(ada).reason == "Policy 'LATE' allows ada@example.com."


def test_allow_is_for_logins_and_service_authentication_for_credentials() -> None:
    everyone: list[dict[str, Any]] = [{"everyone": {}}]
    token = Identity(service_token_id="token")
    assert decided("allow", token, include=everyone) == decided("allow", ANONYMOUS, include=everyone) == "deny"
    assert decided("non_identity", Identity(id="x"), include=everyone) == "deny"
    assert decided("non_identity", token, include=everyone) == "allow"
    assert decided("bypass", ANONYMOUS, include=everyone) == "allow"


def test_what_is_written_and_has_no_effect_is_said() -> None:
    policies: list[dict[str, Any]] = [
        {"decision": "allow", "include": [{"any_valid_service_token": {}}]},
        {"decision": "non_identity", "include": [{"email": {"email": "a@b.c"}}]},
        {"decision": "allow", "include": [{"everyone": {}}], "isolation_required": True},
    ]
    compiled = compile_policies(Policy.model_validate({"id": str(n), **p}) for n, p in enumerate(policies))
    said = "\n".join(compiled.warnings)
    assert "use the decision non_identity" in said
    assert "email is known only of people who log in" in said
    assert "isolation_required is not enforced" in said


def test_groups_that_contain_each_other_or_too_deep_are_refused() -> None:
    def group(id: str, *inside: str) -> AccessGroup:
        return AccessGroup.model_validate({"id": id, "include": [{"group": {"id": one}} for one in inside]})

    with pytest.raises(PolicyError, match="contain each other: (a -> b|b -> a)"):
        compile_policies([], [group("a", "b"), group("b", "a")])
    with pytest.raises(PolicyError, match="contain each other"):
        compile_policies([], [group("a", "a")])
    chain = [group(str(n), str(n + 1)) for n in range(20)]
    with pytest.raises(PolicyError, match="nested more than 16 deep"):
        compile_policies([], [*chain, AccessGroup.model_validate({"id": "20", "include": [{"everyone": {}}]})])


def test_groups_that_share_groups_cost_no_more_than_they_are() -> None:
    """Each of sixteen layers refers to both of the next: 65,536 ways through, each group asked once."""
    layers = [
        AccessGroup.model_validate(
            {"id": f"{side}{n}", "include": [{"group": {"id": f"a{n + 1}"}}, {"group": {"id": f"b{n + 1}"}}]}
        )
        for n in range(15)
        for side in "ab"
    ]
    ends = [
        AccessGroup.model_validate({"id": f"{side}15", "include": [{"email": {"email": "x@y.z"}}]}) for side in "ab"
    ]
    policy = Policy.model_validate({"id": "p", "decision": "allow", "include": [{"group": {"id": "a0"}}]})
    assert compile_policies([policy], [*layers, *ends]).decide(ADA).effect == "deny"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"policies": [{"id": "p", "decision": "allow", "include": []}]}, r"policies\[0\].include"),
        ({"policies": [{"id": "p", "decision": "permit", "include": [{"everyone": {}}]}]}, r"policies\[0\].decision"),
        (
            {"policies": [{"id": "p", "decision": "allow", "include": [{"emial": {}}]}]},
            "one member, a selector: everyone",
        ),
        ({"policies": [{"id": "p", "decision": "allow", "include": [{"email": {}, "ip": {}}]}]}, "one member"),
        ({"policies": [{"id": "p", "decision": "allow", "include": [{"email": {"email": "a", "x": 1}}]}]}, "email.x"),
        ({"policies": [{"id": "p", "decision": "allow", "include": [{"ip": {"ip": "10.0.0.0/40"}}]}]}, "CIDR block"),
        ({"policies": [{"id": "p", "decision": "allow", "include": [{"geo": {"country_code": "Germany"}}]}]}, "geo"),
        ({"servers": [{"id": "s", "updated_tools": [{"name": "t", "alias": "-x"}]}]}, "alias"),
        ({"servers": [{"id": "s", "updated_tools": [{"name": "t", "alias": "x" * 41}]}]}, "alias"),
        ({"portal": {"policies": ["gone"]}}, "there is no policy 'gone'"),
        ({"polices": []}, "polices"),
    ],
)
def test_a_mistake_is_named_with_its_place(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        Access(read_document(document))


def test_what_the_sdk_reads_of_a_policy_is_what_was_written() -> None:
    written = {
        "id": "p",
        "name": "P",
        "decision": "allow",
        "include": [{name: parameters[0]} for name, parameters in CASES.items()],
        "require": [],
        "exclude": [],
    }
    policy = Policy.model_validate(written)
    dumped = policy.model_dump(mode="json", by_alias=True, exclude_none=True, include={*written})
    read = policy_get_response.PolicyGetResponse.model_validate(dumped)
    assert read.include is not None and len(read.include) == len(CASES)
    assert Policy.model_validate(dumped) == policy


# Against the naive evaluator

PEOPLE = ("ada@example.com", "bob@example.com", "eve@other.org", "")
NETWORKS = ("192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32", "::ffff:10.0.0.0/104")
SIMPLE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"everyone": {}}),
    st.sampled_from([p for p in PEOPLE if p]).map(lambda e: {"email": {"email": e}}),
    st.sampled_from(["example.com", "other.org"]).map(lambda d: {"email_domain": {"domain": d}}),
    st.sampled_from(["people", "offices", "gone"]).map(lambda i: {"email_list": {"id": i}}),
    st.sampled_from(["people", "offices", "gone"]).map(lambda i: {"ip_list": {"id": i}}),
    st.sampled_from(NETWORKS[:4]).map(lambda n: {"ip": {"ip": n}}),
    st.sampled_from(["DE", "fr", "XX"]).map(lambda c: {"geo": {"country_code": c}}),
    st.sampled_from(["idp", "other", "gone"]).map(lambda i: {"login_method": {"id": i}}),
    st.sampled_from(["mfa", "hwk"]).map(lambda m: {"auth_method": {"auth_method": m}}),
    st.tuples(st.sampled_from(["engineers", "x"]), st.sampled_from(["idp", "gone"])).map(
        lambda t: {"okta": {"name": t[0], "identity_provider_id": t[1]}}
    ),
    st.tuples(st.sampled_from(["g1", "g2"]), st.sampled_from(["idp", "other"])).map(
        lambda t: {"azureAD": {"id": t[0], "identity_provider_id": t[1]}}
    ),
    st.sampled_from(["dev", "x"]).map(lambda v: {"oidc": {"claim_name": "roles", "claim_value": v, **IDP}}),
    st.sampled_from(["token", "gone"]).map(lambda t: {"service_token": {"token_id": t}}),
    st.just({"any_valid_service_token": {}}),
    st.just({"certificate": {}}),
    st.just({"user_risk_score": {"user_risk_score": ["low"]}}),
    st.sampled_from(["disk", "gone"]).map(lambda i: {"device_posture": {"integration_uid": i}}),
)


def ruled(rule: st.SearchStrategy[dict[str, Any]]) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "include": st.lists(rule, min_size=1, max_size=3),
        "require": st.lists(rule, max_size=2),
        "exclude": st.lists(rule, max_size=2),
    }


GROUP_DOCUMENTS = st.tuples(
    st.fixed_dictionaries({"id": st.just("inner"), **ruled(SIMPLE)}),
    st.fixed_dictionaries({"id": st.just("outer"), **ruled(SIMPLE | st.just({"group": {"id": "inner"}}))}),
)
IN_GROUP = st.sampled_from(["inner", "outer", "gone"]).map(lambda g: {"group": {"id": g}})
DECISIONS = st.sampled_from(["allow", "allow", "deny", "non_identity", "bypass"])
POLICIES = st.lists(
    st.fixed_dictionaries(
        {"decision": DECISIONS, "precedence": st.none() | st.integers(0, 3), **ruled(SIMPLE | IN_GROUP)}
    ),
    max_size=5,
).map(lambda found: [{"id": f"p{n}", **policy} for n, policy in enumerate(found)])
IDENTITIES = st.builds(
    Identity,
    id=st.sampled_from(["", "x", "x"]),
    email=st.sampled_from(PEOPLE),
    groups=st.sampled_from([(), (Group("g1", "engineers"),)]),
    idp_id=st.sampled_from(["", "idp", "other"]),
    login_method=st.sampled_from(["", "idp"]),
    auth_methods=st.sampled_from([(), ("mfa",)]),
    claims=st.sampled_from([{}, {"roles": ["dev", "y"]}, {"roles": "dev"}]),
    ip=st.sampled_from(["", "192.0.2.7", "192.0.3.1", "10.1.1.1", "2001:db8::5", "::1"]),
    country=st.sampled_from(["", "DE", "FR", "XX"]),
    service_token_id=st.sampled_from(["", "token"]),
    certificate=st.booleans(),
    device_posture=st.sampled_from([{}, {"disk": True}, {"disk": False}]),
    user_risk=st.sampled_from(["", "low", "high"]),
)
SOURCES = st.builds(
    Sources,
    identity_providers=st.sampled_from([{}, {"idp": "oidc", "other": "okta"}]),
    service_tokens=st.sampled_from([frozenset(), frozenset({"token"})]),
    certificates=st.booleans(),
    geo=st.booleans(),
    device_posture=st.sampled_from([frozenset(), frozenset({"disk"})]),
    user_risk=st.booleans(),
)


@examples(400)
@given(POLICIES, GROUP_DOCUMENTS, IDENTITIES, SOURCES)
def test_the_compiled_policies_decide_as_the_naive_evaluator_does(
    policies: list[dict[str, Any]], groups: tuple[dict[str, Any], ...], identity: Identity, sources: Sources
) -> None:
    compiled = compile_policies(
        [Policy.model_validate(policy) for policy in policies],
        [AccessGroup.model_validate(group) for group in groups],
        LISTS,
        sources,
    )
    known = {
        "providers": sources.identity_providers,
        "tokens": sources.service_tokens,
        "certificates": sources.certificates,
        "geo": sources.geo,
        "posture": sources.device_posture,
        "risk": sources.user_risk,
        "groups": {group["id"]: group for group in groups},
        "lists": {one.id: one.model_dump() for one in LISTS},
    }
    found = compiled.decide(identity)
    assert (found.effect, found.policy) == naive.decision(policies, identity, known)
    explained = [one for one in compiled.explain(identity) if one.outcome]
    if found.effect == "allow":
        assert found.policy in [one.policy for one in explained]


@given(POLICIES, IDENTITIES)
def test_knowing_less_never_allows_more(policies: list[dict[str, Any]], identity: Identity) -> None:
    models = [Policy.model_validate(policy) for policy in policies]
    if compile_policies(models, sources=NO_SOURCES).decide(identity).effect == "allow":
        assert compile_policies(models, lists=LISTS, sources=EVERY).decide(identity).effect == "allow"
