"""The configuration document: read, expanded, checked and watched."""

from portal.config.clients import SERVER_SECTIONS
from portal.config.config import (
    Config,
    HeaderName,
    HeaderValue,
    HttpServer,
    Omission,
    PortalSettings,
    RunSettings,
    ServerConfig,
    StdioServer,
    load_config,
    parse_config,
    server_id,
)
from portal.config.credential_notices import CredentialNoticesSection
from portal.config.document import YAML, load_document, read_document, read_text
from portal.config.durations import read_duration, say_duration, write_duration
from portal.config.expand import Expansion
from portal.config.exports import ExportSection
from portal.config.identity import IdentitySection
from portal.config.logs import LogSection
from portal.config.own_code_mode import advice, programs_taken
from portal.config.portals import (
    ALIAS,
    RESERVED_IDS,
    CapabilityOverride,
    CodeModePolicy,
    PortalEntry,
    PortalServerEntry,
)
from portal.config.upstream_oauth import UpstreamOAuth
from portal.config.watch import watch_config

__all__ = [
    "ALIAS",
    "RESERVED_IDS",
    "SERVER_SECTIONS",
    "YAML",
    "CapabilityOverride",
    "CodeModePolicy",
    "Config",
    "CredentialNoticesSection",
    "Expansion",
    "ExportSection",
    "HeaderName",
    "HeaderValue",
    "HttpServer",
    "IdentitySection",
    "LogSection",
    "Omission",
    "PortalEntry",
    "PortalServerEntry",
    "PortalSettings",
    "RunSettings",
    "ServerConfig",
    "StdioServer",
    "UpstreamOAuth",
    "advice",
    "load_config",
    "load_document",
    "parse_config",
    "programs_taken",
    "read_document",
    "read_duration",
    "read_text",
    "say_duration",
    "server_id",
    "watch_config",
    "write_duration",
]
