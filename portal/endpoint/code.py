"""Code mode: the portal lists one tool, `code`, and a program it is given calls the tools of every server."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS

from codemode import CallOutcome, Catalog, ToolCall, ToolCaller, asks_for_servers, computes_servers, named_servers
from portal.calls import Caller, LeasedRun
from portal.endpoint.generations import Generation
from portal.endpoint.presence import presence_of
from portal.endpoint.request import ClientRequest
from portal.endpoint.views import Catalogs, View, Views

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]

CODE = "code"


class CodeRunner(Protocol):
    """Runs programs for code mode; `codemode.CodeTool` is one."""

    def definition(self, catalog: Catalog) -> dict[str, Any]: ...

    async def prepare(self, catalog: Catalog) -> None: ...

    async def run(
        self,
        arguments: Mapping[str, Any],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        run_id: str | None = None,
    ) -> dict[str, Any]: ...


class CodeMode:
    """`tools/list` and `tools/call` when a request is in code mode."""

    def __init__(self, views: Views, caller: Caller, catalogs: Catalogs, code_tool: CodeRunner) -> None:
        self._views = views
        self._caller = caller
        self._catalogs = catalogs
        self._code_tool = code_tool

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        return [self._code_tool.definition(await self._catalogs.of(view))]

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run `arguments["code"]`. Cancelling stops the program and its calls."""
        if name != CODE:
            raise MCPError(INVALID_PARAMS, other_tool(name))
        if request.session is None:
            return await self._run(arguments, request)
        with presence_of(request.scope).required():
            return await self._run(arguments, request)
        raise MCPError(CONNECTION_CLOSED, "The client closed the connection; the program was stopped.")

    async def _run(self, arguments: Mapping[str, Any], request: ClientRequest) -> dict[str, Any]:
        await self._await_servers(arguments.get("code"), request)
        context = request.context
        run_id = f"exec_{secrets.token_hex(12)}"
        # Upstreams are told of a client only if it can answer their questions. Their own progress means nothing to a
        # client that waits for one program; how many of the program's calls are done does.
        client = context.client if context.on_request is not None else None
        with self._caller.run(replace(context, run_id=run_id, client=client, on_progress=None, on_pause=None)) as run:
            view = self._views.of(request.scope, run.snapshot)
            catalog = await self._catalogs.of(view)
            caller: ToolCaller = run
            if raw_names := view.selection.raw_tools:
                caller = AliasCaller(run, raw_names)
            if context.on_progress is not None:
                caller = ProgressCaller(caller, context.on_progress)
            return await self._code_tool.run(arguments, catalog, caller, identity=context.identity, run_id=run_id)

    async def _await_servers(self, program: object, request: ClientRequest) -> None:
        """Wait for servers that are still connecting, if the program asks for them.

        What a program can call is fixed when it begins. So it begins when the servers it names have come or failed, and
        all of them if it computes a name; for a search those that are not named are waited for briefly.
        """
        connecting = self._views.connecting(request.scope)
        if not connecting or not isinstance(program, str):
            return
        if named := named_servers(program, connecting):
            await self._views.arrived(request.scope, lambda server: server.id in named)
        if asks_for_servers(program):
            await self._views.arrived(request.scope, briefly=True)
        elif computes_servers(program, self._views.of(request.scope).selection.servers):
            await self._views.arrived(request.scope)


class AliasCaller:
    """A tool caller for programs that know some tools by aliases."""

    def __init__(self, run: LeasedRun, raw_names: Mapping[tuple[str, str], str]) -> None:
        self._run = run
        self._raw_names = raw_names

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        raw = self._raw_names.get((call.server, call.tool))
        return await self._run.call_tool(call if raw is None else replace(call, tool=raw))


class ProgressCaller:
    """A tool caller that reports after each call how many are done, so that the client keeps waiting."""

    def __init__(self, caller: ToolCaller, on_progress: OnProgress) -> None:
        self._caller = caller
        self._on_progress = on_progress
        self._done = 0

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        outcome = await self._caller.call_tool(call)
        self._done += 1
        await self._on_progress(float(self._done), None, f"{call.server}.{call.tool}")
        return outcome


def other_tool(name: str) -> str:
    """The error for a tool that exists only inside a program."""
    return (
        f"This portal is in code mode: its only tool is `code`. Call {name[:128]!r} from a program given to `code`, as "
        "codemode.<server>.<tool>(input); codemode.search(query) finds its exact name."
    )
