"""One bounded request to a service an administrator named; no redirects, no link-local address."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiohttp

from portal.egress.addresses import CheckedResolver, forbidden


class NoAnswer(Exception):
    """The service did not answer, or not so that it could be believed. The text is for logs."""


def open_session(**options: Any) -> aiohttp.ClientSession:
    """Options are aiohttp's. Nothing is unpacked: what is small on the way must not become large here."""
    headers = {**options.pop("headers", {}), "accept-encoding": "identity"}
    connector = aiohttp.TCPConnector(resolver=CheckedResolver())
    return aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=False, **options)


async def fetch(session: aiohttp.ClientSession, method: str, url: str, *, limit: int, json: Any = None) -> bytes:
    """The body of a 200 answer, of at most `limit` bytes.

    Raises:
        NoAnswer: there is none.
    """
    if forbidden(urlsplit(url).hostname or ""):
        raise NoAnswer("its address is one no service may have")
    try:
        async with session.request(method, url, json=json, allow_redirects=False) as response:
            if response.status != 200:
                raise NoAnswer(f"status {response.status}")
            parts: list[bytes] = []
            size = 0
            async for part in response.content.iter_chunked(65_536):
                size += len(part)
                if size > limit:
                    raise NoAnswer(f"more than {limit} bytes")
                parts.append(part)
            return b"".join(parts)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NoAnswer(type(error).__name__) from error
