"""Connections to upstream MCP servers: transports, both generations of the protocol, supervision, listings."""

from portal.upstream.connection import ROOM, Connection, State
from portal.upstream.context import (
    NO_CONTEXT,
    ApprovedRound,
    CallContext,
    CallFacts,
    CallSource,
    DownstreamClient,
    OnLog,
    OnProgress,
    OnRequest,
    OnSend,
    Traffic,
)
from portal.upstream.credential import Credential
from portal.upstream.listing import Listing
from portal.upstream.negotiate import Generation, NegotiationCache, open_link
from portal.upstream.process_log import NO_PROCESS_LOGS, ProcessLogs
from portal.upstream.process_log_reading import ProcessLine, ProcessLogReader
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.event_stream import Event, EventParser
from portal.upstream.transports.http import SESSION_HEADER
from portal.upstream.transports.http_client import Body, HttpClient, opened
from portal.upstream.transports.protocol import (
    INSTANCES_META_KEY,
    MAX_INSTANCES,
    PORTAL_INFO,
    TASKS,
    Introduction,
    declares_tasks,
)
from portal.upstream.transports.stdio import LINEAGE, LineReader
from portal.upstream.transports.wire import MAX_BATCH, decode, kind_of, read_messages

__all__ = [
    "INSTANCES_META_KEY",
    "LINEAGE",
    "MAX_BATCH",
    "MAX_INSTANCES",
    "NO_CONTEXT",
    "NO_PROCESS_LOGS",
    "PORTAL_INFO",
    "ROOM",
    "SESSION_HEADER",
    "TASKS",
    "ApprovedRound",
    "Body",
    "CallContext",
    "CallFacts",
    "CallSource",
    "Connection",
    "Credential",
    "DownstreamClient",
    "Event",
    "EventParser",
    "Generation",
    "HttpClient",
    "Introduction",
    "LineReader",
    "Listing",
    "NegotiationCache",
    "OnLog",
    "OnProgress",
    "OnRequest",
    "OnSend",
    "ProcessLine",
    "ProcessLogReader",
    "ProcessLogs",
    "State",
    "TooLarge",
    "Traffic",
    "declares_tasks",
    "decode",
    "kind_of",
    "open_link",
    "opened",
    "read_messages",
]
