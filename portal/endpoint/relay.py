"""From a client's request to the context its upstream calls run in: progress, logs, questions to the user, metadata.

What comes back from an upstream during a call rides the stream of the request that caused it, in both generations.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    METHOD_NOT_FOUND,
    SERVER_INFO_META_KEY,
)
from pydantic import BaseModel, ConfigDict, ValidationError

from portal.endpoint.sessions import Session, scope_of
from portal.errors import RpcError
from portal.identity import identity_of, principal_of
from portal.upstream import CallContext, Client

LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
PARAM_HEADER = "mcp-param-"
INTERACTIVE: Mapping[str, frozenset[str]] = {
    "elicitation": frozenset({"form", "url"}),
    "sampling": frozenset({"context", "tools"}),
    "roots": frozenset(),
}
"""What a client may be asked, and the parts of each capability that an upstream may look for."""
_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class _Relayed(BaseModel):
    """A server-to-client request passed on as it came."""

    method: str
    params: dict[str, Any] | None = None


class _Answer(BaseModel):
    """A client's answer passed back as it came."""

    model_config = ConfigDict(extra="allow")


def context_of(ctx: ServerRequestContext[Any, Any], session: Session | None) -> CallContext:
    """The call context of a client's request. `session` is None for a client of 2026-07-28."""
    meta, identity = request_meta(ctx), identity_of(scope_of(ctx))
    context = CallContext(
        identity=identity,
        principal=principal_of(scope_of(ctx)),
        protocol=ctx.protocol_version,
        client=session.client if session is not None else client_of(identity, meta),
        meta=forwarded_meta(meta, session),
        headers=_param_headers(ctx),
        on_log=_log_relay(ctx, session),
    )
    if ctx.meta is not None and ctx.meta.get("progress_token") is not None:
        context = replace(context, on_progress=ctx.session.report_progress)
    if session is not None:
        # An upstream that lets its client poll (SEP-1699) lets ours poll too.
        context = replace(context, on_pause=ctx.close_sse_stream)
        context = replace(context, on_request=_question_relay(ctx, session.client))
    return context


def request_meta(ctx: ServerRequestContext[Any, Any]) -> Mapping[str, Any]:
    """`_meta` of the request as the client sent it."""
    meta = (ctx.params or {}).get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def own_result(result: dict[str, Any]) -> dict[str, Any]:
    """An upstream's result as the portal's own: without the upstream's identity stamp, else untouched."""
    meta = result.get("_meta")
    if not isinstance(meta, dict) or SERVER_INFO_META_KEY not in meta:
        return result
    kept = {key: value for key, value in meta.items() if key != SERVER_INFO_META_KEY}
    rest = {key: value for key, value in result.items() if key != "_meta"}
    return {**rest, "_meta": kept} if kept else rest


def at_least(level: object, threshold: object) -> bool:
    """Whether a log level is as severe as the threshold (RFC 5424 order). Unknown ones pass no threshold."""
    if threshold is None:
        return True
    return level in LOG_LEVELS and threshold in LOG_LEVELS and _severity(level) >= _severity(threshold)


def _severity(level: object) -> int:
    return LOG_LEVELS.index(cast("str", level))


def client_of(identity: str, meta: Mapping[str, Any]) -> Client:
    """The client of a 2026-07-28 request. Those of one identity that can answer the same questions share a key.

    An upstream of a 2025 version is told once a connection what its client can do, so that is what tells apart the
    connections these clients need.
    """
    info, capabilities = meta.get(CLIENT_INFO_META_KEY), meta.get(CLIENT_CAPABILITIES_META_KEY)
    client = Client(
        key="",
        info=info if isinstance(info, dict) else {},
        capabilities=capabilities if isinstance(capabilities, dict) else {},
    )
    if not client.interactive:
        return client
    kinds = [name for name in INTERACTIVE if name in client.capabilities]
    answers = {name: INTERACTIVE[name] & _keys(client.capabilities[name]) for name in kinds}
    key = ";".join(f"{name}:{','.join(sorted(parts))}" for name, parts in answers.items())
    capabilities = {name: {part: {} for part in sorted(parts)} for name, parts in answers.items()}
    return replace(client, key=f"stateless/{identity}/{key}", capabilities=capabilities)


def _keys(value: object) -> set[str]:
    return set(value) if isinstance(value, dict) else set()


def forwarded_meta(meta: Mapping[str, Any], session: Session | None) -> Mapping[str, Any]:
    """A 2025 client sets its log level once a session; an upstream of 2026-07-28 wants it with each request."""
    if session is None or session.log_level is None or LOG_LEVEL_META_KEY in meta:
        return meta
    return {**meta, LOG_LEVEL_META_KEY: session.log_level}


def _param_headers(ctx: ServerRequestContext[Any, Any]) -> Mapping[str, str]:
    if ctx.request is None:
        return {}
    return {name: value for name, value in ctx.request.headers.items() if name.startswith(PARAM_HEADER)}


def _log_relay(
    ctx: ServerRequestContext[Any, Any], session: Session | None
) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
    threshold = session.log_level if session is not None else request_meta(ctx).get(LOG_LEVEL_META_KEY)
    # At 2026-07-28 a request that names no level has asked for no logs.
    silent = session is None and threshold is None

    async def relay(params: Mapping[str, Any]) -> None:
        if silent or not at_least(params.get("level"), threshold):
            return
        try:
            entry = types.LoggingMessageNotificationParams.model_validate(params, by_name=False)
        except ValidationError:
            return
        await ctx.session.send_notification(
            types.LoggingMessageNotification(params=entry), related_request_id=ctx.request_id
        )

    return relay


def require_capability(client: Client | None, method: str) -> None:
    """Raises `RpcError` for a question the client never said it would answer."""
    if client is None or _NEEDS.get(method) not in client.capabilities:
        raise RpcError(METHOD_NOT_FOUND, f"The client does not answer {method[:100]}")


def _question_relay(ctx: ServerRequestContext[Any, Any], client: Client) -> Ask:
    """Elicitation, sampling and roots: ask the client on the stream of its request, hand its answer back."""

    async def ask(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        require_capability(client, method)
        asked = {key: value for key, value in params.items() if key != "_meta"}
        request = cast("types.ServerRequest", _Relayed(method=method, params=asked or None))
        metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            answer = await ctx.session.send_request(request, _Answer, metadata=metadata)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message, error.error.data) from error
        return answer.model_dump()

    return ask
