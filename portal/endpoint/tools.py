"""`tools/list` and `tools/call`, and the mode without code: every tool of every server as `{server}_{tool}`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import validate_mcp_param_headers
from mcp_types import INVALID_PARAMS
from starlette.datastructures import Headers

from portal.calls import Call, Caller
from portal.endpoint.aggregate import Aggregate, Target
from portal.endpoint.generations import Generation
from portal.endpoint.modes import Mode
from portal.endpoint.questions import Questions
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.request_log import UnlistedName
from portal.endpoint.views import View, Views, may_have
from portal.errors import LoginRequired, UpstreamUnavailable
from portal.exact import encode

_PARAM_HEADER = "mcp-param-"
COLD_SECONDS = 1.0
"""How long `tools/list` of a portal that has just begun waits for its servers in code mode."""
Definitions = list[Mapping[str, Any]]
# Tools whose definitions are shaped on the event loop.
_SHAPED_AT_ONCE = 100


class ToolMode(Protocol):
    """The tools of one mode."""

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        """Their definitions for clients of a generation. Made once for each view, which keeps them."""

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        """The raw result of one call.

        Raises:
            CallError: the call has no result.
            MCPError: the request is wrong.
        """


class ToolMethods:
    """The handlers of `tools/list` and `tools/call`, whichever way a request comes in."""

    def __init__(
        self,
        views: Views,
        modes: Mapping[Mode, ToolMode],
        *,
        cold: bool = False,
        variant: Callable[[], str] = lambda: "",
    ) -> None:
        """`cold`: the portal begins with its client, so that no server is there yet when the client lists. `variant`:
        what the tools of a mode depend on besides the view and the generation."""
        self._variant = variant
        self._views = views
        self._modes = modes
        self._cold = cold

    async def list(self, request: ClientRequest) -> RawResult:
        return await self._list(await self._view(request), request)

    async def list_as_json(self, request: ClientRequest, stamp: bytes, members: Mapping[str, Any]) -> bytes:
        """The result of `tools/list` as JSON, with `members` that are part of it. Its view keeps it.

        Portals whose callers see the same share views; `stamp` keeps apart what they answer with other members.
        """
        view, key = await self._view(request), (request.mode, stamp + self._variant().encode())
        answer = view.answers.get(key)
        if answer is None:
            answer = encode({**members, **await self._list(view, request)})
            self._views.store_answer(view, key, answer)
        return answer

    async def _view(self, request: ClientRequest) -> View:
        """The view to list. In code mode the list says which servers there are, so it waits for them, but not long.

        Where none of them is there yet, code mode waits a moment only: `code` can be used without them, and a program
        waits for those that it names. Other modes have nothing to show before.
        """
        code = request.mode is Mode.CODE
        seconds = COLD_SECONDS if code and self._cold else None
        return await self._views.listed(request.scope, wholly=code or self._cold, seconds=seconds)

    async def _list(self, view: View, request: ClientRequest) -> RawResult:
        return {"tools": await self.definitions(view, request.mode, request.generation)}

    async def definitions(self, view: View, mode: Mode, generation: Generation) -> Definitions:
        """What `tools/list` has for the callers of a view."""
        key = (mode, generation, self._variant())
        tools = view.lists.get(key)
        if tools is None:
            tools = view.lists[key] = await self._modes[mode].tools(view, generation)
        return tools

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        return await self._modes[request.mode].call(request, name, arguments)


class Tools:
    """Every tool of the aggregate; each call is passed on as it came."""

    def __init__(self, views: Views, caller: Caller, questions: Questions) -> None:
        self._views = views
        self._caller = caller
        self._questions = questions

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        aggregate = view.aggregate
        if len(aggregate.tools) <= _SHAPED_AT_ONCE:
            return list(aggregate.tools_for(generation))
        return await asyncio.to_thread(lambda: list(aggregate.tools_for(generation)))

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        async def attempt() -> RawResult:
            return await self._call(request, name, arguments)

        return await self.after_login(request, name, attempt)

    async def after_login(
        self, request: ClientRequest, name: str, attempt: Callable[[], Awaitable[RawResult]]
    ) -> RawResult:
        """The result of `attempt` to call the tool of this name, whose server may want a login first."""
        return await call_after_login(self._views, self._questions, request, "tools/call", name, attempt)

    async def _call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        aggregate, target = await self.find(request, name)
        if target is None:
            raise UnlistedName("tool", unknown_name("tool", name, aggregate.tools))
        if aggregate.has_headers(target):
            check_param_headers(request, target, arguments)
        return await self.call_target(request, target)

    async def find(self, request: ClientRequest, name: str) -> tuple[Aggregate, Target | None]:
        """The tools of the caller, and the one with this name. Waits for its server if that is still connecting.

        Raises as `refuse_unavailable`.
        """
        view = self._views.of(request.scope)
        if view.aggregate.tool_name(name) is None:
            view = await self._views.arrived(request.scope, may_have(name))
            refuse_unavailable(self._views, request, view, name)
        aggregate = view.aggregate
        return aggregate, aggregate.tool(name) or self._views.hidden_target("tool", name, request.principal)

    async def call_target(
        self, request: ClientRequest, target: Target, arguments: Mapping[str, Any] | None = None
    ) -> RawResult:
        """Call a tool with the client's own parameters, or with `arguments` instead of the ones it sent."""
        params = request.raw_params(name=target.name)
        if arguments is not None:
            params["arguments"] = dict(arguments)
        call = Call(server=target.server, method="tools/call", name=target.name, params=params)
        return await self._questions.answer(request, self._caller, call)


def refuse_cursor(params: types.PaginatedRequestParams) -> None:
    """Lists come whole, so no cursor was ever given out. Some clients send an empty one with their first request."""
    if params.cursor:
        raise MCPError(INVALID_PARAMS, "Unknown cursor: this portal sends its lists whole.")


def refuse_unavailable(views: Views, request: ClientRequest, view: View, name: str) -> None:
    """Refuse a tool or prompt of a server that has no listing.

    Raises:
        LoginRequired: it shows nothing before its caller has logged in.
        UpstreamUnavailable: it is not there for another reason.
    """
    server, underscore, _ = name.partition("_")
    reason = view.selection.unavailable().get(server) if underscore else None
    if reason is None:
        return
    if view.selection.servers[server].state.wants_login:
        raise views.missing_login(request.scope, server)
    why = f"The server {server!r} is not available: {reason.rstrip('.')}. Nothing ran."
    raise UpstreamUnavailable(why, server=server)


async def call_after_login(
    views: Views,
    questions: Questions,
    request: ClientRequest,
    method: str,
    name: str,
    attempt: Callable[[], Awaitable[RawResult]],
) -> RawResult:
    """The result of `attempt`, which may need a login before it is known what is called."""
    try:
        return await attempt()
    except LoginRequired as required:
        call = Call(server=required.server, method=method, name=name, params=request.raw_params())

        async def again(call: Call) -> RawResult:
            await views.meet_again(request.scope)
            return await attempt()

        return await questions.prompted(request, call, again)


def unknown_name(kind: str, name: str, known: Mapping[str, Any]) -> str:
    """The error for a name that is not listed, with the nearest ones that are."""
    near = get_close_matches(name[:128], known.keys(), n=3)
    hint = (
        f" Did you mean {' or '.join(near)}?"
        if near
        else f" It lists {len(known)} {kind}{'' if len(known) == 1 else 's'}."
    )
    return f"Unknown {kind}: {name[:128]!r}.{hint}"


def check_param_headers(request: ClientRequest, target: Target, arguments: Mapping[str, Any]) -> None:
    """Compare `Mcp-Param-*` headers with the arguments they repeat (SEP-2243), where the tool declares any.

    An intermediary may have routed on the header: a request whose header differs from its body is refused with 400.
    What goes out is made of the body (`Connection`). A client that is told only names cannot know what to repeat: it
    may send none of these headers.
    """
    if not request.modern:
        return
    headers = Headers(scope=request.scope)
    if request.mode is Mode.MINIMIZE_TOOLS and not any(name.startswith(_PARAM_HEADER) for name in headers):
        return
    rejection = validate_mcp_param_headers(target.definition["inputSchema"], arguments, headers)
    if rejection is not None:
        raise MCPError(rejection.code, rejection.message, rejection.data)
