"""The HTTP client for one upstream: pooled connections, no redirect to another origin, no automatic decompression.

It uses aiohttp: a call costs about a fifth of the CPU of the SDK's own client.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import aiohttp

from portal.egress import AddressRule, checked_connector, is_loopback_host
from portal.errors import ResponseInvalid, UpstreamUnavailable
from portal.upstream.transports.http_body import as_upstream_error

# Servers close idle connections after 5 seconds by default (uvicorn, Node). The portal closes them first, even if one
# of the processes is seconds late: if a connection closes under a call, nobody knows whether the call ran.
_KEEP_ALIVE = 2.0
_CONNECTIONS = 128
_REDIRECTS = 3


class HttpClient:
    """Sends requests to one upstream. A user and a password in `url` become basic authorization."""

    def __init__(self, url: str, headers: Mapping[str, str], *, connect_timeout: float) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(
            connector=checked_connector(AddressRule.NOT_LINK_LOCAL, limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            headers={"accept-encoding": "identity", "user-agent": "codemode-portal", **headers},
            auto_decompress=False,
            raise_for_status=False,
            proxy=_proxy_for(url),
            max_line_size=16_384,
            max_field_size=16_384,
        )

    async def send(
        self, method: str, headers: Mapping[str, str], data: bytes | None = None, *, url: str | None = None
    ) -> aiohttp.ClientResponse:
        """The answer to one request, as soon as its headers have arrived. The caller releases it.

        A redirect is followed only where it keeps the method (307, 308, or any for GET) and the origin.

        Raises:
            UpstreamError: there is no answer.
        """
        target = url or self.url
        # The connector checks the address it connects to. That may be a proxy, so check the target here.
        if not AddressRule.NOT_LINK_LOCAL.allows_host(origin(target)[1]):
            raise UpstreamUnavailable("its address is one no server may have (link-local, multicast or unspecified)")
        for _ in range(_REDIRECTS + 1):
            try:
                response = await self._session.request(
                    method, target, headers=headers, data=data, allow_redirects=False
                )
            except (aiohttp.ClientError, RuntimeError, OSError) as error:
                # RuntimeError means that the session was closed in the meantime.
                raise as_upstream_error(error) from None
            if response.status not in (301, 302, 303, 307, 308):
                return response
            location = response.headers.get("location", "")
            response.release()
            target = self._redirect_target(
                target, location, keeps_method=method == "GET" or response.status in (307, 308)
            )
        raise ResponseInvalid(f"redirected more than {_REDIRECTS} times")

    async def aclose(self) -> None:
        await self._session.close()

    @staticmethod
    def _redirect_target(sent: str, location: str, *, keeps_method: bool) -> str:
        target = resolve_url(sent, location)
        if target is None:
            raise ResponseInvalid("redirected to something that is no URL")
        before, after = origin(sent), origin(target)
        upgraded = before == ("http", after[1], 80) and after == ("https", after[1], 443)
        own_user = urlsplit(target).username in (None, urlsplit(sent).username)
        if not keeps_method or not own_user or not (before == after or upgraded):
            where = f"redirected to {after[0]}://{after[1]}:{after[2]}, which is not followed"
            raise ResponseInvalid(f"{where}; if it is meant, configure that URL")
        return target


def resolve_url(base: str, reference: str) -> str | None:
    """The absolute URL for a reference that a server sent, or None if it is not a URL."""
    try:
        target = urljoin(base, reference)
        return target if origin(target)[1] else None
    except ValueError:
        return None


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
