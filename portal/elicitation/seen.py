"""Which servers a person has seen on the page of a portal: those that came since are shown together, once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import orjson
from pydantic import Field

from portal.objects import Document
from portal.state import AlreadyExists, Conflict, Kind, StateUnavailable

if TYPE_CHECKING:
    from portal.state import Store

MOST_SEEN = 2_000


class SeenDocument(Document):
    """What a person (`Identity.key`) has seen at a portal, by the ids of the servers."""

    portal: str
    subject: str
    servers: tuple[str, ...] = Field(max_length=MOST_SEEN)


SEEN = Kind("servers_seen", SeenDocument)


def row_of(portal: str, subject: str) -> str:
    """The id of the row that a person has at a portal, in a table that has one for each."""
    return hashlib.sha256(orjson.dumps([portal, subject])).hexdigest()


async def new_servers(store: Store, portal: str, subject: str, shown: Collection[str]) -> frozenset[str]:
    """Those of the servers that are `shown` which this person has not seen before; none at the first look. From now on
    they have.

    Raises:
        StateUnavailable: it cannot be read.
    """
    id = row_of(portal, subject)
    stored = await store.get(SEEN, id)
    seen = frozenset(stored.document.servers) if stored is not None else frozenset()
    new = frozenset(shown) - seen
    if new and len(seen | new) <= MOST_SEEN:
        document = SeenDocument(portal=portal, subject=subject, servers=tuple(sorted(seen | new)))
        try:
            if stored is None:
                await store.create(SEEN, id, document, by=subject)
            else:
                await store.replace(SEEN, id, document, by=subject, revision=stored.revision)
        except (AlreadyExists, Conflict, StateUnavailable):
            # Another page of the same person was faster. Or nothing can be stored: the page is shown all the same, and
            # the next one says again what is new.
            pass
    return new if stored is not None else frozenset()
