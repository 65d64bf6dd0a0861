"""The home page of a portal where nobody signs in: how to connect to it."""

from __future__ import annotations

from starlette.responses import Response

from portal.config import CodeModePolicy
from portal.home.offer import connecting
from portal.home.setups import server_name
from portal.pages import Design, standing_page


def public_home(name: str, endpoint: str, policy: CodeModePolicy, portal: str = "") -> Response:
    """The page of the portal `portal` that is called `name`, whose MCP endpoint is at the URL `endpoint`."""
    design = Design(name=name)
    connect = connecting(endpoint, policy, server_name(name, portal or "codemode"))
    return standing_page(
        "home.html",
        design,
        script="copy.js",
        signs_in=False,
        who="",
        agents=(),
        servers_link="",
        console="",
        servers=(),
        runs=None,
        approvals=None,
        connect=connect,
    )
