"""The test of an identity provider finds what a sign-in would find, says what to do, and shows no secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portal.http import running
from portal.http.edge import HttpSettings
from portal.login.checks import check_provider
from portal.login.providers import read_provider
from portal.objects import ProviderDocument
from tests.patience import PATIENCE
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.login.test_providers import Issuer, certified_provider, served
from tests.portal.upstreams.server import listen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
SECRET = "hush-7f3a"


async def answer_about(run: Ruled, kind: str, **config: Any) -> dict[str, Any]:
    """The answer about a new provider: `ok`, the redirect URLs, and the steps by name."""
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, headers=run.headers()) as http:
        body = {"name": "IdP", "type": kind, "config": {"client_id": "portal", "client_secret": SECRET, **config}}
        made = (await http.post(run.at("/access/identity_providers"), json=body)).json()
        assert made["success"], made
        answer = await http.post(run.at(f"/access/identity_providers/{made['result']['id']}/test"), json={})
    assert answer.status_code == 200 and SECRET not in answer.text, answer.text
    result = answer.json()["result"]
    return {**result, "steps": {step["name"]: step for step in result["steps"]}}


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    listening = listen(0)
    issuer = Issuer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    async with served(issuer.app(), 0, listening):
        yield issuer


@pytest.mark.clients
async def test_a_certified_provider_passes_every_step(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with ruled_portal(tmp_path) as run, certified_provider(f"{run.url}/login/callback") as issuer:
        found = await answer_about(run, "oidc", issuer=issuer)
        assert found["ok"] and found["redirect_urls"] == [f"{run.url}/login/callback"]
        assert {name for name, step in found["steps"].items() if step["ok"] is None} <= {
            "client_secret",
            "redirect_url",
            "token_endpoint",
        }
        assert found["steps"]["keys"]["ok"] and found["steps"]["issuer"]["ok"]
        assert "Register" in found["steps"]["redirect_url"]["to_do"]
        # What it does not know is refused where a sign-in would be.
        found = await answer_about(run, "oidc", issuer=issuer, client_id="another")
        assert not found["ok"] and "answers 400" in found["steps"]["authorization_endpoint"]["words"]
    async with ruled_portal(tmp_path / "other") as run, certified_provider("http://127.0.0.1:3/elsewhere") as issuer:
        found = await answer_about(run, "oidc", issuer=issuer)
        assert "register the redirect URL" in found["steps"]["authorization_endpoint"]["to_do"]


async def test_each_fault_of_a_provider_is_named_with_what_to_do(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as run, issuing() as issuer:
        good = await answer_about(run, "oidc", issuer=issuer.url)
        assert good["ok"], good

        found = await answer_about(run, "oidc", issuer=f"{issuer.url}/elsewhere")
        assert (found["ok"], found["steps"]["discovery"]["ok"]) == (False, False)
        assert "status 500" in found["steps"]["discovery"]["words"] and "issuer" not in found["steps"]

        found = await answer_about(run, "oidc", issuer=f"{issuer.url}/nowhere")
        assert "status 404" in found["steps"]["discovery"]["words"]
        assert "config.issuer" in found["steps"]["discovery"]["to_do"]

        issuer.metadata = {"issuer": "https://other.example"}
        found = await answer_about(run, "oidc", issuer=issuer.url)
        assert not found["ok"] and "https://other.example" in found["steps"]["issuer"]["words"]
        assert "keys" not in found["steps"]

        issuer.metadata = {"token_endpoint": "http://login.example/token"}
        found = await answer_about(run, "oidc", issuer=issuer.url)
        assert not found["ok"] and "token_endpoint must be an https:// URL" in found["steps"]["endpoints"]["words"]

        issuer.metadata = {"jwks_uri": f"{issuer.url}/.well-known/openid-configuration"}
        found = await answer_about(run, "oidc", issuer=issuer.url)
        assert not found["ok"] and "no set of at most" in found["steps"]["keys"]["words"]

        dead = await answer_about(run, "oidc", issuer="http://127.0.0.1:1")
        assert "cannot be reached" in dead["steps"]["discovery"]["words"]


async def test_a_set_without_a_usable_key_and_a_slow_provider_fail_their_step() -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def metadata(request: Request) -> Response:
        base = str(request.base_url).rstrip("/")
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse({"issuer": base, **{name: f"{base}/{path}" for name, path in names.items()}})

    async def jwks(request: Request) -> Response:
        return JSONResponse({"keys": [{"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"}]})

    async def authorize(request: Request) -> Response:
        asked.set()
        await answered.wait()
        return Response()

    routes = [
        Route("/.well-known/openid-configuration", metadata),
        Route("/jwks", jwks),
        Route("/authorize", authorize),
    ]
    async with running(Starlette(routes=routes), http=HttpSettings()) as url:
        config = {"client_id": "portal", "issuer": url}
        provider = read_provider("slow", ProviderDocument(name="Slow", type="oidc", config=config), SECRET)
        steps = {step.name: step for step in await check_provider(provider, (), seconds=1.5)}
        assert asked.is_set()
        answered.set()
        assert steps["keys"].ok is False and "none of its keys can be used" in steps["keys"].words
        assert steps["time"].ok is False and "within 1.5 s" in steps["time"].words
        assert steps["redirect_url"].ok is None


class Leading(AbstractResolver):
    """Every name leads to one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [{"hostname": host, "host": self.address, "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return None


async def test_a_name_that_leads_to_an_address_that_no_provider_may_have_is_not_asked() -> None:
    config = {"client_id": "portal", "issuer": "https://login.example.com"}
    provider = read_provider("far", ProviderDocument(name="Far", type="oidc", config=config))
    steps = {step.name: step for step in await check_provider(provider, (), resolver=Leading("169.254.169.254"))}
    assert steps["discovery"].ok is False and "does not connect to" in steps["discovery"].words
    assert steps["client_secret"].ok is None and "public client" in steps["client_secret"].words


async def test_a_provider_of_github_s_shape_and_pins_are_tested_as_far_as_they_can_be(tmp_path: Path) -> None:
    async def there(request: Request) -> Response:
        return Response(status_code=401 if request.url.path == "/user" else 200)

    routes = [Route("/authorize", there), Route("/user", there)]
    async with ruled_portal(tmp_path) as run, running(Starlette(routes=routes), http=HttpSettings()) as url:
        urls = {"auth_url": f"{url}/authorize", "token_url": f"{url}/token", "api_url": url}
        found = await answer_about(run, "github", **urls)
        assert found["ok"] and found["steps"]["api"]["ok"] and found["steps"]["token_endpoint"]["ok"] is None
        found = await answer_about(run, "github", **{**urls, "auth_url": f"{url}/gone"})
        assert not found["ok"] and "404" in found["steps"]["authorization_endpoint"]["words"]
        pins = await answer_about(run, "onetimepin")
        assert not pins["ok"] and "console" in pins["steps"]["mail"]["words"]
