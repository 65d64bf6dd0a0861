"""The portal's MCP endpoint: what clients of both protocol generations see, and how their requests reach upstreams."""

from portal.endpoint.approval_prompts import ApprovalPrompts
from portal.endpoint.endpoint import Endpoint
from portal.endpoint.health import health, status
from portal.endpoint.login_prompts import LoginPage
from portal.endpoint.modes import ModeRefused
from portal.endpoint.portal_tools import PersonServer, PersonServers
from portal.endpoint.programs import CodeRunner
from portal.endpoint.sight import ServerSight, Sight, ToolSight, sight_in
from portal.endpoint.views import Contents

__all__ = [
    "ApprovalPrompts",
    "CodeRunner",
    "Contents",
    "Endpoint",
    "LoginPage",
    "ModeRefused",
    "PersonServer",
    "PersonServers",
    "ServerSight",
    "Sight",
    "ToolSight",
    "health",
    "sight_in",
    "status",
]
