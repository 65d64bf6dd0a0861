"""When a login ends for good, and how near that is. Pure.

A token ends all the time, and a refresh moves its end. What an administrator must know of is an end that no refresh can
move: there is no refresh token, or a refresh has failed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from portal.credentials.grants import CredentialDocument, state_of

if TYPE_CHECKING:
    from portal.state import StoredCredential

Ending = Literal["no", "soon", "ended"]
# The part of a login's life before its end in which it is announced at the earliest.
LAST_PART = 0.25
LEAD = timedelta(days=7)


def ends_at(stored: StoredCredential[CredentialDocument], now: datetime) -> datetime | None:
    """The end that no refresh can move; None if there is none, or nobody knows it."""
    state = state_of(stored, now)
    if state in ("ready", "expiring", "refreshing") and stored.document.refreshable:
        return None
    return stored.document.expires_at


def ending(stored: StoredCredential[CredentialDocument], now: datetime, lead: timedelta = LEAD) -> Ending:
    """Whether a login has ended, or will within `lead`, or within the last quarter of its life if that is shorter.

    One that needs a person or an administrator is about to end however long its token still lives.
    """
    state, at = state_of(stored, now), ends_at(stored, now)
    if state in ("needs_reauth", "misconfigured"):
        return "ended" if at is None or now >= at else "soon"
    if at is None:
        return "no"
    if now >= at:
        return "ended"
    life = at - stored.document.issued_at
    return "soon" if now >= at - min(lead, life * LAST_PART) else "no"
