"""The values this room is about: one call to an upstream server, and the denial of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.logs import Kind

# Methods that change nothing, so that a server may be asked twice.
READS = frozenset({"prompts/get", "resources/read", "completion/complete"})
_KINDS: Mapping[str, Kind] = {
    "tools/call": "tool",
    "prompts/get": "prompt",
    "resources/read": "resource",
    "completion/complete": "completion",
    "resources/subscribe": "subscription",
    "resources/unsubscribe": "subscription",
    "logging/setLevel": "setting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `server` is a configured id, `name` the raw name of a tool or prompt, or a URI.

    `params` are the raw MCP params, without `_meta`.
    """

    server: str
    method: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.method, "tool")

    @classmethod
    def tool(cls, server: str, name: str, arguments: Mapping[str, object] | None = None) -> Call:
        params: dict[str, Any] = {"name": name, "arguments": arguments if arguments is not None else {}}
        return cls(server=server, method="tools/call", name=name, params=params)

    @classmethod
    def prompt(cls, server: str, name: str, arguments: Mapping[str, str] | None = None) -> Call:
        params: dict[str, Any] = {"name": name, "arguments": arguments if arguments is not None else {}}
        return cls(server=server, method="prompts/get", name=name, params=params)

    @classmethod
    def resource(cls, server: str, uri: str) -> Call:
        return cls(server=server, method="resources/read", name=uri, params={"uri": uri})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a call may not be made. The caller reads `reason`; `policy` names the rule."""

    reason: str
    policy: str | None = None
