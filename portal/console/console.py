"""The console of an instance: its parts, their order in the navigation, and their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.routing import Route

from portal.admin import (
    ACCOUNT,
    API_TOKENS,
    APPROVALS,
    LOGS,
    ORGANIZATION,
    POLICIES,
    PORTALS,
    SERVICE_TOKENS,
    ZERO_TRUST,
    Operations,
)
from portal.console.access_groups import AccessGroupPages
from portal.console.administrator_roles import RoleRulePages
from portal.console.administrators import AdministratorPages
from portal.console.api_tokens import ApiTokenPages
from portal.console.applications import ApplicationPages
from portal.console.approvals import ApprovalQueuePages
from portal.console.configured import ConfiguredPages
from portal.console.data_flow import DataFlowPages
from portal.console.dlp import DlpPages
from portal.console.dlp_entries import DlpEntryPages
from portal.console.frame import ConsoleFrame, ConsoleSection, MenuEntry, MenuGroup, RoleOf
from portal.console.gateway import GatewayPages
from portal.console.lists import ListPages
from portal.console.login_methods import LoginMethodPages
from portal.console.logpush import LogpushPages
from portal.console.logs import LogPages
from portal.console.overview import OverviewPages
from portal.console.people import PeoplePages
from portal.console.policies import PolicyPages
from portal.console.policy_tester import PolicyTesterPages
from portal.console.portal_servers import PortalServerPages
from portal.console.portals import PortalPages
from portal.console.quotas import QuotaPages
from portal.console.runs import RunPages
from portal.console.server_credentials import ServerCredentialPages
from portal.console.server_definitions import ServerDefinitionPages
from portal.console.server_tools import ServerToolPages
from portal.console.servers import ServerPages
from portal.console.service_tokens import ServiceTokenPages
from portal.console.settings import SettingsPages
from portal.console.start import StartPages
from portal.home import Connecting
from portal.http import PortalAddress
from portal.login import Login
from portal.pages import Assets, assets_route
from portal.state import Clock, utc_now

OVERVIEW = (
    MenuEntry("overview", "Overview", "/admin"),
    MenuEntry("runs", "Runs", "/admin/runs", LOGS),
    MenuEntry("approvals", "Approvals", "/admin/approvals", APPROVALS),
    MenuEntry("logs", "Logs", "/admin/logs", LOGS),
)
MCP = (
    MenuEntry("servers", "MCP servers", "/admin/servers", PORTALS),
    MenuEntry("portals", "MCP portals", "/admin/portals", PORTALS),
)
ACCESS = (
    MenuEntry("policies", "Policies", "/admin/policies", POLICIES),
    MenuEntry("policy-tester", "Policy tester", "/admin/policy-tester", POLICIES),
    MenuEntry("people", "People", "/admin/people", ORGANIZATION),
    MenuEntry("login-methods", "Login methods", "/admin/login-methods", ORGANIZATION),
    MenuEntry("service-tokens", "Service tokens", "/admin/service-tokens", SERVICE_TOKENS),
)
TRAFFIC = (
    MenuEntry("gateway", "Gateway rules", "/admin/gateway", ZERO_TRUST),
    MenuEntry("dlp", "DLP profiles", "/admin/dlp", ZERO_TRUST),
    MenuEntry("data-flow", "Data flow", "/admin/data-flow", PORTALS),
    MenuEntry("quotas", "Quotas", "/admin/quotas", PORTALS),
    MenuEntry("logpush", "Logpush jobs", "/admin/logpush", LOGS),
)
INSTANCE = (
    MenuEntry("administrators", "Administrators", "/admin/administrators", ACCOUNT),
    MenuEntry("api-tokens", "API tokens", "/admin/api-tokens", API_TOKENS),
    MenuEntry("settings", "Settings", "/admin/settings", ORGANIZATION),
    MenuEntry("start", "First steps", "/admin/start", ORGANIZATION),
)
MENU: Sequence[MenuGroup] = (
    MenuGroup("", OVERVIEW),
    MenuGroup("MCP", MCP),
    MenuGroup("Access", ACCESS),
    MenuGroup("Traffic", TRAFFIC),
    MenuGroup("Instance", INSTANCE),
)
SECTIONS: Sequence[Callable[[ConsoleFrame], ConsoleSection]] = (
    OverviewPages,
    RunPages,
    ApprovalQueuePages,
    LogPages,
    StartPages,
    ServerPages,
    ServerToolPages,
    ServerDefinitionPages,
    ServerCredentialPages,
    PortalPages,
    PortalServerPages,
    PolicyTesterPages,
    ApplicationPages,
    PolicyPages,
    AccessGroupPages,
    ListPages,
    LoginMethodPages,
    ServiceTokenPages,
    ApiTokenPages,
    SettingsPages,
    PeoplePages,
    # The rules before the administrators: an id of one could be the name of that page.
    RoleRulePages,
    AdministratorPages,
    GatewayPages,
    DlpPages,
    DlpEntryPages,
    DataFlowPages,
    QuotaPages,
    LogpushPages,
    ConfiguredPages,
)


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
        self._routes = [assets_route(assets)]
        self._routes += [route for section in SECTIONS for route in section(frame).routes()]

    def routes(self) -> list[Route]:
        return self._routes


CONSOLE_FORMS = ("/admin/",)
"""Below these paths bodies are forms."""
