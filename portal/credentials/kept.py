"""What is kept of a login until the browser comes back: nothing secret, and enough to finish it in another process.

The PKCE verifier is left out: whoever resumes a login brings it. The client's secret is found again where it belongs,
in the configuration or in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.config import HttpServer
from portal.credentials.code_grant import PendingLogin
from portal.credentials.discovery import covers
from portal.credentials.errors import CredentialError
from portal.credentials.metadata import ServerMetadata
from portal.credentials.registration import PortalClient, client_again
from portal.objects import Document

if TYPE_CHECKING:
    from portal.state import Store


class KeptLogin(Document):
    """A login that was begun. `server` is the id of the server, `metadata` that of the authorization server, whose
    issuer is fixed before the browser goes there (RFC 9207)."""

    server: str
    resource: str
    scope: str
    redirect_uri: str
    client_id: str
    metadata: ServerMetadata


def kept_login(pending: PendingLogin) -> KeptLogin:
    """What is kept of a login that was begun."""
    return KeptLogin(
        server=pending.server,
        resource=pending.resource,
        scope=pending.scope,
        redirect_uri=pending.redirect_uri,
        client_id=pending.client.id,
        metadata=pending.metadata,
    )


async def resumed_login(
    kept: KeptLogin,
    config: HttpServer,
    portal: PortalClient,
    store: Store,
    *,
    subject: str,
    state: str,
    verifier: str,
) -> PendingLogin:
    """The login as it was begun, for `complete_login`. It has no `url`: the browser was there.

    Raises:
        CredentialError: the server or the portal's client is another one by now. The text says so.
    """
    if not covers(kept.resource, config.url):
        raise CredentialError("the server has moved since the login was begun. Begin again.")
    client = await client_again(kept.client_id, kept.metadata.issuer, config.oauth, portal, store)
    if client is None:
        raise CredentialError("the portal is registered there as another client by now. Begin again.")
    return PendingLogin(
        url="",
        state=state,
        verifier=verifier,
        subject=subject,
        server=kept.server,
        resource=kept.resource,
        scope=kept.scope,
        redirect_uri=kept.redirect_uri,
        metadata=kept.metadata,
        client=client,
    )
