"""A portal with quotas, whose time a test moves: a real server, real clients; who calls is said by the URL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from codemode import CodeTool
from portal.access import LiveAccess
from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.identity import Identity
from portal.quotas import Quotas
from tests.portal.access.guarded import ADA, BOB, EVE, CallerInUrl, access, policy
from tests.portal.portals import Kept, opened
from tests.portal.upstreams.hosting import Hosted

STRANGER = Identity(ip="203.0.113.9")
CALLERS = {"ada": ADA, "bob": BOB, "eve": EVE, "stranger": STRANGER}
PASS = policy("pass", "bypass", {"everyone": {}})


class Hands:
    """A clock that somebody moves."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@dataclass
class Limited:
    url: str
    instance: Instance
    kept: Kept
    clock: Hands
    document: dict[str, Any]

    def mcp(self, caller: str = "ada", mode: str = "") -> str:
        return f"{self.url}/mcp?caller={caller}{mode}"

    def code(self, caller: str = "ada") -> str:
        return self.mcp(caller, "&codemode=search_and_execute")

    async def limit(self, quotas: Sequence[Mapping[str, Any]]) -> None:
        """Take up a changed document with these quotas."""
        changed = {**self.document, "portal": {**self.document["portal"], "quotas": list(quotas)}}
        assert await self.instance.apply(parse_config(changed, env={})) == ()


@asynccontextmanager
async def limited(
    upstreams: Mapping[str, Hosted],
    quotas: Sequence[Mapping[str, Any]],
    *,
    code_tool: CodeTool | None = None,
    policies: Mapping[str, Any] | None = None,
    clock: Hands | None = None,
    **settings: Any,
) -> AsyncIterator[Limited]:
    """`policies` is an access document; everybody may do everything without."""
    clock, kept = clock or Hands(), Kept()
    everything = {"portal": {"policies": [PASS]}, "servers": [{"id": id, "policies": [PASS]} for id in upstreams]}
    live = LiveAccess(access(policies or everything))
    servers = {id: {"url": upstream.url} for id, upstream in upstreams.items()}
    document = {"mcpServers": servers, "portal": {"quotas": list(quotas), **settings}}
    parts = Parts(code=code_tool, records=kept, access=live, quotas=Quotas(clock))
    async with opened(document, parts=parts) as instance:
        await instance.servers.settled()
        instance.app.add_middleware(CallerInUrl, callers=CALLERS)
        async with serving(instance) as url:
            yield Limited(url, instance, kept, clock, document)
