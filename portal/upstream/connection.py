"""One upstream server for the rest of the portal: its state, its listing, and calls to it.

A background task keeps the server connected (`keeper`) and its listing up to date. Whatever happens there (a crash, a
restart, an expired session, a hang) reaches a caller only as an `UpstreamError`. `Deadline` bounds the time of a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Literal

from mcp.shared.inbound import mcp_param_headers
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.config import ServerConfig
from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseTooLarge,
    SessionExpired,
    UpstreamCrowded,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from portal.shares import Full, holder_of
from portal.turns import FairTurns, Room
from portal.upstream.awaited_tasks import TASK, task_result
from portal.upstream.backoff import LONGEST, SHORTEST
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.credential import Confidential, Credential
from portal.upstream.input_required import ASKS, complete
from portal.upstream.keeper import Keeper
from portal.upstream.listing import Listing, declares_no_tools, fetch
from portal.upstream.negotiate import PAGE_BYTES, NegotiationCache, open_link
from portal.upstream.process_log import NO_PROCESS_LOGS, ProcessLogs
from portal.upstream.subscriptions import (
    ACKNOWLEDGED,
    LIST_CHANGED,
    MAX_WATCHED,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Subscriptions,
)
from portal.upstream.transports.bounds import PerSecond, check_result
from portal.upstream.transports.link import Link, log_entry
from portal.upstream.transports.protocol import Agreement, Introduction, declares_tasks
from portal.upstream.transports.wire import redact, redact_value


class Deadline:
    """An async context manager. After `idle` seconds without progress, or `maximum` in all, it raises TimeoutError.

    The idle time does not count while the downstream client answers a question: a person may take a while.
    """

    def __init__(self, idle: float, maximum: float) -> None:
        self._idle = idle
        self._maximum = maximum
        self._timeout = asyncio.timeout(None)
        self._latest = 0.0
        self._asking = 0
        self._over = False

    async def __aenter__(self) -> Deadline:
        self._latest = asyncio.get_running_loop().time() + self._maximum
        await self._timeout.__aenter__()
        self._restart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        await self._timeout.__aexit__(kind, error, traceback)

    @property
    def spent(self) -> str:
        """The limit that was reached, as words for a message."""
        if asyncio.get_running_loop().time() >= self._latest:
            return f"no answer within {self._maximum:g} s"
        return f"no answer and no progress for {self._idle:g} s"

    def watching(self, context: CallContext) -> CallContext:
        """The same context, with progress and questions also reported to this deadline."""
        on_progress, on_request = context.on_progress, context.on_request
        if on_progress is None and on_request is None:
            return context

        async def forward_progress(progress: float, total: float | None, message: str | None) -> None:
            self._restart()
            assert on_progress is not None
            await on_progress(progress, total, message)

        async def forward_request(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
            assert on_request is not None
            self._asking += 1
            self._restart()
            try:
                return await on_request(method, params)
            finally:
                self._asking -= 1
                self._restart()

        return replace(
            context,
            on_progress=forward_progress if on_progress is not None else None,
            on_request=forward_request if on_request is not None else None,
        )

    def _restart(self) -> None:
        # A question may be answered after the call it belongs to has ended.
        if not self._over and not self._timeout.expired():
            idle_at = asyncio.get_running_loop().time() + self._idle
            self._timeout.reschedule(self._latest if self._asking else min(idle_at, self._latest))


State = Literal["waiting", "ready", "stale", "error"]
OnNotification = Callable[[str, Mapping[str, object]], None]

# Timeouts in a row, with no answer between them, after which the server is pinged.
_TIMEOUTS_BEFORE_PING = 3
_LIST_SECONDS = 60.0
# Failed readings of the lists in a row, after which the link is replaced.
_FAILED_READINGS = 3
# Servers often announce one change several times in a row, and some announce one whenever they are asked for a list.
_SETTLE_SECONDS = 0.1
# Notifications per second that a server may send. A server that sends more is disconnected.
_MAX_NOTIFICATIONS = 2000


# Calls under way at a server over connections that show one credential. Each holds an HTTP connection; a process may
# take its calls one after the other, and every caller shares it.
ROOM = {"http": Room(most=256, each=128, kept=32), "stdio": Room(most=128, each=32, kept=16)}
ROOM["sse"] = ROOM["openapi"] = ROOM["http"]
_CROWDED_SECONDS = 15


def settling_seconds(vain: int) -> float:
    """The pause between an announced change and the next reading. `vain` readings in a row have found no change."""
    return min(_SETTLE_SECONDS * 2.0 ** min(vain, 16), LONGEST)


def _holder_of(context: CallContext) -> str:
    """Whose part of the server a call takes. Where nobody signs in, a session has one."""
    return holder_of(context.principal) or (context.client.key if context.client is not None else "")


def _crowded(full: Full, server: str) -> UpstreamCrowded:
    whose = "calls of yours" if full.own else "calls"
    return UpstreamCrowded(
        f"{full.most} {whose} are under way there, as many as may be, and none has ended in time; this one did not "
        f"run, try again in {_CROWDED_SECONDS} s",
        server=server,
        data=full.data(_CROWDED_SECONDS),
    )


def _wants_login(error: Exception) -> bool:
    return isinstance(error, AuthorizationRequired) and error.login_helps


class Connection:
    """A supervised connection to one server.

    `state` is one of

        waiting   not connected yet
        ready     connected, and its lists are read
        stale     was ready before and is not now; the last listing still holds
        error     was never ready

    `reason` says why it is not ready, for people; `status` is the HTTP status behind the reason. `since` is the time
    the state began, `retry_at` the time of the next attempt to connect (Unix times). `listing` is the last one that
    could be read. `instances` are the portals that the server is or leads to, by their marks. A connection with
    `lists=False` reads no lists and is ready as soon as it is connected. `refused` is whether it is not connected
    because the server wants a login. `login` is what tells the login that it shows from another one, "" without one.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        introduction: Introduction,
        negotiated: NegotiationCache | None = None,
        credential: Credential | None = None,
        login: str = "",
        lists: bool = True,
        listing: Listing | None = None,
        watched: Collection[str] = (),
        turns: FairTurns | None = None,
        logs: ProcessLogs = NO_PROCESS_LOGS,
        on_change: Callable[[], None] = lambda: None,
        on_notification: OnNotification = lambda method, params: None,
    ) -> None:
        """`listing` is what is known of its lists before it is connected. `watched` are URIs of resources that are
        watched as soon as it is. `turns` are those of all connections that show the same credential, its own if none.
        What a process writes besides messages goes to `logs`.
        """
        self.config = config
        self.state: State = "waiting"
        self.reason: str | None = None
        self.status: int | None = None
        self.since = time.time()
        self.retry_at: float | None = None
        self.refused = False
        self.login = login
        self.listing = listing or Listing()
        self.negotiated = negotiated or NegotiationCache()
        self.protocol: str | None = None
        self.instances: frozenset[str] = frozenset()
        self._introduction = introduction
        self._credential = credential
        self._logs = logs
        self._secrets = Confidential(config.secrets, credential)
        self._lists = lists
        self._on_change = on_change
        self._on_notification = on_notification
        self._keeper = Keeper(self._open, self._attend, self._lost, patience=config.connect_timeout)
        self._outdated = asyncio.Event()
        self._asked = asyncio.Event()
        self._declared_only = False
        self._turns = turns or FairTurns(ROOM[config.transport_name])
        self._subscriptions = Subscriptions(missed=self._outdated.set, watched=watched)
        # `refresh` waits for a reading that began after its call. `_reading` is set when the current reading ends,
        # `_next_reading` when the one after it ends.
        self._next_reading, self._reading = asyncio.Event(), asyncio.Event()
        self._timeouts = 0
        self._notifications = PerSecond(_MAX_NOTIFICATIONS)
        self._requests = 0

    def start(self) -> None:
        self._keeper.start(f"upstream {self.config.id}")

    async def aclose(self) -> None:
        """Close the connection for good. Calls on it fail. Idempotent."""
        await self._keeper.aclose()
        self._reading.set()
        self._next_reading.set()

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._requests)

    @property
    def watched(self) -> frozenset[str]:
        """The URIs of the resources that are watched over this connection."""
        return self._subscriptions.watched

    async def refresh(self) -> None:
        """Read the lists again now. Returns when a reading that began after this call has ended, even if it failed."""
        reading = self._next_reading
        self._outdated.set()
        self._asked.set()
        self._keeper.hurry()
        await reading.wait()

    async def notify(self, method: str, params: Mapping[str, object]) -> None:
        """Send a notification if the server is connected, else do nothing."""
        if (link := self._keeper.current) is not None:
            await link.notify(method, params)

    async def request(
        self,
        method: str,
        params: Mapping[str, object],
        context: CallContext = NO_CONTEXT,
        *,
        credentials: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> dict[str, object]:
        """The raw result of one request, within the server's timeouts.

        `timeout` starts again with every progress message and stops while the downstream client answers a question.
        `max_timeout` does neither. A request that did not run because its session had expired is sent once more. A
        request whose connection was lost is sent once more only if it is `repeatable`. `credentials` are HTTP headers.

        So many requests are under way at once, and so many for one caller; a further one waits, for `timeout`.

        Raises:
            UpstreamError: there is no result. Its `ran` says whether the call may have had an effect.
        """

        async def once(params: Mapping[str, object], context: CallContext) -> dict[str, object]:
            return await self._request(method, params, context, credentials, repeatable)

        self._requests += 1
        if method == UNSUBSCRIBE:
            # Before anything can fail: what nobody watches takes no room, whatever becomes of telling the server.
            self._subscriptions.note(method, params.get("uri"))
        holder, taken = _holder_of(context), False
        try:
            await self._turns.take(holder, self.config.timeout)
            taken = True
            if method in (SUBSCRIBE, UNSUBSCRIBE):
                return await self._subscribe(method, params, lambda: once(params, context))
            result = await once(params, context)
            if result.get("resultType") == ASKS:
                async with asyncio.timeout(self.config.max_timeout):
                    result = await complete(once, params, result, context)
            if result.get("resultType") == TASK and declares_tasks(context):

                async def follow(method: str, params: Mapping[str, object]) -> dict[str, object]:
                    return await self._request(method, params, context, credentials, method == "tasks/get")

                async with asyncio.timeout(self.config.max_timeout):
                    result = await task_result(follow, result, context)
            await check_result(method, result)
            return result
        except Full as full:
            raise _crowded(full, self.config.id) from None
        except TimeoutError:
            raise UpstreamTimeout("its questions were not answered in time, or its task did not end") from None
        except UpstreamError as error:
            error.server = self.config.id
            secrets = self._secrets
            error.message, error.data = redact(error.message, secrets), redact_value(error.data, secrets)
            if isinstance(error, OutcomeUnknown | UpstreamTimeout | ResponseTooLarge):
                error.message += "; the call may have run"
            raise
        finally:
            self._requests -= 1
            if taken:
                self._turns.give_back(holder)

    def notification(self, method: str, params: Mapping[str, object]) -> None:
        """Implements `Inbound`."""
        if self._notifications.exceeded():
            if (link := self._keeper.current) is not None:
                link.end(f"sent more than {_MAX_NOTIFICATIONS} notifications in a second")
        elif method == ACKNOWLEDGED:
            self._subscriptions.acknowledged()
        else:
            if method in LIST_CHANGED:
                self._outdated.set()
            self._on_notification(method, log_entry(params) if method == "notifications/message" else params)

    # Calls

    async def _request(
        self,
        method: str,
        params: Mapping[str, object],
        context: CallContext,
        credentials: Mapping[str, str] | None,
        repeatable: bool,
    ) -> dict[str, object]:
        for last in (False, True):
            link = await self._keeper.link()
            deadline = Deadline(self.config.timeout, self.config.max_timeout)
            try:
                async with deadline:
                    watched = deadline.watching(self._mirroring(method, params, context))
                    result = await link.request(method, params, watched, credentials=credentials)
            except TimeoutError:
                self._timeouts += 1
                if self._timeouts >= _TIMEOUTS_BEFORE_PING:
                    self._keeper.suspect()
                raise UpstreamTimeout(deadline.spent) from None
            except SessionExpired as error:
                self._keeper.give_up(link, error)
                if last:
                    raise
            except (OutcomeUnknown, UpstreamUnavailable) as error:
                self._keeper.suspect()
                if last or not repeatable or not isinstance(error, OutcomeUnknown):
                    raise
            except UpstreamError:
                self._timeouts = 0  # An error is an answer too: the server lives.
                raise
            else:
                self._timeouts = 0
                return result
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _subscribe(
        self, method: str, params: Mapping[str, object], request: Callable[[], Awaitable[dict[str, object]]]
    ) -> dict[str, object]:
        """Start or stop watching a resource. A legacy server gets a request, a modern one an entry in its stream."""
        await self._keeper.link()
        if method == SUBSCRIBE and self._subscriptions.full_for(params.get("uri")):
            raise UpstreamUnavailable(
                f"{MAX_WATCHED:,} of its resources are watched, as many as may be; try again later"
            )
        if self.protocol in MODERN_PROTOCOL_VERSIONS:
            if method == UNSUBSCRIBE or self._subscriptions.note(method, params.get("uri")):
                await self._subscriptions.relisten()
            return {}
        result = await request()
        if method == SUBSCRIBE:
            self._subscriptions.note(method, params.get("uri"))
        return result

    def _mirroring(self, method: str, params: Mapping[str, object], context: CallContext) -> CallContext:
        """The context with the headers that repeat arguments (`x-mcp-header`), and no others. They are made of the
        arguments that policies and screenings have seen, whatever headers the client has sent."""
        headers: Mapping[str, str] = {}
        if method == "tools/call" and self.listing.mirrored:
            mapping = self.listing.mirrored.get(str(params.get("name")))
            arguments = params.get("arguments")
            if mapping is not None:
                headers = mcp_param_headers(mapping, arguments if isinstance(arguments, Mapping) else {})
        return context if headers == context.headers else replace(context, headers=headers)

    # Called by the keeper

    async def _open(self) -> tuple[Link, Agreement]:
        link, agreement = await open_link(
            self.config, self._introduction, self, self.negotiated, self._credential, self._logs
        )
        # Before the first request, which may have waited for the link.
        self.protocol, self.instances = agreement.version, agreement.instances
        return link, agreement

    async def _attend(self, link: Link, agreement: Agreement) -> None:
        """Keep the listing up to date and receive changes, for as long as the link lives."""
        self.refused = False
        if not self._lists:
            self._set("ready", None)
            await self._subscriptions.attend(link, agreement)
            await link.closed.wait()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_listing(link, agreement))
            tasks.create_task(self._subscriptions.attend(link, agreement))

    def _lost(self, error: UpstreamError, pause: float) -> None:
        self.refused = _wants_login(error)
        retry_at = time.time() + pause
        self._set("stale" if self.listing.digest else "error", error.full_message, error.status, retry_at=retry_at)
        self._reading.set()
        self._begin_reading().set()

    async def _keep_listing(self, link: Link, agreement: Agreement) -> None:
        failures = vain = 0

        async def page(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
            return await link.request(method, params, max_bytes=PAGE_BYTES)

        while True:
            self._outdated.clear()
            self._asked.clear()
            before, began = self.listing.digest, asyncio.get_running_loop().time()
            ended = self._begin_reading()
            try:
                async with asyncio.timeout(_LIST_SECONDS):
                    limit, previous = self.config.max_items, self.listing
                    listing = await fetch(
                        page, agreement, max_items=limit, previous=previous, declared_only=self._declared_only
                    )
                    self.listing = listing.with_notes(link.notes)
            except (UpstreamError, TimeoutError) as error:
                # A server may end at a list that it does not declare. It is not asked for one again.
                self._declared_only = self._declared_only or (link.closed.is_set() and declares_no_tools(agreement))
                why = (
                    error.full_message if isinstance(error, UpstreamError) else f"no answer within {_LIST_SECONDS:g} s"
                )
                failures += 1
                unreadable = UpstreamUnavailable(f"its lists cannot be read: {why}")
                unreadable.status = error.status if isinstance(error, UpstreamError) else None
                self.refused = _wants_login(error)
                if isinstance(error, SessionExpired) or failures >= _FAILED_READINGS:
                    # It may be another server by now, of another generation: connect again from the start.
                    self._keeper.give_up(link, error if isinstance(error, SessionExpired) else unreadable)
                self._set("stale" if self.listing.digest else "error", unreadable.message, unreadable.status)
                ended.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(SHORTEST * 2**failures, LONGEST)):
                        await self._outdated.wait()
            else:
                failures, self.refused = 0, False
                self._set("ready", None)
                ended.set()
                vain = vain + 1 if self.listing.digest == before else 0
                read_at = asyncio.get_running_loop().time()
                with suppress(TimeoutError):  # Not every server announces that its lists have changed.
                    async with asyncio.timeout(self.config.resync):
                        await self._outdated.wait()
                if asyncio.get_running_loop().time() - read_at > LONGEST:
                    vain = 0
                with suppress(TimeoutError):
                    # A server whose lists change all the time is read for half of it at most.
                    async with asyncio.timeout(max(settling_seconds(vain), min(read_at - began, LONGEST))):
                        await self._asked.wait()

    def _set(
        self, state: State, reason: str | None, status: int | None = None, *, retry_at: float | None = None
    ) -> None:
        if state != self.state:
            self.since = time.time()
        self.state = state
        self.reason = redact(reason, self._secrets) if reason is not None else None
        self.status = status
        self.retry_at = retry_at
        self._on_change()

    def _begin_reading(self) -> asyncio.Event:
        """The event to set when the reading that begins now ends. Calls of `refresh` until now wait for it."""
        self._reading, self._next_reading = self._next_reading, asyncio.Event()
        return self._reading
