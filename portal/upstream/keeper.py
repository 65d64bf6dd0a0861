"""Keeps one link open: opens it, watches it, and opens another when it ends, with growing pauses.

The task that runs here is the only owner of the link; callers borrow it. It does not read the messages on the link. It
only checks whether the server still answers.
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
# A link that is given up stays open this many seconds for the calls that still use it.
_DRAIN_SECONDS = 600.0
_DRAIN_POLL = 0.05
_CONNECTING = "still connecting, and it has not answered yet; nothing ran, try again in a few seconds"

Open = Callable[[], Coroutine[object, object, tuple[Link, Agreement]]]
Attend = Callable[[Link, Agreement], Coroutine[object, object, None]]
Lost = Callable[[UpstreamError, float], None]


class Keeper:
    """Owns the link to one server.

    `attend(link, agreement)` runs while a link is open. `lost(error, pause)` is called when a link cannot be opened or
    has ended, and the next attempt is in `pause` seconds. `patience` is how many seconds a caller waits for a link.
    """

    def __init__(self, open_link: Open, attend: Attend, lost: Lost, *, patience: float) -> None:
        self._open = open_link
        self._attend = attend
        self._lost = lost
        self._patience = patience
        self._log = structlog.get_logger("portal.upstream")
        self._backoff = Backoff()
        self._link: Link | None = None
        self._error: UpstreamError | None = None
        self._given_up: asyncio.Future[UpstreamError] | None = None
        self._suspected = asyncio.Event()
        self._hurried = asyncio.Event()
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
        """The open link. If there is none, wait for the next attempt to open one.

        After several failures in a row the circuit breaker is open: callers then do not wait, and do not cause an
        attempt before its time.

        Raises:
            UpstreamUnavailable: there is no link.
        """
        if (link := self.current) is not None:
            return link
        if self._task is not None and not self._backoff.open:
            self._hurried.set()
            tried = self._tried
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await tried.wait()
            if (link := self.current) is not None:
                return link
        raise self._unavailable() from self._error

    def give_up(self, link: Link, error: UpstreamError) -> None:
        """Replace this link. Calls that still use it may finish."""
        if link is self._link and self._given_up is not None and not self._given_up.done():
            self._link = None
            self._given_up.set_result(error)

    def suspect(self) -> None:
        """Check whether the server still answers, after something went wrong on the link."""
        self._suspected.set()

    def hurry(self) -> None:
        """Make the next attempt to connect now."""
        self._hurried.set()

    def _unavailable(self) -> UpstreamUnavailable:
        wait = self._backoff.retry_at - asyncio.get_running_loop().time()
        again = f"; tried again in {wait:.0f} s" if self._task is not None and wait >= 1 else ""
        why = self._error.full_message if self._error is not None else _CONNECTING
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
            except Exception as failure:  # The edge of a background job: it must go on.
                self._log.exception("connecting failed unexpectedly")
                error = UpstreamUnavailable(f"connecting failed unexpectedly ({type(failure).__name__})")
                self._announce()
            else:
                self._backoff.opened()
                error = await self._serve(link, agreement)
            lived = clock() - began
            # An expired session is not a failure, unless the next session expires as soon as it begins.
            renewed = isinstance(error, SessionExpired) and not (renewed and lived < 1)
            if not renewed:
                self._error = error
                pause = self._backoff.failed(clock(), lived)
                self._lost(error, pause)
                await self._pause(pause)

    async def _serve(self, link: Link, agreement: Agreement) -> UpstreamError:
        """The reason the link ended. Until then callers may use it."""
        self._link, self._error = link, None
        given_up: asyncio.Future[UpstreamError] = asyncio.get_running_loop().create_future()
        self._given_up = given_up
        self._suspected.clear()
        self._hurried.clear()
        self._announce()
        attending = asyncio.create_task(self._attend(link, agreement))
        closed = asyncio.create_task(link.closed.wait())
        health = asyncio.create_task(self._health(link, agreement))
        try:
            ends: tuple[asyncio.Future[Any], ...] = (attending, closed, health, given_up)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if given_up.done():
                return given_up.result()
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
        """Ping the server whenever `suspect` was called. Returns when it does not answer."""
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
                # Any other error is an answer: the server lives.

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        self._hurried.clear()

    def _announce(self) -> None:
        """Wake the callers that wait for the outcome of an attempt."""
        tried, self._tried = self._tried, asyncio.Event()
        tried.set()

    def _retire(self, link: Link) -> None:
        task = asyncio.create_task(_close_when_idle(link))
        self._draining[task] = link
        task.add_done_callback(self._draining.pop)


async def _close_when_idle(link: Link) -> None:
    """Close a link when no call uses it any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while link.in_flight and not link.closed.is_set():
                await asyncio.sleep(_DRAIN_POLL)
    await link.aclose()
