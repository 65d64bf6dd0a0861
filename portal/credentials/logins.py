"""Logins at upstream servers: stored, shown, and ended at the authorization server too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import RegisteredClient, authenticated
from portal.credentials.errors import CredentialError
from portal.credentials.grants import CREDENTIAL, CredentialDocument, SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.credentials.outbound import Outbound
from portal.credentials.registration import configured_client
from portal.credentials.tokens import revoke_token
from portal.state import CredentialKey

if TYPE_CHECKING:
    from portal.state import Store, StoredCredential


async def save_login(store: Store, key: CredentialKey, document: CredentialDocument, grant: SealedGrant) -> None:
    """Store a credential in place of all others of the same subject for the same server."""
    former = await store.credentials.list(CREDENTIAL, subject=key.subject, server=key.server)
    await store.credentials.put(CREDENTIAL, key, document, grant.model_dump_json().encode())
    for one in former:
        if one.key != key:
            await store.credentials.delete(CREDENTIAL, one.key)


async def stored_logins(
    store: Store, *, subject: str | None = None, server: str | None = None
) -> Sequence[StoredCredential[CredentialDocument]]:
    """The credentials of a subject, for a server, or of both."""
    return await store.credentials.list(CREDENTIAL, subject=subject, server=server)


async def log_out(
    store: Store, stored: StoredCredential[CredentialDocument], outbound: Outbound, oauth: UpstreamOAuth | None
) -> bool:
    """Forget a credential; whether its authorization server has taken it back too (RFC 7009).

    It is forgotten first: what the authorization server does must not keep it.
    """
    secret = await store.credentials.secret(CREDENTIAL, stored.key)
    await store.credentials.delete(CREDENTIAL, stored.key)
    if secret is None:
        return False
    grant = SealedGrant.model_validate_json(secret)
    if not grant.revocation_endpoint:
        return False
    client = RegisteredClient(stored.key.client, grant.client_secret, method=grant.method)
    if oauth is not None and oauth.client_id == stored.key.client:
        client = configured_client(oauth)
    server = ServerMetadata(
        issuer=grant.issuer,
        token_endpoint=grant.revocation_endpoint,
        token_endpoint_auth_methods_supported=grant.methods,
        token_endpoint_auth_signing_alg_values_supported=grant.algorithms,
    )
    kinds = {"refresh_token": grant.refresh, "access_token": grant.access}
    try:
        for kind, token in kinds.items():
            if token:
                form = {"token": token, "token_type_hint": kind}
                sent, headers = authenticated(client, form, server, int(time.time()))
                await revoke_token(outbound, grant.revocation_endpoint, sent, headers)
    except CredentialError as error:
        log = structlog.get_logger("portal.credentials")
        log.warning("a token was not taken back", server=stored.key.server, reason=str(error))
        return False
    return True
