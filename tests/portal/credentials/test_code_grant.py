"""A login at the authorization server of an upstream server, from the challenge to the stored credential."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from starlette.responses import JSONResponse, Response

from portal.config import HttpServer
from portal.credentials import (
    OWN,
    Challenge,
    CredentialError,
    Outbound,
    PendingLogin,
    PortalClient,
    begin_login,
    challenge_of,
    complete_login,
    log_out,
    save_login,
    stored_logins,
)
from portal.state import KeyRing, Store
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.watching import server_config

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
PORTAL = PortalClient("Portal", "http://127.0.0.1:8791/callback", native=True)
WEB = PortalClient("Portal", "https://portal.example/servers-callback", "https://portal.example/oauth/client.json")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(new_state(tmp_path), KeyRing.open(tmp_path / "state.key")) as opened:
        yield opened


def config_of(host: Hosted, **oauth: Any) -> HttpServer:
    config = server_config({"url": host.url, "type": "http", "oauth": {"grant": "authorization_code", **oauth}})
    assert isinstance(config, HttpServer)
    return config


@asynccontextmanager
async def begun(
    config: HttpServer, store: Store, portal: PortalClient = PORTAL, scope: str = ""
) -> AsyncIterator[tuple[PendingLogin, Outbound]]:
    challenge = await challenge_of(config)
    assert challenge is not None
    async with Outbound(config.url) as outbound:
        yield (
            await begin_login(
                config, challenge, portal, outbound, store, subject=OWN, now=datetime.now(UTC), scope=scope
            ),
            outbound,
        )


async def browsed(pending: PendingLogin) -> Mapping[str, str]:
    """The parameters that the browser comes back with."""
    async with aiohttp.ClientSession() as browser, browser.get(pending.url, allow_redirects=False) as answer:
        location = answer.headers["location"]
    assert location.startswith(pending.redirect_uri)
    return dict(parse_qsl(urlsplit(location).query))


async def logged_in(config: HttpServer, store: Store, portal: PortalClient = PORTAL) -> None:
    async with begun(config, store, portal) as (pending, outbound):
        saved = await complete_login(pending, await browsed(pending), config.oauth, outbound, store, datetime.now(UTC))
        await save_login(store, *saved)


async def refusal(config: HttpServer, store: Store, portal: PortalClient = PORTAL) -> str:
    with pytest.raises(CredentialError) as caught:
        await logged_in(config, store, portal)
    return str(caught.value)


async def test_a_login_registers_the_portal_asks_with_the_resource_and_is_stored(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        await logged_in(config_of(host), store)
        (client,) = issuing.registrations
        assert client["redirect_uris"] == [PORTAL.redirect_uri] and client["client_name"] == "Portal"
        assert (client["application_type"], client["token_endpoint_auth_method"]) == ("native", "client_secret_basic")
        (asked,) = issuing.authorizations
        assert (asked["resource"], asked["scope"]) == (host.url, "files:read")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        (exchanged,) = issuing.requests
        assert (exchanged["resource"], exchanged["redirect_uri"]) == (host.url, PORTAL.redirect_uri)
        (stored,) = await stored_logins(store, subject=OWN)
        assert (stored.key.issuer, stored.key.resource, stored.key.client) == (issuing.issuer, host.url, "client-1")
        assert (stored.document.state, stored.document.scope) == ("ready", "files:read")


async def test_a_registration_is_kept_and_a_new_login_replaces_the_former_one(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        await logged_in(config_of(host), store)
        await logged_in(config_of(host), store)
        assert len(issuing.registrations) == 1 and len(await stored_logins(store)) == 1
        await logged_in(config_of(host), store, WEB)
        assert issuing.registrations[1]["application_type"] == "web" and len(await stored_logins(store)) == 1


async def test_the_client_is_the_configured_one_else_the_portal_s_document_else_a_registered_one(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.metadata["client_id_metadata_document_supported"] = True
        await logged_in(config_of(host, clientId="known"), store, WEB)
        await logged_in(config_of(host), store, WEB)
        await logged_in(config_of(host), store, PORTAL)
        assert [asked["client_id"] for asked in issuing.authorizations] == ["known", WEB.document_url, "client-1"]


async def test_where_nobody_registers_clients_the_administrator_reads_what_to_register(store: Store) -> None:
    async with login_authority(registers=False) as issuing, protected(issuing) as (_, host):
        said = await refusal(config_of(host), store)
        assert f"the authorization server {issuing.issuer} registers no clients by itself" in said
        assert f"with the redirect URI {PORTAL.redirect_uri}, and write its `clientId`" in said


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
async def test_a_client_that_the_authorization_server_has_forgotten_is_registered_again(
    store: Store, code: str
) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        usual = issuing.answer

        async def forgotten(form: dict[str, str]) -> Response:
            return JSONResponse({"error": code}, 401)

        issuing.answer = forgotten
        assert code in await refusal(config_of(host), store)
        issuing.answer = usual
        await logged_in(config_of(host), store)
        assert [asked["client_id"] for asked in issuing.authorizations] == ["client-1", "client-2"]


async def test_an_authorization_server_without_pkce_is_refused_unless_an_administrator_knows_better(
    store: Store,
) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.metadata["code_challenge_methods_supported"] = ["plain"]
        assert "does not say that it protects logins with PKCE" in await refusal(config_of(host), store)
        assert issuing.registrations == []
        await logged_in(config_of(host, assumePkce=True), store)


@pytest.mark.parametrize("issuer", ["https://evil.example", "", None])
@pytest.mark.parametrize("error", [None, "access_denied"])
async def test_an_answer_of_another_authorization_server_is_not_looked_at(
    store: Store, issuer: str | None, error: str | None
) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.answer_with = {"iss": issuer, "error": error}
        said = await refusal(config_of(host), store)
        assert said == "The answer is not from the authorization server that the login was begun at."
        assert issuing.requests == [] and await stored_logins(store) == []


async def test_a_login_that_is_refused_says_so(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.answer_with = {"error": "access_denied", "code": None}
        assert "The login was refused" in await refusal(config_of(host), store)
        issuing.answer_with = {"code": None}
        assert "sent neither a code nor an error" in await refusal(config_of(host), store)


async def test_scopes_are_those_of_the_challenge_with_those_that_are_wanted_beside_them(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host):
        async with begun(config_of(host), store, scope="write read"):
            pass
        issuing.metadata["scopes_supported"] = ["read", "offline_access"]
        async with begun(config_of(host), store) as (pending, _):
            assert pending.scope == "read offline_access"
        async with begun(config_of(host, scope="mine"), store) as (pending, _):
            assert pending.scope == "mine offline_access"


async def test_endpoints_that_an_administrator_types_in_need_no_metadata(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (guard, host):
        guard.resource_metadata = {"resource": "nothing"}
        typed = {
            "clientId": "known",
            "authorizationEndpoint": f"{issuing.url}/authorize?tenant=1",
            "tokenEndpoint": f"{issuing.url}/token",
            "revocationEndpoint": f"{issuing.url}/revoke",
            "issuer": issuing.issuer,
            "parameters": {"prompt": "consent"},
            "resource": "omit",
        }
        await logged_in(config_of(host, **typed), store)
        (asked,) = issuing.authorizations
        assert (asked["tenant"], asked["prompt"]) == ("1", "consent")
        assert "resource" not in asked and "resource" not in issuing.requests[0]


async def test_logging_out_takes_the_tokens_back_there_and_forgets_them_here(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        config = config_of(host)
        await logged_in(config, store)
        (stored,) = await stored_logins(store)
        async with Outbound(config.url) as outbound:
            assert await log_out(store, stored, outbound, config.oauth)
        assert len(issuing.revoked) == 2 and issuing.tokens == {}
        assert await stored_logins(store) == []


async def test_a_login_is_forgotten_here_even_if_nobody_answers_there(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        config = config_of(host)
        issuing.metadata["revocation_endpoint"] = "http://127.0.0.1:1/revoke"
        await logged_in(config, store)
        (stored,) = await stored_logins(store)
        async with Outbound(config.url) as outbound:
            assert not await log_out(store, stored, outbound, config.oauth)
        assert await stored_logins(store) == []


async def test_a_server_that_lets_everybody_in_has_no_challenge() -> None:
    async with hosted() as host:
        assert await challenge_of(config_of(host)) is None


async def test_a_login_page_at_a_plain_address_elsewhere_is_not_opened(store: Store) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.metadata["authorization_endpoint"] = "http://login.example.com/authorize"
        assert "is no https URL" in await refusal(config_of(host), store)


async def test_a_challenge_is_read_even_where_it_says_nothing() -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        found = await challenge_of(config_of(host))
        assert found == Challenge(error="invalid_token")


def test_a_pending_login_shows_no_verifier() -> None:
    assert "verifier" not in {field.name for field in PendingLogin.__dataclass_fields__.values() if field.repr}


async def test_a_secret_of_another_authorization_server_is_not_sent_to_that_of_the_login(store: Store) -> None:
    async with login_authority(registers=False) as issuing, protected(issuing) as (_, host):
        client = {
            "clientId": "us",
            "clientSecret": "the former secret",
            "tokenEndpointAuthMethod": "client_secret_post",
        }
        await logged_in(config_of(host, issuer=issuing.issuer, **client), store)
        (stored,) = await stored_logins(store)
        moved = config_of(host, **{**client, "issuer": "https://idp.example", "clientSecret": "the secret of another"})
        async with Outbound(host.url) as outbound:
            assert await log_out(store, stored, outbound, moved.oauth)
        assert len(issuing.revoked) == 2
        assert {form.get("client_secret") for form in issuing.revocations} == {"the former secret"}
