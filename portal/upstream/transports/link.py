"""One live road to one upstream server, whatever the transport: what the supervisor above asks of it.

A link carries raw MCP messages and knows nothing of listings, retries or policies. `http` implements it for
streamable HTTP, `duplex` for the transports that are one pipe each way (stdio, and HTTP with SSE).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from portal.errors import RpcError
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.transports.protocol import Agreement
from portal.upstream.transports.wire import params_of, same_id

# A server that asks more than this at once while one call runs is not asking a person.
MAX_QUESTIONS = 16


class Inbound(Protocol):
    """Who hears what the server says of its own accord."""

    def notification(self, method: str, params: Mapping[str, Any]) -> None:
        """A notification that belongs to no call. Called in the order of arrival; must not block."""


class Link(Protocol):
    """An open link. `closed` is set when it can carry nothing more, and `reason` then says why."""

    closed: asyncio.Event
    reason: str

    @property
    def in_flight(self) -> int:
        """Requests waiting for their answer."""

    def agree(self, agreement: Agreement) -> None:
        """From now on speak the version agreed on."""

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        context: CallContext = NO_CONTEXT,
        *,
        version: str | None = None,
        credentials: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, Any]:
        """The raw result of one request. No deadline of its own: cancelling the task cancels the request upstream.

        `version` speaks another version than the agreed one (probes). `credentials` are HTTP headers. `max_bytes`
        bounds the answer (default: the server's setting).

        Raises:
            UpstreamError: whatever became of it.
        """

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification; whether it arrives is not known."""

    def end(self, reason: str) -> None:
        """It is of no more use: say so to whoever waits on it. It is still to be closed. Idempotent."""

    async def aclose(self) -> None:
        """Close it; requests still waiting fail with OutcomeUnknown. Idempotent."""


async def reply_to(message: Mapping[str, Any], context: CallContext | None) -> dict[str, Any]:
    """The reply to a request of the server's own. It always gets one: a server left waiting holds up its call."""
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        reply["result"] = await _answer(message["method"], params_of(message), context)
    except RpcError as error:
        reply["error"] = {"code": error.code, "message": error.message}
        if error.data is not None:
            reply["error"]["data"] = error.data
    return reply


async def _answer(method: str, params: Mapping[str, Any], context: CallContext | None) -> Mapping[str, Any]:
    if method == "ping":
        return {}
    if context is None or context.on_request is None:
        raise RpcError(METHOD_NOT_FOUND, f"{method} cannot be answered: no client that supports it waits for this call")
    try:
        return await context.on_request(method, params)
    except RpcError:
        raise
    except MCPError as error:
        raise RpcError(error.error.code, error.error.message, error.error.data) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RpcError(INTERNAL_ERROR, "the client went away before it answered") from None
    except Exception:  # The edge to the downstream: whatever went wrong there, the server must not wait for ever.
        structlog.get_logger("portal.upstream").exception("asking the client failed", method=method)
        raise RpcError(INTERNAL_ERROR, "the client could not be asked") from None


async def deliver(
    method: str, params: Mapping[str, Any], context: CallContext, token: int | None, inbound: Inbound
) -> None:
    """Hand a notification that came with a call's answer to whom it is for."""
    if method == "notifications/progress":
        if context.on_progress is not None and same_id(params.get("progressToken"), token):
            progress, message = _number(params.get("progress")), params.get("message")
            if progress is not None:
                text = message if isinstance(message, str) else None
                await context.on_progress(progress, _number(params.get("total")), text)
    elif method == "notifications/message" and context.on_log is not None:
        await context.on_log(params)
    elif method != "notifications/cancelled":
        inbound.notification(method, params)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
