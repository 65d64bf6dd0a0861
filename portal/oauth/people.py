"""Who an e-mail address is, from the sign-ins that still hold: sessions of browsers, and what agents were granted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.identity import Identity
from portal.login import IDP, SESSION, Administrators, Passwords
from portal.oauth.grants import REFRESH
from portal.state import Store


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """What the last sign-in of an address said. `at` is when that was, None for a local account that has no sign-in
    which still holds. `others` counts further identities with the same address."""

    identity: Identity
    at: datetime | None
    others: int = 0


async def known_person(store: Store, email: str, idp_id: str = "") -> KnownPerson | None:
    """The person of this address, at that identity provider if one is named; None if the instance knows nobody."""
    found: dict[str, tuple[datetime | None, Identity]] = {}
    wanted = email.lower()

    def note(identity: Identity, at: datetime | None) -> None:
        if identity.email.lower() != wanted or (idp_id and identity.idp_id != idp_id):
            return
        former = found.get(identity.id)
        if former is None or former[0] is None or (at is not None and at > former[0]):
            found[identity.id] = at, identity

    # Their identity holds for every portal: the tokens of all of them are read.
    for session in await store.tokens.list(SESSION):
        note(session.document.identity, session.issued_at)
    for token in await store.tokens.list(REFRESH):
        note(token.document.identity, token.issued_at)
    if IDP == idp_id or not idp_id:
        account = await Administrators(store, Passwords()).find(email)
        if account is not None and account.identity.id not in found:
            note(account.identity, None)
    if not found:
        return None
    at, identity = max(found.values(), key=lambda one: (one[0] is not None, one[0].timestamp() if one[0] else 0.0))
    return KnownPerson(identity, at, len(found) - 1)
