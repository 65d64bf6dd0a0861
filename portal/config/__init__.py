"""The configuration document: read, expanded, checked and watched."""

from portal.config.approval_notices import ApprovalNoticesSection
from portal.config.clients import (
    SERVER_SECTIONS,
    EntryUnusable,
    Notes,
    editor_variables,
    in_our_words,
    input_values,
    input_variable,
)
from portal.config.config import (
    ENTRY_KEYS,
    Config,
    HeaderName,
    HeaderValue,
    HttpServer,
    Omission,
    OpenApiServer,
    PortalSettings,
    ServerConfig,
    StdioServer,
    load_config,
    parse_config,
    server_id,
)
from portal.config.credential_notices import CredentialNoticesSection
from portal.config.data_flow import (
    MAX_LABELS,
    DataFlowSection,
    Exempt,
    FlowEffect,
    FlowRule,
    Labels,
    LabelsOfTools,
    RuleName,
    SomeLabels,
    ToolLabels,
    labels_of_tool,
)
from portal.config.difference import difference, visible
from portal.config.dlp import DlpPatternSection, DlpProfileSection, DlpSection
from portal.config.document import YAML, load_document, parse_document, read_document, read_text
from portal.config.document_file import DocumentFile, open_document, remove_document, replace_document
from portal.config.durations import read_duration, say_duration, write_duration
from portal.config.editing import document_in, with_member, without_member
from portal.config.expand import Expansion
from portal.config.exports import ExportSection
from portal.config.hidden_values import hide_in_comment, hide_values, is_reference, shown_difference, sounds_secret
from portal.config.identity import IdentitySection
from portal.config.logs import ContentsSection, LogSection
from portal.config.observe import MetricsSection, TraceSection
from portal.config.own_code_mode import advice, programs_taken
from portal.config.portals import (
    ALIAS,
    RESERVED_IDS,
    CapabilityOverride,
    CodeModePolicy,
    PortalEntry,
    PortalServerEntry,
)
from portal.config.quotas import HOUR, LONGEST_PERIOD, MAX_NAMED, MAX_QUOTAS, QuotaPart, QuotaSection
from portal.config.rule_approval import RuleApproval
from portal.config.runs import Plans, RunSettings
from portal.config.server_entries import NewAddress, NewApi, NewProgram, ServerPlace, enabling, new_entry, server_place
from portal.config.upstream_oauth import UpstreamOAuth
from portal.config.watch import watch_config
from portal.config.webhooks import WebhookSection

__all__ = [
    "ALIAS",
    "ENTRY_KEYS",
    "HOUR",
    "LONGEST_PERIOD",
    "MAX_LABELS",
    "MAX_NAMED",
    "MAX_QUOTAS",
    "RESERVED_IDS",
    "SERVER_SECTIONS",
    "YAML",
    "ApprovalNoticesSection",
    "CapabilityOverride",
    "CodeModePolicy",
    "Config",
    "ContentsSection",
    "CredentialNoticesSection",
    "DataFlowSection",
    "DlpPatternSection",
    "DlpProfileSection",
    "DlpSection",
    "DocumentFile",
    "EntryUnusable",
    "Exempt",
    "Expansion",
    "ExportSection",
    "FlowEffect",
    "FlowRule",
    "HeaderName",
    "HeaderValue",
    "HttpServer",
    "IdentitySection",
    "Labels",
    "LabelsOfTools",
    "LogSection",
    "MetricsSection",
    "NewAddress",
    "NewApi",
    "NewProgram",
    "Notes",
    "Omission",
    "OpenApiServer",
    "Plans",
    "PortalEntry",
    "PortalServerEntry",
    "PortalSettings",
    "QuotaPart",
    "QuotaSection",
    "RuleApproval",
    "RuleName",
    "RunSettings",
    "ServerConfig",
    "ServerPlace",
    "SomeLabels",
    "StdioServer",
    "ToolLabels",
    "TraceSection",
    "UpstreamOAuth",
    "WebhookSection",
    "advice",
    "difference",
    "document_in",
    "editor_variables",
    "enabling",
    "hide_in_comment",
    "hide_values",
    "in_our_words",
    "input_values",
    "input_variable",
    "is_reference",
    "labels_of_tool",
    "load_config",
    "load_document",
    "new_entry",
    "open_document",
    "parse_config",
    "parse_document",
    "programs_taken",
    "read_document",
    "read_duration",
    "read_text",
    "remove_document",
    "replace_document",
    "say_duration",
    "server_id",
    "server_place",
    "shown_difference",
    "sounds_secret",
    "visible",
    "watch_config",
    "with_member",
    "without_member",
    "write_duration",
]
