"""Who may do what: identities, policies, and the settings of tools and prompts. Pure but for `signals`."""

from portal.access.access import NO_SERVERS, Access, ServerView, Standing
from portal.access.approval_rules import ApprovalGroup, ApprovalRule, ApproveBy, combined
from portal.access.assumed import assumed_sources
from portal.access.compiling import RuleOutcome
from portal.access.documents import (
    AccessDocument,
    AccessGroup,
    AccessList,
    Attachment,
    Policy,
    ServerAccess,
    ToolPolicy,
    UnreadablePolicy,
    read_document,
)
from portal.access.errors import PolicyError
from portal.access.explained import ExplainedServer, Explanation, ToolHints, explain
from portal.access.live import LiveAccess, NoSignals, Signals, denied, keep_standing, portal_decision, standing_of
from portal.access.policies import DEFAULT_DENY, LOGIN_ENDED, Decision, Policies, PolicyOutcome, compile_policies
from portal.access.possible import ADDRESS, BestCase, refused_for_identity
from portal.access.sources import NO_SOURCES, Sources
from portal.access.stored import (
    KINDS,
    NOTHING_STORED,
    Objects,
    access_document,
    attached_to,
    policies_of,
    portal_policies,
    read_objects,
    server_access,
)
from portal.access.tools import Capabilities, DisplaySetting, MergedSetting, ToolList, hint, merged, settings_of
from portal.objects import SELECTORS

__all__ = [
    "ADDRESS",
    "DEFAULT_DENY",
    "KINDS",
    "LOGIN_ENDED",
    "NOTHING_STORED",
    "NO_SERVERS",
    "NO_SOURCES",
    "SELECTORS",
    "Access",
    "AccessDocument",
    "AccessGroup",
    "AccessList",
    "ApprovalGroup",
    "ApprovalRule",
    "ApproveBy",
    "Attachment",
    "BestCase",
    "Capabilities",
    "Decision",
    "DisplaySetting",
    "ExplainedServer",
    "Explanation",
    "LiveAccess",
    "MergedSetting",
    "NoSignals",
    "Objects",
    "Policies",
    "Policy",
    "PolicyError",
    "PolicyOutcome",
    "RuleOutcome",
    "ServerAccess",
    "ServerView",
    "Signals",
    "Sources",
    "Standing",
    "ToolHints",
    "ToolList",
    "ToolPolicy",
    "UnreadablePolicy",
    "access_document",
    "assumed_sources",
    "attached_to",
    "combined",
    "compile_policies",
    "denied",
    "explain",
    "hint",
    "keep_standing",
    "merged",
    "policies_of",
    "portal_decision",
    "portal_policies",
    "read_document",
    "read_objects",
    "refused_for_identity",
    "server_access",
    "settings_of",
    "standing_of",
]
