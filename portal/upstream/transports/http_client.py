"""The HTTP client for one upstream, and its bounded reading of what a server that is not trusted answers.

Connections are pooled, no redirect leads to another origin, and bodies are decompressed within their bound. It uses
aiohttp: a call costs about a fifth of the CPU of the SDK's own client.
"""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from portal.config import HttpServer
from portal.egress import AddressRefused, AddressRule, NameFailed, Wish, Wisher, checked_connector, is_loopback_host
from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseInvalid,
    ResponseTooLarge,
    RpcError,
    UpstreamError,
    UpstreamUnavailable,
)
from portal.sdk import TooMuchFraming, read_in_turns, sent_once
from portal.upstream.credential import Confidential, Credential
from portal.upstream.transports.bounds import Flood, Turn
from portal.upstream.transports.event_stream import Event, EventParser, EventTooLarge
from portal.upstream.transports.wire import first_words, read_messages, refusal_in, snippet

_NOT_SENT = (
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
_DRAIN_SECONDS = 1.0
# So many bytes show whether a body is JSON or an event stream.
_ENOUGH = 8
# White space in front of a body that is looked past.
_PADDING_BYTES = 64 * 1024
_EVENT_LINE = re.compile(rb"(?:event|data|id|retry)?:")
_COMPRESSIONS = ("gzip", "x-gzip", "deflate", "br", "zstd", "dcb", "dcz", "compress", "x-compress")
_PIECE = 256 * 1024
# Bytes of an event stream that are read without giving others a turn.
_SLICE = 16 * 1024
_REFUSAL_BYTES = 256 * 1024
# Characters of what a server says when it asks for authorization: with the advice a reason still fits where reasons are
# cut to 300.
_WORDS = 80


async def body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The whole body, decompressed.

    Raises:
        UpstreamError: the body is damaged or has more than `max_bytes` (the rest is not read), or the connection was
            lost.
    """
    length = response.content_length
    if length is None or length > max_bytes or _encoding(response):
        return b"".join([chunk async for chunk in chunks(response, max_bytes)])
    try:
        return await response.content.read(-1)
    except aiohttp.ClientError as error:
        raise as_upstream_error(error) from None


async def chunks(response: aiohttp.ClientResponse, max_bytes: int | None) -> AsyncIterator[bytes]:
    """The pieces of the body as they arrive, decompressed. `max_bytes` None means no limit. Raises as `body`."""
    length = response.content_length
    if max_bytes is not None and length is not None and length > max_bytes:
        raise ResponseTooLarge(f"the answer has {length} bytes; the limit is {max_bytes}")
    inflate = _inflater(response)
    seen, turn = 0, Turn()
    try:
        async for chunk in response.content.iter_any():
            for piece in inflate(chunk) if inflate else (chunk,):
                seen += len(piece)
                if max_bytes is not None and seen > max_bytes:
                    raise ResponseTooLarge(f"the answer has more than {max_bytes} bytes")
                yield piece
                if inflate:
                    await turn.over()
    except aiohttp.ClientError as error:
        raise as_upstream_error(error) from None


async def events(
    response: aiohttp.ClientResponse, *, max_event_bytes: int, max_bytes: int | None
) -> AsyncIterator[Event]:
    """The events of a `text/event-stream` body. Raises as `body`."""
    async for event in events_in(chunks(response, max_bytes), max_event_bytes):
        yield event


async def events_in(pieces: AsyncIterator[bytes], max_event_bytes: int) -> AsyncIterator[Event]:
    """The events in the pieces of a body. Raises as `body`."""
    parser, flood, turn, others = EventParser(max_event_bytes), Flood(), Turn(), 0
    try:
        async for piece in pieces:
            turn.begin()
            for start in range(0, len(piece), _SLICE):
                for event in parser.feed(piece[start : start + _SLICE]):
                    flood.count(1)
                    yield event
                    await turn.over()
                if parser.others > others:
                    flood.count(0, parser.others - others)
                    others = parser.others
                await turn.over()
        # Some servers leave out the last line end or two. What is cut off is no JSON.
        for event in parser.end():
            if await read_messages(event.data, max_event_bytes):
                yield event
    except EventTooLarge:
        raise ResponseTooLarge(f"one event of the answer has more than {max_event_bytes} bytes") from None


@dataclass(slots=True)
class Body:
    """The body of an answer: whether it is an event stream, its `beginning`, and the `rest`, which is None if that is
    all of it.
    """

    streamed: bool
    beginning: bytes
    rest: AsyncIterator[bytes] | None

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.beginning
        if self.rest is not None:
            async for piece in self.rest:
                yield piece

    async def whole(self, max_bytes: int) -> bytes:
        """All of it. Raises as `body`."""
        if self.rest is None:
            return self.beginning
        parts, size = [], 0
        async for piece in self.pieces():
            parts.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise ResponseTooLarge(f"the answer has more than {max_bytes} bytes")
        return b"".join(parts)


async def opened(response: aiohttp.ClientResponse, max_bytes: int, max_stream_bytes: int | None) -> Body:
    """The body of an answer. It shows by itself what it is: some servers announce the other form.

    An event stream may have `max_stream_bytes`, another body `max_bytes`. Raises as `body`.
    """
    announced = media_type(response) == "text/event-stream"
    if not announced and response.content_length is not None and not _encoding(response):
        data = await body(response, max_bytes)
        return Body(not data.startswith(b"{") and _EVENT_LINE.match(_start(data)) is not None, data, None)
    rest = chunks(response, max_stream_bytes if announced else max_bytes)
    beginning = b""
    async for piece in rest:
        beginning += piece
        if len(_start(beginning)) >= (1 if announced else _ENOUGH) or len(beginning) > _PADDING_BYTES:
            break
    start = _start(beginning)
    # No line of an event stream begins as JSON does, and no JSON as a line of an event stream.
    streamed = not start.startswith((b"{", b"[")) if announced else _EVENT_LINE.match(start) is not None
    return Body(streamed, beginning, rest)


def _start(data: bytes) -> bytes:
    return data[:_PADDING_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()[:_ENOUGH]


async def finish(response: aiohttp.ClientResponse) -> None:
    """Read the end of an answer after its result, so that the connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            # More than a few chunks is not an end. `release` then closes the connection.
            for _ in range(4):
                if response.content.at_eof():
                    break
                await response.content.readany()
    response.release()


def as_upstream_error(
    error: Exception,
) -> OutcomeUnknown | UpstreamUnavailable | ResponseInvalid | ResponseTooLarge:
    """An error of the HTTP client as an `UpstreamError`, without the URL, which may contain a secret."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return UpstreamUnavailable(f"TLS failed ({type(error).__name__})")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if isinstance(error.os_error, AddressRefused):
            return UpstreamUnavailable("its host name leads to an address no server may have")
        why = f": {error.os_error}" if isinstance(error.os_error, NameFailed) else ""
        return UpstreamUnavailable(f"its host name cannot be resolved{why}")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        why = os.strerror(number) if number else "connection failed"
        return UpstreamUnavailable(f"cannot be reached: {why}")
    if isinstance(error, _NOT_SENT):
        return UpstreamUnavailable(f"cannot be reached ({type(error).__name__})")
    if isinstance(error, TooMuchFraming):
        return ResponseTooLarge(str(error))
    if isinstance(error, aiohttp.ClientResponseError):
        return ResponseInvalid("the answer is not HTTP")
    return OutcomeUnknown("the connection was lost before the answer was complete")


async def refusal_messages(response: aiohttp.ClientResponse) -> tuple[bytes, list[dict[str, object]]]:
    """The body of an answer with a status of 400 or more, and the JSON objects in it. Raises as `body`."""
    data = await body(response, _REFUSAL_BYTES)
    if messages := await read_messages(data, _REFUSAL_BYTES):
        return data, messages
    if _EVENT_LINE.match(_start(data)):
        async for event in events_in(_once(data), _REFUSAL_BYTES + 2):
            messages += await read_messages(event.data, _REFUSAL_BYTES)
    return data, messages


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def words_of(data: bytes, error: RpcError | None, secrets: Sequence[str]) -> str:
    """What a refusal says: the message of its error, else the beginning of its body; "" for a page."""
    if error is not None:
        return snippet(error.message, secrets)
    return "" if _start(data).startswith(b"<") else snippet(data, secrets)


def _challenge(response: aiohttp.ClientResponse) -> str | None:
    return ", ".join(response.headers.getall("www-authenticate", ()))[:_CHALLENGE_CHARS] or None


def media_type(response: aiohttp.ClientResponse) -> str:
    """The media type in lower case, without parameters, or ""."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]


def _encoding(response: aiohttp.ClientResponse) -> str:
    """How the body is compressed, "" if it is not. A word that is no compression (`utf-8`) says nothing."""
    named = response.headers.get("content-encoding", "").lower().split(",")
    return ", ".join(name for name in map(str.strip, named) if name in _COMPRESSIONS)


def _inflater(response: aiohttp.ClientResponse) -> Callable[[bytes], Iterator[bytes]] | None:
    encoding = _encoding(response)
    if not encoding:
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ResponseInvalid(f"the answer is compressed with {encoding[:20]!r}, which was not asked for")
    decompressor = zlib.decompressobj(wbits=47)  # gzip or zlib, by its header
    # Some servers send `deflate` without a header, which browsers take.
    bare = [zlib.decompressobj(wbits=-15)] if encoding == "deflate" else []

    def inflate(chunk: bytes) -> Iterator[bytes]:
        """Decompressed pieces of a bounded size, so that a decompression bomb never fills the memory."""
        nonlocal decompressor
        full = False
        while chunk or full:
            try:
                piece = decompressor.decompress(chunk, _PIECE)
            except zlib.error:
                if bare:
                    decompressor = bare.pop()
                    continue
                raise ResponseInvalid("the answer is damaged (bad compressed data)") from None
            if piece:
                bare.clear()
            full = len(piece) == _PIECE  # More output may be left even if there is no more input.
            chunk = decompressor.unconsumed_tail
            yield piece

    return inflate


# Servers close idle connections after 5 seconds by default (uvicorn, Node). The portal closes them first, even if one
# of the processes is seconds late: if a connection closes under a call, nobody knows whether the call ran.
_KEEP_ALIVE = 2.0
# More than there are calls at once (`turns`): a ping, or the notification that a call is cancelled, waits for no call.
_CONNECTIONS = 1024
_REDIRECTS = 3
_AT_ONCE = 1024 * 1024
_CHALLENGE_CHARS = 4096


class HttpClient:
    """Sends requests to one upstream. A user and a password in its URL become basic authorization.

    With a `credential` each request shows it, unless the request has an `authorization` of its own. A request that is
    refused with 401 or 403 did not run: it is sent once more if the credential can be renewed.
    """

    def __init__(
        self,
        config: HttpServer,
        credential: Credential | None = None,
        *,
        url: str = "",
        headers: Mapping[str, str] | None = None,
        place: str = "url",
        of_api: bool = False,
    ) -> None:
        """`url` and `headers` are those of the configuration, if nothing else is given; `place` is the key in it that
        has the URL. `of_api`: what it talks to is an HTTP API and no MCP server. It keeps no cookies then, which would
        be one caller's, and sends addresses as they are written. A 403, or a redirect that is not followed, is an
        answer then."""
        self.url = url = url or config.request_url
        self._id = config.id
        self._headers = headers = config.headers if headers is None else headers
        self._place = place
        self._of_api = of_api
        self._credential = credential
        self._secrets = Confidential(config.secrets, credential)
        self._session = aiohttp.ClientSession(
            connector=read_in_turns(
                checked_connector(
                    AddressRule.NOT_LINK_LOCAL,
                    wish=Wish(Wisher.ADMINISTRATOR, f"server {config.id}"),
                    limit=_CONNECTIONS,
                    keepalive_timeout=_KEEP_ALIVE,
                )
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),
            headers={"accept-encoding": "identity", "user-agent": "codemode-portal", **headers},
            cookie_jar=aiohttp.DummyCookieJar() if of_api else None,
            auto_decompress=False,
            raise_for_status=False,
            proxy=_proxy_for(url),
            max_line_size=16_384,
            max_field_size=16_384,
        )
        if of_api:
            sent_once(self._session)

    async def send(
        self,
        method: str,
        headers: Mapping[str, str],
        data: bytes | None = None,
        *,
        url: str | None = None,
        anonymous: bool = False,
    ) -> aiohttp.ClientResponse:
        """The answer to one request, as soon as its headers have arrived. The caller releases it. One that is
        `anonymous` shows no credential.

        A redirect is followed only where it keeps the method (307, 308, or any for GET) and the origin.

        Raises:
            UpstreamError: there is no answer, or no credential to show.
        """
        credential = self._credential
        if credential is None or anonymous or any(name.lower() == "authorization" for name in headers):
            return await self._send(method, headers, data, url)
        shown = await credential.headers()
        response = await self._send(method, {**headers, **shown}, data, url)
        if response.status in (401, 403):
            refused = AuthorizationRequired("", status=response.status, challenge=_challenge(response))
            try:
                renewed = await credential.renew(shown, refused)
            except BaseException:
                response.release()
                raise
            if renewed:
                response.release()
                shown = await credential.headers()
                response = await self._send(method, {**headers, **shown}, data, url)
            if shown and (response.status == 401 or (response.status == 403 and not self._of_api)):
                raise await self._token_refused(response)
        return response

    async def _token_refused(self, response: aiohttp.ClientResponse) -> AuthorizationRequired:
        credential = self._credential
        what = "refuses access (HTTP 403)"
        if response.status == 401:
            what = "refuses the access token that the portal was issued for it (HTTP 401)"
            what += f"; {credential.advice}" if credential is not None and credential.advice else ""
        words = await self._words(response)
        response.release()
        what += f"; it says: {words}" if words else ""
        return AuthorizationRequired(
            what, status=response.status, challenge=_challenge(response), login_helps=response.status == 401
        )

    async def _send(
        self, method: str, headers: Mapping[str, str], data: bytes | None, url: str | None
    ) -> aiohttp.ClientResponse:
        target = url or self.url
        # The connector checks the address it connects to. That may be a proxy, so check the target here.
        if not AddressRule.NOT_LINK_LOCAL.allows_host(origin(target)[1]):
            raise UpstreamUnavailable("its address is one no server may have (link-local, multicast or unspecified)")
        address_sent: str | URL = URL(target, encoded=True) if self._of_api else target
        for _ in range(_REDIRECTS + 1):
            try:
                # aiohttp writes what it is given as bytes at once; of a file it writes a piece at a time.
                sent = BytesIO(data) if data is not None and len(data) > _AT_ONCE else data
                response = await self._session.request(
                    method, address_sent, headers=headers, data=sent, allow_redirects=False
                )
            except (aiohttp.ClientError, RuntimeError, ValueError, OSError) as error:
                # RuntimeError means that the session was closed in the meantime, ValueError that what is to be sent
                # does not go together.
                raise as_upstream_error(error) from None
            if response.status not in (301, 302, 303, 307, 308):
                return response
            location = response.headers.get("location", "")
            keeps_method = method in ("GET", "HEAD") or response.status in (307, 308)
            try:
                target = address_sent = self._redirect_target(target, location, keeps_method=keeps_method)
            except ResponseInvalid:
                if self._of_api:
                    return response
                response.release()
                raise
            response.release()
        raise ResponseInvalid(f"redirected more than {_REDIRECTS} times")

    async def authorization_required(
        self, response: aiohttp.ClientResponse, *, own_credentials: bool = False
    ) -> AuthorizationRequired:
        """The error for a 401 or 403, with the `WWW-Authenticate` challenge and what the server says about it.

        `own_credentials` says that the request had credentials of its caller.
        """
        challenge = _challenge(response)
        what = "asks for authorization" if response.status == 401 else "refuses access"
        what += f" (HTTP {response.status})"
        if response.status == 401 and not own_credentials:
            what += f"; {self._advice(challenge or '')}"
        if words := await self._words(response):
            what += f"; it says: {words}"
        return AuthorizationRequired(
            what, status=response.status, challenge=challenge, login_helps=response.status == 401
        )

    def _advice(self, challenge: str) -> str:
        """What to do about a 401."""
        login = self._credential.advice if self._credential is not None else ""
        if not login and (self._headers or urlsplit(self.url).username):
            return "the credentials in its configuration are not those it wants, or have expired"
        token = (
            'put its token into its `headers`, as "Authorization": "Bearer ${TOKEN}" with TOKEN in the environment '
            "(of a stored server into `auth_credentials`)"
        )
        if login:
            return f"{login}; or {token}"
        login = f"; or give the portal a database (`portal.state`), and log in with `codemode login {self._id}`"
        return token + (login if "resource_metadata" in challenge else "")

    async def _words(self, response: aiohttp.ClientResponse) -> str:
        """What a refusal says, shortened; "" for a page, or if it cannot be read."""
        try:
            data, messages = await refusal_messages(response)
        except UpstreamError:
            return ""
        found = refusal_in(messages)
        return first_words(words_of(data, found if isinstance(found, RpcError) else None, self._secrets), _WORDS)

    async def aclose(self) -> None:
        await self._session.close()

    def _redirect_target(self, sent: str, location: str, *, keeps_method: bool) -> str:
        target = resolve_url(sent, location)
        if target is None:
            raise ResponseInvalid("redirected to something that is no URL")
        before, after = origin(sent), origin(target)
        upgraded = before == ("http", after[1], 80) and after == ("https", after[1], 443)
        own_user = urlsplit(target).username in (None, urlsplit(sent).username)
        if not keeps_method or not own_user or not (before == after or upgraded):
            where = snippet(address(target), self._secrets)
            advice = f"if that is the server, write that address into its `{self._place}`"
            raise ResponseInvalid(f"redirects to {where}, which is not followed; {advice}")
        return target


def resolve_url(base: str, reference: str) -> str | None:
    """The absolute URL for a reference that a server sent, or None if it is not a URL."""
    try:
        target = urljoin(base, reference)
        return target if origin(target)[1] else None
    except ValueError:
        return None


def address(url: str) -> str:
    """The URL without user, password, query and fragment, which may be secret."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, with the scheme's default port. Raises ValueError if the port is not a number."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this URL, or None. A URL on this machine has no proxy."""
    scheme, host, _ = origin(url)
    if host == "localhost" or is_loopback_host(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(scheme)
