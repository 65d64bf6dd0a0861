"""Requests of jobs: each within bounds, to addresses that jobs may send to, and what an answer says about a batch."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping

import orjson

from portal.config import ExportSection
from portal.egress import AddressRule, Answer, Fetcher, FetchFailed, FetchProblem, Wish, Wisher
from portal.export.destination import HttpsDestination
from portal.export.output import Writer
from portal.export.sending import ExportBatch, NotTaken, Refusal

SEND_SECONDS = 30.0
MAX_ANSWER = 64 * 1024
_TAKEN = range(200, 300)
_LATER = (408, 425, 429)
_OF_THE_PLACE = (401, 402, 403, 404, 405, 407, 410, 451)
_NEVER = (FetchProblem.URL, FetchProblem.ADDRESS)


class Requests:
    """Sends bodies. `settings` are those in force: they decide at each request which addresses may be asked."""

    def __init__(self, settings: Callable[[], ExportSection], *, seconds: float = SEND_SECONDS) -> None:
        self._settings = settings
        # Wherever it may be, an administrator named it.
        wish = Wish(Wisher.ADMINISTRATOR)
        self._fetchers = {
            rule: Fetcher(rule, limit=MAX_ANSWER, seconds=seconds, wish=wish, keep_alive=False) for rule in AddressRule
        }

    async def aclose(self) -> None:
        for fetcher in self._fetchers.values():
            await fetcher.aclose()

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a request that was taken. Of an answer that is too large or compressed, the body is empty.

        Raises:
            NotTaken: it was not, or that is unknown.
        """
        private = self._settings().allow_private
        if not private and not url.startswith("https:"):
            raise NotTaken("it is not https://, which portal.exports.allowPrivate would allow", "place")
        fetcher = self._fetchers[AddressRule.NOT_LINK_LOCAL if private else AddressRule.PUBLIC_ONLY]
        try:
            return await fetcher.fetch(url, method=method, headers=headers, body=body, statuses=_TAKEN)
        except FetchFailed as failure:
            if failure.problem in (FetchProblem.TOO_LARGE, FetchProblem.COMPRESSED):
                # Its status is known by then: the batch was taken.
                return Answer(200, b"")
            text = str(failure)
            if failure.problem is FetchProblem.ADDRESS and not private:
                text += "; portal.exports.allowPrivate would allow private ones"
            raise NotTaken(text, _meaning(failure), failure.retry_after) from None


def _meaning(failure: FetchFailed) -> Refusal:
    if failure.problem in _NEVER:
        return "place"
    status = failure.status or 0
    if status == 413:
        return "too large"
    if status in _OF_THE_PLACE or 300 <= status < 400:
        return "place"
    return "batch" if 400 <= status < 500 and status not in _LATER else "later"


def compressed(body: bytes) -> bytes:
    """The body in gzip, the same bytes each time."""
    return gzip.compress(body, 5, mtime=0)


class HttpsSender:
    """One POST for each batch, compressed, with `Idempotency-Key`."""

    def __init__(self, destination: HttpsDestination, requests: Requests, writer: Writer, *, content_type: str) -> None:
        self._destination = destination
        self._writer = writer
        self._requests = requests
        self._headers = {**destination.headers, "content-encoding": "gzip", "content-type": content_type}

    async def send(self, batch: ExportBatch) -> int:
        body = await asyncio.to_thread(lambda: compressed(self._writer.batch([row.text for row in batch.rows])))
        headers = {**self._headers, "idempotency-key": batch.key}
        await self._requests.send("POST", self._destination.url, headers, body)
        return 0

    async def try_out(self) -> None:
        """As Logpush does: a record that is none."""
        body = compressed(orjson.dumps({"content": "test", "filename": "test.txt.gz"}) + b"\n")
        await self._requests.send("POST", self._destination.url, self._headers, body)

    async def aclose(self) -> None:
        await self._requests.aclose()
