"""One portal's MCP endpoint as an ASGI application: the parts of this folder wired together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import mcp_types as types
from mcp.server.context import HandlerResult
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp_types import INVALID_PARAMS, INVALID_REQUEST
from starlette.types import Receive, Scope, Send

from codemode import Meanings, work_for
from portal.access import LiveAccess, Standing, denied, keep_standing, portal_decision, standing_of
from portal.calls import Caller, PlanApprovals
from portal.config import CodeModePolicy, Plans, PortalSettings, RunSettings
from portal.endpoint.approval_prompts import ApprovalPrompts
from portal.endpoint.background import Background
from portal.endpoint.changes import STREAMS, ChangeNotices, ListenStreams, asks_for_stream
from portal.endpoint.code import CODE, CodeMode
from portal.endpoint.express import Express
from portal.endpoint.generations import NEWER
from portal.endpoint.login_prompts import LoginPages, LoginPrompts
from portal.endpoint.modes import Mode, ModeRefused, select_mode
from portal.endpoint.optimized import Minimized, Query, QueryAndExecute, failure
from portal.endpoint.params import initialize_without_nulls
from portal.endpoint.parking import RunParking, WrittenLogins
from portal.endpoint.portal_tools import PersonServers, WithPortalTools
from portal.endpoint.presence import note_departure
from portal.endpoint.programs import CodeRunner, ProgramRuns
from portal.endpoint.prompts import Prompts
from portal.endpoint.questions import Questions
from portal.endpoint.request import MODE, ClientRequest, OnTrace, RawResult, SdkContext, malformed, sdk_request
from portal.endpoint.request_log import CONTEXT, RequestLog
from portal.endpoint.resources import Resources, Watches
from portal.endpoint.resumption import ResumableSessions
from portal.endpoint.room import no_room_error
from portal.endpoint.server import Handler, PortalMcpServer, StoredStates, walled
from portal.endpoint.session_room import SessionRoom, begins_session, has_sessions, session_named
from portal.endpoint.sessions import Session, Sessions, scope_of
from portal.endpoint.sight import Sight, sight_of
from portal.endpoint.task_ids import TaskIds
from portal.endpoint.tasks import TaskParams, Tasks, TaskUpdateParams
from portal.endpoint.tools import ToolMethods, ToolMode, Tools, refuse_cursor
from portal.endpoint.under_way import SECONDS as UNDER_WAY_SECONDS
from portal.endpoint.under_way import Begun, NoRoom, UnderWay, counted, size_of
from portal.endpoint.views import Catalogs, Contents, View, Views, warm_search
from portal.errors import CallDenied
from portal.http import HttpSettings, Refusal, body_of, body_read, no_room, refuse, unrouted
from portal.identity import ANONYMOUS, Identity, principal_of
from portal.logs import NO_EVENTS, EventSink
from portal.runs import DurableRuns, NextAttempt, RunOutcome, RunRegistry, WatchedRuns
from portal.sdk import rename
from portal.servers import Servers
from portal.shares import Full, Shares, holder_of
from portal.state import RunClaim, StoredRun
from portal.trace_context import found_in
from portal.upstream import MAX_INSTANCES

if TYPE_CHECKING:
    from portal.state import Store

MUCH = 64 * 1024
"""Bytes of a body. Parsing a longer one takes so long that others would wait."""
METHODS = ("DELETE", "GET", "POST")
COME_BACK_SECONDS = 60
"""Seconds after which a caller whose sessions or streams are all in use may try again."""
MAX_OPENING = 64 * 1024
"""The most bytes of a request that begins a session: what a client says of itself there is kept with the session."""
Params = TypeVar("Params")


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
        contents: Contents | None = None,
        *,
        part: bool = False,
        login_pages: LoginPages | None = None,
        person_servers: PersonServers | None = None,
        meanings: Meanings | None = None,
        events: EventSink = NO_EVENTS,
        on_trace: OnTrace = found_in,
        watched: WatchedRuns | None = None,
        cold: bool = False,
        mark: str = "",
        store: Store | None = None,
        logins: WrittenLogins | None = None,
        durable: DurableRuns | None = None,
        approvals: ApprovalPrompts | None = None,
        plan_approvals: PlanApprovals | None = None,
    ) -> None:
        """`contents` is shared by the portals of an instance. A portal that is a `part` never shows every server.
        `login_pages` are where people log in to servers, `person_servers` which they have; None where nobody signs in.
        `meanings` belongs to the caller; None where search goes by words alone. `events` takes the rows of requests.
        `on_trace` gives each request its place in a trace. `watched` has the runs under way; portals may share it.
        `cold`: it begins with its client, before its servers are there. `mark` is that of its instance. With `store`
        and `durable` programs that wait are parked in the store, with who began them by `logins`. `approvals` asks for
        them, and is None where nothing needs any. `plan_approvals` asks people about plans of programs; None where
        nobody can be asked.
        """
        self._log = RequestLog(events, caller.hides)
        self._on_trace = on_trace
        self._servers = servers
        self._code_mode = settings.code_mode
        self._has_code = code_tool is not None
        self._background = Background()
        self._streams: set[anyio.CancelScope] = set()
        self._stopping = False
        self._access = access
        self._person_servers = person_servers
        off = person_servers.off if person_servers is not None else lambda caller: frozenset[str]()
        self._views = Views(servers, access, contents, caller.on_behalf, off)
        self._part = part
        self._sessions = Sessions(self._session_ended)
        bus = InMemorySubscriptionBus()
        self._listen_streams = streams = ListenStreams(bus, self._views)
        self._watches = Watches(self._views, caller, streams, self._background)
        self._changes = ChangeNotices(self._views, self._sessions, bus, streams, self._background)
        prompts = LoginPrompts(servers, login_pages)
        self._approval_prompts = approvals or ApprovalPrompts(None, str)
        self._run_settings = settings.runs
        parking = self._parking_of(store, caller.portal, logins) if durable is not None else None
        self._tasks = self._tasks_of(caller, store, parking, durable)
        self._questions = Questions(servers.protocol_of, prompts, self._approval_prompts, self._tasks)
        self._runs = RunRegistry(lambda: self._run_settings)
        prepare = partial(warm_search, meanings=meanings) if code_tool is None else code_tool.prepare
        self._catalogs = Catalogs(self._background, prepare)
        watched = watched or WatchedRuns()
        self._code: CodeMode | None = None
        if code_tool is not None:
            parts = (self._views, caller, self._catalogs, code_tool, prompts, person_servers, watched, parking)
            programs = ProgramRuns(*parts, records=self._records, plans=self._plans, plan_approvals=plan_approvals)
            self._code = self._code_mode_of(code_tool, programs, parking, durable)
        modes = self._modes(Tools(self._views, caller, self._questions), Query(self._catalogs, meanings), prompts)
        self._tools = ToolMethods(self._views, modes, cold=cold, variant=self._plans)
        self._prompts = Prompts(self._views, caller, self._questions)
        self._resources = Resources(self._views, caller, self._questions, self._watches)
        self._body_limit = http.body_limit
        self._server = server = self._make_server(settings, mark, store, caller.portal)
        self._manager = self._make_manager(server, http)
        self._room = SessionRoom(Shares(http.sessions, http.sessions_each), self._manager.end, self._sessions.busy)
        # Apart from each other: the work of a request whose client has left goes on.
        self._requests, self._work = UnderWay(http), UnderWay(http)
        self._express = Express(
            server, self._tools, self._sessions, http.session_idle, self._log, self._room.touch, on_trace
        )

    def _parking_of(self, store: Store | None, portal: str, logins: WrittenLogins | None) -> RunParking | None:
        return None if store is None else RunParking(store, portal, logins, lambda: self._run_settings)

    def _tasks_of(
        self, caller: Caller, store: Store | None, parking: RunParking | None, durable: DurableRuns | None
    ) -> Tasks:
        ids = TaskIds(caller.portal, None if store is None else store.keys)
        settings, told = lambda: self._run_settings, caller.hand_over_run
        return Tasks(ids, settings, self._background, told, self._approval_prompts, parking, durable)

    def _records(self) -> bool:
        """Whether this portal records programs."""
        return self._run_settings.record == "on"

    def _plans(self) -> Plans:
        """What this portal does about plans of programs."""
        return self._run_settings.plan

    def _code_mode_of(
        self, tool: CodeRunner, programs: ProgramRuns, parking: RunParking | None, durable: DurableRuns | None
    ) -> CodeMode:
        return CodeMode(
            self._views,
            self._catalogs,
            tool,
            self._questions,
            self._runs,
            programs,
            parking,
            durable,
            self._tasks,
            approvals=self._approval_prompts,
        )

    def _make_manager(self, server: PortalMcpServer, http: HttpSettings) -> ResumableSessions:
        return ResumableSessions(
            server,
            ended=self._session_left,
            max_request_body_size=http.body_limit,
            max_sessions=http.sessions,
            session_idle_timeout=http.session_idle,
        )

    def _modes(self, tools: Tools, query: Query, prompts: LoginPrompts) -> dict[Mode, ToolMode]:
        """What a client sees in each mode."""
        code, person_servers = self._code, self._person_servers
        modes: dict[Mode, ToolMode] = {
            Mode.TOOLS: tools,
            Mode.MINIMIZE_TOOLS: Minimized(self._views, query, tools),
            Mode.QUERY_AND_EXECUTE: QueryAndExecute(self._views, query, tools, self._run_code if code else None),
            **({Mode.CODE: code} if code is not None else {}),
        }
        if person_servers is not None:
            for mode in (Mode.TOOLS, Mode.MINIMIZE_TOOLS):
                modes[mode] = WithPortalTools(modes[mode], self._views, person_servers, prompts)
        return modes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope[MODE] = select_mode(scope["query_string"], self._code_mode if self._has_code else CodeModePolicy.OFF)
        except ModeRefused as error:
            await self._refuse(Refusal(400, "mode", str(error), INVALID_PARAMS), scope, receive, send)
            return
        if (method := scope["method"]) not in METHODS:
            words = unrouted(405, method, scope["path"])
            refusal = Refusal(405, "http", words, headers={"Allow": ", ".join(METHODS)})
            await self._refuse(refusal, scope, receive, send)
            return
        caller = principal_of(scope)
        holder = holder_of(caller)
        work_for(holder)
        try:
            begun = self._requests.begin(holder)
            try:
                await self._answer(scope, caller, holder, begun, receive, send)
            finally:
                begun.end()
        except NoRoom as error:
            await self._refuse(no_room(error.full, error.what, UNDER_WAY_SECONDS), scope, receive, send)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        self._log.refused(scope, refusal)
        await refuse(refusal)(scope, receive, send)

    async def _answer(
        self, scope: Scope, caller: Identity | None, holder: str, begun: Begun, receive: Receive, send: Send
    ) -> None:
        """
        Raises:
            NoRoom: there is none for its body. Nothing was sent.
        """
        if self._access is not None and (refusal := await self._refusal(scope, caller)) is not None:
            await self._refuse(refusal, scope, receive, send)
            return
        await self._views.meet(caller)
        if scope["method"] == "POST":
            body = body_of(scope, receive)
            # Whom a policy lets in without a login counts as the stranger they are.
            is_stranger = caller is not None and not caller.key
            limit = self._body_limit
            text = await (body.read_from_stranger(limit) if is_stranger else body.read(limit, holder))
            receive = body.receive
            if size := counted(text):
                begun.hold(size)
            if await self._express.answered(scope, text, caller, receive, send):
                return
            if len(text) > MUCH:
                # It is read up to twice more here, and once by the SDK: others have their turn in between.
                refusal = await asyncio.to_thread(malformed, scope["headers"], text)
            else:
                refusal = malformed(scope["headers"], text)
            if refusal is not None:
                await self._refuse(refusal, scope, receive, send)
                return
            if (fitting := initialize_without_nulls(text)) is not None:
                body.taken = fitting
            elif len(text) > MUCH:
                await asyncio.sleep(0)
        if scope["method"] == "DELETE":
            send = self._sessions.note_end(scope, send)
        self._sessions.note_sdk_request(scope, caller)
        try:
            await self._by_sdk(scope, holder, note_departure(scope, receive), send)
        except Full as full:
            what = STREAMS if asks_for_stream(scope) else "sessions in use"
            await self._refuse(no_room(full, what, COME_BACK_SECONDS), scope, receive, send)

    async def _by_sdk(self, scope: Scope, holder: str, receive: Receive, send: Send) -> None:
        """
        Raises:
            Full: it would begin a session or a stream, for which there is no room. Nothing was sent.
        """
        if begins_session(scope):
            if len(body_read(scope)) > MAX_OPENING:
                words = f"A request that begins a session has at most {MAX_OPENING} bytes. Nothing ran."
                await self._refuse(Refusal(413, "body_size", words), scope, receive, send)
                return
            async with self._room.opening(holder, send) as send:
                await self._manager.open(holder, scope, receive, send)
            return
        if asks_for_stream(scope) and not has_sessions(scope):
            with self._listen_streams.room.held(holder):
                await self._manager.handle_request(scope, receive, send)
            return
        with self._open_stream(scope), self._room.using(session_named(scope)):
            await self._manager.handle_request(scope, receive, send)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        unsubscribe = [
            self._servers.subscribe(self._changes.snapshot_replaced),
            self._servers.on_notification(self._changes.upstream_notified),
            self._servers.on_person(self._changes.person_changed),
        ]
        if self._person_servers is not None:
            unsubscribe.append(self._person_servers.subscribe(self._changes.person_changed))
        if not self._part:
            # With policies too: callers to whom they give everything share the view of the whole, and its catalog.
            prepare = self._catalogs.prepare
            unsubscribe.append(self._servers.subscribe(lambda _, new: prepare(self._views.whole_of(new))))
            prepare(self._views.whole)
        if self._access is not None:
            unsubscribe.append(self._access.subscribe(self._changes.access_replaced))
            self._catalogs.prepare_parts()
        try:
            async with self._manager.run():
                yield
        finally:
            for end in unsubscribe:
                end()
            self._approval_prompts.close()
            self._questions.close()
            self._tasks.close()
            await self._runs.aclose()
            await self._background.aclose()

    async def _refusal(self, scope: Scope, caller: Identity | None) -> Refusal | None:
        """Why this caller may not use the portal, or not this session; None if both are allowed. For every request."""
        assert self._access is not None
        if standing_of(scope) is None:
            # Nobody signs in at this portal, so nobody has decided before.
            standing = await self._access.decide(caller or ANONYMOUS)
            decision = portal_decision(standing)
            if standing is None or not decision.allowed:
                return denied(decision)
            keep_standing(scope, standing)
        if self._sessions.belongs_to_another(scope, caller):
            return Refusal(404, "session", "Session not found.", INVALID_REQUEST)
        return None

    async def sight(self, standing: Standing, query: bytes = b"") -> Sight:
        """What the caller of these decisions would see with this query string in the URL of the endpoint.

        Raises:
            ModeRefused: the query string asks for no mode.
        """
        mode = select_mode(query, self._code_mode if self._has_code else CodeModePolicy.OFF)
        caller = standing.identity
        snapshot = self._views.snapshot(caller)
        view: View | str
        listed: tuple[str, ...] = ()
        try:
            view = self._views.for_standing(standing, snapshot, caller)
            definitions = await self._tools.definitions(view, mode, NEWER)
            listed = tuple(str(definition["name"]) for definition in definitions)
        except CallDenied as denial:
            view = str(denial)
        return sight_of(mode, snapshot, standing, view, listed, self._views.turned_off_by(caller))

    def apply(self, name: str, instructions: str | None, code_mode: CodeModePolicy, runs: RunSettings) -> None:
        """Take up what the portal's owner decided.

        The code mode holds from the next request on, and clients are notified, so that they list again. The name and
        the instructions hold from the next session on.
        """
        relist = self._run_settings.plan != runs.plan
        self._run_settings = runs
        self._server.instructions = instructions
        if name != self._server.name:
            rename(self._server, name)
            self._express.name_server(self._server.server_info_stamp)
        if code_mode is not self._code_mode or relist:
            self._code_mode = code_mode
            self._changes.publish(ToolsListChanged())

    async def resume(self, claim: RunClaim) -> RunOutcome:
        """How it went with a parked run of this portal that this process has claimed. Without anything that runs
        programs it is not attempted. Raises as `CodeMode.resume`."""
        return NextAttempt() if self._code is None else await self._code.resume(claim)

    def note_end(self, run: StoredRun, *, is_left: bool = False) -> None:
        """Write the row of a parked run of this portal that has ended without going on, or that `is_left` without a row
        by a process that was killed."""
        if self._code is not None:
            self._code.note_end(run, is_left=is_left)

    def programs_of(self, holder: str) -> int:
        """How many programs of this holder (`portal.shares.holder_of`) are under way."""
        return self._runs.under_way(holder)

    @property
    def session_count(self) -> int:
        """How many sessions of 2025 clients are open."""
        return len(self._sessions)

    def close_streams(self) -> None:
        """Begin to shut down: end the streams that would otherwise stay open for ever."""
        self._stopping = True
        self._listen_streams.close()
        for stream in tuple(self._streams):
            stream.cancel()

    @contextmanager
    def _open_stream(self, scope: Scope) -> Iterator[None]:
        """Makes a session's own stream (GET) end on shutdown: it carries no request that deserves an answer."""
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

    def _make_server(self, settings: PortalSettings, mark: str, store: Store | None, portal: str) -> PortalMcpServer:
        def marks() -> list[str]:
            return [mark, *sorted(self._servers.instances)][:MAX_INSTANCES] if mark else []

        server = PortalMcpServer(
            settings.name,
            instructions=settings.instructions,
            middleware=self._log.middleware,
            marks=marks,
            states=None if store is None else StoredStates(store, portal),
        )
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
            ("completion/complete", types.CompleteRequestParams, self._prompts.complete),
            ("logging/setLevel", types.SetLevelRequestParams, self._set_level),
            ("tasks/get", TaskParams, self._tasks.get),
            ("tasks/update", TaskUpdateParams, self._tasks.update),
            ("tasks/cancel", TaskParams, self._tasks.cancel),
        ):
            server.add_request_handler(method, params, walled(self._from_sdk(handler)))  # type: ignore[arg-type]
        listen = types.SubscriptionsListenRequestParams
        server.add_request_handler("subscriptions/listen", listen, walled(self._listen))
        server.add_notification_handler("notifications/initialized", types.NotificationParams, self._initialized)
        server.add_notification_handler("notifications/cancelled", types.CancelledNotificationParams, self._cancelled)
        return server

    def _from_sdk(self, handler: Callable[[ClientRequest, Params], Awaitable[HandlerResult]]) -> Handler[Params]:
        async def handle(ctx: SdkContext, params: Params) -> HandlerResult:
            session, scope = self._sessions.of(ctx), scope_of(ctx) or {}
            key = session.client.key if session is not None else ""
            holder = holder_of(principal_of(scope))
            try:
                begun = self._work.begin(holder, size_of(scope))
            except NoRoom as error:
                raise no_room_error(error.full, error.what, UNDER_WAY_SECONDS) from None
            try:
                request = sdk_request(ctx, session, self._on_trace)
                scope[CONTEXT] = request.context
                with self._room.using(key):
                    return await handler(request, params)
            finally:
                begun.end()

        return handle

    async def _listen(
        self, ctx: SdkContext, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        async with self._tasks.told(ctx, sdk_request(ctx, None, self._on_trace), params) as told:
            return await self._watches.listen(told, params)

    async def _list_tools(self, request: ClientRequest, params: types.PaginatedRequestParams) -> HandlerResult:
        refuse_cursor(params)
        return await self._tools.list(request)

    async def _call_tool(self, request: ClientRequest, params: types.CallToolRequestParams) -> HandlerResult:
        return await self._tools.call(request, params.name, params.arguments or {})

    async def _run_code(self, request: ClientRequest, program: str) -> RawResult:
        """What `execute` does with a program: as in code mode, unless the portal's owner has turned that off."""
        assert self._code is not None
        if self._code_mode is CodeModePolicy.OFF:
            return failure("This portal runs no programs: execute takes {name: string, arguments?: object}.")
        return await self._code.call(request, CODE, {"code": program})

    async def _set_level(self, request: ClientRequest, params: types.SetLevelRequestParams) -> HandlerResult:
        if request.session is not None:
            request.session.log_level = params.level
        return {}

    async def _initialized(self, ctx: SdkContext, params: types.NotificationParams) -> None:
        self._sessions.of(ctx)

    async def _cancelled(self, ctx: SdkContext, params: types.CancelledNotificationParams) -> None:
        session = self._sessions.of(ctx)
        if session is not None and params.request_id is not None:
            session.cancel(params.request_id)

    def _session_left(self, id: str) -> None:
        self._room.ended(id)

    def _session_ended(self, session: Session) -> None:
        self._watches.leave(session)
        self._background.spawn(self._servers.release(session.client.key), needed=True)
