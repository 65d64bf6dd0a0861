"""HTTP toward identity providers: no redirects, bounded in time and size, JSON objects only."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
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
        async with client.stream("GET", url, headers=dict(headers or {}), follow_redirects=False) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise LoginFailed("The identity provider answered with too much.")
    except httpx2.HTTPError as error:
        raise LoginFailed(f"The identity provider cannot be reached ({type(error).__name__}).") from error
    if response.status_code != 200:
        raise LoginFailed(f"The identity provider answered with status {response.status_code}.")
    try:
        return orjson.loads(bytes(content))
    except orjson.JSONDecodeError:
        raise LoginFailed("The identity provider did not answer with JSON.") from None


@cache
def tls() -> ssl.SSLContext:
    """The system's trust, read once: each reading takes as long as a login otherwise does."""
    return ssl.create_default_context()


def http_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False, verify=tls())
