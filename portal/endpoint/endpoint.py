"""One portal's MCP endpoint as an ASGI application: the parts of this folder wired together."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp_types import INVALID_PARAMS, INVALID_REQUEST
from starlette.types import Receive, Scope, Send

from portal.access import LiveAccess
from portal.calls import Caller
from portal.config import PortalSettings
from portal.endpoint.background import Background
from portal.endpoint.catalogs import Catalogs, warm_search
from portal.endpoint.changes import Changes
from portal.endpoint.code import CodeMode, CodeRunner
from portal.endpoint.envelope import malformed
from portal.endpoint.express.express import Express
from portal.endpoint.listening import Listening
from portal.endpoint.modes import CodeModePolicy, Mode, ModeRefused, select_mode
from portal.endpoint.optimized import Minimized, Query, QueryAndExecute
from portal.endpoint.presence import watched
from portal.endpoint.prompts import Prompts
from portal.endpoint.questions import Questions
from portal.endpoint.resources import Resources, Watches
from portal.endpoint.resumption import ResumableSessions
from portal.endpoint.server import PortalServer, walled
from portal.endpoint.sessions import Session, Sessions, scope_of
from portal.endpoint.tools import Tools, ToolSurface, refuse_cursor
from portal.endpoint.view import View
from portal.errors import DENIED
from portal.http import BODY, HttpSettings, Refusal, refuse
from portal.identity import ANONYMOUS, principal_of
from portal.servers import Servers

Context = ServerRequestContext[Any, Any]

MODE = "portal.mode"


class Endpoint:
    """ASGI application for one portal. Enter `run()` once, for as long as it serves.

    `servers` and `code_tool` belong to the caller. Without a `code_tool` the portal has no code mode.
    """

    def __init__(
        self,
        servers: Servers,
        caller: Caller,
        code_tool: CodeRunner | None,
        settings: PortalSettings,
        http: HttpSettings,
        access: LiveAccess | None = None,
    ) -> None:
        self._servers = servers
        self._decided = CodeModePolicy(settings.code_mode)
        self._has_code = code_tool is not None
        self._background = Background()
        self._streams: set[anyio.CancelScope] = set()
        self._stopping = False
        self._access = access
        self._view = View(servers, access)
        self._sessions = Sessions(self._session_ended)
        bus = InMemorySubscriptionBus()
        self._listening = Listening(bus, self._view)
        self._watches = Watches(self._view, caller, self._sessions, self._listening, self._background)
        self._changes = Changes(self._view, self._sessions, bus, self._background)
        self._questions = Questions(self._sessions, self._upstream_protocol)
        self._catalogs = Catalogs(self._background, code_tool.prepare if code_tool is not None else warm_search)
        tools = Tools(self._view, caller, self._questions)
        query = Query(self._catalogs)
        self._modes: dict[Mode, ToolSurface] = {
            Mode.TOOLS: tools,
            Mode.MINIMIZE_TOOLS: Minimized(self._view, query, tools),
            Mode.QUERY_AND_EXECUTE: QueryAndExecute(self._view, query, tools),
        }
        code = None
        if code_tool is not None:
            code = self._modes[Mode.CODE] = CodeMode(self._view, caller, self._sessions, self._catalogs, code_tool)
        self._prompts = Prompts(self._view, caller, self._questions)
        self._resources = Resources(self._view, caller, self._questions, self._watches)
        self._server = server = self._made_server(settings)
        self._express = Express(
            server.server_info_stamp, self._view, self._modes, tools, code, self._sessions, http.session_idle
        )
        self._manager = ResumableSessions(
            server,
            max_request_body_size=http.body_limit,
            max_sessions=http.sessions,
            session_idle_timeout=http.session_idle,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope[MODE] = select_mode(scope["query_string"], self._decided if self._has_code else CodeModePolicy.OFF)
        except ModeRefused as error:
            await refuse(Refusal(400, "mode", str(error), INVALID_PARAMS))(scope, receive, send)
            return
        if self._access is not None and (refusal := await self._refusal(scope)) is not None:
            await refuse(refusal)(scope, receive, send)
            return
        if await self._express.answered(scope, scope[MODE], receive, send):
            return
        if isinstance(body := scope.get(BODY), bytes) and (refusal := malformed(scope["headers"], body)) is not None:
            await refuse(refusal)(scope, receive, send)
            return
        if scope["method"] == "DELETE":
            send = self._sessions.told_of_its_end(scope, send)
        with self._open_stream(scope):
            await self._manager.handle_request(scope, watched(scope, receive), send)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        forget = [
            self._servers.subscribe(self._changes.snapshot_replaced),
            self._servers.on_notification(self._changes.upstream_notified),
            # With policies too: whoever is given everything shares the catalog of the whole.
            self._servers.subscribe(lambda _, new: self._catalogs.prepare(self._view.whole_of(new))),
        ]
        if self._access is not None:
            forget.append(self._access.subscribe(self._changes.access_replaced))
        self._catalogs.prepare(self._view.whole)
        try:
            async with self._manager.run():
                yield
        finally:
            for unsubscribe in forget:
                unsubscribe()
            self._questions.close()
            await self._background.aclose()

    async def _refusal(self, scope: Scope) -> Refusal | None:
        """Why this caller may not use the portal, or not this session. Asked of every request."""
        assert self._access is not None
        if self._access.current.evaluations:
            await self._access.prepare(principal_of(scope) or ANONYMOUS)
        decision = self._view.portal(principal_of(scope))
        if not decision.allowed:
            return Refusal(403, "denied", decision.reason, DENIED, data={"policy": decision.policy})
        if self._sessions.of_another(scope):
            return Refusal(404, "session", "Session not found.", INVALID_REQUEST)
        return None

    def apply(self, name: str, instructions: str | None, code_mode: CodeModePolicy) -> None:
        """Take up what the portal's owner decided.

        The code mode holds from the next request on, and clients are told to list again. The name and the instructions
        hold from the next session on.
        """
        self._server.name, self._server.instructions = name, instructions
        if code_mode is not self._decided:
            self._decided = code_mode
            self._changes.publish(ToolsListChanged())

    def close_streams(self) -> None:
        """Begin to shut down: end the streams that would otherwise stay open for ever."""
        self._stopping = True
        self._listening.close()
        for stream in tuple(self._streams):
            stream.cancel()

    @contextmanager
    def _open_stream(self, scope: Scope) -> Iterator[None]:
        """A session's own stream (GET) carries no request of the client's, so it need not be waited for at the end."""
        if scope["method"] != "GET":
            yield
            return
        with anyio.CancelScope() as stream:
            if self._stopping:
                stream.cancel()
            self._streams.add(stream)
            try:
                yield
            finally:
                self._streams.discard(stream)

    def _made_server(self, settings: PortalSettings) -> PortalServer:
        server = PortalServer(settings.name, instructions=settings.instructions)
        paged = types.PaginatedRequestParams
        for method, params, handler in (
            ("tools/list", paged, self._list_tools),
            ("tools/call", types.CallToolRequestParams, self._call_tool),
            ("prompts/list", paged, self._prompts.list),
            ("prompts/get", types.GetPromptRequestParams, self._prompts.get),
            ("resources/list", paged, self._resources.list),
            ("resources/templates/list", paged, self._resources.list_templates),
            ("resources/read", types.ReadResourceRequestParams, self._resources.read),
            ("resources/subscribe", types.SubscribeRequestParams, self._resources.subscribe),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, self._resources.unsubscribe),
            ("subscriptions/listen", types.SubscriptionsListenRequestParams, self._watches.listen),
            ("completion/complete", types.CompleteRequestParams, self._prompts.complete),
            ("logging/setLevel", types.SetLevelRequestParams, self._set_level),
        ):
            server.add_request_handler(method, params, walled(handler))  # type: ignore[arg-type]
        server.add_notification_handler("notifications/initialized", types.NotificationParams, self._initialized)
        server.add_notification_handler("notifications/cancelled", types.CancelledNotificationParams, self._cancelled)
        return server

    async def _list_tools(self, ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        refuse_cursor(params)
        return await self._modes[self._mode(ctx)].listed(self._view.of(scope_of(ctx)))

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> HandlerResult:
        return await self._modes[self._mode(ctx)].call(ctx, params)

    async def _set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> HandlerResult:
        session = self._sessions.of(ctx)
        if session is not None:
            session.log_level = params.level
        return {}

    async def _initialized(self, ctx: Context, params: types.NotificationParams) -> None:
        self._sessions.of(ctx)

    async def _cancelled(self, ctx: Context, params: types.CancelledNotificationParams) -> None:
        session = self._sessions.of(ctx)
        if session is not None and params.request_id is not None:
            session.cancel(params.request_id)

    def _mode(self, ctx: Context) -> Mode:
        """The mode of the request's own URL, which in a session may change from one to the next."""
        mode = ctx.request.scope[MODE] if ctx.request is not None else Mode.TOOLS
        return Mode(mode)

    def _session_ended(self, session: Session) -> None:
        self._watches.leave(session)
        self._background.spawn(self._servers.release(session.client.key), needed=True)

    def _upstream_protocol(self, server: str) -> str | None:
        snapshot = self._servers.snapshot.servers.get(server)
        return snapshot.listing.protocol if snapshot is not None else None
