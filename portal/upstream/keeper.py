"""Keeps one link open: opens it, watches it, and opens another when it is gone, with growing pauses.

The task that runs here is the only owner of the link; callers borrow it. It knows nothing of what is said on the link
beyond whether the other side still answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from portal.errors import OutcomeUnknown, SessionExpired, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from portal.upstream.backoff import Backoff
from portal.upstream.transports.link import Link
from portal.upstream.transports.protocol import Agreement

_PING_SECONDS = 10.0
# A link given up while calls are still on it stays open for them this long.
_DRAIN_SECONDS = 600.0
_DRAIN_POLL = 0.05

Open = Callable[[], Coroutine[Any, Any, tuple[Link, Agreement]]]
Attend = Callable[[Link, Agreement], Coroutine[Any, Any, None]]
Lost = Callable[[UpstreamError, float], None]


class Keeper:
    """`attend(link, agreement)` runs beside each link for as long as it lives; `lost(error, pause)` hears why one did
    not come to be, or ended, and in how many seconds the next one is tried."""

    def __init__(self, open_link: Open, attend: Attend, lost: Lost, *, patience: float) -> None:
        self._open = open_link
        self._attend = attend
        self._lost = lost
        self._patience = patience
        self._log = structlog.get_logger("portal.upstream")
        self._backoff = Backoff()
        self._link: Link | None = None
        self._error: UpstreamError | None = None
        self._gone: asyncio.Future[UpstreamError] | None = None
        self._suspected = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        self._draining: dict[asyncio.Task[None], Link] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, name: str) -> None:
        self._task = asyncio.create_task(self._run(), name=name)

    async def aclose(self) -> None:
        """Close the link for good. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for draining in self._draining:
            draining.cancel()
        await asyncio.gather(*(link.aclose() for link in self._draining.values()), return_exceptions=True)
        self._error = UpstreamUnavailable("the portal has closed this connection")
        self._tried.set()

    @property
    def current(self) -> Link | None:
        return self._link if self._link is not None and not self._link.closed.is_set() else None

    async def link(self) -> Link:
        """The link; while there is none, the outcome of the next attempt is waited for.

        After several failed attempts nobody waits any more (an open circuit breaker): an attempt is then made only
        when its time has come.

        Raises:
            UpstreamUnavailable: there is no link.
        """
        if (link := self.current) is not None:
            return link
        if self._task is not None and not self._backoff.open:
            self._wanted.set()
            tried = self._tried
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await tried.wait()
            if (link := self.current) is not None:
                return link
        raise self._unavailable()

    def give_up(self, link: Link, error: UpstreamError) -> None:
        """This link is of no more use; calls still on it may finish."""
        if link is self._link and self._gone is not None and not self._gone.done():
            self._link = None
            self._gone.set_result(error)

    def suspect(self) -> None:
        """Something went wrong on the link: find out whether the server still answers."""
        self._suspected.set()

    def hurry(self) -> None:
        """Do not wait for the next attempt's time."""
        self._wanted.set()

    def _unavailable(self) -> UpstreamUnavailable:
        wait = self._backoff.retry_at - asyncio.get_running_loop().time()
        again = f"; tried again in {wait:.0f} s" if self._task is not None and wait >= 1 else ""
        why = self._error.message if self._error is not None else "still connecting"
        return UpstreamUnavailable(f"not connected: {why}{again}")

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        renewed = False
        while True:
            began = clock()
            try:
                link, agreement = await self._open()
            except UpstreamError as failure:
                error = failure
                self._announce()
            except Exception as failure:  # The edge of a background job: it must go on, whatever that was.
                self._log.exception("connecting failed unexpectedly")
                error = UpstreamUnavailable(f"connecting failed unexpectedly ({type(failure).__name__})")
                self._announce()
            else:
                self._backoff.opened()
                error = await self._serve(link, agreement)
            lived = clock() - began
            # A session that expired is no failure, unless the next one is refused as soon as it is made.
            renewed = isinstance(error, SessionExpired) and not (renewed and lived < 1)
            if not renewed:
                self._error = error
                pause = self._backoff.failed(clock(), lived)
                self._lost(error, pause)
                await self._pause(pause)

    async def _serve(self, link: Link, agreement: Agreement) -> UpstreamError:
        """Let callers have the link until it ends; why it ended."""
        self._link, self._error = link, None
        gone: asyncio.Future[UpstreamError] = asyncio.get_running_loop().create_future()
        self._gone = gone
        self._suspected.clear()
        self._wanted.clear()
        self._announce()
        attending = asyncio.create_task(self._attend(link, agreement))
        closed = asyncio.create_task(link.closed.wait())
        health = asyncio.create_task(self._health(link, agreement))
        try:
            ends: set[asyncio.Future[Any]] = {attending, closed, health, gone}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return gone.result()
            if health.done():
                error = health.result()
                link.end(error.message)
                return error
            if attending.done() and (failure := attending.exception()) is not None:
                self._log.error("attending to the connection failed", exc_info=failure)
                return UpstreamUnavailable(f"the connection failed unexpectedly ({type(failure).__name__})")
            return OutcomeUnknown(link.reason or "the connection ended")
        finally:
            self._link = None
            for task in (attending, closed, health):
                task.cancel()
            await asyncio.gather(attending, closed, health, return_exceptions=True)
            self._retire(link)

    async def _health(self, link: Link, agreement: Agreement) -> UpstreamError:
        """Ask the server itself whenever there is doubt; returns once it does not answer."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await link.request("server/discover" if agreement.modern else "ping", {})
            except TimeoutError:
                return UpstreamTimeout(f"does not answer (nor a ping within {_PING_SECONDS:g} s)")
            except UpstreamError as error:
                if error.ran == "no" or isinstance(error, OutcomeUnknown):
                    return error
                # Anything it says shows that it lives.

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        self._wanted.clear()

    def _announce(self) -> None:
        """An attempt has an outcome: wake who waits for one."""
        tried, self._tried = self._tried, asyncio.Event()
        tried.set()

    def _retire(self, link: Link) -> None:
        task = asyncio.create_task(_drained(link))
        self._draining[task] = link
        task.add_done_callback(self._draining.pop)


async def _drained(link: Link) -> None:
    """Close a link once nothing is on it any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while link.in_flight and not link.closed.is_set():
                await asyncio.sleep(_DRAIN_POLL)
    await link.aclose()
