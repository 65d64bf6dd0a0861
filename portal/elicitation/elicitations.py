"""Elicitations: what an agent's call wants its person to log in to, kept under the id of a link for some minutes.

Of an id only its hash is stored. It gives no rights: it says what the page shows first, to the person it was made for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from portal.bounded import Bounded
from portal.http import PortalAddress
from portal.identity import Identity
from portal.oauth import ELICITATION_ID
from portal.objects import Document
from portal.state import Kind, Tokens, utc_now

LASTS = timedelta(minutes=15)
# A link that is given again must leave time for the login.
GIVEN_AGAIN = timedelta(minutes=5)
MOST_OPEN = 20
MOST_PEOPLE = 10_000
MOST_SERVERS = 50
MAX_REASON = 300


class ElicitationDocument(Document):
    """`wanted` has a reason for each server that is wanted, by its id."""

    wanted: dict[str, str]


ELICITATION = Kind("elicitation", ElicitationDocument)


@dataclass(frozen=True, slots=True)
class Elicitation:
    """`wanted` has a reason for each server that is wanted, by its id; "" for none."""

    subject: str
    wanted: Mapping[str, str]

    def is_for(self, identity: Identity) -> bool:
        """Whether this person is asked, and nobody else."""
        return bool(self.subject) and self.subject == identity.key


_Wanted = tuple[tuple[str, str], ...]


class Elicitations:
    """The elicitations of one portal. `tokens` are those that it knows.

    The same link is given again for the same person, servers and reasons. A person has at most `MOST_OPEN` links of
    each process: a further one ends the oldest.
    """

    def __init__(self, tokens: Tokens, now: Callable[[], datetime] = utc_now) -> None:
        self._tokens = tokens
        self._now = now
        # By person, then by what is wanted: the id of the link, and when it was made.
        self._open: Bounded[str, Bounded[_Wanted, tuple[str, datetime]]] = Bounded(MOST_PEOPLE)
        self._opening = asyncio.Lock()

    async def open(self, identity: Identity, wanted: Mapping[str, str]) -> str:
        """The id of a link for this person. `wanted` has a reason for each server, by its id: a sentence that the page
        shows, "" for none.

        Raises:
            ValueError: nobody is logged in, who could follow a link; or no server is wanted.
            StateUnavailable: it cannot be stored.
        """
        if not identity.logged_in:
            raise ValueError("a link is for a person who signs in")
        if not wanted:
            raise ValueError("a link wants a server")
        kept = tuple((server, reason[:MAX_REASON]) for server, reason in sorted(wanted.items()))[:MOST_SERVERS]
        # One at a time: calls at the same moment want one link, not one each.
        async with self._opening:
            links = self._open.get(identity.key)
            if links is None:
                links = self._open[identity.key] = Bounded(MOST_OPEN)
            there = links.get(kept)
            if there is not None and self._now() < there[1] + GIVEN_AGAIN:
                return there[0]
            return await self._issue(identity, kept, links)

    async def _issue(self, identity: Identity, wanted: _Wanted, links: Bounded[_Wanted, tuple[str, datetime]]) -> str:
        if wanted not in links and len(links) == MOST_OPEN:
            oldest, (ended, _) = next(iter(links.items()))
            links.pop(oldest)
            await self._tokens.revoke(ELICITATION, ended)
        id, now = secrets.token_urlsafe(32), self._now()
        await self._tokens.issue(
            ELICITATION,
            id,
            subject=identity.key,
            document=ElicitationDocument(wanted=dict(wanted)),
            expires_at=now + LASTS,
        )
        links[wanted] = id, now
        return id

    async def find(self, id: str) -> Elicitation | None:
        """The elicitation of a link; None for one that has ended, or that never was."""
        found = await self._tokens.find(ELICITATION, id[:200]) if id else None
        return Elicitation(found.subject, found.document.wanted) if found is not None else None


def elicitation_url(address: PortalAddress, id: str) -> str:
    """The link to show a person: it leads to the page with the servers that are wanted."""
    return f"{address.url('/authorize')}?{urlencode({ELICITATION_ID: id})}"
