"""The two generations of MCP for a client: the first messages, and the metadata of every later request.

*Legacy* (2024-11-05 to 2025-11-25): `initialize`, then a session. *Modern* (2026-07-28): no handshake and no session;
`server/discover` lists the capabilities, and every request describes itself in `_meta` and in HTTP headers. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    LATEST_MODERN_VERSION,
    MODERN_PROTOCOL_VERSIONS,
)

from portal.errors import ResponseInvalid
from portal.exact import encode
from portal.trace_context import MEMBERS as OF_A_TRACE
from portal.trace_context import TRACEPARENT
from portal.upstream.context import CallContext
from portal.version import portal_version

TASKS = "io.modelcontextprotocol/tasks"
IDEMPOTENCY_META_KEY = "codemode/idempotencyKey"
"""In the `_meta` of a call that may be made again: each time the same, so that a server may do nothing twice."""
_CONNECTION_META = {
    "progressToken",
    PROTOCOL_VERSION_META_KEY,
    CLIENT_INFO_META_KEY,
    CLIENT_CAPABILITIES_META_KEY,
    SERVER_INFO_META_KEY,
    # Of these the portal says its own: what its client sends goes no further as it is.
    *OF_A_TRACE,
    IDEMPOTENCY_META_KEY,
}
INSTANCES_META_KEY = "codemode-portal/instances"
"""In the `_meta` of what a portal answers first: the marks of its instance, and of those among its servers. A portal
that finds its own mark there has been led back to itself, by whatever way."""
MAX_INSTANCES = 64
_MARK = re.compile(r"[0-9a-f]{16}")
# Before the first release of the specification. The TypeScript SDK still takes it, as the same as 2024-11-05.
_FIRST_VERSION = "2024-10-07"
MAX_INSTRUCTIONS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The protocol version that client and server use, and what the server said about itself (raw MCP objects)."""

    version: str
    capabilities: Mapping[str, object] = field(default_factory=dict)
    server_info: Mapping[str, object] = field(default_factory=dict)
    instructions: str | None = None
    instances: frozenset[str] = frozenset()

    @property
    def modern(self) -> bool:
        return self.version in MODERN_PROTOCOL_VERSIONS


PORTAL_INFO: Mapping[str, object] = {"name": "codemode-portal", "version": portal_version()}
"""The portal as a raw MCP Implementation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """The identity the portal gives on a connection: its own, or that of the one client the connection is for.

    `info` is a raw MCP Implementation, `capabilities` a raw ClientCapabilities. `instance` is the mark of the portal's
    instance, which is sent to nobody; "" without one.
    """

    info: Mapping[str, object]
    capabilities: Mapping[str, object] = field(default_factory=dict)
    instance: str = ""


def initialize_params(introduction: Introduction) -> dict[str, object]:
    return {
        "protocolVersion": LATEST_HANDSHAKE_VERSION,
        "capabilities": dict(introduction.capabilities),
        "clientInfo": dict(introduction.info),
    }


def agreement_from_initialize(result: Mapping[str, object]) -> Agreement:
    """The agreement in an `initialize` result.

    Raises:
        ResponseInvalid: the server chose a version that the portal does not speak.
    """
    version = result.get("protocolVersion")
    if not isinstance(version, str) or version not in (*HANDSHAKE_PROTOCOL_VERSIONS, _FIRST_VERSION):
        spoken = f"the portal speaks {', '.join((*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS))}"
        named = encode(version).decode()[:42]
        raise ResponseInvalid(f"answered `initialize` with protocol version {named}; {spoken}")
    info = result.get("serverInfo")
    return _agreement(version, result, info)


def agreement_from_discover(result: Mapping[str, object]) -> Agreement | None:
    """The agreement in a `server/discover` result, or None if there is no common modern version."""
    offered = result.get("supportedVersions")
    mutual = [version for version in MODERN_PROTOCOL_VERSIONS if isinstance(offered, list) and version in offered]
    if not mutual:
        return None
    meta = result.get("_meta")
    return _agreement(mutual[-1], result, meta.get(SERVER_INFO_META_KEY) if isinstance(meta, dict) else None)


def version_to_retry(code: int, data: object) -> str | None:
    """The modern version to probe with again, if the error is "unsupported version" and names one the portal speaks."""
    offered = data.get("supported") if isinstance(data, dict) else None
    if code != UNSUPPORTED_PROTOCOL_VERSION or not isinstance(offered, list):
        return None
    mutual = [version for version in MODERN_PROTOCOL_VERSIONS if version in offered]
    return mutual[-1] if mutual else None


def handshake_version_to_retry(data: object) -> str | None:
    """The newest handshake version among those that the `data` of a refusal names (2025-11-25, "Error Handling")."""
    offered = data.get("supported") if isinstance(data, dict) else None
    mutual = [version for version in HANDSHAKE_PROTOCOL_VERSIONS if isinstance(offered, list) and version in offered]
    return mutual[-1] if mutual and mutual[-1] != LATEST_HANDSHAKE_VERSION else None


def outgoing_params(
    params: Mapping[str, object],
    version: str | None,
    introduction: Introduction,
    context: CallContext,
    token: int | None,
) -> dict[str, object]:
    """The params to send: with the downstream `_meta`, whose members about the connection are replaced.

    `token` is the progress token, or None to ask for no progress.
    """
    sent = dict(params)
    meta = {name: value for name, value in context.meta.items() if name not in _CONNECTION_META}
    if isinstance(own := sent.pop("_meta", None), dict):
        meta.update((name, value) for name, value in own.items() if name != IDEMPOTENCY_META_KEY)
    if context.facts.repeat_key:
        meta[IDEMPOTENCY_META_KEY] = context.facts.repeat_key
    if token is not None:
        meta["progressToken"] = token
    trace = context.facts.trace
    if trace is not None and (version in MODERN_PROTOCOL_VERSIONS or TRACEPARENT in context.meta):
        # An older server may know nothing of it, unless the client thinks that it does.
        meta.update(trace.members())
    if version in MODERN_PROTOCOL_VERSIONS:
        client = context.client
        meta[PROTOCOL_VERSION_META_KEY] = version
        meta[CLIENT_INFO_META_KEY] = (client.info if client is not None else None) or introduction.info
        capabilities = client.capabilities if client is not None else introduction.capabilities
        meta[CLIENT_CAPABILITIES_META_KEY] = _with_tasks(capabilities, declares_tasks(context))
    if meta:
        sent["_meta"] = meta
    return sent


def declares_tasks(context: CallContext) -> bool:
    """Whether the downstream request declares the extension for tasks. It is the one that the portal knows."""
    found: object = context.meta.get(CLIENT_CAPABILITIES_META_KEY)
    for member in ("extensions", TASKS):
        found = found.get(member) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping)


def _with_tasks(capabilities: Mapping[str, object], declared: bool) -> Mapping[str, object]:
    """The capabilities with the extension for tasks, or without it. Others pass as they are."""
    extensions = capabilities.get("extensions")
    others = {name: one for name, one in extensions.items() if name != TASKS} if isinstance(extensions, Mapping) else {}
    wanted = {**others, **({TASKS: {}} if declared else {})}
    if wanted == (extensions or {}):
        return capabilities
    rest = {name: one for name, one in capabilities.items() if name != "extensions"}
    return {**rest, "extensions": wanted} if wanted else rest


def outgoing_headers(
    method: str, params: Mapping[str, object], version: str | None, context: CallContext
) -> dict[str, str]:
    """The HTTP headers of one request, in addition to those of the connection. `version` is None before they agree."""
    if version is None:
        return {}
    headers = {MCP_PROTOCOL_VERSION_HEADER: version}
    if context.facts.trace is not None:
        headers.update(context.facts.trace.members())
    if version in MODERN_PROTOCOL_VERSIONS:
        headers[MCP_METHOD_HEADER] = method
        field_name = NAME_BEARING_METHODS.get(method, "taskId" if method.startswith("tasks/") else None)
        if field_name is not None and isinstance(name := params.get(field_name), str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        prefix = MCP_PARAM_HEADER_PREFIX.lower()
        headers.update({name: value for name, value in context.headers.items() if name.lower().startswith(prefix)})
    return headers


def probe_version() -> str:
    return LATEST_MODERN_VERSION


def _agreement(version: str, result: Mapping[str, object], info: object) -> Agreement:
    capabilities = result.get("capabilities")
    instructions = result.get("instructions")
    return Agreement(
        version=version,
        capabilities=capabilities if isinstance(capabilities, dict) else {},
        server_info=info if isinstance(info, dict) else {},
        instructions=instructions[:MAX_INSTRUCTIONS] if isinstance(instructions, str) else None,
        instances=_instances(result.get("_meta")),
    )


def _instances(meta: object) -> frozenset[str]:
    marks = meta.get(INSTANCES_META_KEY) if isinstance(meta, dict) else None
    found = marks[:MAX_INSTANCES] if isinstance(marks, list) else ()
    return frozenset(mark for mark in found if isinstance(mark, str) and _MARK.fullmatch(mark))
