"""The interface of an open link to one upstream server, for every transport.

A link carries raw MCP messages and knows nothing about listings, retries or policies. `http` implements it for
streamable HTTP, `duplex` for the transports with one pipe each way (stdio, and HTTP with SSE).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND

from portal.errors import RpcError
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.transports.bounds import PerSecond
from portal.upstream.transports.protocol import Agreement
from portal.upstream.transports.wire import params_of, same_id

# Questions that a server may have open at once during one call. No person can answer more.
MAX_QUESTIONS = 16
# Notices that a call was cancelled which are on their way at once. A server that takes none of them learns no more:
# each holds a connection, and whoever makes and cancels calls without end would take them all.
MAX_NOTICES = 128


_LEVELS = {
    "trace": "debug",
    "verbose": "debug",
    "log": "info",
    "information": "info",
    "warn": "warning",
    "err": "error",
    "fatal": "critical",
    "panic": "emergency",
}


class Inbound(Protocol):
    """The receiver of notifications that belong to no call."""

    def notification(self, method: str, params: Mapping[str, object]) -> None:
        """Handle one notification. Called in the order of arrival; must not block."""


class Link(Protocol):
    """An open link. `closed` is set when it carries no more messages; `reason` then says why."""

    closed: asyncio.Event
    reason: str

    @property
    def in_flight(self) -> int:
        """The number of requests without an answer yet."""

    @property
    def notes(self) -> Sequence[str]:
        """Lines about what it has left out of its lists by itself, since it last read them."""

    def agree(self, agreement: Agreement) -> None:
        """Use the agreed protocol version from now on."""

    async def request(
        self,
        method: str,
        params: Mapping[str, object],
        context: CallContext = NO_CONTEXT,
        *,
        version: str | None = None,
        credentials: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, object]:
        """The raw result of one request. It has no deadline: cancelling the task cancels the request upstream.

        `version` is used instead of the agreed version, for probes. `credentials` are HTTP headers. `max_bytes`
        bounds the answer (default: the server's `maxResultBytes`).

        Raises:
            UpstreamError: there is no result. Its `ran` says whether the call may have had an effect.
        """

    async def notify(self, method: str, params: Mapping[str, object]) -> None:
        """Send a notification. It is not known whether it arrives."""

    def end(self, reason: str) -> None:
        """Mark the link as unusable: requests without an answer fail. `aclose` is still to be called. Idempotent."""

    async def aclose(self) -> None:
        """Close the link. Requests without an answer fail with `OutcomeUnknown`. Idempotent."""


async def reply_to(message: Mapping[str, object], context: CallContext | None) -> dict[str, object]:
    """The reply to a request of the server. There is always one, because a server that waits for it delays its call."""
    reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        reply["result"] = await _answer(str(message["method"]), params_of(message), context)
    except RpcError as error:
        data = {} if error.data is None else {"data": error.data}
        reply["error"] = {"code": error.code, "message": error.message, **data}
    return reply


async def _answer(method: str, params: Mapping[str, object], context: CallContext | None) -> Mapping[str, object]:
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
    except Exception:  # The edge to the downstream: the server must not wait for ever, whatever went wrong there.
        structlog.get_logger("portal.upstream").exception("asking the client failed", method=method)
        raise RpcError(INTERNAL_ERROR, "the client could not be asked") from None


async def deliver(
    method: str,
    params: Mapping[str, object],
    context: CallContext,
    token: int | None,
    inbound: Inbound,
    told: PerSecond,
) -> None:
    """Deliver a notification that came with a call's answer: to the call's context, or to `inbound`.

    `token` is the call's progress token, or None if it asked for no progress. `told` counts what the call is told.
    """
    if method == "notifications/progress":
        if context.on_progress is None or not same_id(params.get("progressToken"), token) or told.exceeded():
            return
        progress, message = _number(params.get("progress")), params.get("message")
        if progress is not None:
            text = message if isinstance(message, str) else None
            await context.on_progress(progress, _number(params.get("total")), text)
    elif method == "notifications/message" and context.on_log is not None:
        if not told.exceeded():
            await context.on_log(log_entry(params))
    elif method != "notifications/cancelled":
        inbound.notification(method, params)


def log_entry(params: Mapping[str, object]) -> Mapping[str, object]:
    """The params of a log message, with its level as the protocol spells it and with data: some servers write the words
    of their own language's logs, and `message`.
    """
    level, entry = params.get("level"), dict(params)
    if level is None or isinstance(level, str):
        word = (level or "info").lower()
        entry["level"] = _LEVELS.get(word, word)
    if "data" not in params and "message" in params:
        entry["data"] = entry.pop("message")
    return entry


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
