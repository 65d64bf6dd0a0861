"""What a downstream request offers to the upstream call it causes. Values only; no transport is known here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from portal.identity import Identity

OnProgress: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
OnLog: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
OnPause: TypeAlias = Callable[[], Awaitable[None]]
OnRequest: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

INTERACTIVE = ("elicitation", "sampling", "roots")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The downstream client of a session, as it introduced itself.

    `key` is unique to the session. `info` is its Implementation (`name`, `version`), `capabilities` its
    ClientCapabilities, both as raw MCP objects.
    """

    key: str
    info: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def interactive(self) -> bool:
        """Whether an upstream may ask it something in the middle of a call."""
        return any(name in self.capabilities for name in INTERACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Everything about the downstream request that an upstream call needs to know or may use.

    `principal` is the caller where callers have identities, `identity` its key. `spent` counts, for one run, the calls
    made under each policy that bounds them.

    `protocol` is the downstream protocol version, "" when the call has no MCP request behind it. `meta` is the
    downstream `_meta`: what is about the connection in it is replaced, the rest is passed on. Of `headers` only
    `mcp-param-*` are forwarded.

    `on_progress(progress, total, message)` is given only when the downstream asked for progress. `on_log(params)`
    receives `notifications/message` of this call. `on_request(method, params)` answers `elicitation/create`,
    `sampling/createMessage` and `roots/list` of this call; to refuse it raises `portal.errors.RpcError`. `on_pause()`
    hears that a legacy server has ended the call's stream and lets the portal ask again later (SEP-1699).
    """

    run_id: str = ""
    identity: str = ""
    principal: Identity | None = None
    spent: dict[str, int] | None = None
    protocol: str = ""
    client: Client | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    on_progress: OnProgress | None = None
    on_log: OnLog | None = None
    on_request: OnRequest | None = None
    on_pause: OnPause | None = None


NO_CONTEXT = CallContext()
