"""A portal to attack: with everything switched on, and with one credential of each kind that opens a door of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from portal.app import Instance
from portal.login import OneTimePin
from tests.hostile.client import Attacker, Header
from tests.hostile.requests import Door, Known
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.hosting import hosted

_PARAMETER = re.compile(r"\{([a-z_]+)(?::[a-z]+)?\}")


@dataclass(frozen=True)
class Target:
    """A portal that is attacked, and what the attacker knows of it."""

    portal: Guarded
    known: Known

    @property
    def attacker(self) -> Attacker:
        return Attacker(self.portal.url)


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(hosted())
        # Each request may come from an address of its own, or the bounds for one address would answer most of them.
        proxies = [ip_network("127.0.0.0/8")]
        providers = (OneTimePin(id="onetimepin", name="One-time PIN"),)
        portal = await stack.enter_async_context(
            guarded_portal(folder, upstream=upstream.url, code="workers", proxies=proxies, providers=providers)
        )
        await portal.account()
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        browser = await stack.enter_async_context(browser_at(portal.url))
        agent = Agent(portal, http)
        tokens = await agent.log_in(browser)
        # A consent that waits, and the form for it.
        page = await browser.open(agent.authorize_url())
        pending = parse_qs(urlsplit(page.url).query)["request"][0]
        form_token = page.form("/authorize/consent").fields["form_token"]
        service = await portal.identity.shared.service_tokens.create("ci", by="test")
        admin = await portal.admin.tokens.create_with_all("attacked", "test")
        session = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.client.cookies.jar)
        fields = dict(parse_qsl(urlsplit(agent.authorize_url()).query)) | {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "token": "none",
            "code": "none",
            "code_verifier": agent.verifier,
            "request": pending,
            "form_token": form_token,
            "email": EMAIL,
            "password": PASSWORD,
            "answer": "allow",
            "return": "/",
            "server": "fix",
        }
        credentials: tuple[tuple[Header, ...], ...] = (
            ((b"Authorization", f"Bearer {tokens['access_token']}".encode()),),
            ((b"Authorization", f"Bearer {admin.value}".encode()),),
            (
                (b"CF-Access-Client-Id", service.stored.document.client_id.encode()),
                (b"CF-Access-Client-Secret", service.client_secret.encode()),
            ),
            ((b"Cookie", session.encode()), (b"Origin", portal.url.encode())),
        )
        apps: list[ASGIApp] = [portal.instance.app, *(one.app for one in portal.instance.portals.values())]
        doors = {door for app in apps for door in doors_of(_routes(app), portal.instance)}
        known = Known(tuple(sorted(doors, key=repr)), fields, credentials, portal.admin.account_id)
        yield Target(portal, known)


def _routes(app: ASGIApp) -> Sequence[BaseRoute]:
    """The routes of an instance's application, or of a portal's."""
    within = app.app if isinstance(app, ExceptionMiddleware) else app
    assert isinstance(within, Starlette | Router)
    return within.routes


def doors_of(routes: Iterable[BaseRoute], instance: Instance, above: str = "") -> Iterator[Door]:
    """The paths of these routes and of the applications mounted among them."""
    for route in routes:
        if isinstance(route, Mount):
            yield from doors_of(route.routes, instance, above + _PARAMETER.sub("{}", route.path))
        elif isinstance(route, Route):
            path = above + _PARAMETER.sub("{}", route.path)
            methods = tuple(sorted(route.methods or ("GET", "POST", "DELETE")))
            yield Door(path, methods, instance.shared.edge.takes_forms(path.replace("{}", "x")))
