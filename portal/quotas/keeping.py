"""Keeps the counts of long quotas over a restart: written behind, some seconds after the calls.

A process that is killed forgets the calls of those seconds. Each process counts for itself, and the counts that are
kept are those of the last one that wrote.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from portal.objects import Document
from portal.quotas.quotas import Quotas, SavedCount
from portal.state import Kind, StateError, background

if TYPE_CHECKING:
    from portal.state import Store

KEPT_PERIOD = 600
"""Seconds. The counts of shorter quotas are not kept: a restart gives back as much as they would by themselves."""
EVERY_SECONDS = 10.0
MAX_KEPT = 2000
MAX_BYTES = 512 * 1024
_BY = "quotas"


class KeptCounts(Document):
    """The counts of one quota as JSON in a text, so that a large one costs no time on the way to the database."""

    counts: str


KEPT_COUNTS = Kind("quota_counts", KeptCounts)


@asynccontextmanager
async def counts_kept(store: Store, quotas: Quotas) -> AsyncIterator[None]:
    """Go on with the counts that are kept, and keep them while the block lasts."""
    keeping = _Keeping(store, quotas)
    await keeping.load()
    async with background(keeping.run()):
        yield
    await keeping.save()


class _Keeping:
    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas
        self._kept: set[str] = set()
        self._written = quotas.changed
        self._log = structlog.get_logger("portal.quotas")

    async def load(self) -> None:
        scan = await self._store.scan(KEPT_COUNTS)
        self._kept = {*(one.id for one in scan.stored), *(one.id for one in scan.broken)}
        for stored in scan.stored:
            try:
                self._quotas.restore(stored.id, await asyncio.to_thread(_read, stored.document.counts))
            except ValueError:
                self._log.error("the counts of a quota cannot be read; it begins with none", id=stored.id)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Write what has changed. Where the database does not answer, the next turn writes it."""
        changed = self._quotas.changed
        saved = self._quotas.saved(KEPT_PERIOD, MAX_KEPT)
        if changed == self._written and self._kept <= saved.keys():
            return
        try:
            texts = await asyncio.to_thread(_texts, saved)
            async with self._store.transaction() as transaction:
                # Not `replace`, of which the audit trail would have a line each time. Another process may have
                # written the same.
                await transaction.forget(KEPT_COUNTS, sorted(self._kept | texts.keys()))
                for mark, text in texts.items():
                    await transaction.create(KEPT_COUNTS, mark, KeptCounts(counts=text), by=_BY)
        except StateError as error:
            self._log.debug("the counts of quotas could not be kept", reason=str(error))
            return
        self._written, self._kept = changed, set(texts)


def _texts(saved: dict[str, list[SavedCount]]) -> dict[str, str]:
    return {mark: _text(counts) for mark, counts in saved.items() if counts}


def _text(counts: Sequence[SavedCount]) -> str:
    """As many as fit, the most recently used first."""
    parts: list[str] = []
    size = 0
    for count in reversed(counts):
        # In ASCII, because a name of somebody else's may have halves of characters.
        part = json.dumps([count.key, count.stranger, count.flat])
        size += len(part) + 1
        if size > MAX_BYTES:
            break
        parts.append(part)
    return f"[{','.join(reversed(parts))}]"


def _read(text: str) -> list[SavedCount]:
    """Raises ValueError if this is no text of `_text`."""
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("no list")
    return list(_counts(found))


def _counts(found: Sequence[object]) -> Iterator[SavedCount]:
    for one in found:
        match one:
            case [list() as key, bool() as stranger, list() as flat] if all(
                isinstance(text, str) for text in key
            ) and all(type(number) is int for number in flat):
                yield SavedCount(tuple(key), stranger, flat)
            case _:
                raise ValueError("no count")
