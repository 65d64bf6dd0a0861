"""The two generations of MCP as seen by a client: what to say first, and what every later request must carry.

*Legacy* (2024-11-05 to 2025-11-25): `initialize`, then a session. *Modern* (2026-07-28): no handshake and no session;
`server/discover` tells what there is, and every request describes itself in `_meta` and in HTTP headers. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
from portal.upstream.context import CallContext

_CONNECTION_META = {
    "progressToken",
    PROTOCOL_VERSION_META_KEY,
    CLIENT_INFO_META_KEY,
    CLIENT_CAPABILITIES_META_KEY,
    SERVER_INFO_META_KEY,
}
MAX_INSTRUCTIONS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What client and server settled on. Objects are the raw MCP ones."""

    version: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    server_info: Mapping[str, Any] = field(default_factory=dict)
    instructions: str | None = None

    @property
    def modern(self) -> bool:
        return self.version in MODERN_PROTOCOL_VERSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who the portal says it is on one connection: itself, or the one downstream client the connection is for."""

    info: Mapping[str, Any]
    capabilities: Mapping[str, Any] = field(default_factory=dict)


def initialize_params(introduction: Introduction) -> dict[str, Any]:
    return {
        "protocolVersion": LATEST_HANDSHAKE_VERSION,
        "capabilities": dict(introduction.capabilities),
        "clientInfo": dict(introduction.info),
    }


def initialized(result: Mapping[str, Any]) -> Agreement:
    """Raises ResponseInvalid when the server chose a version this client does not speak."""
    version = result.get("protocolVersion")
    if version not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise ResponseInvalid(f"the server answered `initialize` with protocol version {str(version)[:40]!r}")
    info = result.get("serverInfo")
    return _agreement(version, result, info)


def discovered(result: Mapping[str, Any]) -> Agreement | None:
    """The agreement in a `server/discover` result; None when it offers no modern version that both speak."""
    offered = result.get("supportedVersions")
    mutual = [version for version in MODERN_PROTOCOL_VERSIONS if isinstance(offered, list) and version in offered]
    if not mutual:
        return None
    meta = result.get("_meta")
    return _agreement(mutual[-1], result, meta.get(SERVER_INFO_META_KEY) if isinstance(meta, dict) else None)


def other_version(code: int, data: Any) -> str | None:
    """The modern version to probe again with, when an error says "unsupported version" and names one we speak."""
    offered = data.get("supported") if isinstance(data, dict) else None
    if code != UNSUPPORTED_PROTOCOL_VERSION or not isinstance(offered, list):
        return None
    mutual = [version for version in MODERN_PROTOCOL_VERSIONS if version in offered]
    return mutual[-1] if mutual else None


def outgoing_params(
    params: Mapping[str, Any], version: str | None, introduction: Introduction, context: CallContext, token: int | None
) -> dict[str, Any]:
    """The params of one request as they leave: downstream `_meta` passed on, the connection's own part stamped.

    `token` is the progress token to ask for progress with.
    """
    sent = dict(params)
    meta = {name: value for name, value in context.meta.items() if name not in _CONNECTION_META}
    if isinstance(own := sent.pop("_meta", None), dict):
        meta.update(own)
    if token is not None:
        meta["progressToken"] = token
    if version in MODERN_PROTOCOL_VERSIONS:
        client = context.client
        meta[PROTOCOL_VERSION_META_KEY] = version
        meta[CLIENT_INFO_META_KEY] = (client.info if client is not None else None) or introduction.info
        meta[CLIENT_CAPABILITIES_META_KEY] = client.capabilities if client is not None else introduction.capabilities
    if meta:
        sent["_meta"] = meta
    return sent


def outgoing_headers(
    method: str, params: Mapping[str, Any], version: str | None, context: CallContext
) -> dict[str, str]:
    """HTTP headers of one request, next to those of the connection. `version` is None before it is settled."""
    if version is None:
        return {}
    headers = {MCP_PROTOCOL_VERSION_HEADER: version}
    if version in MODERN_PROTOCOL_VERSIONS:
        headers[MCP_METHOD_HEADER] = method
        field_name = NAME_BEARING_METHODS.get(method)
        if field_name is not None and isinstance(name := params.get(field_name), str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        prefix = MCP_PARAM_HEADER_PREFIX.lower()
        headers.update({name: value for name, value in context.headers.items() if name.lower().startswith(prefix)})
    return headers


def probe_version() -> str:
    return LATEST_MODERN_VERSION


def _agreement(version: str, result: Mapping[str, Any], info: Any) -> Agreement:
    capabilities = result.get("capabilities")
    instructions = result.get("instructions")
    return Agreement(
        version=version,
        capabilities=capabilities if isinstance(capabilities, dict) else {},
        server_info=info if isinstance(info, dict) else {},
        instructions=instructions[:MAX_INSTRUCTIONS] if isinstance(instructions, str) else None,
    )
