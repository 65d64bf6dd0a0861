"""The console of an instance: its parts, their order in the navigation, and their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.routing import Route

from portal.admin import LOGS, PORTALS, Operations
from portal.console.frame import ConsoleFrame, ConsoleSection, MenuEntry, MenuGroup, RoleOf
from portal.console.runs import RunPages
from portal.console.servers import ServerPages
from portal.console.start import StartPages
from portal.console.visit import Answer, Visit, Went
from portal.home import Connecting
from portal.http import PortalAddress
from portal.login import Login
from portal.pages import Assets, assets_route
from portal.state import Clock, utc_now

MENU: Sequence[MenuGroup] = (
    MenuGroup("", (MenuEntry("runs", "Runs", "/admin/runs", LOGS),)),
    MenuGroup("MCP", (MenuEntry("servers", "MCP servers", "/admin/servers", PORTALS),)),
)
SECTIONS: Sequence[Callable[[ConsoleFrame], ConsoleSection]] = (RunPages, ServerPages, StartPages)


class AdminConsole:
    """The pages under `/admin`. `login` is that of the portal at which administrators sign in; `role_of` says what
    somebody may do here."""

    def __init__(
        self,
        login: Login,
        operations: Operations,
        role_of: RoleOf,
        connect: Callable[[PortalAddress], Connecting],
        assets: Assets,
        now: Clock = utc_now,
    ) -> None:
        frame = ConsoleFrame(login, operations, role_of, MENU, connect, assets, now)
        self._routes = [frame.page("", "", _first)]
        self._routes.append(assets_route(assets))
        self._routes += [route for section in SECTIONS for route in section(frame).routes()]

    def routes(self) -> list[Route]:
        return self._routes


async def _first(visit: Visit) -> Answer:
    """`/admin` leads to the first part."""
    return Went(MENU[0].sections[0].path)


CONSOLE_FORMS = ("/admin/",)
"""Below these paths bodies are forms."""
