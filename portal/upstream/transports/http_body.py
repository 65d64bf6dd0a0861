"""Reads HTTP answers of servers that are not trusted: bounded, and decompressed within the same bound."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import aiohttp

from portal.errors import AuthorizationRequired, OutcomeUnknown, ResponseInvalid, ResponseTooLarge, UpstreamUnavailable
from portal.upstream.transports.event_stream import Event, EventParser, EventTooLarge

_NOT_SENT = (
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
_DRAIN_SECONDS = 1.0
_PIECE = 256 * 1024


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
    seen = 0
    try:
        async for chunk in response.content.iter_any():
            for piece in inflate(chunk) if inflate else (chunk,):
                seen += len(piece)
                if max_bytes is not None and seen > max_bytes:
                    raise ResponseTooLarge(f"the answer has more than {max_bytes} bytes")
                yield piece
    except aiohttp.ClientError as error:
        raise as_upstream_error(error) from None


async def events(
    response: aiohttp.ClientResponse, *, max_event_bytes: int, max_bytes: int | None
) -> AsyncIterator[Event]:
    """The events of a `text/event-stream` body. Raises as `body`."""
    parser = EventParser(max_event_bytes)
    try:
        async for chunk in chunks(response, max_bytes):
            for event in parser.feed(chunk):
                yield event
    except EventTooLarge:
        raise ResponseTooLarge(f"one event of the answer has more than {max_event_bytes} bytes") from None


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


def as_upstream_error(error: Exception) -> OutcomeUnknown | UpstreamUnavailable | ResponseInvalid:
    """An error of the HTTP client as an `UpstreamError`, without the URL, which may contain a secret."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return UpstreamUnavailable(f"TLS failed ({type(error).__name__})")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UpstreamUnavailable("its host name cannot be resolved")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        why = os.strerror(number) if number else "connection failed"
        return UpstreamUnavailable(f"cannot be reached: {why}")
    if isinstance(error, _NOT_SENT):
        return UpstreamUnavailable(f"cannot be reached ({type(error).__name__})")
    if isinstance(error, aiohttp.ClientResponseError):
        return ResponseInvalid("the answer is not HTTP")
    return OutcomeUnknown("the connection was lost before the answer was complete")


def authorization_required(response: aiohttp.ClientResponse) -> AuthorizationRequired:
    """The error for a 401 or 403, with the `WWW-Authenticate` challenge."""
    challenge = response.headers.get("www-authenticate")
    what = "asks for authorization" if response.status == 401 else "refuses access"
    return AuthorizationRequired(
        f"{what} (HTTP {response.status})", status=response.status, challenge=challenge and challenge[:4096]
    )


def media_type(response: aiohttp.ClientResponse) -> str:
    """The media type in lower case, without parameters, or ""."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]


def _encoding(response: aiohttp.ClientResponse) -> str:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def _inflater(response: aiohttp.ClientResponse) -> Callable[[bytes], Iterator[bytes]] | None:
    encoding = _encoding(response)
    if not encoding:
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ResponseInvalid(f"the answer is compressed with {encoding[:20]!r}, which was not asked for")
    decompressor = zlib.decompressobj(wbits=47)  # gzip or zlib, by its header

    def inflate(chunk: bytes) -> Iterator[bytes]:
        """Decompressed pieces of a bounded size, so that a decompression bomb never fills the memory."""
        full = False
        while chunk or full:
            try:
                piece = decompressor.decompress(chunk, _PIECE)
            except zlib.error:
                raise ResponseInvalid("the answer is damaged (bad compressed data)") from None
            full = len(piece) == _PIECE  # More output may be left even if there is no more input.
            chunk = decompressor.unconsumed_tail
            yield piece

    return inflate
