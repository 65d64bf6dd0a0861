"""Connections to upstream MCP servers: transports, both generations of the protocol, supervision, listings."""

from portal.upstream.connection import ROOM, Connection, State
from portal.upstream.context import (
    NO_CONTEXT,
    CallContext,
    CallFacts,
    CallSource,
    DownstreamClient,
    OnLog,
    OnProgress,
    OnRequest,
    Traffic,
)
from portal.upstream.credential import Credential
from portal.upstream.listing import Listing
from portal.upstream.negotiate import Generation, NegotiationCache, open_link
from portal.upstream.process_log import NO_PROCESS_LOGS, ProcessLogs
from portal.upstream.process_log_reading import ProcessLine, ProcessLogReader
from portal.upstream.transports.protocol import PORTAL_INFO, Introduction

__all__ = [
    "NO_CONTEXT",
    "NO_PROCESS_LOGS",
    "PORTAL_INFO",
    "ROOM",
    "CallContext",
    "CallFacts",
    "CallSource",
    "Connection",
    "Credential",
    "DownstreamClient",
    "Generation",
    "Introduction",
    "Listing",
    "NegotiationCache",
    "OnLog",
    "OnProgress",
    "OnRequest",
    "ProcessLine",
    "ProcessLogReader",
    "ProcessLogs",
    "State",
    "Traffic",
    "open_link",
]
