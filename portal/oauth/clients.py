"""The OAuth clients: registered ones in the store, and those whose id is the URL of their metadata document.

A `Client` is the same value for both authorization servers; the one for applications makes its own (`saas`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import structlog
from aiohttp.abc import AbstractResolver
from mcp.shared.auth import JWT_BEARER_GRANT_TYPE, OAuthClientInformationFull, OAuthClientMetadata
from pydantic import BaseModel, ConfigDict, ValidationError

from portal.bounded import Bounded
from portal.egress import JSON, AddressRule, Fetcher, FetchFailed, FetchProblem, Flights, address_of
from portal.misfits import fitted, misfits
from portal.oauth.grants import ACCESS, CODE, REFRESH
from portal.oauth.messages import OAuthError
from portal.oauth.redirects import find_redirect, may_have, other_spelling, split_redirect
from portal.oauth.settings import OAuthSettings, Registration
from portal.oauth.uses import CLIENT_USE
from portal.shares import Full, Shares
from portal.state import Broken, Idle, Kind, Store

DYNAMIC = "dynamic"
BY = "registration"
"""Who has made the objects of clients that registered themselves."""
MAX_REDIRECTS = 20
MAX_NAME = 200
MAX_KEPT_BYTES = 8 * 1024
"""The most that is kept of one client: strangers register themselves."""
CACHE_SECONDS = 300.0
REFUSED_SECONDS = 30.0
MAX_CACHED = 1000
FETCH_SECONDS = 5.0
# Documents that are fetched at once because a stranger asks: in all, and for one address.
MAX_FETCHES = (32, 4)
MAX_DOCUMENT_BYTES = 64 * 1024
AUTHORIZATION_CODE, REFRESH_TOKEN = "authorization_code", "refresh_token"
# Besides `none`. Not `private_key_jwt`: the portal holds no client's key.
SECRET_METHODS = ("client_secret_post", "client_secret_basic")
# Shown to nobody and used for nothing here. The scopes are those of the portal, whatever a client writes.
_INFORMATIVE = frozenset(
    {"client_uri", "logo_uri", "tos_uri", "policy_uri", "contacts", "jwks_uri", "scope", "application_type"}
    | {"software_id", "software_version"}
)
Model = TypeVar("Model", bound=OAuthClientMetadata | OAuthClientInformationFull)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
Fetch = Callable[[str], Awaitable[bytes]]


class ClientDocument(BaseModel):
    """A registered client, without its secret: what is used of its registration, and nothing else that it said.

    `redirect_uris` are texts as they were sent. `registered` says how it came here. `respelled`: it was registered
    while URLs were kept in another spelling than they were sent in.
    """

    model_config = ConfigDict(frozen=True)

    client_id: str
    client_id_issued_at: int | None = None
    client_name: str = ""
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = (AUTHORIZATION_CODE, REFRESH_TOKEN)
    token_endpoint_auth_method: str = ""
    client_secret_expires_at: int = 0
    registered: str = DYNAMIC
    respelled: bool = False


def _only_what_is_used(members: dict[str, object]) -> dict[str, object]:
    """0 -> 1: everything that a client said was kept, and each URL in the spelling of the class that had read it."""
    used = {name: value for name in ClientDocument.model_fields if (value := members.get(name)) is not None}
    return {**used, "respelled": True}


CLIENT = Kind("oauth_client", ClientDocument, upgrades=[_only_what_is_used])


IDLE = Idle(CLIENT, BY, (CLIENT_USE.name, CODE.name, ACCESS.name, REFRESH.name))
"""The clients that registered themselves and that nobody uses: no person has let them in for long."""
MOST_UNUSED = 10_000
YOUNG = timedelta(hours=1)
# So many make room at once, where it is wanted.
MAKING_ROOM = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is used of the metadata of a client. `redirect_uris` are texts as they were sent."""

    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...] = (AUTHORIZATION_CODE, REFRESH_TOKEN)
    auth_method: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client of either authorization server: its credentials, and what it may ask for.

    `holder` is the name that its grants carry. `publisher` is the host that vouches for it, "" if none does.
    `redirect_uris` are texts, of which a request names one, and `respelled` further ones that it may name. An `openid`
    client names in each request the scope `openid` and one of its redirect URIs, also on loopback with the
    port that is registered. A client without `pkce` may leave PKCE out. `error_redirects` are rules of the portal: with
    them, an error is sent only to a redirect URI that they allow.
    """

    id: str
    holder: str
    name: str = ""
    publisher: str = ""
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: frozenset[str] = frozenset({AUTHORIZATION_CODE, REFRESH_TOKEN})
    auth_methods: frozenset[str]
    secret_sha256: str = field(default="", repr=False)
    secret_expires_at: int = 0
    respelled: tuple[str, ...] = ()
    openid: bool = False
    pkce: bool = True
    error_redirects: Registration | None = None

    def redirect(self, requested: str) -> str | None:
        """The redirect URI for a request that names this one, or none (""); None if it may not be used."""
        if self.openid:
            return requested if requested in self.redirect_uris else None
        if not requested:
            return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None
        return find_redirect(requested, (*self.redirect_uris, *self.respelled))

    def grantable(self, requested: str) -> tuple[str, ...]:
        """The scopes to grant of those requested, all if the portal has none of them; () is an error.

        RFC 6749 section 3.3 lets a server ignore what was requested, and its answer then names what was granted. Some
        clients ask every server for scopes of their own (`claudeai`).
        """
        granted = self.known(requested)
        if self.openid:
            return granted if "openid" in granted else ()
        return granted or self.scopes

    def known(self, requested: str) -> tuple[str, ...]:
        """Those of the requested scopes that there are."""
        return tuple(name for name in dict.fromkeys(requested.split()) if name in self.scopes)

    def takes_errors_at(self, redirect_uri: str) -> bool:
        """Whether an error may send the browser there.

        If only the client's own document vouches for the URI, it may not: otherwise every stranger could make the
        portal an open redirector. The consent of a person is another matter (RFC 9700 section 4.11.2).
        """
        return self.error_redirects is None or may_have(redirect_uri, self.error_redirects)


class Clients:
    """Finds and registers the clients of MCP endpoints. `fetches` is what strangers may have fetched at once, one's own
    unless it is shared with others."""

    def __init__(self, store: Store, settings: OAuthSettings, fetch: Fetch, fetches: Shares | None = None) -> None:
        self._store = store
        self._settings = settings
        self._fetch = fetch
        self._documents: Bounded[str, tuple[float, Client | None]] = Bounded(MAX_CACHED)
        self._fetches = fetches or document_fetches()
        self._reading: Flights[str, Client | None] = Flights()
        self._log = structlog.get_logger("portal.oauth")

    async def get(self, client_id: str, stranger: str = "") -> Client | None:
        """The client with this id; None if it is unknown, or may not be used under the rules of today.

        `stranger` is whose part a fetch of its document counts in, where nobody has been allowed anything yet.

        Raises:
            Full: a stranger asks, and there is no room to fetch one more document.
        """
        if client_id.startswith("https://"):
            return await self._published(client_id, stranger) if self._settings.client_documents else None
        if not client_id.isascii() or not client_id.isprintable() or not 0 < len(client_id) <= 200:
            return None
        stored = await self._store.find(CLIENT, client_id)
        if stored is None or isinstance(stored, Broken):
            return None
        secret = await self._store.secret(CLIENT, client_id)
        return read_client(stored.document, (secret or b"").decode(), self._settings)

    async def register(self, metadata: Metadata, now: datetime) -> dict[str, object]:
        """Store a new client with this metadata (of `read_registration`); the answer of RFC 7591 section 3.2.1.

        Of more than `MOST_UNUSED` clients that nobody has used, the oldest are forgotten.

        Raises:
            Full: all of these were registered within the last hour, and their people may be signing in just now.
        """
        secret = None if metadata.auth_method == "none" else secrets.token_hex(32)
        document = ClientDocument(
            client_id=str(uuid4()),
            client_id_issued_at=int(now.timestamp()),
            client_name=metadata.name,
            redirect_uris=metadata.redirect_uris,
            grant_types=metadata.grant_types,
            token_endpoint_auth_method=metadata.auth_method,
        )
        async with self._store.transaction() as transaction:
            if await transaction.count_idle(IDLE) >= MOST_UNUSED:
                oldest = await transaction.list_idle(IDLE, now - YOUNG, MAKING_ROOM)
                if not oldest:
                    raise Full(MOST_UNUSED, own=False)
                await transaction.forget(CLIENT, oldest)
            sealed = secret.encode() if secret else None
            await transaction.create(CLIENT, document.client_id, document, by=BY, secret=sealed)
        return _registered(document, secret, self._settings)

    async def _published(self, url: str, stranger: str) -> Client | None:
        try:
            _document_url(url)
        except ValueError as error:
            self._refused(url, error)
            return None
        cached = self._documents.get(url)
        now = time.monotonic()
        if cached is not None and now < cached[0]:
            return cached[1]
        while True:
            try:
                return await self._reading.join(url, lambda: self._read(url, stranger))
            except Full:
                if stranger and self._fetches.full_for(stranger) is not None:
                    raise
                # There was no room for whoever was the first to ask. That is no matter of others.

    async def _read(self, url: str, stranger: str) -> Client | None:
        """The client of a document that is fetched now, and kept."""
        taken = 1 if stranger else 0
        with self._fetches.held(stranger, taken):
            try:
                client = read_document(url, await self._fetch(url), self._settings)
            except (FetchFailed, ValueError) as error:
                if isinstance(error, FetchFailed) and error.problem is FetchProblem.BUSY:
                    return None
                self._refused(url, error)
                client = None
        self._documents[url] = time.monotonic() + (CACHE_SECONDS if client else REFUSED_SECONDS), client
        return client

    def _refused(self, url: str, error: Exception) -> None:
        self._log.warning("a client document was refused", client=url[:300], reason=str(error)[:300])


def document_fetches() -> Shares:
    """What strangers may have fetched at once, each one at an address its part."""
    return Shares(*MAX_FETCHES)


def read_registration(body: bytes, settings: OAuthSettings) -> Metadata | OAuthError:
    """The metadata to register for a request (RFC 7591 section 2).

    Error: the body is not client metadata, or the portal does not allow such clients (RFC 7591 section 3.2.2).
    """
    document = _registration(body)
    if isinstance(document, OAuthError):
        return document
    try:
        metadata = _metadata(OAuthClientMetadata, document)
    except ValidationError as error:
        found = misfits(error, document)
        wrong_uri = found[0].place[:1] == ("redirect_uris",)
        problems = "; ".join(f"{one.dotted} {one.problem}" for one in found[:10])
        return OAuthError("invalid_redirect_uri" if wrong_uri else "invalid_client_metadata", problems[:1000])
    uris = _texts(document)
    allowed = tuple(uri for uri in uris if may_have(uri, settings.registration))
    if uris and not allowed:
        refused = f"this portal does not allow the redirect URI {uris[0][:200]!r}"
        if split_redirect(uris[0]) is not None:
            refused += "; its owner can, in `allowed_uris` of `dynamic_client_registration`"
        return OAuthError("invalid_redirect_uri", refused)
    problem = _unfit(metadata)
    if problem:
        return OAuthError("invalid_client_metadata", problem)
    # RFC 7591 section 3.2.1: the server may replace what was requested; the answer says what holds.
    kept = Metadata(
        name=metadata.client_name or "",
        # Editors register every redirect that they may come to use, of their website too: the others are left out, as
        # they are from a client's document.
        redirect_uris=allowed,
        grant_types=tuple(name for name in (AUTHORIZATION_CODE, REFRESH_TOKEN) if name in metadata.grant_types),
        auth_method=metadata.token_endpoint_auth_method or "client_secret_post",
    )
    problem = _too_much(kept)
    return OAuthError("invalid_client_metadata", problem) if problem else kept


def _texts(document: object) -> list[str]:
    """The redirect URIs of client metadata, as they stand in it: a model would spell them in its own way."""
    uris = document.get("redirect_uris") if isinstance(document, dict) else None
    return [uri for uri in uris if isinstance(uri, str)] if isinstance(uris, list) else []


def _too_much(metadata: Metadata) -> str:
    """Why so much is not kept of a client, or ""."""
    size = sum(len(text.encode()) for text in (metadata.name, *metadata.redirect_uris))
    return f"the name and the redirect URIs have more than {MAX_KEPT_BYTES} bytes" if size > MAX_KEPT_BYTES else ""


def _registered(document: ClientDocument, secret: str | None, settings: OAuthSettings) -> dict[str, object]:
    """What a client is told of its registration: all that is kept of it (RFC 7591 section 3.2.1)."""
    answer: dict[str, object] = {
        "client_id": document.client_id,
        "client_id_issued_at": document.client_id_issued_at,
        "redirect_uris": list(document.redirect_uris),
        "grant_types": list(document.grant_types),
        "response_types": ["code"],
        "token_endpoint_auth_method": document.token_endpoint_auth_method,
        "scope": " ".join(settings.scopes),
    }
    if document.client_name:
        answer["client_name"] = document.client_name
    if secret is not None:
        answer |= {"client_secret": secret, "client_secret_expires_at": document.client_secret_expires_at}
    return answer


def _registration(body: bytes) -> dict[str, object] | OAuthError:
    """The members of a registration that were sent. One that is null or "" was not: many clients write every member."""
    if len(body) > MAX_DOCUMENT_BYTES:
        return OAuthError("invalid_client_metadata", f"the body has more than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return OAuthError("invalid_client_metadata", "the body must be a JSON object")
    document = {name: value for name, value in document.items() if value is not None and value != ""}
    uris = document.get("redirect_uris")
    if not isinstance(uris, list) or not 0 < len(uris) <= MAX_REDIRECTS:
        return OAuthError("invalid_redirect_uri", f"redirect_uris must be a list of 1 to {MAX_REDIRECTS} URIs")
    if document.get("token_endpoint_auth_method", "none") not in ("none", *SECRET_METHODS):
        return OAuthError(
            "invalid_client_metadata", f"token_endpoint_auth_method must be none or {' or '.join(SECRET_METHODS)}"
        )
    return document


def _metadata(model: type[Model], document: object) -> Model:
    """The metadata in a document, without members that do not fit and on which nothing here depends.

    RFC 7591 section 3.2.1 lets a server replace what a client asks for; its answer names what was registered.

    Raises:
        ValidationError: another member does not fit.
    """
    try:
        return fitted(model, document)
    except ValidationError as error:
        wrong = {str(one.place[0]) for one in misfits(error, document) if one.place} & _INFORMATIVE
        if not wrong or not isinstance(document, dict):
            raise
    return fitted(model, {name: value for name, value in document.items() if name not in wrong})


def _unfit(metadata: OAuthClientMetadata) -> str:
    """Why this portal cannot serve such a client, or ""."""
    if metadata.client_name and len(metadata.client_name) > MAX_NAME:
        return f"client_name is longer than {MAX_NAME} characters"
    if metadata.client_name and _CONTROL.search(metadata.client_name):
        return "client_name must not have control characters"
    if AUTHORIZATION_CODE not in metadata.grant_types or "code" not in metadata.response_types:
        return "grant_types must include 'authorization_code', and response_types must include 'code'"
    if JWT_BEARER_GRANT_TYPE in metadata.grant_types:
        return f"grant_types must not include {JWT_BEARER_GRANT_TYPE!r}"
    return ""


def read_client(registered: ClientDocument, secret: str, settings: OAuthSettings) -> Client | None:
    """The client of a stored registration, under the rules of today; None if clients may not register any more."""
    rules = settings.registration
    if registered.registered == DYNAMIC and not rules.enabled:
        return None
    uris: list[str] = []
    respelled: list[str] = []
    for uri in registered.redirect_uris:
        other = other_spelling(uri) if registered.respelled else None
        if registered.registered == DYNAMIC and not any(may_have(one, rules) for one in (uri, other) if one):
            continue
        uris.append(uri)
        respelled += [other] if other else []
    return Client(
        id=registered.client_id,
        holder=registered.client_id,
        name=registered.client_name,
        redirect_uris=tuple(uris),
        respelled=tuple(respelled),
        scopes=settings.scopes,
        grant_types=frozenset(registered.grant_types),
        auth_methods=frozenset({registered.token_endpoint_auth_method}),
        secret_sha256=hash_secret(secret) if secret else "",
        secret_expires_at=registered.client_secret_expires_at,
    )


def read_document(url: str, content: bytes, settings: OAuthSettings) -> Client:
    """The client of a metadata document (OAuth Client ID Metadata Document, section 4).

    Raises:
        ValueError: it is not the document of this client, or no client of this portal can be like that.
    """
    try:
        document = orjson.loads(content)
        metadata = _metadata(OAuthClientInformationFull, document)
    except orjson.JSONDecodeError:
        raise ValueError("the document is not client metadata: it must be JSON") from None
    except ValidationError as error:
        first = misfits(error, document)[0]
        raise ValueError(f"the document is not client metadata: {first.dotted} {first.problem}") from None
    if metadata.client_id != url:
        raise ValueError("the document's client_id is not its URL")
    if metadata.client_secret is not None or metadata.token_endpoint_auth_method not in (None, "none"):
        raise ValueError("a client with a document has no secret: token_endpoint_auth_method must be none")
    host = urlsplit(url).netloc
    uris = [
        uri
        for uri in _texts(document)[:MAX_REDIRECTS]
        if may_have(uri, settings.registration, publisher=f"https://{host}")
    ]
    if not uris:
        raise ValueError("the document has no redirect URI that this portal allows")
    kept = Metadata(name=_CONTROL.sub(" ", metadata.client_name or "")[:MAX_NAME], redirect_uris=tuple(uris))
    if problem := _too_much(kept):
        raise ValueError(problem)
    return Client(
        id=url,
        holder=url,
        name=kept.name,
        publisher=host,
        redirect_uris=kept.redirect_uris,
        scopes=settings.scopes,
        auth_methods=frozenset({"none"}),
        error_redirects=settings.registration,
    )


def hash_secret(secret: str) -> str:
    """A client secret as it is compared: SHA-256, in hex. Secrets are random, so nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _document_url(client_id: str) -> None:
    """
    Raises:
        ValueError: no client may have this id (OAuth Client ID Metadata Document, section 3).
    """
    parts = urlsplit(client_id)
    if len(client_id) > 500 or not client_id.isascii() or not client_id.isprintable():
        raise ValueError("the client id is too long or not printable ASCII")
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment or "#" in client_id:
        raise ValueError("the client id is not a plain https URL")
    if parts.path in ("", "/") or any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValueError("the client id has no proper path")


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
