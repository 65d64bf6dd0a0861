"""Code mode: the portal lists one tool, `code`, and a program it is given calls the tools of every server."""

import secrets
from dataclasses import replace
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS

from codemode import Catalog, CodeTool, ToolCall, ToolDenied, ToolFailed, ToolReturned
from portal.caller import Caller, Run
from portal.endpoint.catalogs import Catalogs
from portal.endpoint.presence import presence_of
from portal.endpoint.relay import context_of
from portal.endpoint.sessions import Session, Sessions
from portal.endpoint.tools import refuse_cursor
from portal.endpoint.view import View

Context = ServerRequestContext[Any, Any]

CODE = "code"


class CodeMode:
    """`tools/list` and `tools/call` when a request is in code mode."""

    def __init__(self, view: View, caller: Caller, sessions: Sessions, catalogs: Catalogs, code_tool: CodeTool) -> None:
        self._view = view
        self._caller = caller
        self._sessions = sessions
        self._catalogs = catalogs
        self._code_tool = code_tool
        self._listed: tuple[Catalog, dict[str, Any]] | None = None

    async def list(self, ctx: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
        refuse_cursor(params)
        catalog = await self._catalogs.of(self._view.snapshot)
        if self._listed is None or self._listed[0] is not catalog:
            self._listed = (catalog, self._code_tool.definition(catalog))
        return {"tools": [self._listed[1]]}

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        if params.name != CODE:
            raise MCPError(INVALID_PARAMS, other_tool(params.name))
        session = self._sessions.of(ctx)
        if session is None or ctx.request is None:
            return await self._run(ctx, params.arguments or {}, session)
        with presence_of(ctx.request.scope).required():
            return await self._run(ctx, params.arguments or {}, session)
        raise MCPError(CONNECTION_CLOSED, "The client closed the connection; the program was stopped.")

    async def _run(self, ctx: Context, arguments: dict[str, Any], session: Session | None) -> dict[str, Any]:
        run_id = new_run_id()
        context = context_of(ctx, session, run_id=run_id)
        if context.on_request is None:
            # Nobody answers in the middle of a run, so no upstream is told that somebody would.
            context = replace(context, client=None)
        progress = context.on_progress
        # An upstream's own progress means nothing to a client that sees one program; calls done are its progress.
        with self._caller.run(replace(context, on_progress=None)) as run:
            catalog = await self._catalogs.of(run.snapshot)
            caller = run if progress is None else Reporting(run, progress)
            return await self._code_tool.run(arguments, catalog, caller, identity=context.identity, run_id=run_id)


class Reporting:
    """A tool caller that tells the client after each call how many are done, so that it keeps waiting."""

    def __init__(self, run: Run, progress: Any) -> None:
        self._run = run
        self._progress = progress
        self._done = 0

    async def call_tool(self, call: ToolCall) -> ToolReturned | ToolFailed | ToolDenied:
        outcome = await self._run.call_tool(call)
        self._done += 1
        await self._progress(float(self._done), None, f"{call.server}.{call.tool}")
        return outcome


def new_run_id() -> str:
    return f"run_{secrets.token_hex(12)}"


def other_tool(name: str) -> str:
    """The error for a tool that exists only inside a program."""
    return (
        f"This portal is in code mode: its only tool is `code`. Call {name[:128]!r} from a program given to `code`, as "
        "codemode.<server>.<tool>(input); codemode.search(query) finds its exact name."
    )
