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
)
from portal.admin.applying import apply_changes, export_objects, read_existing
from portal.admin.apps import ShownApp
from portal.admin.build import Admin, create_admin
from portal.admin.capabilities import Override, ShownOverride, offered
from portal.admin.credentials import AuthConfigSummary
from portal.admin.declared import Change, DeclaredError, Existing, Plan, plan
from portal.admin.dlp_profiles import ProfileUses
from portal.admin.fixes import fix_in_document
from portal.admin.gateway import rule_of_profiles
from portal.admin.login_settings import ShownOrganization
from portal.admin.organization import ShownProvider, ShownServiceToken
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
from portal.admin.portals import ShownPortal, ShownPortalServer
from portal.admin.served import OWN_PORTAL, ServedPortal, ServedPortalServer, ServedServer, Serving
from portal.admin.server_logins import ShownLoginRequest
from portal.admin.servers import ShownServer, Synced
from portal.admin.upstreams import RegistryUpstreams, Upstreams

__all__ = [
    "ACCOUNT",
    "ALL",
    "API_TOKENS",
    "CUSTOM_PAGES",
    "LOGS",
    "ORGANIZATION",
    "OWN_PORTAL",
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
    "ApiCaller",
    "ApiRequest",
    "Area",
    "AuthConfigSummary",
    "Change",
    "DeclaredError",
    "Existing",
    "KeyedPage",
    "LaterGuard",
    "NumberedPage",
    "Operation",
    "Operations",
    "Override",
    "PageInfo",
    "PendingApproval",
    "Plan",
    "PolicyTester",
    "ProfileUses",
    "QuestionUnfit",
    "RegistryUpstreams",
    "ServedPortal",
    "ServedPortalServer",
    "ServedServer",
    "Serving",
    "ShownApp",
    "ShownLoginRequest",
    "ShownOrganization",
    "ShownOverride",
    "ShownPortal",
    "ShownPortalServer",
    "ShownProvider",
    "ShownServer",
    "ShownServiceToken",
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
    "fix_in_document",
    "invalid",
    "listing_of",
    "not_found",
    "offered",
    "plan",
    "read_existing",
    "rule_of_profiles",
]
