"""The OAuth clients the portal knows: registered ones in its store, and those whose id is the URL of their document."""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp.abc import AbstractResolver
from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import InvalidRedirectUriError, InvalidScopeError, OAuthClientInformationFull
from pydantic import AnyUrl, ValidationError

from portal.egress import JSON, AddressRule, Fetcher, FetchFailed, FetchProblem, address_of
from portal.oauth.redirects import is_registered, may_have
from portal.oauth.settings import OAuthSettings
from portal.state import Store

KIND = "oauth_client"
DYNAMIC = "dynamic"
MAX_REDIRECTS = 20
CACHE_SECONDS = 300.0
REFUSED_SECONDS = 30.0
MAX_CACHED = 1000
FETCH_SECONDS = 5.0
MAX_DOCUMENT_BYTES = 64 * 1024
Fetch = Callable[[str], Awaitable[bytes]]


class Client(OAuthClientInformationFull):
    """A client as we check it. `publisher` is the host that vouches for it, "" when nobody does."""

    publisher: str = ""
    scopes_known: tuple[str, ...] = ()

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        known = [str(uri) for uri in self.redirect_uris or ()]
        if redirect_uri is None:
            if len(known) == 1:
                return AnyUrl(known[0])
            raise InvalidRedirectUriError("redirect_uri must be given: the client has several")
        if not is_registered(str(redirect_uri), known):
            raise InvalidRedirectUriError("redirect_uri is not one that this client may use")
        return redirect_uri

    def validate_scope(self, requested_scope: str | None) -> list[str] | None:
        """The scopes to grant: of those asked for the ones there are, all when none is named (RFC 6749 3.3)."""
        if requested_scope is None or not requested_scope.split():
            return list(self.scopes_known)
        granted = [scope for scope in dict.fromkeys(requested_scope.split()) if scope in self.scopes_known]
        if not granted:
            raise InvalidScopeError(f"the scopes there are: {' '.join(self.scopes_known)}")
        return granted


class Clients:
    def __init__(self, store: Store, settings: OAuthSettings, fetch: Fetch) -> None:
        self._store = store
        self._settings = settings
        self._fetch = fetch
        self._documents: OrderedDict[str, tuple[float, Client | None]] = OrderedDict()
        self._log = structlog.get_logger("portal.oauth")

    async def get(self, client_id: str) -> Client | None:
        if client_id.startswith("https://"):
            return await self._published(client_id) if self._settings.client_documents else None
        if not client_id.isascii() or not client_id.isprintable() or not 0 < len(client_id) <= 200:
            return None
        stored = await self._store.get(KIND, client_id)
        if stored is None:
            return None
        document = dict(stored.document)
        if document.pop("registered", DYNAMIC) == DYNAMIC:
            if not self._settings.registration.enabled:
                return None
            # The rules of today hold, not those of the day it registered.
            document["redirect_uris"] = [uri for uri in document["redirect_uris"] if self._may_have(uri)]
        secret = await self._store.secret(KIND, client_id)
        return self._client({**document, "client_secret": secret.decode() if secret else None})

    async def register(self, asked: OAuthClientInformationFull) -> None:
        """Store a client that registered itself.

        Raises:
            RegistrationError: the rules do not allow it.
        """
        uris = [str(uri) for uri in asked.redirect_uris or ()]
        if not uris or len(uris) > MAX_REDIRECTS:
            raise RegistrationError("invalid_redirect_uri", f"register 1 to {MAX_REDIRECTS} redirect URIs")
        refused = [uri for uri in uris if not self._may_have(uri)]
        if refused:
            raise RegistrationError(
                "invalid_redirect_uri", f"this portal does not allow the redirect URI {refused[0][:200]!r}"
            )
        if asked.client_name and len(asked.client_name) > 200:
            raise RegistrationError("invalid_client_metadata", "client_name is longer than 200 characters")
        # RFC 7591 3.2.1: the server may replace what was asked; the answer says what holds.
        asked.scope = " ".join(self._settings.scopes)
        document = asked.model_dump(mode="json", exclude_none=True, exclude={"client_secret", "jwks"})
        document["registered"] = DYNAMIC
        secret = asked.client_secret.encode() if asked.client_secret else None
        await self._store.create(KIND, asked.client_id, document, by="registration", secret=secret)

    async def _published(self, url: str) -> Client | None:
        kept = self._documents.get(url)
        now = time.monotonic()
        if kept is not None and now < kept[0]:
            return kept[1]
        try:
            client = read_document(url, await self._fetch(_document_url(url)), self._settings)
        except (FetchFailed, ValueError) as error:
            self._log.warning("a client document was refused", client=url[:300], reason=str(error)[:300])
            client = None
        self._documents[url] = now + (CACHE_SECONDS if client else REFUSED_SECONDS), client
        while len(self._documents) > MAX_CACHED:
            self._documents.popitem(last=False)
        return client

    def _may_have(self, uri: str) -> bool:
        return may_have(uri, self._settings.registration)

    def _client(self, document: dict[str, Any]) -> Client:
        return Client.model_validate({**document, "scopes_known": self._settings.scopes})


def _document_url(client_id: str) -> str:
    """
    Raises:
        ValueError: no client may have this id (Client ID Metadata Documents, section 3).
    """
    parts = urlsplit(client_id)
    if len(client_id) > 500 or not client_id.isascii() or not client_id.isprintable():
        raise ValueError("the client id is too long or not printable ASCII")
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment or "#" in client_id:
        raise ValueError("the client id is no plain https URL")
    if parts.path in ("", "/") or any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValueError("the client id has no proper path")
    return client_id


async def fetch_document(
    url: str,
    *,
    addresses: AddressRule = AddressRule.PUBLIC_ONLY,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The metadata document at an https URL with a host name. The other parameters are for tests.

    Anybody who reaches `/authorize` can have it fetched, so it comes from public addresses only (Client ID Metadata
    Documents, section 6.5).

    Raises:
        FetchFailed: there is none, or it is not JSON, or too large.
    """
    if not url.startswith("https://") or not _is_name(urlsplit(url).hostname or ""):
        raise FetchFailed(FetchProblem.URL, "only https URLs with a host name are fetched")
    async with Fetcher(
        addresses, limit=MAX_DOCUMENT_BYTES, seconds=FETCH_SECONDS, resolver=resolver, tls=tls
    ) as fetcher:
        return (await fetcher.fetch(url, headers={"Accept": "application/json"}, content_types=JSON)).body


def _is_name(host: str) -> bool:
    try:
        return address_of(host) is None
    except ValueError:
        return False


def read_document(url: str, content: bytes, settings: OAuthSettings) -> Client:
    """The client of a metadata document.

    Raises:
        ValueError: it is not the document of this client, or the client is not one that can be had.
    """
    parts = urlsplit(url)
    try:
        asked = OAuthClientInformationFull.model_validate_json(content)
    except ValidationError as error:
        raise ValueError("the document is not client metadata") from error
    if asked.client_id != url:
        raise ValueError("the document's client_id is not its URL")
    if asked.client_secret is not None or asked.token_endpoint_auth_method not in (None, "none"):
        raise ValueError("a client with a document has no secret: token_endpoint_auth_method must be none")
    publisher = f"https://{parts.netloc}"
    uris = [str(uri) for uri in asked.redirect_uris or ()][:MAX_REDIRECTS]
    uris = [uri for uri in uris if may_have(uri, settings.registration, publisher=publisher)]
    if not uris:
        raise ValueError("the document has no redirect URI that this portal allows")
    return Client(
        client_id=url,
        client_name=(asked.client_name or "")[:200] or None,
        redirect_uris=[AnyUrl(uri) for uri in uris],
        token_endpoint_auth_method="none",
        publisher=parts.netloc,
        scopes_known=settings.scopes,
    )
