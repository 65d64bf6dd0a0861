"""Tasks (extension `io.modelcontextprotocol/tasks`): a client that declares it gets a handle instead of a long wait.

A request that takes longer than its client waits goes on without it, and what becomes of it is asked for by the id of
its task. A program that is parked is a row in the database before its task is told of: every process of the portal
answers for it, also after this one was killed. Other work lives in this process, as long as that does: its task is
there before the client hears of it, and gone with the process.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

import mcp_types as types
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from pydantic import BaseModel, Field
from starlette.datastructures import Headers

from codemode import CatalogError, Waiting, off_loop
from portal.config import RunSettings
from portal.endpoint.approval_forms import ANSWER
from portal.endpoint.approval_prompts import ApprovalPrompts
from portal.endpoint.background import Background
from portal.endpoint.own_parked import OwnParkedRuns, owner_of, parked_runs_of
from portal.endpoint.parking import RunParking
from portal.endpoint.questions import HeldWork
from portal.endpoint.request import ClientRequest, RawResult, SdkContext
from portal.endpoint.server import guarded
from portal.endpoint.task_ids import TaskIds, TaskName
from portal.endpoint.task_shapes import TaskState, declares_tasks, in_words, input_requests, undeclared
from portal.endpoint.under_way import size_of
from portal.errors import NO_ROOM, CallError
from portal.exact import encode
from portal.flows import RunLabels
from portal.runs import DurableRuns, Owner, waits_of
from portal.shares import Full, Shares
from portal.state import LIVE, StateUnavailable, StoredRun
from portal.upstream import CallContext

if TYPE_CHECKING:
    from mcp.server.session import ServerSession

MOST_LIVE: Final = 1000
MOST_LIVE_EACH: Final = 100
"""Tasks of this process that are kept, and of one person."""
MOST_BYTES: Final = 128 * 1024 * 1024
MOST_BYTES_EACH: Final = 16 * 1024 * 1024
"""What the requests and results of tasks of this process may have together, and those of one person."""
MOST_TOLD: Final = 100
"""Tasks that one stream is told of."""
MOST_ANSWERED: Final = 10_000
MOST_RESPONSES: Final = 64
"""Answers in one `tasks/update`."""
_AGAIN_SECONDS = 1.0
_BACK_OFF = 5.0
CANCELLED = "the task was cancelled with tasks/cancel"


class TaskParams(types.RequestParams):
    """The params of `tasks/get` and `tasks/cancel`."""

    task_id: str = Field(alias="taskId", max_length=4096)


class TaskUpdateParams(TaskParams):
    """The params of `tasks/update`."""

    input_responses: dict[str, object] = Field(alias="inputResponses")


class _Acknowledged(BaseModel):
    """That a stream was opened, with what it is told of."""

    method: str = "notifications/subscriptions/acknowledged"
    params: dict[str, object]


class _TaskNotice(BaseModel):
    method: str = "notifications/tasks"
    params: dict[str, object]


@dataclass(slots=True, eq=False)
class _LiveTask:
    """A task whose work is in this process. `size` is the bytes of its request and, once it has `ended`, of its result
    too."""

    id: str
    name: TaskName
    owner: Owner
    held: HeldWork
    updated: datetime
    until: datetime
    size: int
    timer: asyncio.TimerHandle | None = None
    ended: TaskState | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self) -> None:
        """Note that something about it has changed."""
        self.updated = datetime.now(UTC)
        self.changed.set()
        self.changed = asyncio.Event()


class Tasks:
    """The tasks of one portal. `hand_over` notes what a client reads with a result (`Caller.hand_over_run`).
    Without `parking` and `durable` all tasks live in this process."""

    def __init__(
        self,
        ids: TaskIds,
        settings: Callable[[], RunSettings],
        background: Background,
        hand_over: Callable[[CallContext], Awaitable[None]],
        approvals: ApprovalPrompts,
        parking: RunParking | None = None,
        durable: DurableRuns | None = None,
    ) -> None:
        self._ids = ids
        self._approvals = approvals
        self._settings = settings
        self._background = background
        self._hand_over = hand_over
        self._parking = parking
        self._durable = durable
        self._live: dict[str, _LiveTask] = {}
        self._room = Shares(MOST_LIVE, MOST_LIVE_EACH)
        self._bytes = Shares(MOST_BYTES, MOST_BYTES_EACH)
        self._answered: OrderedDict[str, frozenset[str]] = OrderedDict()
        """The questions of parked runs that a client has answered, by the id of the run, the latest last."""

    # Beginning

    def patience(self, request: ClientRequest) -> float | None:
        """After how many seconds the request becomes a task; None if it does not."""
        if not declares_tasks(request):
            return None
        settings = self._settings()
        return settings.patience if request.context.on_progress is None else settings.patience_with_progress

    def keep(self, held: HeldWork) -> RawResult | None:
        """`CreateTaskResult` for work that goes on without its request; None where there is no room for it."""
        size = size_of(held.request.scope)
        if self._room.full_for(held.holder) is not None or self._bytes.full_for(held.holder, size) is not None:
            return None
        self._room.take(held.holder)
        self._bytes.take(held.holder, size)
        work, now = held.id or f"call_{secrets.token_hex(12)}", datetime.now(UTC)
        name, owner = TaskName(work, now), owner_of(held.request)
        task = _LiveTask(self._ids.seal(name, owner), name, owner, held, now, now, size)
        self._live[work] = task
        held.away = held.is_task = True
        held.on_change = task.touch
        self._expire_later(task)
        assert held.task is not None
        held.task.add_done_callback(lambda done: self._done(task, done))
        return self._state(task).as_created()

    async def of_run(self, request: ClientRequest, run_id: str) -> RawResult | None:
        """`CreateTaskResult` for a run that is stored; None if it is not there, or the database does not answer."""
        owner, now = owner_of(request), datetime.now(UTC)
        name, parked = TaskName(run_id, now), self._parked_of(owner)
        with suppress(StateUnavailable, CallError):
            run = None if parked is None else await parked.find(run_id)
            if run is not None:
                return (await self._stored(self._ids.seal(name, owner), name, run, request)).as_created()
        return None

    # The methods

    async def get(self, request: ClientRequest, params: TaskParams) -> RawResult:
        """`tasks/get`."""
        self._check(request, params, "tasks/get")
        state, _ = await self._find(request, params.task_id)
        return state.as_dict()

    async def update(self, request: ClientRequest, params: TaskUpdateParams) -> RawResult:
        """`tasks/update`: answers to what a task has asked. Of approvals they decide what the policy lets the client
        decide, and nothing else."""
        self._check(request, params, "tasks/update")
        responses = dict(list(params.input_responses.items())[:MOST_RESPONSES])
        owner = owner_of(request)
        name = self._opened(params.task_id, owner)
        if (live := self._live_of(name, owner)) is not None:
            live.held.answer(responses)
            live.touch()
            return {}
        state = await self._stored(params.task_id, name, await self._run_of(name, owner), request)
        await self._approvals.take_all(request, name.work, responses)
        asked = state.members.get("inputRequests")
        if isinstance(asked, Mapping):
            before = self._answered.pop(name.work, frozenset())
            self._answered[name.work] = before | (responses.keys() & asked.keys())
        while len(self._answered) > MOST_ANSWERED:
            self._answered.popitem(last=False)
        return {}

    async def cancel(self, request: ClientRequest, params: TaskParams) -> RawResult:
        """`tasks/cancel`. A task that has ended stays as it is."""
        self._check(request, params, "tasks/cancel")
        owner = owner_of(request)
        name, parked = self._opened(params.task_id, owner), self._parked_of(owner)
        if (live := self._live_of(name, owner)) is not None:
            live.held.stop()
            if parked is not None:
                # It may have been stored just now: its task was still of this process.
                with suppress(StateUnavailable):
                    await parked.end(name.work, CANCELLED)
            return {}
        if parked is None or await parked.find(name.work) is None:
            raise _unknown()
        await parked.end(name.work, CANCELLED)
        return {}

    def close(self) -> None:
        """End all that lives in this process."""
        for task in tuple(self._live.values()):
            task.held.stop()
            self._forget(task)

    # Telling

    @asynccontextmanager
    async def told(
        self, ctx: SdkContext, request: ClientRequest, params: types.SubscriptionsListenRequestParams
    ) -> AsyncIterator[SdkContext]:
        """A block in which a stream (`subscriptions/listen`) is told of the tasks that it names: of each as it is when
        the stream begins, and then whenever it changes.

        Raises:
            MCPError: it names tasks, and does not declare the extension.
        """
        named = (params.notifications.model_extra or {}).get("taskIds")
        if not named:
            yield ctx
            return
        if not declares_tasks(request):
            raise undeclared("To be told of tasks")
        known: list[str] = []
        for id in dict.fromkeys(one for one in named if isinstance(one, str)) if isinstance(named, list) else ():
            with suppress(MCPError, StateUnavailable, CallError):
                await self._find(request, id)
                known.append(id)
            if len(known) == MOST_TOLD:
                break
        stream = _TaskStream(ctx, known)
        telling = [asyncio.create_task(self._tell(request, id, stream), name="a task is told of") for id in known]
        try:
            yield replace(ctx, session=cast("ServerSession", stream))
        finally:
            for one in telling:
                one.cancel()
            await asyncio.gather(*telling, return_exceptions=True)

    async def _tell(self, request: ClientRequest, id: str, stream: _TaskStream) -> None:
        await stream.opened.wait()
        owner, last = owner_of(request), None
        name, parked = self._opened(id, owner), self._parked_of(owner)
        while True:
            live = self._live_of(name, owner)
            # As it is before its state is read: a change in between is one to be told of.
            changed = None if live is None else live.changed
            try:
                state, run = await self._find(request, id)
                if (shown := state.as_dict()) != last:
                    await stream.tell(shown)
                    last = shown
                if state.ended:
                    return
                if run is not None and parked is not None:
                    await parked.change(run)
                elif changed is not None:
                    await changed.wait()
            except (StateUnavailable, CallError):
                await asyncio.sleep(_BACK_OFF)
            except MCPError:
                return  # it is gone

    # Finding

    def _check(self, request: ClientRequest, params: TaskParams, method: str) -> None:
        """
        Raises:
            MCPError: this client has no such method, does not declare the extension, or disagrees with itself.
        """
        if not request.modern:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        if not declares_tasks(request):
            raise undeclared(method)
        if decode_header_value(Headers(scope=request.scope).get(MCP_NAME_HEADER)) != params.task_id:
            message = f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter"
            raise MCPError(HEADER_MISMATCH, message)

    async def _find(self, request: ClientRequest, id: str) -> tuple[TaskState, StoredRun | None]:
        """The task, and its run as it was then if that is stored.

        Raises:
            MCPError: this owner has no such task.
        """
        owner = owner_of(request)
        name = self._opened(id, owner)
        if (live := self._live_of(name, owner)) is not None:
            return live.ended or self._state(live), None
        run = await self._run_of(name, owner)
        return await self._stored(id, name, run, request), run

    def _opened(self, id: str, owner: Owner) -> TaskName:
        if (name := self._ids.open(id, owner)) is None:
            raise _unknown()
        return name

    def _live_of(self, name: TaskName, owner: Owner) -> _LiveTask | None:
        live = self._live.get(name.work)
        return live if live is not None and live.owner == owner and not live.held.stored else None

    def _parked_of(self, owner: Owner) -> OwnParkedRuns | None:
        return parked_runs_of(self._durable, self._parking, owner)

    async def _run_of(self, name: TaskName, owner: Owner) -> StoredRun:
        """
        Raises:
            MCPError: this owner has no such run that was parked.
        """
        parked = self._parked_of(owner)
        run = None if parked is None else await parked.find(name.work)
        if run is None:
            raise _unknown()
        return run

    async def _stored(self, id: str, name: TaskName, run: StoredRun, request: ClientRequest) -> TaskState:
        """The task of a run that was parked."""
        state = TaskState(id=id, created=name.created, updated=run.updated_at, until=run.expires_at)
        if run.state in LIVE:
            waits = waits_of(run) if run.state == "parked" else ()
            return state.asking(await self._asked(run, waits, request), in_words(waits))
        return await self._ended_run(state, run, request)

    async def _asked(self, run: StoredRun, waits: Sequence[Waiting], request: ClientRequest) -> Mapping[str, object]:
        """What the client of a request is asked about a parked run: for approvals as it is asked in any other way, and
        else to show the page."""
        answered, asked = self._answered.get(run.id, frozenset()), dict[str, object]()
        if any(one.kind == "approval" for one in waits):
            approvals = await self._approvals.of_run(run.id)
            pending = [one for one in approvals if one.state == "pending"]
            asked = await self._approvals.questions(request, pending, answered)
            known = asked.keys() | answered
            only_pages = {one.id for one in pending if ANSWER + one.id not in known}
            done = {one.id for one in approvals} - only_pages
            waits = [one for one in waits if one.kind != "approval" or _last_part(one.url) not in done]
        return {**asked, **input_requests(run, waits, request, answered)}

    async def _ended_run(self, state: TaskState, run: StoredRun, request: ClientRequest) -> TaskState:
        end = run.document.end
        words = "" if end is None else end.words
        if run.state == "cancelled":
            return state.cancelled(words)
        parked = self._parked_of(owner_of(request))
        assert parked is not None, "a run was found"
        try:
            ended = await parked.ended(run)
        except CatalogError as error:
            return state.failed({"code": INTERNAL_ERROR, "message": str(error)})
        # What it has read its client reads now, also if it was long ago.
        await self._hand_over(replace(request.context, read=RunLabels(ended.read)))
        return state.completed(ended.answer, words)

    # In this process

    def _state(self, task: _LiveTask) -> TaskState:
        """A task whose work has not ended."""
        state = TaskState(id=task.id, created=task.name.created, updated=task.updated, until=task.until)
        return state.asking(task.held.round(), in_words(task.held.waits()))

    def _done(self, task: _LiveTask, done: asyncio.Task[RawResult]) -> None:
        if self._live.get(task.name.work) is not task:
            return
        if task.held.stored:
            self._forget(task)
            task.touch()
        else:
            self._background.spawn(self._settle(task, done))

    async def _settle(self, task: _LiveTask, done: asyncio.Task[RawResult]) -> None:
        self._expire_later(task)
        state = TaskState(id=task.id, created=task.name.created, updated=datetime.now(UTC), until=task.until)
        task.ended = state.cancelled(CANCELLED) if done.cancelled() else await self._end(task, state, done)
        task.touch()

    async def _end(self, task: _LiveTask, state: TaskState, done: asyncio.Task[RawResult]) -> TaskState:
        try:
            result = await guarded("tools/call", done)
            size = len(await off_loop(lambda: encode(result), result))
            self._bytes.take(task.held.holder, size)
        except Full as full:
            words = f"The call ran, and there is no room for its result: tasks have {full.most:,} bytes already."
            return state.failed({"code": NO_ROOM, "message": words})
        except MCPError as error:
            return state.failed(error.error.model_dump(mode="json", by_alias=True, exclude_none=True))
        task.size += size
        return state.completed(result)

    def _expire_later(self, task: _LiveTask) -> None:
        """Keep it for as long as programs are kept that wait for people."""
        if task.timer is not None:
            task.timer.cancel()
        seconds = self._settings().keep
        task.until = datetime.now(UTC) + timedelta(seconds=seconds)
        task.timer = asyncio.get_running_loop().call_later(seconds, self._expire, task)

    def _expire(self, task: _LiveTask) -> None:
        if task.ended is None and not task.held.unanswered and not task.held.waits():
            # Its own time bounds it. It is looked at again.
            task.until = datetime.now(UTC) + timedelta(seconds=_AGAIN_SECONDS)
            task.timer = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._expire, task)
            return
        task.held.stop()
        self._forget(task)
        task.touch()

    def _forget(self, task: _LiveTask) -> None:
        if self._live.pop(task.name.work, None) is None:
            return
        self._room.give_back(task.held.holder)
        if task.size:
            self._bytes.give_back(task.held.holder, task.size)
        if task.timer is not None:
            task.timer.cancel()


def _last_part(url: str | None) -> str:
    """The id of an approval, in the address of its page: another process may have another address."""
    return (url or "").rpartition("/")[2]


def _unknown() -> MCPError:
    """The error for an id that is none, or is another caller's: it does not say which."""
    message = (
        "Unknown task: there is none with this id for this caller and client. It was never made, its time is over, or "
        "the process that it lived in has ended."
    )
    return MCPError(INVALID_PARAMS, message)


class _TaskStream:
    """The session behind a stream, as far as it is used there: what it acknowledges names the tasks too."""

    def __init__(self, ctx: SdkContext, ids: list[str]) -> None:
        self.opened = asyncio.Event()
        self._ctx = ctx
        self._ids = ids

    async def send_notification(
        self, notification: types.ServerNotification, related_request_id: types.RequestId | None = None
    ) -> None:
        if isinstance(notification, types.SubscriptionsAcknowledgedNotification):
            params = notification.params.model_dump(by_alias=True, mode="json", exclude_none=True)
            params["notifications"] = {**params.get("notifications", {}), "taskIds": self._ids}
            notification = cast("types.ServerNotification", _Acknowledged(params=params))
            await self._ctx.session.send_notification(notification, related_request_id=related_request_id)
            self.opened.set()
            return
        await self._ctx.session.send_notification(notification, related_request_id=related_request_id)

    async def tell(self, task: Mapping[str, object]) -> None:
        meta = {SUBSCRIPTION_ID_META_KEY: self._ctx.request_id}
        notice = cast("types.ServerNotification", _TaskNotice(params={**task, "_meta": meta}))
        await self._ctx.session.send_notification(notice, related_request_id=self._ctx.request_id)
