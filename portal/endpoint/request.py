"""One request of a client as its handler gets it, and the context its calls to upstreams run in.

A request comes in over the SDK's transport (`sdk_request`) or on the short way (`express`); there is one handler for
both. What an upstream sends during a call, progress, logs and questions, goes out on the stream of the request that
caused the call, in both generations.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import mcp_types as types
import orjson
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INVALID_REQUEST,
    LOG_LEVEL_META_KEY,
    METHOD_NOT_FOUND,
    SERVER_INFO_META_KEY,
    jsonrpc_message_adapter,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import Scope

from portal.calls import session_name
from portal.endpoint.generations import Generation, generation_of
from portal.endpoint.modes import Mode
from portal.endpoint.sessions import Session, scope_of
from portal.errors import RpcError
from portal.exact import MAX_DIGITS, NumberError, beyond_64_bits, long_number, parse
from portal.http import Refusal
from portal.identity import Identity, key_of, principal_of
from portal.trace_context import TraceContext, found_in
from portal.upstream import CallContext, CallSource, DownstreamClient

_LEGACY = {version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS}
_MESSAGE = (
    'The body must be one JSON-RPC 2.0 message: an object with `jsonrpc` "2.0" and a `method` (with an `id` when it '
    "is a request), or with the `id` and `result` of a question that was asked. Batches are not accepted."
)


def malformed(headers: list[tuple[bytes, bytes]], body: bytes) -> Refusal | None:
    """The refusal for a body with a number that cannot be passed on, or for a body of a 2025 version that is JSON but
    not a message; None for any other body.
    """
    if beyond_64_bits(body) and (refusal := _length_refusal(body)) is not None:
        return refusal
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _number_refusal(body)
    if any(name == b"mcp-protocol-version" and value not in _LEGACY for name, value in headers):
        return None
    if isinstance(message, dict) and "method" in message and not _id_fits(message):
        # The SDK would take it for a notification, and the client would wait for an answer.
        return Refusal(400, "message", _MESSAGE, INVALID_REQUEST)
    try:
        jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValidationError:
        return Refusal(400, "message", _MESSAGE, INVALID_REQUEST)
    return None


def _length_refusal(body: bytes) -> Refusal | None:
    try:
        found = long_number(body)
    except ValueError:
        return None
    if found is None:
        return None
    message = f"The body has the number {found}, which has more than {MAX_DIGITS} digits. Nothing ran."
    return Refusal(400, "message", message, INVALID_REQUEST)


def _number_refusal(body: bytes) -> Refusal | None:
    """The refusal for a body that is JSON but for a number. The SDK takes such numbers, and would pass null on."""
    try:
        parse(body)
    except NumberError as error:
        message = f"The body has the number {error}, which JSON does not have or no double can hold. Nothing ran."
        return Refusal(400, "message", message, INVALID_REQUEST)
    except ValueError:
        return None
    return None


def _id_fits(message: Mapping[str, object]) -> bool:
    """Whether a message has no id, or one of a request (MCP: a string or an integer). Some clients give notifications
    the id null."""
    id, method = message.get("id", 0), message["method"]
    if id is None and isinstance(method, str) and method.startswith("notifications/"):
        return True
    return isinstance(id, str | int) and not isinstance(id, bool)


SdkContext = ServerRequestContext[Any, Any]

MODE = "portal.mode"
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
INTERACTIVE: Mapping[str, frozenset[str]] = {
    "elicitation": frozenset({"form", "url"}),
    "sampling": frozenset({"context", "tools"}),
    "roots": frozenset(),
}
"""The capabilities with which a client can be asked something, and the parts of each that an upstream may look for."""
CAPABILITIES = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""The client capability that each question needs."""

OnTrace = Callable[[list[tuple[bytes, bytes]], Mapping[str, object]], TraceContext | None]
"""The place in a trace of a request with these headers and this `_meta`, None if it has none."""
OnRequest = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
RawResult = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """`scope` is the ASGI scope of its HTTP request; `mode` comes from its URL, so within a session it may change.

    `params` are those the client sent, `_meta` included. `session` is None for a client of 2026-07-28. `context` is
    for the calls to upstreams that the request causes.
    """

    scope: Scope
    mode: Mode
    params: Mapping[str, Any]
    session: Session | None
    context: CallContext

    @property
    def principal(self) -> Identity | None:
        return self.context.principal

    @property
    def modern(self) -> bool:
        return self.context.protocol in MODERN_PROTOCOL_VERSIONS

    @property
    def generation(self) -> Generation:
        return generation_of(self.context.protocol)

    def raw_params(self, **replaced: Any) -> dict[str, Any]:
        """The params without `_meta`, with some replaced."""
        params = {key: value for key, value in self.params.items() if key != "_meta"}
        return {**params, **replaced}


def sdk_request(ctx: SdkContext, session: Session | None, on_trace: OnTrace = found_in) -> ClientRequest:
    """A request that came in over the SDK's transport."""
    scope = scope_of(ctx) or {}
    params = ctx.params or {}
    meta = params.get("_meta")
    meta = meta if isinstance(meta, Mapping) else {}
    context = replace(
        plain_context(
            principal_of(scope),
            ctx.protocol_version,
            meta,
            session,
            client_id_of(scope),
            on_trace(scope.get("headers", []), meta),
        ),
        on_log=_log_relay(ctx, session, meta),
    )
    if ctx.meta is not None and ctx.meta.get("progress_token") is not None:
        context = replace(context, on_progress=ctx.session.report_progress)
    if session is not None:
        # An upstream that lets its client poll (SEP-1699) lets ours poll too.
        context = replace(context, on_pause=ctx.close_sse_stream, on_request=_question_relay(ctx, session.client))
    return ClientRequest(scope=scope, mode=scope.get(MODE, Mode.TOOLS), params=params, session=session, context=context)


def plain_context(
    caller: Identity | None,
    version: str,
    meta: Mapping[str, Any],
    session: Session | None,
    client_id: str,
    trace: TraceContext | None = None,
) -> CallContext:
    """The context of a request that asks for nothing but its answer: no progress, no logs, no questions."""
    identity = key_of(caller)
    client = session.client if session is not None else client_of(identity, meta)
    name = session_name(client.key) if session is not None else ""
    return CallContext(
        identity=identity,
        principal=caller,
        protocol=version,
        client=client,
        meta=_forwarded_meta(meta, session),
        source=CallSource(version, client, name, trace, client_id),
    )


def client_id_of(scope: Mapping[str, object]) -> str:
    """The OAuth client whose access token the request shows, "" for a request without one."""
    user = scope.get("user")
    return user.access_token.client_id if isinstance(user, AuthenticatedUser) else ""


def own_result(result: RawResult) -> RawResult:
    """An upstream's result as the portal's own: without the upstream's identity stamp, else untouched."""
    meta = result.get("_meta")
    if not isinstance(meta, dict) or SERVER_INFO_META_KEY not in meta:
        return result
    own_meta = {key: value for key, value in meta.items() if key != SERVER_INFO_META_KEY}
    own = {key: value for key, value in result.items() if key != "_meta"}
    return {**own, "_meta": own_meta} if own_meta else own


def at_least(level: object, threshold: object) -> bool:
    """Whether a log level is as severe as the threshold (RFC 5424 order). An unknown level passes no threshold."""
    if threshold is None:
        return True
    return level in LOG_LEVELS and threshold in LOG_LEVELS and _severity(level) >= _severity(threshold)


def _severity(level: object) -> int:
    return LOG_LEVELS.index(cast("str", level))


def client_of(identity: str, meta: Mapping[str, Any]) -> DownstreamClient:
    """The client of a 2026-07-28 request. Those of one identity that can answer the same questions share a key.

    A 2025 upstream learns what its client can do once per connection, so these clients need separate connections
    only where they can do different things.
    """
    info, capabilities = meta.get(CLIENT_INFO_META_KEY), meta.get(CLIENT_CAPABILITIES_META_KEY)
    client = DownstreamClient(
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


def _forwarded_meta(meta: Mapping[str, Any], session: Session | None) -> Mapping[str, Any]:
    """A 2025 client sets its log level once a session; an upstream of 2026-07-28 wants it with each request."""
    if session is None or session.log_level is None or LOG_LEVEL_META_KEY in meta:
        return meta
    return {**meta, LOG_LEVEL_META_KEY: session.log_level}


def _log_relay(
    ctx: SdkContext, session: Session | None, meta: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
    threshold = session.log_level if session is not None else meta.get(LOG_LEVEL_META_KEY)
    # At 2026-07-28 a request that names no level gets no logs.
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


def require_capability(client: DownstreamClient | None, method: str, params: Mapping[str, object]) -> None:
    """Raises `RpcError` for a question the client has not declared to answer."""
    name = CAPABILITIES.get(method)
    if name is None:
        raise RpcError(METHOD_NOT_FOUND, f"No client is asked {method[:100]}")
    part = _part_needed(method, params)
    declared = None if client is None else client.capabilities.get(name)
    # What elicitation a client with the empty object takes was decided before there were two kinds: forms.
    parts = _keys(declared) or {"form"}
    if declared is None or (part and part not in parts):
        needed = f"{name}.{part}" if part and declared is not None else name
        page = f" The page to open: {str(params.get('url'))[:1000]}" if part == "url" else ""
        message = f"The client cannot answer {method}: it has not declared the capability `{needed}`. Nobody was asked."
        raise RpcError(METHOD_NOT_FOUND, message + page)


def _part_needed(method: str, params: Mapping[str, object]) -> str:
    """The part of a capability that a question needs, "" if the capability is enough (2026-07-28, "Elicitation",
    "Sampling")."""
    if method == "elicitation/create":
        return "url" if params.get("mode") == "url" else "form"
    return "tools" if method == "sampling/createMessage" and params.get("tools") else ""


class _Question(BaseModel):
    """A server-to-client request passed on as it came."""

    method: str
    params: dict[str, Any] | None = None


class _Answer(BaseModel):
    """A client's answer passed back as it came."""

    model_config = ConfigDict(extra="allow")


def _question_relay(ctx: SdkContext, client: DownstreamClient) -> OnRequest:
    """Elicitation, sampling and roots: ask the client on the stream of its request, and return its answer."""

    async def ask(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        require_capability(client, method, params)
        own_params = {key: value for key, value in params.items() if key != "_meta"}
        request = cast("types.ServerRequest", _Question(method=method, params=own_params or None))
        metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            answer = await ctx.session.send_request(request, _Answer, metadata=metadata)
        except MCPError as error:
            raise RpcError(error.error.code, error.error.message, error.error.data) from error
        return answer.model_dump()

    return ask
