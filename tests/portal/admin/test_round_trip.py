"""Whatever the API accepts is stored as a document that reads back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Collection, unchecked
from portal.admin.api.errors import AdminError
from portal.admin.apps import AppOperations
from portal.admin.gateway import GatewayRuleOperations
from portal.admin.lists import ListBody, ListOperations
from portal.admin.organization import CustomPages, IdentityProviders
from portal.admin.policies import GroupOperations, PolicyOperations
from portal.objects import PORTAL, SERVER, Document
from portal.state import KeyRing, Kind, Store, utc_now

B = TypeVar("B", bound=BaseModel)
D = TypeVar("D", bound=Document)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
NAME = TEXT
FLAG = st.booleans()
DURATION = st.sampled_from(["24h", "30m", "1h30m", "5ms"])
URL = st.sampled_from(["https://acme.example.com/a", "https://x.example"])
RULE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"everyone": {}}),
    st.builds(lambda value: {"email": {"email": value}}, TEXT),
    st.builds(lambda value: {"email_domain": {"domain": value}}, TEXT),
    st.builds(lambda value: {"group": {"id": value}}, TEXT),
    st.builds(lambda value: {"ip_list": {"id": value}}, TEXT),
    st.builds(lambda value: {"geo": {"country_code": value}}, st.sampled_from(["DE", "XX", "t1"])),
    st.builds(lambda value: {"ip": {"ip": str(value)}}, st.ip_addresses()),
    st.builds(lambda value: {"user_risk_score": {"user_risk_score": [value]}}, st.sampled_from(["low", "high"])),
    st.builds(lambda a, b: {"azureAD": {"id": a, "identity_provider_id": b}}, TEXT, TEXT),
    st.builds(
        lambda a, b, c: {"github-organization": {"name": a, "identity_provider_id": b, "team": c}},
        TEXT,
        TEXT,
        st.none() | TEXT,
    ),
    st.builds(lambda a, b: {"oidc": {"claim_name": a, "claim_value": b, "identity_provider_id": "p"}}, TEXT, TEXT),
)
RULES = st.lists(RULE, max_size=3)
RULED: dict[str, st.SearchStrategy[Any]] = {"include": st.lists(RULE, min_size=1, max_size=3)}
REST: dict[str, st.SearchStrategy[Any]] = {"require": RULES, "exclude": RULES}
JSON = st.recursive(
    st.none() | FLAG | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
APPROVAL_GROUP = st.builds(
    lambda people, list: {"approvals_needed": len(people), "email_addresses": people, **list},
    st.lists(TEXT, min_size=1, max_size=3, unique_by=lambda address: address.strip().lower()),
    st.just({}) | st.fixed_dictionaries({"email_list_uuid": TEXT}),
)
POLICY = st.fixed_dictionaries(
    {"name": NAME, "decision": st.sampled_from(["allow", "deny", "non_identity", "bypass"]), **RULED},
    optional={
        **REST,
        "approval_groups": st.lists(APPROVAL_GROUP, max_size=2),
        "approval_required": FLAG,
        "isolation_required": FLAG,
        "mfa_config": st.none() | OBJECT,
        "connection_rules": st.none() | OBJECT,
        "purpose_justification_prompt": st.none() | TEXT,
        "session_duration": st.none() | DURATION,
    },
)
ATTACHED = st.one_of(
    TEXT,
    st.fixed_dictionaries({"id": TEXT}, optional={"precedence": st.none() | st.integers(0, 9)}),
    st.builds(lambda policy, more: {**policy, **more}, POLICY, st.fixed_dictionaries({}, optional={"id": TEXT})),
)
DESTINATION = st.one_of(
    st.builds(lambda id: {"type": "via_mcp_server_portal", "mcp_server_id": id}, st.sampled_from(["a", "tickets-2"])),
    st.fixed_dictionaries({}, optional={"uri": st.none() | TEXT}),
)
SAAS = st.fixed_dictionaries(
    {"auth_type": st.just("oidc"), "redirect_uris": st.lists(URL, min_size=1, max_size=2)},
    optional={
        "scopes": st.lists(st.sampled_from(["openid", "email", "groups"]), max_size=3),
        "grant_types": st.lists(st.sampled_from(["authorization_code", "refresh_tokens"]), max_size=2),
        "access_token_lifetime": DURATION,
        "refresh_token_options": st.fixed_dictionaries({}, optional={"lifetime": DURATION}),
        "allow_pkce_without_client_secret": FLAG,
    },
)
MORE_OF_AN_APP: dict[str, st.SearchStrategy[Any]] = {
    "policies": st.lists(ATTACHED, max_size=3),
    "session_duration": DURATION,
    "allowed_idps": st.lists(TEXT, max_size=2),
    "auto_redirect_to_identity": FLAG,
    "custom_deny_message": st.none() | TEXT,
    "custom_deny_url": st.none() | URL,
    "custom_non_identity_deny_url": st.none() | URL,
    "custom_pages": st.lists(TEXT, max_size=2),
    "logo_url": st.none() | URL,
    "tags": st.lists(TEXT, max_size=2),
}
APP = st.one_of(
    st.fixed_dictionaries({"type": st.just("saas"), "name": NAME, "saas_app": SAAS}, optional=MORE_OF_AN_APP),
    st.fixed_dictionaries({"type": st.just("mcp_portal"), "name": NAME, "domain": TEXT}, optional=MORE_OF_AN_APP),
    st.fixed_dictionaries(
        {"type": st.just("mcp"), "name": NAME, "destinations": st.lists(DESTINATION, min_size=1, max_size=3)},
        optional=MORE_OF_AN_APP,
    ),
)
PAGE = st.fixed_dictionaries(
    {"name": NAME, "type": st.sampled_from(["identity_denied", "forbidden", "login"]), "custom_html": TEXT},
    optional={"contract_version": st.none() | st.integers(1, 100)},
)
PROVIDER = st.one_of(
    st.builds(lambda name: {"name": name, "type": "onetimepin"}, NAME),
    st.builds(
        lambda name, more: {
            "name": name,
            "type": "oidc",
            "config": {**more, "client_id": "c", "issuer": "https://idp.example.com"},
        },
        NAME,
        st.dictionaries(TEXT, JSON, max_size=3),
    ),
)
ITEM = st.fixed_dictionaries(
    {"value": st.emails().filter(lambda value: value.isascii())}, optional={"description": TEXT}
)
LIST = st.fixed_dictionaries(
    {"name": NAME, "type": st.just("EMAIL")}, optional={"description": TEXT, "items": st.lists(ITEM, max_size=4)}
)
GATEWAY_RULE = st.fixed_dictionaries(
    {
        "name": NAME,
        "action": st.sampled_from(["allow", "block", "log"]),
        "traffic": st.sampled_from(["", 'http.request.host == "a.example"', 'any(dlp.profiles[*] in {"credentials"})']),
    },
    optional={
        "description": TEXT,
        "enabled": FLAG,
        "filters": st.just(["http"]),
        "precedence": st.none() | st.integers(0, 10_000),
        "identity": st.just('identity.email != "a@b.example"'),
        "device_posture": st.just('any(device_posture.checks.passed[*] == "disk")'),
        "rule_settings": st.just({}) | st.just({"block_page_enabled": False}),
    },
)

SETTING = st.fixed_dictionaries(
    {"name": TEXT},
    optional={"enabled": st.none() | FLAG, "alias": st.none() | st.just("short-name"), "description": st.none() | TEXT},
)
SETTINGS = {"updated_tools": st.lists(SETTING, max_size=3), "updated_prompts": st.lists(SETTING, max_size=3)}
SERVER_DOCUMENT = st.fixed_dictionaries(
    {"name": NAME, "hostname": URL, "auth_type": st.sampled_from(["oauth", "bearer", "unauthenticated"])},
    optional={
        **SETTINGS,
        "description": st.none() | TEXT,
        "assertion_audience": TEXT,
        "is_shared_oauth_callback_enabled": FLAG,
        "pin": FLAG,
        "secure_web_gateway": FLAG,
        "oauth": st.none() | OBJECT,
        "client_secret_version": st.integers(0, 9),
    },
)
PORTAL_DOCUMENT = st.fixed_dictionaries(
    {"name": NAME, "hostname": TEXT},
    optional={
        "description": st.none() | TEXT,
        "code_mode": st.sampled_from(["off", "opt_in", "default_on", "enforced"]),
        "secure_web_gateway": FLAG,
        "servers": st.lists(
            st.fixed_dictionaries(
                {"server_id": TEXT}, optional={**SETTINGS, "default_disabled": FLAG, "on_behalf": FLAG}
            ),
            max_size=2,
        ),
    },
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One that is not open: no body is stored here."""
    folder: Path = tmp_path_factory.mktemp("store")
    return Store.open(f"sqlite:///{folder / 'state.db'}", KeyRing.in_memory())


def same_after_reading(collection: Collection[B, D], body: type[B], given: dict[str, Any]) -> None:
    try:
        document = collection.document(body.model_validate(given), None)
    except (ValueError, AdminError):
        # What is not accepted is the subject of others.
        reject()
    kind: Kind[D] = collection.kind
    read = kind.read(kind.text(document))
    assert kind.members(read) == kind.members(document)
    assert kind.read(kind.text(read)) == read
    # Nothing that was said is lost, whatever defaults come to it.
    for name, value in given.items():
        if value not in ([], {}, None) and name not in ("policies", "config", "items", "saas_app"):
            assert kind.members(read).get(name) is not None


QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@QUICK
@given(POLICY)
def test_a_policy(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(PolicyOperations(store), PolicyOperations.body, given)


@QUICK
@given(st.fixed_dictionaries({"name": NAME, **RULED}, optional=REST))
def test_a_group(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(GroupOperations(store), GroupOperations.body, given)


@QUICK
@given(APP)
def test_an_application(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(AppOperations(store), AppOperations.body, given)


@QUICK
@given(PAGE)
def test_a_page(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(CustomPages(store), CustomPages.body, given)


@QUICK
@given(PROVIDER)
def test_an_identity_provider(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(IdentityProviders(store, AdminSettings()), IdentityProviders.body, given)


@QUICK
@given(LIST)
def test_a_list(store: Store, given: dict[str, Any]) -> None:
    same_after_reading(ListOperations(store, unchecked, utc_now), ListBody, given)


@QUICK
@given(GATEWAY_RULE)
def test_a_rule_of_the_gateway(store: Store, given: dict[str, Any]) -> None:
    operations = GatewayRuleOperations(store, AdminSettings())
    same_after_reading(operations, operations.body, given)


@pytest.mark.parametrize(("kind", "documents"), [(SERVER, SERVER_DOCUMENT), (PORTAL, PORTAL_DOCUMENT)])
def test_a_server_and_a_portal(kind: Kind[Any], documents: st.SearchStrategy[dict[str, Any]]) -> None:
    @QUICK
    @given(documents, OBJECT)
    def holds(members: dict[str, Any], unknown: dict[str, Any]) -> None:
        given = {**unknown, **members}
        read = kind.read(orjson.dumps(given).decode())
        assert kind.read(kind.text(read)) == read
        assert {name: kind.members(read)[name] for name in unknown} == {name: given[name] for name in unknown}

    holds()
