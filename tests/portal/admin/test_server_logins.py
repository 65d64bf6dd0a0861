"""Servers behind OAuth: written through the API, connected, shown with the portal's own login, and logged out of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from starlette.responses import JSONResponse, Response

from portal.config import HttpServer
from portal.credentials import OWN, Outbound, PortalClient, begin_login, challenge_of, complete_login, save_login
from portal.credentials import find_login_request as found_request
from portal.credentials.grants import CREDENTIAL
from portal.login import Delivery
from portal.objects import SERVER
from portal.servers import server_config
from portal.state import Store, StoredCredential
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.admin.test_running import portal
from tests.portal.credentials.authority import SECRET, authority, login_authority, protected
from tests.portal.credentials.test_code_grant import browsed

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
HUSH = "hush-7f3a-hush"
SERVERS = "/access/ai-controls/mcp/servers"


def manual(**members: Any) -> dict[str, Any]:
    """`auth_credentials` with typed endpoints; members of groups replace those of the groups."""
    config = {"authorization_endpoint": "https://idp.example/a", "token_endpoint": "https://idp.example/t"}
    found: dict[str, Any] = {"auth_mode": "manual", "config": config, "registration_info": {"client_id": "us"}}
    for name, value in members.items():
        found[name] = {**found[name], **value} if isinstance(found.get(name), dict) else value
    return found


def created(api: Api, id: str = "up", **more: Any) -> Any:
    right = {"id": id, "auth_type": "oauth", "hostname": "https://up.example/mcp", "name": "Up"}
    body = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in (right | more).items()}
    return api.http.post(api.at(SERVERS), headers=api.headers(), json=body)


def changed(api: Api, id: str = "up", **more: Any) -> Any:
    body = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in more.items()}
    return api.http.put(api.at(f"{SERVERS}/{id}"), headers=api.headers(), json=body)


async def config_of(store: Store, id: str) -> HttpServer:
    stored = await store.get(SERVER, id)
    assert stored is not None
    return server_config(stored, await store.secret(SERVER, id))


async def logged_in(store: Store, id: str) -> StoredCredential[Any]:
    """A login of the portal itself, as the page for it makes one."""
    config = await config_of(store, id)
    challenge = await challenge_of(config)
    assert challenge is not None
    page, now = PortalClient("Portal", "https://portal.example/servers-callback"), datetime.now(UTC)
    async with Outbound(config.url) as outbound:
        pending = await begin_login(config, challenge, page, outbound, store, subject=OWN, now=now)
        key, document, grant = await complete_login(
            pending, await browsed(pending), config.oauth, outbound, store, datetime.now(UTC)
        )
    await save_login(store, key, document.model_copy(update={"granted_by": "ada@example.com"}), grant)
    found = await store.credentials.get(CREDENTIAL, key)
    assert found is not None
    return found


async def at_once(call: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """What a call returns that blocks: the API is served on the loop of the test."""
    return await asyncio.to_thread(call, *given, **more)


async def asked(api: Api, method: str, url: str, **more: Any) -> Any:
    return await at_once(api.http.request, method, url, headers=api.headers(), **more)


@asynccontextmanager
async def admin(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    async with admin_api(folder) as api:
        for name, value in settings.items():
            setattr(api.admin.settings, name, value)
        yield api


def test_the_sdk_writes_a_client_and_reads_it_without_its_secrets(api: Api) -> None:
    servers = api.sdk().zero_trust.access.ai_controls.mcp.servers
    credentials = manual(
        config={"issuer": "https://idp.example", "revocation_endpoint": "https://idp.example/r", "resource": "omit"},
        registration_info={
            "redirect_uris": ["https://portal.example/servers-callback"],
            "scope": "read",
            "token_endpoint_auth_method": "client_secret_post",
        },
        parameters={"api_key": HUSH},
        rotating="strict",
    )
    made = servers.create(
        account_id=api.account,
        id="up",
        auth_type="oauth",
        hostname="https://up.example/mcp",
        name="Up",
        auth_credentials=json.dumps(credentials),
        client_secret=HUSH,
    )
    summary = made.auth_config_summary
    assert made.authentication_status == "manual" and summary is not None
    assert (summary.auth_mode, summary.has_client_secret, summary.client_secret_version) == ("manual", True, 1)
    assert summary.config is not None and summary.config.to_dict() == credentials["config"]
    assert summary.registration_info is not None
    assert summary.registration_info.to_dict() == credentials["registration_info"]
    again = servers.update("up", account_id=api.account, client_secret=f"{HUSH}-2")
    assert again.auth_config_summary is not None and again.auth_config_summary.client_secret_version == 2
    shown = api.http.get(api.at(f"{SERVERS}/up"), headers=api.headers())
    summary_of = shown.json()["result"]["auth_config_summary"]
    assert (summary_of["rotating"], summary_of["parameter_names"]) == ("strict", ["api_key"])
    assert shown.json()["result"]["credential"]["state"] == "absent"
    assert HUSH not in shown.text


def test_without_a_word_the_authorization_server_registers_the_portal(api: Api) -> None:
    shown = created(api).json()["result"]
    assert (shown["authentication_status"], shown["auth_config_summary"]["auth_mode"]) == ("required", "dcr")
    assert shown["auth_config_summary"]["has_client_secret"] is False


@pytest.mark.parametrize(
    ("wrong", "pointer", "problem"),
    [
        ({"auth_credentials": manual(config={"issuer": HUSH})}, "/auth_credentials", "`config.issuer` must be"),
        ({"auth_credentials": manual(confg={})}, "/auth_credentials", "`confg` is not known; did you mean `config`?"),
        (
            {"auth_credentials": {"auth_mode": "manual"}},
            "/auth_credentials",
            "`registration_info.client_id` is missing",
        ),
        ({"auth_credentials": HUSH}, "/auth_credentials", "is neither a token nor a JSON object"),
        ({"client_secret": HUSH}, "/client_secret", "does not go with auth_credentials: its auth_mode is dcr"),
        ({"auth_credentials": manual(grant="client_credentials")}, "/auth_credentials", "either `client_secret` or"),
        (
            {
                "auth_credentials": manual(registration_info={"token_endpoint_auth_method": "none"}),
                "client_secret": HUSH,
            },
            "/auth_credentials",
            "`registration_info.token_endpoint_auth_method` that does not go with",
        ),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(shared: Api, wrong: Any, pointer: str, problem: str) -> None:
    answer = created(shared, **wrong)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["source"]["pointer"]) == (400, pointer)
    assert problem in error["message"] and HUSH not in answer.text


async def test_a_secret_that_would_go_elsewhere_must_be_sent_again(tmp_path: Path) -> None:
    async with admin(tmp_path) as api:
        assert (await at_once(created, api, auth_credentials=manual(), client_secret=HUSH)).status_code == 201
        elsewhere = manual(config={"token_endpoint": "https://evil.example/t"})
        refused = await at_once(changed, api, auth_credentials=elsewhere)
        assert (refused.status_code, refused.json()["errors"][0]["source"]["pointer"]) == (400, "/client_secret")
        other = manual(registration_info={"client_id": "them"})
        assert (await at_once(changed, api, auth_credentials=other)).status_code == 400
        same = manual(registration_info={"scope": "read"})
        kept = (await at_once(changed, api, auth_credentials=same)).json()["result"]["auth_config_summary"]
        assert kept["has_client_secret"] is True
        config = await config_of(api.store, "up")
        assert config.oauth is not None and (config.oauth.client_secret, config.oauth.scope) == (HUSH, "read")
        # A client that is registered by the authorization server has nothing of the former one.
        gone = (await at_once(changed, api, auth_credentials="")).json()["result"]["auth_config_summary"]
        assert (gone["auth_mode"], gone["has_client_secret"], gone["client_secret_version"]) == ("dcr", False, 1)
        assert b"hush" not in (await api.store.secret(SERVER, "up") or b"")
        back = (await at_once(changed, api, auth_credentials=manual())).json()["result"]["auth_config_summary"]
        assert back["has_client_secret"] is False


async def test_a_client_of_its_own_written_through_the_api_connects_the_server(tmp_path: Path) -> None:
    async with authority() as issuing, protected(issuing) as (_, host), portal(tmp_path) as run:
        credentials = {
            "auth_mode": "manual",
            "grant": "client_credentials",
            "config": {"issuer": issuing.issuer},
            "registration_info": {"client_id": "portal"},
        }
        made = await run.mcp.servers.create(
            account_id=run.account,
            id="up",
            auth_type="oauth",
            hostname=host.url,
            name="Up",
            auth_credentials=json.dumps(credentials),
            client_secret=SECRET,
        )
        assert made.authentication_status == "connected"
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")
        shown: Any = await run.mcp.servers.read("up", account_id=run.account)
        assert (shown.authentication_status, shown.credential["state"]) == ("connected", "ready")
        assert (shown.credential["issuer"], shown.credential["client_id"]) == (issuing.issuer, "portal")
        with pytest.raises(cloudflare.ConflictError) as refused:
            await run.sdk.post(f"/accounts/{run.account}{SERVERS}/up/login", cast_to=object, body={})
        assert "the portal is a client of its own there" in str(refused.value)


async def test_a_client_that_is_refused_is_shown_with_what_the_authorization_server_said(tmp_path: Path) -> None:
    async def refused(form: dict[str, str]) -> Response:
        return JSONResponse({"error": "invalid_client", "error_description": f"not {HUSH}"}, 401)

    async with authority(answer=refused) as issuing, protected(issuing) as (_, host), portal(tmp_path) as run:
        credentials = manual(grant="client_credentials")
        credentials["config"] = {"issuer": issuing.issuer}
        await run.mcp.servers.create(
            account_id=run.account,
            id="up",
            auth_type="oauth",
            hostname=host.url,
            name="Up",
            auth_credentials=json.dumps(credentials),
            client_secret=HUSH,
        )
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "error")
        shown: Any = await run.mcp.servers.read("up", account_id=run.account)
        assert (shown.authentication_status, shown.credential["state"]) == ("stale", "misconfigured")
        assert "invalid_client" in shown.credential["reason"] and shown.credential["ending"] == "ended"
        assert HUSH not in shown.to_json()


async def test_a_login_written_through_the_api_connects_the_server_when_it_is_made(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host), portal(tmp_path) as run:
        made = await run.mcp.servers.create(
            account_id=run.account, id="up", auth_type="oauth", hostname=host.url, name="Up"
        )
        assert made.authentication_status == "required"
        await run.until(lambda: "up" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "error")
        await logged_in(run.store, "up")
        await run.until(lambda: run.servers.snapshot.servers["up"].state == "ready")


async def test_a_login_is_shown_with_its_state_and_ended_with_what_was_revoked(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host), admin(tmp_path) as api:
        await at_once(created, api, hostname=host.url)
        login = await logged_in(api.store, "up")
        async with api.async_sdk() as sdk:
            shown = await sdk.zero_trust.access.ai_controls.mcp.servers.read("up", account_id=api.account)
        assert shown.authentication_status == "connected"
        credential: Any = shown.credential  # type: ignore[attr-defined]
        assert (credential["state"], credential["meaning"], credential["ending"]) == ("ready", "logged in", "no")
        assert (credential["issuer"], credential["scope"]) == (issuing.issuer, "read")
        assert (credential["granted_by"], credential["client_id"]) == ("ada@example.com", "client-1")
        assert credential["granted_at"] and credential["expires_at"] and credential["ends_at"] is None

        ended = login.document.model_copy(update={"state": "needs_reauth", "reason": "It was taken back."})
        await api.store.credentials.settle(CREDENTIAL, login.key, login.version, ended)
        for path in (f"{SERVERS}/up", SERVERS):
            found = (await asked(api, "GET", api.at(path))).json()["result"]
            result = found[0] if isinstance(found, list) else found
            assert result["authentication_status"] == "stale"
            assert (result["credential"]["state"], result["credential"]["ending"]) == ("needs_reauth", "soon")
            assert result["credential"]["reason"] == "It was taken back."

        gone = await asked(api, "DELETE", api.at(f"{SERVERS}/up/login"))
        [one] = gone.json()["result"]["logins"]
        assert (one["issuer"], one["granted_by"], one["revoked"]) == (issuing.issuer, "ada@example.com", True)
        assert len(issuing.revoked) == 2 and issuing.tokens == {}
        assert all(token not in gone.text for token in issuing.revoked)
        assert (await asked(api, "DELETE", api.at(f"{SERVERS}/up/login"))).status_code == 404


async def test_a_login_of_another_issuer_or_client_is_none_and_its_tokens_stay_where_they_are(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host), admin(tmp_path) as api:
        await at_once(created, api, hostname=host.url)
        await logged_in(api.store, "up")
        assert (await asked(api, "GET", api.at(f"{SERVERS}/up"))).json()["result"]["credential"]["issuer"]
        for elsewhere in (
            {"config": {"issuer": "https://other.example"}},
            {"auth_mode": "manual", "registration_info": {"client_id": "another"}},
        ):
            result = (await at_once(changed, api, auth_credentials=elsewhere)).json()["result"]
            assert (result["credential"]["state"], result["credential"]["issuer"]) == ("absent", None)
        back = (await at_once(changed, api, auth_credentials={"config": {"issuer": issuing.issuer}})).json()["result"]
        assert back["authentication_status"] == "connected"
        assert issuing.revoked == []


async def test_a_login_is_begun_with_a_link_that_the_store_has_only_a_hash_of(tmp_path: Path) -> None:
    page = {"login_page": "/servers-login", "delivery": Delivery("https://portal.example")}
    async with admin(tmp_path) as api:
        await at_once(created, api)
        path = api.at(f"{SERVERS}/up/login")
        refused = await asked(api, "POST", path)
        assert refused.status_code == 409 and "`codemode login up`" in refused.json()["errors"][0]["message"]
    (tmp_path / "page").mkdir()
    async with admin(tmp_path / "page", **page) as api:
        await at_once(created, api)
        path = api.at(f"{SERVERS}/up/login")
        first = (await asked(api, "POST", path)).json()["result"]["url"]
        begun = await asked(api, "POST", path, json={"scope": "write"})
        assert begun.status_code == 201
        url = begun.json()["result"]["url"]
        start = "https://portal.example/servers-login?request="
        assert url.startswith(start) and len(url) - len(start) >= 43
        now = datetime.now(UTC)
        request = await found_request(api.store, url.removeprefix(start), now)
        assert request is not None and (request.server, request.scope) == ("up", "write")
        assert request.requested_by.startswith("api-token:")
        # The later link replaces the former one, and none works for ever.
        assert await found_request(api.store, first.removeprefix(start), now) is None
        assert await found_request(api.store, url.removeprefix(start), now + timedelta(minutes=15)) is None
        shown = await asked(api, "GET", api.at(f"{SERVERS}/up"))
        assert shown.json()["result"]["credential"]["state"] == "connecting"
        assert url.removeprefix(start) not in shown.text


def test_a_server_without_oauth_has_no_login_to_begin(api: Api) -> None:
    created(api, auth_type="bearer", auth_credentials="t")
    answer = api.http.post(api.at(f"{SERVERS}/up/login"), headers=api.headers(), json={"scope": "read"})
    assert answer.status_code == 409 and "auth_type is not oauth" in answer.text
    assert api.http.post(api.at(f"{SERVERS}/no/login"), headers=api.headers()).status_code == 404
