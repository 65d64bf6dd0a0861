"""HTTP toward identity providers: no redirects, bounded in time and size, uncompressed, JSON only."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any

import httpx2
import orjson

TIMEOUT_SECONDS = 15.0
MAX_BYTES = 1024 * 1024


class LoginFailed(Exception):
    """A login at a provider came to nothing. The text is fit for the person who tries: no secret, no internals."""


async def fetch_json(client: httpx2.AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON at a URL.

    Raises:
        LoginFailed: there is none.
    """
    try:
        response = await client.get(url, headers=dict(headers or {}), follow_redirects=False)
    except httpx2.HTTPError as error:
        raise LoginFailed(f"The identity provider cannot be reached ({type(error).__name__}).") from error
    if response.status_code != 200:
        raise LoginFailed(f"The identity provider answered with status {response.status_code}.")
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise LoginFailed("The identity provider did not answer with JSON.") from None


@cache
def tls() -> ssl.SSLContext:
    """The system's trust, read once: each reading takes as long as a login otherwise does."""
    return ssl.create_default_context()


class Bounded(httpx2.AsyncHTTPTransport):
    """Answers of at most `MAX_BYTES`, never compressed: a small answer must not become a large one."""

    def __init__(self) -> None:
        super().__init__(verify=tls(), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Accept-Encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed, which was not asked for", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _AtMost(response.stream, request)
        return response


class _AtMost(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BYTES:
                raise httpx2.ReadError(f"the answer is larger than {MAX_BYTES} bytes", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def http_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False, transport=Bounded())
