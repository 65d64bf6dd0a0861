"""Portals with policies for tests: real servers and clients; who calls is said by the URL, which only tests allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from codemode import CodeTool
from portal.access import Access, LiveAccess, Signals, Sources, read_document
from portal.app import Parts, serving
from portal.calls import Gate
from portal.identity import IDENTITY, Group, Identity
from portal.learning import Learning
from portal.servers import Servers
from tests.portal.portals import Kept, opened
from tests.portal.upstreams.hosting import Hosted

SOURCES = Sources(
    identity_providers={"okta": "okta", "oidc": "oidc"}, service_tokens=frozenset({"robot"}), geo=True, user_risk=True
)
ADA = Identity(id="ada", email="ada@example.com", idp_id="okta", groups=(Group(name="engineers"),), ip="192.0.2.1")
BOB = Identity(id="bob", email="bob@example.com", idp_id="okta", groups=(Group(name="support"),), ip="192.0.2.2")
EVE = Identity(id="eve", email="eve@elsewhere.example", idp_id="okta", ip="198.51.100.9")
ROBOT = Identity(service_token_id="robot")
EVERYONE: dict[str, Any] = {"decision": "allow", "include": [{"everyone": {}}]}


def group(name: str) -> dict[str, Any]:
    return {"okta": {"name": name, "identity_provider_id": "okta"}}


def policy(id: str, decision: str, *include: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id, "name": id.title(), "decision": decision, "include": list(include), **more}


STAFF = policy("staff", "allow", {"email_domain": {"domain": "example.com"}})
ENGINEERS = policy("engineers", "allow", group("engineers"))
ANYBODY = policy("anybody", "allow", {"everyone": {}})


def access(document: Mapping[str, Any], sources: Sources = SOURCES) -> Access:
    return Access(read_document(document), sources)


class CallerInUrl:
    """What stands in for authentication: `?caller=ada`."""

    def __init__(self, app: ASGIApp, callers: Mapping[str, Identity]) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            named = parse_qs(scope["query_string"].decode()).get("caller", [""])[0]
            if named in self._callers:
                scope[IDENTITY] = self._callers[named]
        await self._app(scope, receive, send)


@dataclass
class Guarded:
    """A running portal with policies."""

    url: str
    live: LiveAccess
    servers: Servers
    kept: Kept
    callers: dict[str, Identity]

    def mcp(self, caller: str, mode: str = "") -> str:
        return f"{self.url}/mcp?caller={caller}{mode}"

    def code(self, caller: str) -> str:
        return self.mcp(caller, "&codemode=search_and_execute")

    def decide_by(self, document: Mapping[str, Any]) -> None:
        """Other policies, from now on."""
        self.live.replace(access(document))


@asynccontextmanager
async def guarded(
    upstreams: Mapping[str, Hosted],
    document: Mapping[str, Any],
    *,
    code_tool: CodeTool | None = None,
    signals: Signals | None = None,
    sources: Sources = SOURCES,
    gate: Gate | None = None,
    runs: Mapping[str, Any] | None = None,
    learning: Learning | None = None,
) -> AsyncIterator[Guarded]:
    """`gate` decides about calls in the place of the policies; `runs` is that section of the configuration. With
    `learning` the output types of all tools are learned."""
    kept = Kept()
    callers = {"ada": ADA, "bob": BOB, "eve": EVE, "robot": ROBOT}
    live = LiveAccess(access(document, sources), signals)
    parts = Parts(code=code_tool, records=kept, access=live, gate=gate, learning=learning)
    servers = {name: {"url": hosted.url, "learnOutput": learning is not None} for name, hosted in upstreams.items()}
    section = {} if runs is None else {"portal": {"runs": dict(runs)}}
    async with learning or nullcontext(), opened({"mcpServers": servers, **section}, parts=parts) as instance:
        await instance.servers.settled()
        instance.app.add_middleware(CallerInUrl, callers=callers)
        async with serving(instance) as url:
            yield Guarded(url, live, instance.servers, kept, callers)
