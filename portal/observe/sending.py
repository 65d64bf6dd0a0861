"""Sends spans to a receiver of OTLP over HTTP, as JSON, in batches behind the calls.

A receiver that is away costs no call: batches wait, up to the room of `Traces`, and are tried again at growing
intervals. One that refuses a batch for good loses that batch, which is counted.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final
from uuid import uuid4

import orjson
import structlog

from portal.config import TraceSection
from portal.egress import AddressRule, Fetcher, FetchFailed, FetchProblem
from portal.logs import LogRow
from portal.observe import names
from portal.observe.spans import encoded, is_of_run
from portal.observe.traces import Traces
from portal.version import portal_version

BATCH_SECONDS = 1.0
SECONDS = 10.0
"""For one request."""
MAX_ANSWER = 64 * 1024
MOST_TRIES = 8
"""Of one batch. Newer ones may be such that the receiver takes them."""
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_CLOSING_SECONDS = 3.0
_SOON: Final = frozenset({429, 502, 503, 504})
"""Statuses with which a receiver asks to be tried again (OTLP, "Failures")."""
_GONE: Final = frozenset({FetchProblem.UNREACHABLE, FetchProblem.INTERRUPTED, FetchProblem.TIMEOUT, FetchProblem.BUSY})
_RECEIVED = range(200, 300)


class SpanSender:
    """An async context manager: sends what `traces` keeps until its end, and then what is left, for a moment.

    `section` gives the settings in force, None for none. `sent` counts the spans that a receiver has taken, `refused`
    those that it has not. `trouble` says why nothing can be sent at the moment, "" while it can.
    """

    def __init__(self, traces: Traces, section: Callable[[], TraceSection | None], *, pause: float = _PAUSE) -> None:
        self.sent = 0
        self.refused = 0
        self.trouble = ""
        self._traces = traces
        self._section = section
        self._pause = pause
        self._instance = str(uuid4())
        self._closing = False
        self._fetcher = Fetcher(AddressRule.NOT_LINK_LOCAL, limit=MAX_ANSWER, seconds=SECONDS)
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.observe")

    async def __aenter__(self) -> SpanSender:
        self._task = asyncio.create_task(self._send_all(), name="spans")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        self._traces.available.set()
        self._traces.urgent.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSING_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._fetcher.aclose()

    async def _send_all(self) -> None:
        traces = self._traces
        while not self._closing or len(traces):
            await traces.available.wait()
            if not self._closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BATCH_SECONDS):
                        await traces.urgent.wait()
            traces.available.clear()
            traces.urgent.clear()
            while rows := traces.batch():
                try:
                    await self._deliver(rows)
                except Exception:  # The edge of a background job: one batch must not end all later ones.
                    self.refused += _count(rows)
                    self._log.exception("spans could not be sent", count=_count(rows))

    async def _deliver(self, rows: Sequence[tuple[LogRow, int]]) -> None:
        section = self._section()
        if section is None:
            return
        # In a thread, however few: the time of a request to another machine is not the loop's to spend.
        body = await asyncio.to_thread(partial(_body, rows, self._resource(section)))
        pause = self._pause
        for attempt in range(MOST_TRIES):
            # It may be another one by now.
            if (section := self._section()) is None:
                return
            try:
                await self._post(section, body, _count(rows))
            except FetchFailed as failed:
                if not _is_away(failed):
                    break
                self._begin_trouble(str(failed))
                if self._closing or attempt + 1 == MOST_TRIES:
                    break
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._end_trouble()
                return
        self.refused += _count(rows)

    async def _post(self, section: TraceSection, body: bytes, count: int) -> None:
        headers = {**section.headers, "content-type": "application/json", "content-encoding": "gzip"}
        try:
            answer = await self._fetcher.fetch(
                section.endpoint, method="POST", headers=headers, body=body, statuses=_RECEIVED
            )
        except FetchFailed as failed:
            if not _is_away(failed):
                self._log.error(
                    "the receiver of spans has refused some; they are lost", count=count, reason=str(failed)
                )
            raise
        rejected = _rejected(answer.body)
        self.sent += max(0, count - rejected)
        self.refused += min(count, rejected)

    def _resource(self, section: TraceSection) -> Mapping[str, str]:
        return {
            **section.resource,
            names.SERVICE_NAME: section.service_name,
            names.SERVICE_VERSION: portal_version(),
            names.SERVICE_INSTANCE: self._instance,
        }

    def _begin_trouble(self, reason: str) -> None:
        if not self.trouble:
            self._log.warning("spans cannot be sent; they wait", reason=reason)
        self.trouble = reason

    def _end_trouble(self) -> None:
        if self.trouble:
            self._log.info("spans are sent again", dropped=self._traces.dropped)
        self.trouble = ""


def _body(rows: Sequence[tuple[LogRow, int]], resource: Mapping[str, str]) -> bytes:
    return gzip.compress(encoded(rows, resource), compresslevel=1)


def _count(rows: Sequence[tuple[LogRow, int]]) -> int:
    return sum(1 if is_of_run(row) else 2 for row, _ in rows)


def _is_away(failed: FetchFailed) -> bool:
    return failed.problem in _GONE or failed.status in _SOON


def _rejected(answer: bytes) -> int:
    """The spans that a receiver says it has not taken (OTLP, "Partial Success"). The rest is left alone."""
    try:
        found = orjson.loads(answer)["partialSuccess"]["rejectedSpans"]
        return max(0, int(found))
    except (ValueError, TypeError, KeyError):
        return 0
