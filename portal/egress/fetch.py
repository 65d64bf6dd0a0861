"""One bounded request to the outside world: no redirect, nothing compressed, so many bytes, so many seconds."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from portal.egress.addresses import AddressRefused, AddressRule, checked_connector
from portal.egress.names import NameFailed, Wish

# Content types of a JSON document; "+json" stands for every type that ends so (RFC 6839 3.1).
JSON = ("application/json", "+json")
_CHUNK = 64 * 1024
# Connections of one fetcher at once, and those of them to one host: a slow host keeps nobody from another one.
_CONNECTIONS, _TO_ONE_HOST = 256, 32
# The part of the time for a request in which the connection must be there.
CONNECTING = 0.7


class FetchProblem(StrEnum):
    """Why there is no answer that can be used."""

    URL = "url"
    BUSY = "busy"
    ADDRESS = "address"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    STATUS = "status"
    CONTENT_TYPE = "content type"
    COMPRESSED = "compressed"
    TOO_LARGE = "too large"


class FetchFailed(Exception):
    """There is no answer that can be used. The text is for logs: nothing of the URL or of the answer is in it.

    With `URL`, `BUSY`, `ADDRESS` and `UNREACHABLE` nothing was sent; otherwise the service may have acted. `status` is
    that of an answer with another one than was wanted, and `retry_after` the seconds that it asks to wait (RFC 9110
    10.2.3), if it says so.
    """

    def __init__(
        self, problem: FetchProblem, text: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.problem = problem
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the body of an answer."""

    status: int
    body: bytes


class Fetcher:
    """Asks services within bounds: answers of at most `limit` bytes within `seconds`, at addresses the rule allows.

    Keeps connections open between requests unless `keep_alive` is false, but no cookies, and uses no proxy. Close it,
    or use it as an async context manager. `wish` says who wants the addresses of names, where the rule does not say it
    closely enough. `resolver` replaces the loop's, `tls` the system's.
    """

    def __init__(
        self,
        addresses: AddressRule,
        *,
        limit: int,
        seconds: float,
        wish: Wish | None = None,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
        keep_alive: bool = True,
    ) -> None:
        self._addresses = addresses
        self._limit = limit
        self._seconds = seconds
        self._wish = wish
        self._resolver = resolver
        self._tls = tls
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        statuses: Collection[int] = (200,),
        content_types: Collection[str] = (),
    ) -> Answer:
        """The answer of the service at `url`. Any content type will do unless `content_types` lists some, like `JSON`.

        Raises:
            FetchFailed: there is none that can be used.
        """
        self._check(url)
        try:
            async with self._open_session().request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                _check_head(response, statuses, content_types)
                return Answer(response.status, await self._body(response))
        except aiohttp.ConnectionTimeoutError as error:
            raise FetchFailed(FetchProblem.UNREACHABLE, "it cannot be reached in time") from error
        except TimeoutError as error:
            raise FetchFailed(FetchProblem.TIMEOUT, f"it did not answer within {self._seconds:g} s") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise FetchFailed(FetchProblem.ADDRESS, self._refusal()) from error
            raise _unreachable(error) from error
        except ValueError as error:
            raise FetchFailed(FetchProblem.URL, "its URL is not valid") from error
        except (aiohttp.ClientError, OSError) as error:
            text = f"it did not answer ({type(error).__name__})"
            raise FetchFailed(FetchProblem.INTERRUPTED, text) from error

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            raise FetchFailed(FetchProblem.URL, "its URL is not valid")
        # The connector would refuse it as well; aiohttp reports some spellings as a URL that is not valid.
        if not self._addresses.allows_host(host):
            raise FetchFailed(FetchProblem.ADDRESS, self._refusal())

    def _refusal(self) -> str:
        if self._addresses is AddressRule.PUBLIC_ONLY:
            return "its address is not a public one"
        return "its address is one no service may have (link-local, multicast, unspecified or a cloud's own)"

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=checked_connector(
                    self._addresses,
                    self._resolver,
                    wish=self._wish,
                    ssl=self._tls or True,
                    force_close=not self._keep_alive,
                    limit=_CONNECTIONS,
                    limit_per_host=_TO_ONE_HOST,
                ),
                # Connecting has a limit of its own: only there is it sure that nothing was sent.
                timeout=aiohttp.ClientTimeout(total=self._seconds, connect=self._seconds * CONNECTING),
                headers={"accept-encoding": "identity", "user-agent": "codemode-portal"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._limit:
                raise FetchFailed(FetchProblem.TOO_LARGE, f"its answer is larger than {self._limit} bytes")
        return bytes(body)


def _unreachable(error: aiohttp.ClientConnectorError) -> FetchFailed:
    failed = error.os_error
    if isinstance(failed, NameFailed):
        problem = FetchProblem.BUSY if failed.busy else FetchProblem.UNREACHABLE
        return FetchFailed(problem, f"its host name cannot be resolved: {failed}")
    return FetchFailed(FetchProblem.UNREACHABLE, f"it cannot be reached ({type(error).__name__})")


def _check_head(response: aiohttp.ClientResponse, statuses: Collection[int], content_types: Collection[str]) -> None:
    if response.status not in statuses:
        text = f"it answered with status {response.status}"
        raise FetchFailed(FetchProblem.STATUS, text, response.status, _retry_after(response))
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise FetchFailed(FetchProblem.COMPRESSED, "its answer is compressed, which was not asked for")
    kind = response.content_type
    if content_types and not any(kind == one or (one[0] == "+" and kind.endswith(one)) for one in content_types):
        raise FetchFailed(FetchProblem.CONTENT_TYPE, "its answer has another content type than was asked for")


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdecimal() and len(said) < 10:
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
