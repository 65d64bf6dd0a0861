"""The admin API in Cloudflare's shapes, over the state. Its chapter is `README.md`."""

from portal.admin.api.actions import Actions, KeyedPage, NumberedPage, Operations
from portal.admin.api.answers import PageInfo, listing_of
from portal.admin.api.application import PREFIX, UPLOADS, AdminSettings
from portal.admin.api.errors import AdminError, broken_message, forbidden, invalid, not_found
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
from portal.admin.lists import ShownItem, ShownList, WholeList
from portal.admin.login_settings import ShownOrganization
from portal.admin.members import NewMember, ResetMember, ShownMember
from portal.admin.names import ShownName
from portal.admin.organization import NewServiceTokenAnswer, ShownPage, ShownProvider, ShownServiceToken
from portal.admin.pins import PendingApproval
from portal.admin.policies import ShownGroup, ShownPolicy
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
from portal.admin.portals import ShownPortal
from portal.admin.role_rules import ShownRoles
from portal.admin.roles import AdministratorRoles, PermissionGrant, ShownRole, role_id
from portal.admin.servers import ShownServer, Synced
from portal.admin.signing import ShownKeys
from portal.admin.tokens import ListedPermission, NewToken, ShownToken, TokenValue
from portal.admin.upstreams import RegistryUpstreams, Upstreams
from portal.admin.users import RevokedCounts, ShownAgent, ShownSession, ShownUser

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
    "ListedPermission",
    "NewMember",
    "NewServiceTokenAnswer",
    "NewToken",
    "NumberedPage",
    "Operation",
    "Operations",
    "PageInfo",
    "PendingApproval",
    "PermissionGrant",
    "Plan",
    "PolicyTester",
    "ProfileUses",
    "QuestionUnfit",
    "RegistryUpstreams",
    "ResetMember",
    "RevokedCounts",
    "ShownAgent",
    "ShownApp",
    "ShownGroup",
    "ShownItem",
    "ShownKeys",
    "ShownList",
    "ShownMember",
    "ShownName",
    "ShownOrganization",
    "ShownPage",
    "ShownPolicy",
    "ShownPortal",
    "ShownProvider",
    "ShownRole",
    "ShownRoles",
    "ShownServer",
    "ShownServiceToken",
    "ShownSession",
    "ShownToken",
    "ShownUser",
    "Synced",
    "TestedFact",
    "TestedPolicy",
    "TestedRule",
    "TestedServer",
    "TestedTool",
    "TesterAnswer",
    "TesterQuestion",
    "TokenValue",
    "Upstreams",
    "WholeList",
    "apply_changes",
    "broken_message",
    "create_admin",
    "export_objects",
    "forbidden",
    "invalid",
    "listing_of",
    "not_found",
    "permissions_of_role",
    "plan",
    "read_existing",
    "role_id",
    "rule_of_profiles",
]
