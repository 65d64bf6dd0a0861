"""Code mode: the portal lists one tool, `code`, and a program it is given calls the tools of every server."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS

from codemode import CallOutcome, Catalog, ToolCall, ToolCaller
from portal.calls import Caller, Run
from portal.endpoint.catalogs import Catalogs
from portal.endpoint.presence import presence_of
from portal.endpoint.relay import context_of
from portal.endpoint.sessions import Sessions
from portal.endpoint.view import Seen, View
from portal.upstream import CallContext

Context = ServerRequestContext[Any, Any]

CODE = "code"


class CodeRunner(Protocol):
    """What code mode asks of whoever runs programs; `codemode.CodeTool` is one."""

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

    def __init__(
        self, view: View, caller: Caller, sessions: Sessions, catalogs: Catalogs, code_tool: CodeRunner
    ) -> None:
        self._view = view
        self._caller = caller
        self._sessions = sessions
        self._catalogs = catalogs
        self._code_tool = code_tool
        self._listed: WeakKeyDictionary[Catalog, dict[str, Any]] = WeakKeyDictionary()

    async def listed(self, seen: Seen) -> dict[str, Any]:
        """The result of `tools/list`; the same object for as long as it says the same."""
        catalog = await self._catalogs.of(seen)
        listed = self._listed.get(catalog)
        if listed is None:
            listed = self._listed[catalog] = {"tools": [self._code_tool.definition(catalog)]}
        return listed

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        if params.name != CODE:
            raise MCPError(INVALID_PARAMS, other_tool(params.name))
        arguments = params.arguments or {}
        session = self._sessions.of(ctx)
        context = context_of(ctx, session)
        if session is None or ctx.request is None:
            return await self.run(arguments, context)
        with presence_of(ctx.request.scope).required():
            return await self.run(arguments, context)
        raise MCPError(CONNECTION_CLOSED, "The client closed the connection; the program was stopped.")

    async def run(self, arguments: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        """Run `arguments["code"]` for a request's context. Cancelling stops the program and its calls."""
        run_id = new_run_id()
        # Without an answerer no upstream is told that there is one. An upstream's own progress means nothing to a
        # client that sees one program; the calls that are done are its progress.
        client = context.client if context.on_request is not None else None
        with self._caller.run(replace(context, run_id=run_id, client=client, on_progress=None, on_pause=None)) as run:
            seen = self._view.seen(context.principal, run.snapshot)
            catalog = await self._catalogs.of(seen)
            caller: ToolCaller = Renaming(run, seen.aggregate.renamed) if seen.aggregate.renamed else run
            if context.on_progress is not None:
                caller = Reporting(caller, context.on_progress)
            return await self._code_tool.run(arguments, catalog, caller, identity=context.identity, run_id=run_id)


class Renaming:
    """A tool caller for programs that know some tools by aliases."""

    def __init__(self, run: Run, raw_names: Mapping[tuple[str, str], str]) -> None:
        self._run = run
        self._raw_names = raw_names

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        raw = self._raw_names.get((call.server, call.tool))
        return await self._run.call_tool(call if raw is None else replace(call, tool=raw))


class Reporting:
    """A tool caller that tells the client after each call how many are done, so that it keeps waiting."""

    def __init__(self, run: ToolCaller, progress: Any) -> None:
        self._run = run
        self._progress = progress
        self._done = 0

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        outcome = await self._run.call_tool(call)
        self._done += 1
        await self._progress(float(self._done), None, f"{call.server}.{call.tool}")
        return outcome


def new_run_id() -> str:
    return f"exec_{secrets.token_hex(12)}"


def other_tool(name: str) -> str:
    """The error for a tool that exists only inside a program."""
    return (
        f"This portal is in code mode: its only tool is `code`. Call {name[:128]!r} from a program given to `code`, as "
        "codemode.<server>.<tool>(input); codemode.search(query) finds its exact name."
    )
