"""The admin API in Cloudflare's shapes, over the state. Its chapter is `README.md`."""

from portal.admin.analytics import Amount
from portal.admin.api.actions import Actions, KeyedPage, NumberedPage, Operations
from portal.admin.api.answers import PageInfo, listing_of
from portal.admin.api.application import PREFIX, UPLOADS, AdminSettings
from portal.admin.api.errors import AdminError, broken_message, forbidden, invalid, not_found
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.permissions import (
    ACCOUNT,
    ALL,
    API_TOKENS,
    APPROVALS,
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
from portal.admin.api.revisions import ChangedMeanwhile, Marks, read_if_match
from portal.admin.applying import apply_changes, export_objects, read_existing
from portal.admin.approval_shapes import ApprovalPageInfo, DecisionResult, ShownApproval, ShownGrant
from portal.admin.apps import ShownApp
from portal.admin.build import Admin, create_admin
from portal.admin.capabilities import Override, ShownOverride, offered
from portal.admin.configured import (
    Configured,
    ConfiguredFlowRule,
    ConfiguredGroup,
    ConfiguredList,
    ConfiguredLoginMethod,
    ConfiguredPolicy,
    ConfiguredProfile,
    ConfiguredQuota,
    ConfiguredRule,
    policy_place,
)
from portal.admin.configured_settings import ConfiguredSetting
from portal.admin.credentials import AuthConfigSummary
from portal.admin.declared import Change, DeclaredError, Existing, Plan, plan
from portal.admin.dlp_profiles import ProfileUses
from portal.admin.dlp_shapes import (
    DlpLimits,
    MadeDataset,
    NewUpload,
    PatternJudged,
    ShownCustomProfile,
    ShownDataset,
    ShownDatasetEntry,
    ShownEntry,
    ShownPatternEntry,
    ShownPredefinedProfile,
    ShownProfile,
    ShownRuleEntry,
    ShownWordsEntry,
)
from portal.admin.exports import FieldMeanings, ShownJob, Validity
from portal.admin.fixes import fix_in_document
from portal.admin.flows import PersonReads, ShownFlowRule
from portal.admin.gateway import PRECEDENCE_STEP, ShownRule, rule_of_profiles
from portal.admin.lists import ShownItem, ShownList, WholeList
from portal.admin.log_reading import LoggedRow
from portal.admin.login_settings import ShownOrganization
from portal.admin.logs import LoggedDetail, LogPageInfo
from portal.admin.members import NewMember, ResetMember, ShownMember
from portal.admin.names import ShownName
from portal.admin.organization import (
    NewServiceTokenAnswer,
    ProviderTested,
    ShownPage,
    ShownProvider,
    ShownServiceToken,
)
from portal.admin.overview import Overview, TopAmount, TopAmounts
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
from portal.admin.portals import ShownPortal, ShownPortalServer
from portal.admin.quotas import ShownQuota, ShownUse
from portal.admin.replays import ShownDifference, ShownReplay, shown_replay
from portal.admin.role_rules import ShownRoles
from portal.admin.roles import AdministratorRoles, PermissionGrant, ShownRole, role_id
from portal.admin.run_shapes import RunPageInfo, RunWithCalls, ShownRun, ShownWait
from portal.admin.served import OWN_PORTAL, ServedPortal, ServedPortalServer, ServedServer, Serving
from portal.admin.server_logins import ShownLoginRequest
from portal.admin.servers import ShownServer, Synced
from portal.admin.signing import ShownKeys
from portal.admin.tokens import ListedPermission, NewToken, ShownToken, TokenValue
from portal.admin.upstreams import RegistryUpstreams, Upstreams
from portal.admin.users import RevokedCounts, ShownAgent, ShownSession, ShownUser

__all__ = [
    "ACCOUNT",
    "ALL",
    "API_TOKENS",
    "APPROVALS",
    "CUSTOM_PAGES",
    "LOGS",
    "ORGANIZATION",
    "OWN_PORTAL",
    "POLICIES",
    "PORTALS",
    "POSTURE",
    "PRECEDENCE_STEP",
    "PREFIX",
    "SERVICE_TOKENS",
    "UPLOADS",
    "ZERO_TRUST",
    "Actions",
    "Admin",
    "AdminError",
    "AdminSettings",
    "AdministratorRoles",
    "Amount",
    "ApiCaller",
    "ApiRequest",
    "ApprovalPageInfo",
    "Area",
    "AuthConfigSummary",
    "Change",
    "ChangedMeanwhile",
    "Configured",
    "ConfiguredFlowRule",
    "ConfiguredGroup",
    "ConfiguredList",
    "ConfiguredLoginMethod",
    "ConfiguredPolicy",
    "ConfiguredProfile",
    "ConfiguredQuota",
    "ConfiguredRule",
    "ConfiguredSetting",
    "DecisionResult",
    "DeclaredError",
    "DlpLimits",
    "Existing",
    "FieldMeanings",
    "KeyedPage",
    "LaterGuard",
    "ListedPermission",
    "LogPageInfo",
    "LoggedDetail",
    "LoggedRow",
    "MadeDataset",
    "Marks",
    "NewMember",
    "NewServiceTokenAnswer",
    "NewToken",
    "NewUpload",
    "NumberedPage",
    "Operation",
    "Operations",
    "Override",
    "Overview",
    "PageInfo",
    "PatternJudged",
    "PendingApproval",
    "PermissionGrant",
    "PersonReads",
    "Plan",
    "PolicyTester",
    "ProfileUses",
    "ProviderTested",
    "QuestionUnfit",
    "RegistryUpstreams",
    "ResetMember",
    "RevokedCounts",
    "RunPageInfo",
    "RunWithCalls",
    "ServedPortal",
    "ServedPortalServer",
    "ServedServer",
    "Serving",
    "ShownAgent",
    "ShownApp",
    "ShownApproval",
    "ShownCustomProfile",
    "ShownDataset",
    "ShownDatasetEntry",
    "ShownDifference",
    "ShownEntry",
    "ShownFlowRule",
    "ShownGrant",
    "ShownGroup",
    "ShownItem",
    "ShownJob",
    "ShownKeys",
    "ShownList",
    "ShownLoginRequest",
    "ShownMember",
    "ShownName",
    "ShownOrganization",
    "ShownOverride",
    "ShownPage",
    "ShownPatternEntry",
    "ShownPolicy",
    "ShownPortal",
    "ShownPortalServer",
    "ShownPredefinedProfile",
    "ShownProfile",
    "ShownProvider",
    "ShownQuota",
    "ShownReplay",
    "ShownRole",
    "ShownRoles",
    "ShownRule",
    "ShownRuleEntry",
    "ShownRun",
    "ShownServer",
    "ShownServiceToken",
    "ShownSession",
    "ShownToken",
    "ShownUse",
    "ShownUser",
    "ShownWait",
    "ShownWordsEntry",
    "Synced",
    "TestedFact",
    "TestedPolicy",
    "TestedRule",
    "TestedServer",
    "TestedTool",
    "TesterAnswer",
    "TesterQuestion",
    "TokenValue",
    "TopAmount",
    "TopAmounts",
    "Upstreams",
    "Validity",
    "WholeList",
    "apply_changes",
    "broken_message",
    "create_admin",
    "export_objects",
    "fix_in_document",
    "forbidden",
    "invalid",
    "listing_of",
    "not_found",
    "offered",
    "permissions_of_role",
    "plan",
    "policy_place",
    "read_existing",
    "read_if_match",
    "role_id",
    "rule_of_profiles",
    "shown_replay",
]
