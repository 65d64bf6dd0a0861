"""The portal's requests to what the metadata of a server names: discovery documents and token endpoints.

An administrator named the server, and the server names the rest: its metadata must not lead the portal to a place that
the administrator would not let it reach.
"""

from __future__ import annotations

from types import TracebackType
from urllib.parse import urlsplit

import orjson
from aiohttp.abc import AbstractResolver

from portal.config import UpstreamOAuth
from portal.credentials.errors import Misconfigured, NoAnswer
from portal.egress import AddressRule, Answer, Fetcher, FetchFailed, FetchProblem, Wish, Wisher, is_loopback_host

MAX_BYTES = 64 * 1024
METADATA_SECONDS = 5.0
# A token request has an effect: giving it up early may lose a token that the server has issued.
TOKEN_SECONDS = 15.0
_EVERY_STATUS = range(200, 600)


class Outbound:
    """Sends the requests for one server, at `server_url`.

    A URL must be https at a public address. The host of the server itself may be wherever it is, and a server on this
    machine may name others on it, by http too. `allow_private` lets all others be at private addresses.
    """

    def __init__(
        self, server_url: str, *, allow_private: bool = False, resolver: AbstractResolver | None = None
    ) -> None:
        self._server = urlsplit(server_url)
        self._private = allow_private
        self._local = _is_local(self._server.hostname or "")
        wishes = {
            AddressRule.PUBLIC_ONLY: Wish(Wisher.SERVER, self._server.netloc),
            AddressRule.NOT_LINK_LOCAL: Wish(Wisher.ADMINISTRATOR, self._server.netloc),
        }
        self._fetchers = {
            (rule, seconds): Fetcher(
                rule, limit=MAX_BYTES, seconds=seconds, wish=wish, resolver=resolver, keep_alive=False
            )
            for rule, wish in wishes.items()
            for seconds in (METADATA_SECONDS, TOKEN_SECONDS)
        }

    @classmethod
    def allowed_by(cls, oauth: UpstreamOAuth | None, url: str) -> Outbound:
        """For the server at `url`, with what its `oauth` lets the portal reach."""
        return cls(url, allow_private=oauth is not None and oauth.allow_private)

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for fetcher in self._fetchers.values():
            await fetcher.aclose()

    async def document(self, url: str) -> object | None:
        """The JSON document at a URL; None where the host has none (any status but 200 below 500, or no JSON).

        Raises:
            Misconfigured: the portal may not go there.
            NoAnswer: the host does not answer.
        """
        headers = {"accept": "application/json"}
        answer = await self._send(url, METADATA_SECONDS, headers=headers)
        if answer.status >= 500:
            raise NoAnswer(f"{origin_of(url)} answered with status {answer.status}")
        return _json(answer.body) if answer.status == 200 else None

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, object | None]:
        """The status and the JSON of the answer to a POST, None for a body that is no JSON. Each POST has a connection
        of its own: of one that was kept open nobody knows whether a request still arrives.

        Raises:
            Misconfigured: the portal may not go there.
            NoAnswer: the host does not answer.
        """
        answer = await self._send(url, TOKEN_SECONDS, method="POST", headers=headers, body=body)
        return answer.status, _json(answer.body)

    async def _send(
        self, url: str, seconds: float, *, headers: dict[str, str], method: str = "GET", body: bytes | None = None
    ) -> Answer:
        rule = self._rule(url)
        fetcher = self._fetchers[rule, seconds]
        try:
            return await fetcher.fetch(url, method=method, headers=headers, body=body, statuses=_EVERY_STATUS)
        except FetchFailed as failure:
            if failure.problem is FetchProblem.ADDRESS and rule is AddressRule.PUBLIC_ONLY:
                fix = "If it is yours, write `allowPrivate: true` into the server's `oauth`."
                raise Misconfigured(
                    f"{origin_of(url)}, which its metadata names, is no public address. {fix}"
                ) from None
            if failure.problem in (FetchProblem.URL, FetchProblem.ADDRESS):
                raise Misconfigured(f"{origin_of(url)} cannot be asked: {failure}.") from None
            sent = failure.problem not in (FetchProblem.UNREACHABLE, FetchProblem.BUSY)
            raise NoAnswer(f"{origin_of(url)} cannot be asked: {failure}", arrived=sent) from failure

    def check(self, url: str) -> None:
        """Raises `Misconfigured` if a person's browser must not be sent to this URL either."""
        self._rule(url)

    def _rule(self, url: str) -> AddressRule:
        """The rule for the addresses of a URL.

        Raises:
            Misconfigured: it is no URL that may carry a credential.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            own = (parts.scheme, host) == (self._server.scheme, self._server.hostname)
        except ValueError:
            raise Misconfigured("its metadata names something that is no URL.") from None
        if parts.username is not None or parts.password is not None:
            raise Misconfigured("its metadata names a URL with a user or a password in it.")
        local = self._local and _is_local(host)
        if parts.scheme != "https" and not (parts.scheme == "http" and (own or local)):
            raise Misconfigured(f"{origin_of(url)}, which its metadata or its `oauth` names, is no https URL.")
        return AddressRule.NOT_LINK_LOCAL if own or local or self._private else AddressRule.PUBLIC_ONLY


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, for messages: nothing secret is in them. "a URL" where it is none."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "a URL"
    host = parts.hostname or ""
    return f"{parts.scheme}://{host[:200]}{port}" if host.isprintable() and host else "a URL"


def _is_local(host: str) -> bool:
    return host == "localhost" or is_loopback_host(host)


def _json(body: bytes) -> object | None:
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value
