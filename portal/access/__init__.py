"""Who may do what: identities, policies, and the settings of tools and prompts. Pure but for `signals`."""

from portal.access.access import NO_SERVERS, Access, ServerView, Standing
from portal.access.assumed import assumed_sources
from portal.access.capabilities import Capabilities, Shown
from portal.access.documents import (
    ALIAS,
    AccessDocument,
    AccessGroup,
    AccessList,
    Policy,
    Rules,
    ToolPolicy,
    read_document,
)
from portal.access.errors import PolicyError
from portal.access.live import LiveAccess, Signals, Unchanging
from portal.access.policies import DEFAULT_DENY, LOGIN_ENDED, Considered, Decision, compile_policies
from portal.access.possible import ADDRESS, Possible, refused_for_identity
from portal.access.requests import denied, keep_standing, portal_decision, standing_of
from portal.access.rules import SELECTORS
from portal.access.sources import NO_SOURCES, Sources
from portal.access.stored import (
    KINDS,
    NOTHING_STORED,
    Objects,
    access_document,
    attached_to,
    portal_policies,
    read_objects,
    server_document,
)
from portal.access.tools import ToolList

__all__ = [
    "ADDRESS",
    "ALIAS",
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
    "Capabilities",
    "Considered",
    "Decision",
    "LiveAccess",
    "Objects",
    "Policy",
    "PolicyError",
    "Possible",
    "Rules",
    "ServerView",
    "Shown",
    "Signals",
    "Sources",
    "Standing",
    "ToolList",
    "ToolPolicy",
    "Unchanging",
    "access_document",
    "assumed_sources",
    "attached_to",
    "compile_policies",
    "denied",
    "keep_standing",
    "portal_decision",
    "portal_policies",
    "read_document",
    "read_objects",
    "refused_for_identity",
    "server_document",
    "standing_of",
]
