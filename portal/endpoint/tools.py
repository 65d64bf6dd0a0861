"""Tools without code mode: every tool of every server as `{server}_{tool}`, each call passed on as it came."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Protocol

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import validate_mcp_param_headers
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.calls import Call, Caller
from portal.endpoint.aggregate import Target
from portal.endpoint.questions import Questions
from portal.endpoint.relay import own_result
from portal.endpoint.sessions import scope_of
from portal.endpoint.view import Seen, View
from portal.identity import principal_of
from portal.upstream import CallContext

Context = ServerRequestContext[Any, Any]


class ToolSurface(Protocol):
    """The tools one mode shows."""

    async def listed(self, seen: Seen) -> dict[str, Any]: ...

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]: ...


class Tools:
    """Every tool of the aggregate."""

    def __init__(self, view: View, caller: Caller, questions: Questions) -> None:
        self._view = view
        self._caller = caller
        self._questions = questions

    async def listed(self, seen: Seen) -> dict[str, Any]:
        """The result of `tools/list`; the same object for as long as it says the same."""
        made = seen.aggregate.made
        if "tools" not in made:
            made["tools"] = {"tools": list(seen.aggregate.tool_list)}
        listed: dict[str, Any] = made["tools"]
        return listed

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        aggregate = self._view.of(scope_of(ctx)).aggregate
        target = aggregate.tools.get(params.name) or self.refused(ctx, params.name)
        if target is None:
            raise MCPError(INVALID_PARAMS, unknown_name("tool", params.name, aggregate.tools))
        if params.name in aggregate.mirrored:
            check_param_headers(ctx, target, params.arguments or {})
        return await self.call_target(ctx, target)

    async def call_target(
        self, ctx: Context, target: Target, arguments: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Call a tool with the client's own parameters, or with `arguments` instead of the ones it sent."""
        sent = raw_params(ctx, name=target.name)
        if arguments is not None:
            sent["arguments"] = dict(arguments)
        call = Call(server=target.server, method="tools/call", name=target.name, params=sent)
        return own_result(await self._questions.call(ctx, self._caller, call))

    def refused(self, ctx: Context, name: str) -> Target | None:
        """A tool that is there and not for this caller, or for nobody yet: the way to the upstream says why."""
        return self._view.refused("tool", name, principal_of(scope_of(ctx))) or self._view.withheld("tool", name)

    def plain_target(self, seen: Seen, name: str) -> Target | None:
        """The tool of this name, when a call of it needs no more than to be passed on."""
        aggregate = seen.aggregate
        return None if name in aggregate.mirrored else aggregate.tools.get(name)

    async def pass_on(self, target: Target, params: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        """Call a tool for a client of 2026-07-28 that answers no questions. Raises `CallError` and `MCPError`."""
        sent = {**params, "name": target.name}
        sent.pop("_meta", None)
        call = Call(server=target.server, method="tools/call", name=target.name, params=sent)
        result = own_result(await self._caller.call(call, context))
        if result.get("resultType") == "input_required":
            message = "The tool asks for input, and this client has declared nothing that could give it."
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, {"requiredCapabilities": {"elicitation": {}}})
        return result


def raw_params(ctx: Context, **replaced: Any) -> dict[str, Any]:
    """The parameters as the client sent them, without `_meta`, with some replaced."""
    sent = {key: value for key, value in (ctx.params or {}).items() if key != "_meta"}
    return {**sent, **replaced}


def refuse_cursor(params: types.PaginatedRequestParams) -> None:
    """Lists come whole, so no cursor was ever given out."""
    if params.cursor is not None:
        raise MCPError(INVALID_PARAMS, "Unknown cursor: this portal sends its lists whole.")


def unknown_name(kind: str, name: str, known: Mapping[str, Any]) -> str:
    """The error for a name that is not listed, with the nearest ones that are."""
    near = get_close_matches(name[:128], known.keys(), n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" It lists {len(known)} {kind}s."
    return f"Unknown {kind}: {name[:128]!r}.{hint}"


def check_param_headers(ctx: Context, target: Target, arguments: Mapping[str, Any]) -> None:
    """Compare `Mcp-Param-*` headers with the arguments they repeat (SEP-2243), where the tool declares any.

    An intermediary may have routed on the header: one that says something else than the body is refused with 400.
    """
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS or ctx.request is None:
        return
    rejection = validate_mcp_param_headers(target.definition["inputSchema"], arguments, ctx.request.headers)
    if rejection is not None:
        raise MCPError(rejection.code, rejection.message, rejection.data)
