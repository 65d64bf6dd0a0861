"""A portal with identity that is ruled by its admin API, on a real server, and Cloudflare's SDK for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cloudflare import AsyncCloudflare

from portal.admin import Admin
from portal.app.access import Identified, identified
from portal.app.admin import administered
from portal.app.asgi import create_app, running
from portal.calls.caller import Caller
from portal.config.config import parse_config
from portal.servers.servers import Servers
from portal.state.clock import utc_now
from tests.portal.login.guarded import EMAIL, PASSWORD
from tests.portal.portals import Kept


@dataclass
class Ruled:
    """`console` is what the operator was shown."""

    url: str
    found: Identified
    admin: Admin
    sdk: AsyncCloudflare
    token: str = field(repr=False)
    console: list[str] = field(default_factory=list)

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def account(self) -> str:
        return self.admin.account_id

    @property
    def access(self) -> Any:
        return self.sdk.zero_trust.access

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def at(self, path: str) -> str:
        return f"{self.url}/client/v4/accounts/{self.account}{path}"

    async def person(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        """A local account."""
        await self.found.identity.login.administrators.create(email, "Ada", password, by="test")

    async def portal_app(self, **said: Any) -> Any:
        """The application of this portal, with these policies and whatever else it says."""
        return await self.access.applications.create(
            account_id=self.account, type="mcp_portal", name="Here", domain="localhost", **said
        )


@asynccontextmanager
async def ruled_portal(
    folder: Path, *, upstream: str = "", now: Callable[[], datetime] = utc_now, **identity: Any
) -> AsyncIterator[Ruled]:
    """`identity` is that section of the configuration. Any `upstream` is the server `fix`."""
    console: list[str] = []
    servers = {"fix": {"url": upstream}} if upstream else {}
    portal = {"state": f"sqlite:///{folder / 'state.db'}", "identity": identity}
    config = parse_config({"mcpServers": servers, "portal": portal})
    async with (
        identified(config, console.append, now=now) as found,
        Servers(config.servers) as running_servers,
        administered(found.store, running_servers, config, now=now) as administration,
    ):
        await running_servers.settled()
        caller = Caller(running_servers, Kept(), gate=found.gate(running_servers))
        app = create_app(running_servers, caller, None, config.portal, identity=found.identity, access=found.access)
        app.router.routes.append(administration.route)
        made = await administration.admin.tokens.create_with_all("test", "test")
        async with running(app, identity=True) as url:
            found.identity.assertions.issuer = url
            async with AsyncCloudflare(api_token=made.value, base_url=f"{url}/client/v4", max_retries=0) as sdk:
                yield Ruled(url, found, administration.admin, sdk, made.value, console)
