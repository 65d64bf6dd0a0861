"""The grants that a person has given at a portal, as they are shown to them: to whom, since when, when last used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from portal.identity import Identity
from portal.oauth.grants import REFRESH, Grants
from portal.oauth.uses import Uses
from portal.pages import APP
from portal.state import Store

Vouched = Literal["document", "administrator", "nobody"]


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """What a person allowed a client. `family` names the grant, and opens nothing.

    `client_name` is what the consent page called it, "" if it has no name. `publisher` is the host that vouches for the
    name. `vouched` says who does: its own document, an administrator who connected the application, or nobody.
    `portal` is the id of the portal that it was given at. Times are UTC. `last_used` is exact to the lifetime of an
    access token, or to an hour if that is longer.
    """

    family: str
    client: str
    client_name: str
    publisher: str
    vouched: Vouched
    since: datetime
    last_used: datetime
    until: datetime
    portal: str = ""


class HeldGrants:
    """The grants of people at one portal, whose id is `portal`. `store` has the tokens of all portals."""

    def __init__(self, store: Store, grants: Grants, uses: Uses, portal: str) -> None:
        self._store = store
        self._grants = grants
        self._uses = uses
        self._portal = portal

    async def of(self, identity: Identity, *, everywhere: bool = False) -> list[HeldGrant]:
        """Those of a person at this portal, or at every portal of the instance, the last used first."""
        if not identity.id:
            return []
        uses = await self._uses.by_family(identity)
        held: list[HeldGrant] = []
        for found in await self._store.tokens.families(REFRESH, identity.id):
            token, document = found.token, found.token.document
            if not everywhere and document.portal != self._portal:
                continue
            publisher, vouched = _publisher(token.client)
            last_used = max(token.issued_at, uses.get(token.family, token.issued_at))
            held.append(
                HeldGrant(
                    token.family,
                    token.client,
                    document.client_name,
                    publisher,
                    vouched,
                    found.since,
                    last_used,
                    document.until,
                    document.portal,
                )
            )
        return sorted(held, key=lambda one: one.last_used, reverse=True)

    async def end(self, identity: Identity, family: str, *, everywhere: bool = False) -> HeldGrant | None:
        """End a grant that this person has given at this portal, or at any: its tokens, and what runs with them.

        Returns what it was; None if the person has none of this family there.
        """
        held = await self.of(identity, everywhere=everywhere)
        found = next((one for one in held if one.family == family), None)
        if found is not None:
            await self._grants.end(family)
        return found


def _publisher(client: str) -> tuple[str, Vouched]:
    if client.startswith(APP):
        return "", "administrator"
    if client.startswith("https://"):
        return urlsplit(client).hostname or "", "document"
    return "", "nobody"
