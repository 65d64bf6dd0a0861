"""Who may do what: identities, policies, and the settings of tools and prompts. Pure but for `signals`."""

from portal.access.access import NO_SERVERS, Access, ServerView, Standing
from portal.access.capabilities import Capabilities, Shown
from portal.access.documents import (
    AccessDocument,
    AccessGroup,
    AccessList,
    CapabilitySetting,
    Policy,
    PolicyLink,
    PortalAccess,
    PortalServer,
    ServerAccess,
    ToolMatch,
    ToolPolicy,
    read_document,
)
from portal.access.errors import PolicyError
from portal.access.identity import ANONYMOUS, Group, Identity, evaluation_key
from portal.access.live import LiveAccess, Signals, Unchanging
from portal.access.policies import DEFAULT_DENY, Considered, Decision, Policies, compile_policies
from portal.access.possible import ADDRESS, PERSON, Possible, refused_for_who_it_is
from portal.access.rules import SELECTORS, Rule
from portal.access.sources import NO_SOURCES, Sources
from portal.access.tools import Budget

__all__ = [
    "ADDRESS",
    "ANONYMOUS",
    "DEFAULT_DENY",
    "NO_SERVERS",
    "NO_SOURCES",
    "PERSON",
    "SELECTORS",
    "Access",
    "AccessDocument",
    "AccessGroup",
    "AccessList",
    "Budget",
    "Capabilities",
    "CapabilitySetting",
    "Considered",
    "Decision",
    "Group",
    "Identity",
    "LiveAccess",
    "Policies",
    "Policy",
    "PolicyError",
    "PolicyLink",
    "PortalAccess",
    "PortalServer",
    "Possible",
    "Rule",
    "ServerAccess",
    "ServerView",
    "Shown",
    "Signals",
    "Sources",
    "Standing",
    "ToolMatch",
    "ToolPolicy",
    "Unchanging",
    "compile_policies",
    "evaluation_key",
    "read_document",
    "refused_for_who_it_is",
]
