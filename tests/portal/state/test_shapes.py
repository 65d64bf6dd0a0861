"""Documents as the first version wrote them: each kind still reads them, and writes them so that they read the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from portal.admin.api.permissions import PORTALS, group_id
from portal.admin.build import ACCOUNT
from portal.admin.tokens import API_TOKEN
from portal.elicitation.elicitations import ELICITATION
from portal.elicitation.people import BEGUN
from portal.identity import Group, Identity
from portal.login.administrators import ADMINISTRATOR, CLAIM
from portal.login.directory import LOGIN_SETTINGS
from portal.login.pin import PIN_FLOW
from portal.login.routes import STATE
from portal.login.sessions import SESSION
from portal.oauth.clients import CLIENT
from portal.oauth.grants import ACCESS, CODE, REFRESH, binding_of, grant_of
from portal.oauth.routes import ALLOWED, CONSENT
from portal.oauth.service_tokens import SERVICE_TOKEN, ServiceTokens
from portal.oauth.signing import KEY_SETTINGS, SIGNING_KEY
from portal.objects import APP, CUSTOM_PAGE, GROUP, IDENTITY_PROVIDER, LIST, POLICY, PORTAL, SERVER, OwnPolicy, rules
from portal.pins.stored_approvals import PINNED
from portal.signals import ASSESSMENT
from portal.state import Kind, Stored, plain
from tests.portal.state.conftest import Opener

pytestmark = pytest.mark.anyio

UNTIL = "2026-05-01T12:00:00+00:00"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
IDENTITY = {
    "id": "okta:1",
    "email": "ada@example.com",
    "name": "Ada",
    "idp_id": "okta",
    "idp_type": "okta",
    "login_method": "okta",
    "groups": [{"id": "g1", "name": "Staff", "email": ""}],
    "auth_methods": ["pwd"],
    "claims": {"department": ["maths", 1815], "nested": {"deep": None}},
}
GRANT = {
    "identity": IDENTITY,
    "resource": "https://mcp.example.com/mcp",
    "scopes": ["mcp"],
    "until": UNTIL,
    "auth_time": 1777600000,
}
RULES: dict[str, Any] = {
    "include": [
        {"email_domain": {"domain": "example.com"}},
        {"github-organization": {"name": "acme", "team": None, "identity_provider_id": "gh"}},
    ],
    "require": [{"geo": {"country_code": "DE"}}],
    "exclude": [{"group": {"id": "g"}}],
}
ENTRY = {"name": "erase", "enabled": False, "alias": None, "description": None}

DOCUMENTS: list[tuple[Kind[Any], dict[str, Any]]] = [
    (
        SERVER,
        {
            "name": "Tickets",
            "hostname": "https://tickets.example.com/mcp",
            "auth_type": "oauth",
            "assertion_audience": "",
            "is_shared_oauth_callback_enabled": False,
            "pin": True,
            "secure_web_gateway": False,
            "updated_tools": [{"name": "erase", "enabled": False}],
            "updated_prompts": [],
            "description": None,
            "oauth": {"auth_mode": "manual", "config": {"issuer": None}, "registration_info": {"client_id": "c"}},
            "client_secret_version": 2,
        },
    ),
    (
        PORTAL,
        {
            "name": "Team",
            "hostname": "team.example.com",
            "description": None,
            "code_mode": "default_on",
            "secure_web_gateway": False,
            "servers": [
                {
                    "server_id": "tickets",
                    "default_disabled": True,
                    "on_behalf": True,
                    "updated_tools": [ENTRY],
                    "updated_prompts": [],
                }
            ],
        },
    ),
    (POLICY, {"name": "Staff", "decision": "allow", **RULES, "session_duration": "30m", "approval_groups": [{"n": 1}]}),
    (GROUP, {"name": "Engineers", **RULES}),
    (
        LIST,
        {
            "name": "Guests",
            "type": "EMAIL",
            "description": "",
            "items": [
                {"value": "eve@example.com", "description": "", "created_at": UNTIL},
                {"value": "bob@example.com", "description": ""},
            ],
        },
    ),
    (
        APP,
        {
            "type": "saas",
            "name": "Tickets",
            "domain": None,
            "destinations": [{"type": "public", "uri": "x", "mcp_server_id": None}],
            "policies": [
                {"id": "p", "precedence": 1},
                {"id": "own", "precedence": 2, "name": "Own", "decision": "deny", **RULES, "mfa_config": None},
            ],
            "session_duration": "24h",
            "allowed_idps": ["okta"],
            "auto_redirect_to_identity": False,
            "custom_deny_message": None,
            "custom_pages": ["page"],
            "logo_url": None,
            "tags": [],
            "saas_app": {
                "auth_type": "oidc",
                "redirect_uris": ["https://tickets.example.com/callback"],
                "scopes": ["openid", "email", "profile"],
                "grant_types": ["authorization_code"],
                "access_token_lifetime": "5m",
                "refresh_token_options": {"lifetime": "2160h"},
                "allow_pkce_without_client_secret": False,
                "client_id": "abc",
                "client_secret_sha256": SHA256,
            },
            "aud": "f" * 64,
        },
    ),
    (CUSTOM_PAGE, {"name": "No", "type": "forbidden", "custom_html": "<p>No</p>"}),
    (IDENTITY_PROVIDER, {"name": "Okta", "type": "okta", "config": {"client_id": "c", "claims": ["department"]}}),
    (
        ASSESSMENT,
        {"device_posture": {"disk": {"passed": True, "at": UNTIL}}, "user_risk": {"level": "low", "at": UNTIL}},
    ),
    (ADMINISTRATOR, {"email": "ada@example.com", "name": "Ada", "password_hash": "$argon2id$..."}),
    (
        API_TOKEN,
        {
            "name": "ci",
            "policies": [
                {
                    "id": "1",
                    "effect": "allow",
                    "permission_groups": [{"id": group_id(PORTALS.read), "name": None}],
                    "resources": {"com.cloudflare.api.account.x": "*"},
                }
            ],
            "condition": {"request_ip": {"in": ["10.0.0.0/8"], "not_in": []}},
            "expires_on": UNTIL,
            "not_before": None,
            "status": "active",
            "hash": SHA256,
        },
    ),
    (SIGNING_KEY, {"public": {"kty": "EC", "crv": "P-256", "kid": "k"}, "retires_at": UNTIL}),
    (
        CLIENT,
        {
            "redirect_uris": ["http://localhost:7777/callback"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "client_name": "An agent",
            "client_id": "c",
            "client_id_issued_at": 1777600000,
            "registered": "dynamic",
        },
    ),
    (PINNED, {"server": "wiki", "definitions": [["tool", '{"name":"read"}'], ["prompt", '{"name":"sum"}']]}),
    (ACCOUNT, {"id": "0" * 32}),
    (KEY_SETTINGS, {"key_rotation_interval_days": 30}),
    (LOGIN_SETTINGS, {"name": "Acme", "login_design": {"background_color": "#102030"}, "allowed_idps": ["okta"]}),
    (SESSION, {"identity": IDENTITY}),
    (ACCESS, GRANT),
    (REFRESH, GRANT),
    (CODE, {**GRANT, "challenge": "x", "redirect_uri": "http://localhost/cb", "redirect_uri_given": True, "nonce": ""}),
    (CLAIM, {}),
    (PIN_FLOW, {"email": "a@example.com", "target": "/", "browser": "b", "pin": "signed", "attempts": 2}),
    (STATE, {"browser": "b", "nonce": "n", "verifier": "v", "target": "/home"}),
    (
        CONSENT,
        {
            "client": "c",
            "redirect_uri": "http://localhost/cb",
            "redirect_uri_given": True,
            "state": "s",
            "scopes": ["mcp"],
            "resource": "r",
            "challenge": "x",
            "nonce": "",
            "browser": "b",
        },
    ),
    (
        ALLOWED,
        {
            "client": "c",
            "redirect_uri": "http://localhost/cb",
            "redirect_uri_given": True,
            "state": "s",
            "scopes": ["mcp"],
            "resource": "r",
            "challenge": "x",
            "nonce": "",
            "browser": "b",
        },
    ),
    (ELICITATION, {"wanted": {"files": "Nobody has logged in to it."}}),
    (
        BEGUN,
        {
            "browser": "b",
            "login": {
                "server": "files",
                "resource": "https://files.example.com/mcp",
                "scope": "read",
                "redirect_uri": "https://portal.example.com/servers-callback",
                "client_id": "c",
                "metadata": {
                    "issuer": "https://login.example.com",
                    "token_endpoint": "https://login.example.com/token",
                    "authorization_endpoint": "https://login.example.com/authorize",
                    "registration_endpoint": "",
                    "revocation_endpoint": "",
                    "scopes_supported": ["read"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none"],
                    "token_endpoint_auth_signing_alg_values_supported": [],
                    "client_id_metadata_document_supported": False,
                    "authorization_response_iss_parameter_supported": True,
                },
            },
        },
    ),
]


def includes(whole: object, part: object) -> bool:
    """Whether everything of `part` is in `whole`: members that were missing may be there with their defaults."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(includes(whole.get(name), value) for name, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(includes, whole, part))
    if part == UNTIL:
        return isinstance(whole, str) and datetime.fromisoformat(whole) == datetime.fromisoformat(UNTIL)
    return whole == part


@pytest.mark.parametrize(("kind", "document"), DOCUMENTS, ids=[kind.name for kind, _ in DOCUMENTS])
def test_what_the_first_version_wrote_is_read_and_written_again(kind: Kind[Any], document: dict[str, Any]) -> None:
    odd = {} if kind in (CLIENT, API_TOKEN) else {"member_of_somebody_else": {"kept": [1]}}
    read = kind.read(orjson.dumps({**document, **odd}).decode())
    assert includes(kind.members(read), {**document, **odd} if kind is not CLIENT else document)
    again = kind.read(kind.text(read))
    assert again == read and kind.text(again) == kind.text(read)


def test_the_values_are_typed() -> None:
    documents = {kind.name: kind.read(orjson.dumps(document).decode()) for kind, document in DOCUMENTS}
    app, server = documents["app"], documents["server"]
    assert isinstance(app.policies[1], OwnPolicy) and isinstance(app.policies[1].exclude[0], rules.InGroup)
    assert server.updated_tools[0].enabled is False
    person = documents["session"].identity
    assert person == Identity(
        id="okta:1",
        email="ada@example.com",
        name="Ada",
        idp_id="okta",
        idp_type="okta",
        login_method="okta",
        groups=(Group("g1", "Staff"),),
        auth_methods=("pwd",),
        claims={"department": ["maths", 1815], "nested": {"deep": None}},
    )


async def test_a_grant_of_the_first_version_is_one(opened: Opener) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    code = next(document for kind, document in DOCUMENTS if kind is CODE)
    async with opened() as store:
        old = {"subject": "okta:1", "client": "c", "family": "f", "expires_at": until}
        await store.tokens.issue(plain("access"), "a", document={**GRANT}, **old)  # type: ignore[arg-type]
        await store.tokens.issue(plain("code"), "c", document=code, **old)  # type: ignore[arg-type]
        access, found = await store.tokens.find(ACCESS, "a"), await store.tokens.find(CODE, "c")
        assert access is not None and found is not None
        assert grant_of(access) == grant_of(found)
        assert grant_of(access).until == datetime.fromisoformat(UNTIL) and binding_of(access) is None
        binding = binding_of(found)
        assert binding is not None and binding.challenge == "x"


TOKEN = {"name": "ci", "client_id": f"{'0' * 32}.access", "duration": "8760h", "secret_sha256": SHA256}


@pytest.mark.parametrize(
    ("more", "version", "previous"),
    [
        ({}, 1, None),
        ({"expires_at": None, "client_secret_version": 1}, 1, None),
        ({"client_secret_version": 3, "previous_secret_sha256": None}, 3, None),
        (
            {
                "client_secret_version": 2,
                "previous_secret_sha256": "0" * 64,
                "previous_client_secret_expires_at": "2026-05-01T12:00:00Z",
            },
            2,
            "0" * 64,
        ),
    ],
)
async def test_a_service_token_of_the_first_shape_is_upgraded_and_works(
    opened: Opener, more: dict[str, Any], version: int, previous: str | None
) -> None:
    async with opened() as store:
        await store.create(plain("service_token"), "ci", {**TOKEN, **more}, by="old")
        found = await store.get(SERVICE_TOKEN, "ci")
        assert found is not None and found.document.client_secret_version == version
        assert (found.document.previous and found.document.previous.sha256) == previous
        tokens = ServiceTokens(store)
        # SHA-256 of "test".
        known = await tokens.verify(TOKEN["client_id"], "test")
        assert known is not None and known.service_token_id == "ci"
        rotated = await tokens.rotate("ci", by="new", previous_until=datetime.now(UTC) + timedelta(hours=1))
        assert rotated is not None and isinstance(rotated.stored, Stored)
        assert await tokens.verify(TOKEN["client_id"], "test") and await tokens.verify(
            TOKEN["client_id"], rotated.client_secret
        )
        written = await store.get(plain("service_token"), "ci")
        assert written is not None and written.document["$shape"] == 1
        assert "previous_secret_sha256" not in written.document
        tokens.close()
