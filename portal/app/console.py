"""The console of an instance, at the document's own portal: local administrators sign in there."""

from __future__ import annotations

from starlette.routing import BaseRoute

from portal.admin import ALL
from portal.app.shared import Shared
from portal.console import AdminConsole, ConsoleRole
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login import Login


def console_routes(shared: Shared, login: Login) -> list[BaseRoute]:
    """The routes of the console; none where there is no admin API."""
    if shared.admin is None:
        return []
    return [*AdminConsole(login, shared.admin.actions(), role_of, now=shared.parts.now).routes()]


async def role_of(identity: Identity) -> ConsoleRole | None:
    """The role of somebody in the console: every local account is an administrator."""
    return ConsoleRole("owner", ALL) if identity.idp_id == LOCAL_ACCOUNTS else None
