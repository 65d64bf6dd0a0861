"""The console of an instance, at the document's own portal: local administrators sign in there."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import BaseRoute

from portal.admin import ALL
from portal.app.shared import Shared
from portal.console import CONSOLE_PATH, AdminConsole, ConsoleRole
from portal.home import Connecting
from portal.http import PortalAddress
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login import Login
from portal.pages import Assets


def console_routes(shared: Shared, login: Login, connect: Callable[[PortalAddress], Connecting]) -> list[BaseRoute]:
    """The routes of the console; none where there is no admin API. `connect` says how an agent connects to the portal
    at an address."""
    if shared.admin is None:
        return []
    return [*AdminConsole(login, shared.admin.actions(), role_of, connect, Assets(), now=shared.parts.now).routes()]


async def role_of(identity: Identity) -> ConsoleRole | None:
    """The role of somebody in the console: every local account is an administrator."""
    return ConsoleRole("owner", ALL) if identity.idp_id == LOCAL_ACCOUNTS else None


async def path_for(identity: Identity) -> str:
    """The path of the console for those who may enter it, "" for everybody else."""
    return CONSOLE_PATH if await role_of(identity) is not None else ""
