"""One upstream server as the rest of the portal knows it: its state, what it offers, and calls to it.

A task of its own keeps it connected (`keeper`) and its listing fresh. Nothing that happens there, a crash, a restart,
an expired session, a hang, reaches a caller as anything but one `UpstreamError`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from mcp.shared.inbound import mcp_param_headers
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.config import ServerConfig
from portal.errors import OutcomeUnknown, SessionExpired, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from portal.upstream.backoff import LONGEST, SHORTEST
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.deadline import Deadline
from portal.upstream.input_required import complete, needs_answers
from portal.upstream.keeper import Keeper
from portal.upstream.listing import Listing, fetch
from portal.upstream.negotiate import PAGE_BYTES, Remembered, open_link
from portal.upstream.subscriptions import ACKNOWLEDGED, LIST_CHANGED, SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from portal.upstream.transports.link import Link
from portal.upstream.transports.protocol import Agreement, Introduction
from portal.upstream.transports.wire import redact, redact_value

State = Literal["waiting", "ready", "stale", "error"]
OnNotification = Callable[[str, Mapping[str, Any]], None]

# Timeouts in a row, with no answer of any kind between them, after which the server itself is asked if it lives.
_SUSPICIOUS = 3
_LIST_SECONDS = 60.0
# Failures in a row to read the lists, after which the link itself is not trusted any more.
_UNREADABLE = 3
# One change is often announced several times in a row.
_SETTLE_SECONDS = 0.1
# Notifications a second past which a server is flooding and not informing.
_FLOOD = 2000


class Connection:
    """`state` and `reason` are for people to see, `status` is the HTTP status behind the reason; `listing` is the last
    good one. `retry_at` (Unix time) is when connecting is tried again.

    waiting: not connected yet. ready: connected and listed. stale: was ready, is not now; the last listing still
    stands. error: never was ready. A connection that does not list (`lists=False`) is ready when connected.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        introduction: Introduction,
        remembered: Remembered | None = None,
        lists: bool = True,
        on_change: Callable[[], None] = lambda: None,
        on_notification: OnNotification = lambda method, params: None,
    ) -> None:
        self.config = config
        self.state: State = "waiting"
        self.reason: str | None = None
        self.status: int | None = None
        self.since = time.time()
        self.retry_at: float | None = None
        self.listing = Listing()
        self.remembered = remembered or Remembered()
        self.protocol: str | None = None
        self._introduction = introduction
        self._lists = lists
        self._on_change = on_change
        self._on_notification = on_notification
        self._keeper = Keeper(self._open, self._attend, self._lost, patience=config.connect_timeout)
        self._outdated = asyncio.Event()
        self._subscriptions = Subscriptions(missed=self._outdated.set)
        # Who asked for the lists is answered by a reading that began after that: `_reading` is of the one under way.
        self._relisted, self._reading = asyncio.Event(), asyncio.Event()
        self._timeouts = 0
        self._second, self._heard = 0, 0

    def start(self) -> None:
        self._keeper.start(f"upstream {self.config.id}")

    async def aclose(self) -> None:
        """End the link for good; calls on it fail. Idempotent."""
        await self._keeper.aclose()
        self._reading.set()
        self._relisted.set()

    async def refresh(self) -> None:
        """Read the lists again now; returns once that was tried, by a reading that began after this call."""
        relisted = self._relisted
        self._outdated.set()
        self._keeper.hurry()
        await relisted.wait()

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification, if there is a link to send it on."""
        if (link := self._keeper.current) is not None:
            await link.notify(method, params)

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        context: CallContext = NO_CONTEXT,
        *,
        credentials: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """The raw result of one request, within the server's timeouts.

        `timeout` starts again with every progress message and stands still while the downstream is being asked;
        `max_timeout` does neither. A call that certainly did not run, because its session had expired, is sent once
        more; one whose connection was lost only when `repeatable`. `credentials` are HTTP headers.

        Raises:
            UpstreamError: there is no result; its `ran` says whether the call may have had an effect.
        """

        async def once(params: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
            return await self._request(method, params, context, credentials, repeatable)

        try:
            if method in (SUBSCRIBE, UNSUBSCRIBE):
                return await self._subscribe(method, params, lambda: once(params, context))
            result = await once(params, context)
            if needs_answers(result, context):
                async with asyncio.timeout(self.config.max_timeout):
                    result = await complete(once, params, result, context)
            return result
        except TimeoutError:
            raise UpstreamTimeout("the questions it asks were not answered in time") from None
        except UpstreamError as error:
            error.server = self.config.id
            secrets = self.config.secrets
            error.message, error.data = redact(error.message, secrets), redact_value(error.data, secrets)
            if isinstance(error, OutcomeUnknown | UpstreamTimeout):
                error.message += "; the call may have run"
            raise

    def notification(self, method: str, params: Mapping[str, Any]) -> None:
        """Implements `Inbound`."""
        second = int(time.monotonic())
        self._heard = self._heard + 1 if second == self._second else 1
        self._second = second
        if self._heard > _FLOOD:
            if (link := self._keeper.current) is not None:
                link.end(f"sent more than {_FLOOD} notifications in a second")
        elif method == ACKNOWLEDGED:
            self._subscriptions.acknowledged()
        else:
            if method in LIST_CHANGED:
                self._outdated.set()
            self._on_notification(method, params)

    # Calls

    async def _request(
        self,
        method: str,
        params: Mapping[str, Any],
        context: CallContext,
        credentials: Mapping[str, str] | None,
        repeatable: bool,
    ) -> dict[str, Any]:
        for last in (False, True):
            link = await self._keeper.link()
            deadline = Deadline(self.config.timeout, self.config.max_timeout)
            try:
                async with deadline:
                    watched = deadline.watching(self._mirroring(method, params, context))
                    result = await link.request(method, params, watched, credentials=credentials)
            except TimeoutError:
                self._timeouts += 1
                if self._timeouts >= _SUSPICIOUS:
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
                self._timeouts = 0  # An error is an answer too.
                raise
            else:
                self._timeouts = 0
                return result
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _subscribe(
        self, method: str, params: Mapping[str, Any], request: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Watch a resource, or no longer: a request to a legacy server, a word in the stream of a modern one."""
        await self._keeper.link()
        if self.protocol in MODERN_PROTOCOL_VERSIONS:
            if self._subscriptions.note(method, params.get("uri")):
                await self._subscriptions.relisten()
            return {}
        result = await request()
        self._subscriptions.note(method, params.get("uri"))
        return result

    def _mirroring(self, method: str, params: Mapping[str, Any], context: CallContext) -> CallContext:
        """With the headers that repeat arguments, for a call that did not come with them from a modern client."""
        if method == "tools/call" and self.listing.mirrored and context.protocol not in MODERN_PROTOCOL_VERSIONS:
            mapping = self.listing.mirrored.get(str(params.get("name")))
            if mapping is not None:
                return replace(context, headers=mcp_param_headers(mapping, params.get("arguments") or {}))
        return context

    # What the keeper calls

    async def _open(self) -> tuple[Link, Agreement]:
        return await open_link(self.config, self._introduction, self, self.remembered)

    async def _attend(self, link: Link, agreement: Agreement) -> None:
        """Beside a link, while it lives: keep the listing fresh, and hear of changes."""
        self.protocol = agreement.version
        if not self._lists:
            self._set("ready", None)
            await self._subscriptions.attend(link, agreement)
            await link.closed.wait()
            return
        async with asyncio.TaskGroup() as beside:
            beside.create_task(self._keep_listing(link, agreement))
            beside.create_task(self._subscriptions.attend(link, agreement))

    def _lost(self, error: UpstreamError, pause: float) -> None:
        retry_at = time.time() + pause
        self._set("stale" if self.listing.digest else "error", error.message, error.status, retry_at=retry_at)
        self._reading.set()
        self._take_asked().set()

    async def _keep_listing(self, link: Link, agreement: Agreement) -> None:
        failures = 0

        async def page(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
            return await link.request(method, params, max_bytes=PAGE_BYTES)

        while True:
            self._outdated.clear()
            read = self._take_asked()
            try:
                async with asyncio.timeout(_LIST_SECONDS):
                    limit, previous = self.config.max_items, self.listing
                    self.listing = await fetch(page, agreement, max_items=limit, previous=previous)
            except (UpstreamError, TimeoutError) as error:
                why = error.message if isinstance(error, UpstreamError) else f"no answer within {_LIST_SECONDS:g} s"
                failures += 1
                unreadable = UpstreamUnavailable(f"its lists cannot be read: {why}")
                unreadable.status = error.status if isinstance(error, UpstreamError) else None
                if isinstance(error, SessionExpired) or failures >= _UNREADABLE:
                    # Perhaps it is another server by now, of another generation: begin from the beginning.
                    self._keeper.give_up(link, error if isinstance(error, SessionExpired) else unreadable)
                self._set("stale" if self.listing.digest else "error", unreadable.message, unreadable.status)
                read.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(SHORTEST * 2**failures, LONGEST)):
                        await self._outdated.wait()
            else:
                failures = 0
                self._set("ready", None)
                read.set()
                with suppress(TimeoutError):  # Not every server says that its lists have changed.
                    async with asyncio.timeout(self.config.resync):
                        await self._outdated.wait()
                await asyncio.sleep(_SETTLE_SECONDS)

    def _set(
        self, state: State, reason: str | None, status: int | None = None, *, retry_at: float | None = None
    ) -> None:
        if state != self.state:
            self.since = time.time()
        self.state = state
        self.reason = redact(reason, self.config.secrets) if reason is not None else None
        self.status = status
        self.retry_at = retry_at
        self._on_change()

    def _take_asked(self) -> asyncio.Event:
        """What those who asked until now wait for: to be set when the reading that begins now has ended."""
        self._reading, self._relisted = self._relisted, asyncio.Event()
        return self._reading
