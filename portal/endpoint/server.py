"""The SDK's low-level MCP server, set up for a portal: one server for both protocol generations."""

from __future__ import annotations

import base64
import importlib.util
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import structlog
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateCodec,
    RequestStateSecurity,
)
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel
from starlette.requests import Request

from portal.endpoint.params import INITIALIZE, fit_params
from portal.endpoint.request import SdkContext
from portal.errors import CallError, StoreUnavailable
from portal.identity import key_of, principal_of
from portal.sdk import remove_telemetry, sealed
from portal.state import StateError, StateUnavailable
from portal.upstream import INSTANCES_META_KEY, TASKS
from portal.version import portal_version

if TYPE_CHECKING:
    from portal.state import Store

STATE_SECONDS = 86_400.0
"""How long a client may carry the state of a round. What is held in a process meanwhile ends long before."""
_STORED = "p1."
_FIRST = (INITIALIZE, "server/discover")

log = structlog.get_logger("portal.endpoint")

Params = TypeVar("Params")
Result = TypeVar("Result")
Handler = Callable[[ServerRequestContext[Any, Any], Params], Awaitable[HandlerResult]]


class StoredStates:
    """Seals the state that clients carry with the keys of a database: any process that has it open goes on with it, at
    the portal with this id alone. Implements `RequestStateCodec`."""

    def __init__(self, store: Store, portal: str) -> None:
        self._store = store
        self._purpose = f"requestState of the portal {portal!r}"

    def seal(self, payload: bytes) -> str:
        return _STORED + base64.urlsafe_b64encode(self._store.sealed(payload, self._purpose)).decode()

    def unseal(self, token: str) -> bytes:
        """
        Raises:
            InvalidRequestState: this portal has not sealed it, or its key is gone.
        """
        if not token.startswith(_STORED):
            raise InvalidRequestState("malformed")
        try:
            data = base64.b64decode(token.removeprefix(_STORED).encode(), altchars=b"-_", validate=True)
            return self._store.unsealed(data, self._purpose)
        except (ValueError, StateError) as error:
            raise InvalidRequestState(type(error).__name__) from error


class PortalMcpServer(Server[Any]):
    """A `Server` that says its lists change, keeps results private, and seals the state clients carry for upstreams."""

    def __init__(
        self,
        name: str,
        *,
        instructions: str | None,
        middleware: ServerMiddleware[Any] | None = None,
        marks: Callable[[], Sequence[str]] = tuple,
        states: RequestStateCodec | None = None,
    ) -> None:
        """`middleware` has every request before all that is here. `marks` are those of its instance, and of the portals
        among its servers. `states` seals what clients carry, for every process that knows its key; by default nobody
        else knows it."""
        super().__init__(
            name,
            version=portal_version(),
            instructions=instructions,
            # What a client sees depends on its URL and on who it is: no shared cache may keep it.
            cache_hints=dict.fromkeys(get_args(CacheableMethod), CacheHint(ttl_ms=0, scope="private")),
            # Without this the SDK lists all tools on every call to find header declarations; `tools.py` checks those.
            get_tool_input_schema=lambda name: None,
        )
        if importlib.util.find_spec("opentelemetry.sdk") is None:
            remove_telemetry(self)
        if middleware is not None:
            self.middleware.append(middleware)
        self.middleware.append(partial(_marking, marks))
        self.middleware.append(fit_params)
        codec = states or AESGCMRequestStateCodec([secrets.token_bytes(32)])
        security = RequestStateSecurity(codec=codec, bind_principal=_caller, ttl=STATE_SECONDS)
        self.extensions = {TASKS: {}}
        self._boundary = RequestStateBoundary(security, default_audience=name)
        self.middleware.append(self._boundary)

    async def sealed(self, request: Request, params: Mapping[str, object], result: dict[str, Any]) -> dict[str, Any]:
        """An `input_required` result of `tools/call` as the SDK's way would send it: with its state sealed."""
        return await sealed(self._boundary, "tools/call", params, request, result)

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The SDK's HTTP sessions pass no options and would say that lists never change. The extensions of a server are
        for clients that have no session."""
        options = notification_options or NotificationOptions(True, True, True)
        found = super().create_initialization_options(options, experimental_capabilities, extensions)
        if extensions is None:
            found.capabilities.extensions = None
        return found


async def _marking(marks: Callable[[], Sequence[str]], ctx: SdkContext, call_next: CallNext) -> HandlerResult:
    """A middleware that writes the marks into what a client asks first: another portal sees by them where it leads."""
    result = await call_next(ctx)
    if ctx.method not in _FIRST or not (found := list(marks())):
        return result
    if isinstance(result, BaseModel):
        result = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    if not isinstance(result, dict):
        return result
    return {**result, "_meta": {**(result.get("_meta") or {}), INSTANCES_META_KEY: found}}


def _caller(ctx: ServerRequestContext[Any, Any]) -> str:
    """Whom the state is for: nobody else may come back with it."""
    return key_of(principal_of(ctx.request.scope if ctx.request is not None else None))


def walled(handler: Handler[Params]) -> Handler[Params]:
    """A handler for the SDK's server, whose errors are those of `guarded`."""

    async def handle(ctx: ServerRequestContext[Any, Any], params: Params) -> HandlerResult:
        result = await guarded(ctx.method, handler(ctx, params))
        if isinstance(result, dict) and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # This version requires it in every result; earlier ones do not know it.
            return {"resultType": "complete", **result}
        return result

    return handle


async def guarded(method: str, work: Awaitable[Result]) -> Result:
    """The result of `work`. No internals reach a client: an error that was not meant for it is logged, and the client
    gets a reference to find it by.

    Raises:
        MCPError: and nothing else.
    """
    try:
        return await work
    except MCPError:
        raise
    except CallError as error:
        raise MCPError(error.code, error.full_message, error.data) from error
    except StateUnavailable as error:
        failed = StoreUnavailable(error.words, ran=error.ran, seconds=error.seconds)
        raise MCPError(failed.code, failed.message, failed.data) from error
    except Exception as error:  # the request edge: anything else is our fault
        reference = uuid.uuid4().hex[:12]
        log.exception("request_failed", method=method, reference=reference)
        message = f"The portal failed on this request. Its log has the cause under the reference {reference}."
        raise MCPError(INTERNAL_ERROR, message, {"reference": reference}) from error
