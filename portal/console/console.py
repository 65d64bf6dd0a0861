"""The console of an instance: its parts, their order in the navigation, and their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.admin import LOGS, PORTALS, Operations
from portal.console.frame import ConsoleFrame, ConsoleSection, MenuEntry, MenuGroup, RoleOf
from portal.console.logs import LogPages
from portal.console.overview import OverviewPages
from portal.console.servers import ServerPages
from portal.console.start import StartPages
from portal.home import Connecting
from portal.http import PortalAddress
from portal.login import Login
from portal.pages import ASSET_HEADERS, ASSETS_PATH, Assets
from portal.state import Clock, utc_now

MENU: Sequence[MenuGroup] = (
    MenuGroup("", (MenuEntry("overview", "Overview", "/admin"), MenuEntry("logs", "Logs", "/admin/logs", LOGS))),
    MenuGroup("MCP", (MenuEntry("servers", "MCP servers", "/admin/servers", PORTALS),)),
)
SECTIONS: Sequence[Callable[[ConsoleFrame], ConsoleSection]] = (OverviewPages, LogPages, ServerPages, StartPages)


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
        self._assets = assets
        self._routes = [Route(f"{ASSETS_PATH}/{{hash}}/{{name}}", self._asset, methods=["GET"])]
        self._routes += [route for section in SECTIONS for route in section(frame).routes()]

    def routes(self) -> list[Route]:
        return self._routes

    async def _asset(self, request: Request) -> Response:
        """A script or style sheet. Everybody may have it: it is the same in every portal of this version."""
        asset = self._assets.at(request.path_params["hash"], request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        return Response(asset.content, headers=ASSET_HEADERS, media_type=asset.media_type)


CONSOLE_FORMS = ("/admin/",)
"""Below these paths bodies are forms."""
