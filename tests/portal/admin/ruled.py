"""A portal with identity that is ruled by its admin API, on a real server, and Cloudflare's SDK for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cloudflare import AsyncCloudflare

from portal.access import Access
from portal.admin import Admin
from portal.app import Instance, Parts, serving
from portal.app.identity import PortalIdentity
from portal.state import Store, utc_now
from tests.portal.login.guarded import EMAIL, PASSWORD
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state


@dataclass
class Ruled:
    """`console` is what the operator was shown."""

    url: str
    instance: Instance
    admin: Admin
    sdk: AsyncCloudflare
    token: str = field(repr=False)
    console: list[str] = field(default_factory=list)

    @property
    def identity(self) -> PortalIdentity:
        assert self.instance.own.identity is not None
        return self.instance.own.identity

    @property
    def access_now(self) -> Access:
        """What decides at this moment."""
        assert self.instance.own.access is not None
        return self.instance.own.access.current

    @property
    def store(self) -> Store:
        return self.instance.shared.require_store()

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
        await self.identity.administrators.create(email, "Ada", password, by="test")

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
    document = {
        "mcpServers": {"fix": {"url": upstream}} if upstream else {},
        "portal": {"state": new_state(folder), "identity": identity},
    }
    parts = Parts(code=None, records=Kept(), now=now)
    async with opened(document, console.append, parts=parts) as instance:
        await instance.servers.settled()
        assert instance.admin is not None
        made = await instance.admin.tokens.create_with_all("test", "test")
        async with (
            serving(instance) as url,
            AsyncCloudflare(api_token=made.value, base_url=f"{url}/client/v4", max_retries=0) as sdk,
        ):
            yield Ruled(url, instance, instance.admin, sdk, made.value, console)
