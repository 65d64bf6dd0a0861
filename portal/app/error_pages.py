"""What an error page shows of the portal that a browser asked: its name and design, its MCP endpoint, its home page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from portal.app.definitions import host_url
from portal.http import ModeRefused, read_mode_query
from portal.state import StateError

if TYPE_CHECKING:
    from portal.app.instance import Instance
    from portal.app.portal import Portal
    from portal.pages import Design

UNKNOWN_HOST = 421


async def error_page(instance: Instance, scope: Scope, status: int, body: bytes) -> Response:
    """The page for a request that was answered with this status and body."""
    # The libraries of the pages are loaded with the first one.
    from portal.pages import Surroundings, notice

    if status == UNKNOWN_HOST:
        # Nothing of a portal is shown under a name that is not its own.
        return notice(status, body, Surroundings())
    headers = Headers(scope=scope)
    served, prefix, path = instance.addresses.find(headers.get("host", ""), scope["path"])
    portal = instance.portals[served.definition.id]
    by_name = host_url(served.definition, instance.config.portal.public_url) if not prefix else ""
    origin = by_name or instance.config.portal.public_url or f"{scope['scheme']}://{headers.get('host', '')}"
    within = path.removeprefix(prefix)
    around = Surroundings(
        design=await _design(portal),
        endpoint=f"{origin}{prefix}{portal.path}",
        home=f"{prefix}/",
        at_endpoint=within == portal.path,
        mistake=_mistake(scope["query_string"]),
    )
    return notice(status, body, around)


def _mistake(query: bytes) -> str:
    """What is wrong with the parameters that choose a mode, "" for nothing."""
    try:
        read_mode_query(query)
    except ModeRefused as error:
        return str(error)
    return ""


async def _design(portal: Portal) -> Design:
    from portal.pages import Design

    if portal.identity is not None:
        try:
            return (await portal.identity.login.directory.rules()).design
        except StateError:
            # The page is about something else, and can do without the settings of the login.
            pass
    return Design(name=portal.definition.name)
