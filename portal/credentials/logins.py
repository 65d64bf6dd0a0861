"""Logins at upstream servers: stored, shown, and ended at the authorization server too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import authenticated
from portal.credentials.errors import CredentialError
from portal.credentials.grants import (
    CREDENTIAL,
    CredentialDocument,
    SealedGrant,
    client_of,
    unsealed,
)
from portal.credentials.outbound import Outbound
from portal.credentials.presets import with_preset
from portal.credentials.tokens import revoke_token
from portal.state import CredentialKey, SecretUnreadable

if TYPE_CHECKING:
    from portal.state import Store, StoredCredential


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Which tokens of a login its authorization server has taken back. There may have been no refresh token: then there
    was nothing to take."""

    refresh: bool
    access: bool

    def __bool__(self) -> bool:
        """Whether nothing of the login is left."""
        return self.refresh and self.access


async def save_login(store: Store, key: CredentialKey, document: CredentialDocument, grant: SealedGrant) -> None:
    """Store a credential in place of all others of the same subject for the same server."""
    former = await store.credentials.list(CREDENTIAL, subject=key.subject, server=key.server)
    await store.credentials.put(CREDENTIAL, key, document, grant.model_dump_json().encode())
    for one in former:
        if one.key != key:
            await store.credentials.delete(CREDENTIAL, one.key)
    if key.subject:
        # Programs of this person may be parked because they need it.
        await store.runs.ready_all(key.subject, "login")


async def stored_logins(
    store: Store, *, subject: str | None = None, server: str | None = None
) -> Sequence[StoredCredential[CredentialDocument]]:
    """The credentials of a subject, for a server, or of both."""
    return await store.credentials.list(CREDENTIAL, subject=subject, server=server)


def scope_of(logins: Sequence[StoredCredential[CredentialDocument]], more: str = "") -> str:
    """The scope for a login in place of these: `more`, all that they had, and what the server has wanted beyond it.

    More permissions never cost those that there were.
    """
    return " ".join([more, *(f"{one.document.scope} {one.document.wanted_scope}" for one in logins)]).strip()


async def log_out(
    store: Store, stored: StoredCredential[CredentialDocument], outbound: Outbound, oauth: UpstreamOAuth | None
) -> TakenBack:
    """Forget a credential; what its authorization server has taken back too (RFC 7009).

    It is forgotten first: what the authorization server does must not keep it.
    """
    return await take_back(stored, await forget_login(store, stored), outbound, oauth)


async def forget_login(store: Store, stored: StoredCredential[CredentialDocument]) -> SealedGrant | None:
    """Forget a credential. The tokens that were its secret, for `take_back`; None if they cannot be read: a key that is
    lost does not keep it."""
    try:
        secret = await store.credentials.secret(CREDENTIAL, stored.key)
        grant = unsealed(secret) if secret is not None else None
    except SecretUnreadable:
        grant = None
    await store.credentials.delete(CREDENTIAL, stored.key)
    return grant


async def take_back(
    stored: StoredCredential[CredentialDocument],
    grant: SealedGrant | None,
    outbound: Outbound,
    oauth: UpstreamOAuth | None,
) -> TakenBack:
    """Have the tokens of a credential that was forgotten taken back (RFC 7009)."""
    if grant is None or not grant.server.revocation_endpoint:
        return TakenBack(refresh=False, access=False)
    refresh = await _revoke(stored, grant, "refresh", outbound, oauth)
    return TakenBack(refresh, await _revoke(stored, grant, "access", outbound, oauth))


async def _revoke(
    stored: StoredCredential[CredentialDocument],
    grant: SealedGrant,
    kind: Literal["refresh", "access"],
    outbound: Outbound,
    oauth: UpstreamOAuth | None,
) -> bool:
    token = grant.refresh if kind == "refresh" else grant.access
    if not token:
        return True
    try:
        form = {"token": token, "token_type_hint": f"{kind}_token"}
        client = client_of(stored, grant, with_preset(oauth, stored.key.issuer, stored.key.resource))
        sent, headers = authenticated(client, form, grant.server, int(time.time()))
        await revoke_token(outbound, grant.server.revocation_endpoint, sent, headers)
    except CredentialError as error:
        log = structlog.get_logger("portal.credentials")
        log.warning("a token was not taken back", server=stored.key.server, reason=str(error))
        return False
    return True
