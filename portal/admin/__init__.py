"""The admin API in Cloudflare's shapes, over the state. Its chapter is `README.md`."""

from portal.admin.api.actions import Actions, KeyedPage, NumberedPage, Operations
from portal.admin.api.answers import PageInfo, listing_of
from portal.admin.api.application import PREFIX, UPLOADS, AdminSettings
from portal.admin.api.errors import AdminError, broken_message, invalid, not_found
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.permissions import (
    ACCOUNT,
    ALL,
    API_TOKENS,
    CUSTOM_PAGES,
    LOGS,
    ORGANIZATION,
    POLICIES,
    PORTALS,
    POSTURE,
    SERVICE_TOKENS,
    ZERO_TRUST,
    Area,
    permissions_of_role,
)
from portal.admin.applying import apply_changes, export_objects, read_existing
from portal.admin.apps import ShownApp
from portal.admin.build import Admin, create_admin
from portal.admin.declared import Change, DeclaredError, Existing, Plan, plan
from portal.admin.dlp_profiles import ProfileUses
from portal.admin.gateway import rule_of_profiles
from portal.admin.login_settings import ShownOrganization
from portal.admin.organization import ShownProvider
from portal.admin.pins import PendingApproval
from portal.admin.policy_test import (
    LaterGuard,
    PolicyTester,
    QuestionUnfit,
    TestedFact,
    TestedPolicy,
    TestedRule,
    TestedServer,
    TestedTool,
    TesterAnswer,
    TesterQuestion,
)
from portal.admin.roles import AdministratorRoles
from portal.admin.runs import RunPageInfo, RunWithCalls, ShownRun
from portal.admin.servers import ShownServer, Synced
from portal.admin.upstreams import RegistryUpstreams, Upstreams

__all__ = [
    "ACCOUNT",
    "ALL",
    "API_TOKENS",
    "CUSTOM_PAGES",
    "LOGS",
    "ORGANIZATION",
    "POLICIES",
    "PORTALS",
    "POSTURE",
    "PREFIX",
    "SERVICE_TOKENS",
    "UPLOADS",
    "ZERO_TRUST",
    "Actions",
    "Admin",
    "AdminError",
    "AdminSettings",
    "AdministratorRoles",
    "ApiCaller",
    "ApiRequest",
    "Area",
    "Change",
    "DeclaredError",
    "Existing",
    "KeyedPage",
    "LaterGuard",
    "NumberedPage",
    "Operation",
    "Operations",
    "PageInfo",
    "PendingApproval",
    "Plan",
    "PolicyTester",
    "ProfileUses",
    "QuestionUnfit",
    "RegistryUpstreams",
    "RunPageInfo",
    "RunWithCalls",
    "ShownApp",
    "ShownOrganization",
    "ShownProvider",
    "ShownRun",
    "ShownServer",
    "Synced",
    "TestedFact",
    "TestedPolicy",
    "TestedRule",
    "TestedServer",
    "TestedTool",
    "TesterAnswer",
    "TesterQuestion",
    "Upstreams",
    "apply_changes",
    "broken_message",
    "create_admin",
    "export_objects",
    "invalid",
    "listing_of",
    "not_found",
    "permissions_of_role",
    "plan",
    "read_existing",
    "rule_of_profiles",
]
