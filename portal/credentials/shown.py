"""The token of a stored login, shown as it is and never renewed: to see whether a server still takes it.

A look at a server must not use up what a running portal would use: some authorization servers take a refresh token
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from portal.config import HttpServer
from portal.credentials.grants import CREDENTIAL, OWN, CredentialDocument, fits, unsealed

if TYPE_CHECKING:
    from portal.errors import AuthorizationRequired
    from portal.state import Store, StoredCredential


@dataclass(frozen=True, slots=True)
class FixedToken:
    """Implements `portal.upstream.Credential` with one access token."""

    access: str = field(repr=False)
    present: bool = True
    advice: str = ""

    @property
    def secrets(self) -> Sequence[str]:
        return (self.access,)

    async def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.access}"}

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Never."""
        return False

    async def aclose(self) -> None:
        """Nothing is open."""


async def own_login(store: Store, config: HttpServer) -> StoredCredential[CredentialDocument] | None:
    """The portal's own login at a server as it is configured now, None without one."""
    found = await store.credentials.list(CREDENTIAL, subject=OWN, server=config.id)
    return next((one for one in reversed(found) if fits(one.key, config.url, config.oauth)), None)


async def shown_token(store: Store, stored: StoredCredential[CredentialDocument], now: datetime) -> FixedToken | None:
    """The access token of a login, None if it has ended by itself.

    Raises:
        SecretUnreadable: the keys of the store do not open it.
    """
    expires = stored.document.expires_at
    if expires is not None and expires <= now:
        return None
    secret = await store.credentials.secret(CREDENTIAL, stored.key)
    return FixedToken(unsealed(secret).access) if secret is not None else None
