"""The console of an instance, at the document's own portal: local administrators sign in there."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import BaseRoute

from portal.admin import Admin, permissions_of_role
from portal.app.shared import Shared
from portal.console import CONSOLE_PATH, AdminConsole, ConsoleRole
from portal.home import Connecting
from portal.http import PortalAddress
from portal.identity import Identity
from portal.login import Login
from portal.pages import shipped_assets


class ConsoleDoor:
    """Who may enter the console of an instance, and its routes."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def routes(self, login: Login, connect: Callable[[PortalAddress], Connecting]) -> list[BaseRoute]:
        """None where there is no admin API. `connect` says how an agent connects to the portal at an address."""
        admin = self._shared.admin
        if admin is None:
            return []
        console = AdminConsole(
            login, admin.actions(), self.role_of, connect, shipped_assets(), now=self._shared.parts.now
        )
        return [*console.routes()]

    async def role_of(self, identity: Identity) -> ConsoleRole | None:
        """What somebody may do in the console, None for nothing."""
        admin: Admin | None = self._shared.admin
        role = await admin.roles.of(identity) if admin is not None else None
        return ConsoleRole(role, permissions_of_role(role)) if role is not None else None

    async def path_for(self, identity: Identity) -> str:
        """The path of the console for those who may enter it, "" for everybody else."""
        return CONSOLE_PATH if await self.role_of(identity) is not None else ""
