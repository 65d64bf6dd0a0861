"""The kinds of stored documents that several rooms read, one model each. Its chapter is `README.md`."""

from portal.objects.apps import (
    APP,
    CUSTOM_PAGE,
    AppDocument,
    Destination,
    PageDocument,
    RefreshOptions,
    SaasDocument,
)
from portal.objects.base import Document
from portal.objects.capabilities import CapabilitySetting, Settings
from portal.objects.flows import FLOW_RULE, FlowRuleDocument
from portal.objects.identities import StoredIdentity
from portal.objects.policies import (
    GROUP,
    LIST,
    MAX_POLICIES,
    POLICY,
    AttachedPolicy,
    Effect,
    GroupDocument,
    Id,
    ListDocument,
    ListItem,
    OwnPolicy,
    PolicyDocument,
    PolicyLink,
    Rules,
    SomeRules,
    own_or_link,
)
from portal.objects.portals import PORTAL, PortalDocument, PortalServer
from portal.objects.providers import IDENTITY_PROVIDER, ProviderDocument
from portal.objects.rules import SELECTORS, Text
from portal.objects.servers import SERVER, AuthType, ServerDocument

__all__ = [
    "APP",
    "CUSTOM_PAGE",
    "FLOW_RULE",
    "GROUP",
    "IDENTITY_PROVIDER",
    "LIST",
    "MAX_POLICIES",
    "POLICY",
    "PORTAL",
    "SELECTORS",
    "SERVER",
    "AppDocument",
    "AttachedPolicy",
    "AuthType",
    "CapabilitySetting",
    "Destination",
    "Document",
    "Effect",
    "FlowRuleDocument",
    "GroupDocument",
    "Id",
    "ListDocument",
    "ListItem",
    "OwnPolicy",
    "PageDocument",
    "PolicyDocument",
    "PolicyLink",
    "PortalDocument",
    "PortalServer",
    "ProviderDocument",
    "RefreshOptions",
    "Rules",
    "SaasDocument",
    "ServerDocument",
    "Settings",
    "SomeRules",
    "StoredIdentity",
    "Text",
    "own_or_link",
]
