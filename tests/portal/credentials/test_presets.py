"""What is known of providers: the same knobs as in the configuration, which wins over them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials import OWN, CredentialError, Outbound, PortalClient, complete_login
from portal.credentials import presets as shipped
from portal.credentials.code_grant import begin_login, challenge_of
from portal.credentials.presets import PRESETS, Preset, advice_of, preset_of, scope_without_a_wish, with_preset
from portal.state import KeyRing, Store
from tests.house.source import ROOT, modules
from tests.portal.credentials.authority import LoginAuthority, login_authority, protected
from tests.portal.credentials.test_code_grant import browsed
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted
from tests.portal.upstreams.watching import server_config

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
HERE = PortalClient("Portal", "https://portal.example/servers-callback")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("issuer", "url", "name"),
    [
        ("https://mcp.notion.com", "https://mcp.notion.com/mcp", "Notion"),
        ("https://mcp.linear.app", "https://mcp.linear.app/sse", "Linear"),
        ("https://cf.mcp.atlassian.com/tenant/1", "https://mcp.atlassian.com/v1/mcp", "Atlassian"),
        ("https://github.com/login/oauth", "https://api.githubcopilot.com/mcp/", "GitHub"),
        ("https://mcp.slack.com", "https://mcp.slack.com/mcp", "Slack"),
        ("https://api.figma.com", "https://mcp.figma.com/mcp", "Figma"),
        ("https://login.microsoftonline.com/common/v2.0", "https://mcp.acme.example", "Microsoft Entra"),
        ("https://acme.eu.auth0.com/", "https://mcp.acme.example", "Auth0"),
        ("https://todoist.com", "https://ai.todoist.net/mcp", "Todoist"),
        ("https://accounts.google.com", "https://mcp.acme.example", "Google"),
        # The authorization server comes first, and a host that only ends alike is another one.
        ("https://idp.example", "https://mcp.notion.com/mcp", "Notion"),
        ("https://acme.auth0.com", "https://mcp.notion.com/mcp", "Auth0"),
        ("https://notion.com.evil.example", "https://evilnotion.com/mcp", ""),
        ("https://[nothing", "", ""),
    ],
)
def test_a_provider_is_known_by_the_host_of_its_authorization_server_or_of_its_server(
    issuer: str, url: str, name: str
) -> None:
    assert preset_of(issuer, url).name == name


def test_the_chapter_has_each_of_them_and_no_other_module_of_the_room_has_any() -> None:
    chapter = (ROOT / "portal" / "credentials" / "README.md").read_text(encoding="utf-8")
    for preset in PRESETS:
        [row] = [line for line in chapter.splitlines() if line.startswith(f"| {preset.name} |")]
        said = [*preset.hosts, *preset.parameters, *preset.parameters.values(), *preset.scope.split()]
        said += [preset.token_endpoint_auth_method] if preset.token_endpoint_auth_method else []
        said += ["omit"] if preset.resource == "omit" else []
        said += ["strict"] if preset.rotating == "strict" else []
        assert [one for one in said if one not in row] == []
    room = [path for path in modules("portal") if path.parent.name == "credentials"]
    hosts = [host for preset in PRESETS for host in preset.hosts]
    assert {path.name for path in room if any(host in path.read_text(encoding="utf-8") for host in hosts)} == {
        "presets.py"
    }


def test_what_is_written_wins_also_where_it_is_the_default() -> None:
    entra, notion = "https://login.microsoftonline.com/common/v2.0", "https://mcp.notion.com"
    assert with_preset(None, entra, "").resource == "omit"
    assert with_preset(UpstreamOAuth(resource="send"), entra, "").resource == "send"
    assert with_preset(None, notion, "").rotating == "strict"
    assert with_preset(UpstreamOAuth(rotating="tolerant"), notion, "").rotating == "tolerant"
    parameters = with_preset(UpstreamOAuth(parameters={"prompt": "login", "a": "b"}), notion, "").parameters
    assert parameters == {"prompt": "login", "a": "b"}
    assert with_preset(UpstreamOAuth(), "https://idp.example", "https://up.example") == UpstreamOAuth()
    assert scope_without_a_wish(entra, "https://up.example/mcp") == "https://up.example/mcp/.default"
    assert advice_of("https://api.figma.com").startswith(" Figma registers only clients")
    assert advice_of("https://idp.example") == ""


def test_how_a_client_shows_its_secret_is_only_for_one_that_has_a_secret() -> None:
    slack = "https://mcp.slack.com"
    secret = UpstreamOAuth(client_id="us", client_secret="hush")
    assert with_preset(secret, slack, "").token_endpoint_auth_method == "client_secret_post"
    basic = UpstreamOAuth(client_id="us", client_secret="hush", token_endpoint_auth_method="client_secret_basic")
    assert with_preset(basic, slack, "").token_endpoint_auth_method == "client_secret_basic"
    assert with_preset(UpstreamOAuth(client_id="us"), slack, "").token_endpoint_auth_method == ""


def test_what_is_asked_of_a_person_is_not_asked_for_a_client() -> None:
    client = UpstreamOAuth(grant="client_credentials", client_id="us", client_secret="hush")
    assert with_preset(client, "https://accounts.google.com", "").parameters == {}


def config_of(host: Hosted, **oauth: Any) -> HttpServer:
    config = server_config({"url": host.url, "type": "http", "oauth": {"grant": "authorization_code", **oauth}})
    assert isinstance(config, HttpServer)
    return config


async def logged_in(config: HttpServer, issuing: LoginAuthority, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The request for the login, and that for the token."""
    challenge = await challenge_of(config)
    assert challenge is not None
    now = datetime.now(UTC)
    async with Store.open(new_state(folder), KeyRing.in_memory()) as store, Outbound(config.url) as outbound:
        pending = await begin_login(config, challenge, HERE, outbound, store, subject=OWN, now=now)
        await complete_login(pending, await browsed(pending), config.oauth, outbound, store, now)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(pending.url).query).items()}
    return asked, issuing.requests[-1]


@pytest.mark.anyio
async def test_a_login_at_a_known_provider_is_asked_for_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = Preset(
        hosts=("127.0.0.1",),
        resource="omit",
        parameters={"prompt": "consent"},
        token_endpoint_auth_method="client_secret_post",
        scope="{resource}/.default",
    )
    monkeypatch.setattr(shipped, "PRESETS", (preset,))
    async with login_authority() as issuing, protected(issuing) as (_, host):
        client = {"issuer": issuing.issuer, "clientId": "us", "clientSecret": "hush"}
        asked, exchanged = await logged_in(config_of(host, **client), issuing, tmp_path)
        assert (asked["prompt"], asked["scope"]) == ("consent", f"{host.url}/.default")
        assert "resource" not in asked and "resource" not in exchanged
        assert exchanged["client_secret"] == "hush" and "authorization" not in exchanged
        (tmp_path / "written").mkdir()
        written: dict[str, Any] = {"resource": "send", "scope": "mine", "parameters": {"prompt": "login"}}
        written["tokenEndpointAuthMethod"] = "client_secret_basic"
        asked, exchanged = await logged_in(config_of(host, **client, **written), issuing, tmp_path / "written")
        assert (asked["prompt"], asked["scope"], asked["resource"]) == ("login", "mine", host.url)
        assert exchanged["resource"] == host.url and "client_secret" not in exchanged


@pytest.mark.anyio
async def test_who_registers_no_clients_is_told_of_with_what_to_register(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "PRESETS", (Preset(hosts=("127.0.0.1",), advice="Ask at the desk."),))
    unwilling: tuple[dict[str, Any], ...] = {"registers": False}, {"registration_error": "access_denied"}
    for settings in unwilling:
        async with login_authority(**settings) as issuing, protected(issuing) as (_, host):
            folder = tmp_path / next(iter(settings))
            folder.mkdir()
            with pytest.raises(CredentialError) as refused:
                await logged_in(config_of(host), issuing, folder)
            assert HERE.redirect_uri in str(refused.value) and str(refused.value).endswith(" Ask at the desk.")


@pytest.mark.anyio
async def test_a_client_that_is_registered_with_another_redirect_uri_is_not_used(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        client: dict[str, Any] = {
            "issuer": issuing.issuer,
            "clientId": "us",
            "redirectUris": ["https://portal.example/other"],
        }
        with pytest.raises(CredentialError) as refused:
            await logged_in(config_of(host, **client), issuing, tmp_path)
        assert "`redirectUris`" in str(refused.value) and HERE.redirect_uri in str(refused.value)
        client["redirectUris"] = [HERE.redirect_uri]
        (tmp_path / "right").mkdir()
        await logged_in(config_of(host, **client), issuing, tmp_path / "right")


@pytest.mark.anyio
async def test_a_resource_that_is_not_known_there_is_answered_with_the_name_of_the_knob(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.answer_with = {"error": "invalid_target", "code": None}
        with pytest.raises(CredentialError) as refused:
            await logged_in(config_of(host), issuing, tmp_path)
        assert "invalid_target" in str(refused.value)
        assert "Set `resource` in its `oauth`" in str(refused.value)
