"""An HTTP API as a server: each call of a tool is one request, which its OpenAPI document describes.

There is no process and no session: connecting is reading the document. What the API answers is the tool's result, also
when it says that the request failed; an error of the call is only what no program can mend.
"""

from __future__ import annotations

import asyncio
import secrets as random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import aiohttp
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND
from yarl import URL

from portal.config import OpenApiServer
from portal.errors import AuthorizationRequired, OutcomeUnknown, RpcError, UpstreamError
from portal.openapi import Api, ApiOperation
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.credential import Confidential, Credential
from portal.upstream.transports.api_answer import MAX_ERROR_BYTES, ApiAnswer, refused_arguments, result_of
from portal.upstream.transports.api_request import ArgumentRefused, OperationRequest, request_of
from portal.upstream.transports.api_security import SchemeValues, advice, scheme_values
from portal.upstream.transports.http_client import HttpClient, body, chunks
from portal.upstream.transports.link import Inbound
from portal.upstream.transports.protocol import MAX_INSTRUCTIONS, Agreement
from portal.upstream.transports.wire import first_words, snippet

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST_CHANGED = "notifications/tools/list_changed"
# How often it is looked whether a file is another one. A watcher holds a thread for each.
IDEMPOTENCY_HEADER = "idempotency-key"
"""Each time that a call is made again it has the same: an API that knows it does nothing twice."""
_LOOK_SECONDS = 1.0
_WORDS = 80


class ApiSource(Protocol):
    """What the link needs of a document. `ApiDocument` is one."""

    async def read(self) -> ApiOffer: ...

    async def known(self) -> ApiOffer: ...

    def changed(self) -> bool: ...


class ApiOffer(Protocol):
    """What the link needs of an API as it is served. `ServedApi` is one."""

    @property
    def api(self) -> Api: ...

    @property
    def operations(self) -> Mapping[str, ApiOperation]: ...

    @property
    def addresses(self) -> Mapping[str, str]: ...

    @property
    def paged(self) -> frozenset[str]: ...

    @property
    def tools(self) -> Sequence[Mapping[str, object]]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    def mismatches(self, name: str, arguments: Mapping[str, object]) -> list[str]: ...


class OpenApiLink:
    """Implements `Link` over an API."""

    def __init__(
        self,
        config: OpenApiServer,
        document: ApiSource,
        served: ApiOffer,
        inbound: Inbound,
        credential: Credential | None,
    ) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._config = config
        self._document = document
        self._served = served
        self._inbound = inbound
        self._credential = credential
        self._secrets = Confidential(config.secrets, credential)
        self._client = HttpClient(
            config,
            credential,
            url=config.url or next(iter(served.addresses.values()), config.document_url),
            of_api=True,
        )
        self._fixed = tuple(name.lower() for name in config.headers)
        self._in_flight = 0
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, config: OpenApiServer, document: ApiSource, inbound: Inbound, credential: Credential | None
    ) -> tuple[OpenApiLink, Agreement]:
        """A link, once its document is known.

        Raises:
            UpstreamError: there is no document that can be used.
        """
        served = await document.known()
        return cls(config, document, served, inbound, credential), agreement_of(served.api)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def notes(self) -> Sequence[str]:
        """What is left out of the document, and what an administrator should know."""
        return self._served.notes

    def agree(self, agreement: Agreement) -> None:
        """Nothing: an API speaks no version of the protocol."""

    async def notify(self, method: str, params: Mapping[str, object]) -> None:
        """Nothing: nobody is there who could be told."""

    def end(self, reason: str) -> None:
        if not self.closed.is_set():
            self.reason = reason
            self.closed.set()

    async def aclose(self) -> None:
        self.end("closed")
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._client.aclose()

    async def request(
        self,
        method: str,
        params: Mapping[str, object],
        context: CallContext = NO_CONTEXT,
        *,
        version: str | None = None,
        credentials: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, object]:
        if self.closed.is_set():
            raise OutcomeUnknown(self.reason)
        if method == "tools/list":
            return await self._list()
        if method == "tools/call":
            self._in_flight += 1
            try:
                return await self._call(params, context, credentials or {}, max_bytes)
            finally:
                self._in_flight -= 1
        if method == "ping":
            return {}
        raise RpcError(METHOD_NOT_FOUND, f"an API has no {method[:80]}")

    # Lists

    async def _list(self) -> dict[str, object]:
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        self._served = await self._document.read()
        return {"tools": list(self._served.tools)}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(self._document.changed):
                self._inbound.notification(LIST_CHANGED, {})

    # Calls

    async def _call(
        self, params: Mapping[str, object], context: CallContext, credentials: Mapping[str, str], max_bytes: int | None
    ) -> dict[str, object]:
        served = self._served = await self._document.known()
        name, given = str(params.get("name")), params.get("arguments")
        given = given if isinstance(given, Mapping) else {}
        operation = served.operations.get(name)
        if operation is None:
            raise RpcError(INVALID_PARAMS, f"its document has no operation `{name[:80]}` any more")
        if wrong := served.mismatches(name, given):
            return refused_arguments(f"The arguments are not what it takes: {'; '.join(wrong)}.")
        shown = scheme_values(operation, served.api, self._config)
        if shown.by_login and self._credential is None:
            raise AuthorizationRequired("wants a login, and there is none to show")
        fixed = (*self._fixed, *shown.headers, *(name.lower() for name in credentials))
        if context.facts.repeat_key:
            # A program that chose it could have another call taken for this one.
            fixed = (*fixed, IDEMPOTENCY_HEADER)
        try:
            request = request_of(operation, given, boundary=random.token_hex(24), fixed=fixed)
        except ArgumentRefused as refused:
            return refused_arguments(str(refused))
        limit = max_bytes or self._config.max_result_bytes
        answer = await self._exchange(request, served.addresses[name], shown, credentials, context, limit)
        paged = name in served.paged
        return await result_of(answer, operation, self._config.id, limit, self._secrets, paged=paged)

    async def _exchange(
        self,
        request: OperationRequest,
        base: str,
        shown: SchemeValues,
        credentials: Mapping[str, str],
        context: CallContext,
        limit: int,
    ) -> ApiAnswer:
        """
        Raises:
            UpstreamError: there is no answer, or it wants another credential than is shown.
        """
        url = address_of(base, request.path, (*request.query, *shown.query))
        # What the operator has written wins, but for what says how the body is to be read.
        own = {name: value for name, value in request.headers.items() if name not in self._fixed}
        own |= {name: value for name, value in request.headers.items() if name == "content-type"}
        headers = {**own, **credentials, **shown.headers}
        written = self._config.headers
        cookies = [value for name, value in written.items() if name.lower() == "cookie"]
        if request.cookies or shown.cookies:
            headers["cookie"] = "; ".join((*cookies, *request.cookies, *shown.cookies))
        if context.facts.repeat_key and IDEMPOTENCY_HEADER not in self._fixed:
            headers[IDEMPOTENCY_HEADER] = context.facts.repeat_key
        if context.facts.trace is not None:
            headers |= context.facts.trace.members()
        context.traffic.sent += len(url) + len(request.body or b"")
        response = await self._client.send(request.method, headers, request.body, url=url, anonymous=not shown.by_login)
        try:
            if response.status == 401:
                raise await self._refused(response, shown)
            answer = await _answer(response, limit)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()
        context.traffic.received += len(answer.body)
        return answer

    async def _refused(self, response: aiohttp.ClientResponse, shown: SchemeValues) -> AuthorizationRequired:
        what = "asks for authorization (HTTP 401)"
        if shown.by_login and self._credential is not None and self._credential.advice:
            what += f"; {self._credential.advice}"
        elif shown.missing:
            what += f"; {advice(shown.missing, self._served.api)}"
        elif shown.headers or shown.query or shown.cookies or self._config.headers or self._config.oauth:
            what += "; the credentials in its configuration are not those it wants, or have expired"
        else:
            what += "; its document does not say so: put its token into its `headers`"
        try:
            said = snippet((await _answer(response, MAX_ERROR_BYTES)).body, self._secrets)
        except UpstreamError:
            said = ""
        if said and not said.startswith("<"):
            what += f"; it says: {first_words(said, _WORDS)}"
        challenge = ", ".join(response.headers.getall("www-authenticate", ()))[:4096] or None
        return AuthorizationRequired(what, status=401, challenge=challenge)


async def _answer(response: aiohttp.ClientResponse, limit: int) -> ApiAnswer:
    """
    Raises:
        UpstreamError: the body is too large, or damaged, or the connection was lost.
    """
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    status, reason = response.status, response.reason or ""
    if status < 300:
        return ApiAnswer(status, reason, headers, await body(response, limit))
    pieces, size = [], 0
    async for piece in chunks(response, None):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ERROR_BYTES:
            break
    data = b"".join(pieces)
    return ApiAnswer(status, reason, headers, data[:MAX_ERROR_BYTES], cut=size > MAX_ERROR_BYTES)


def address_of(base: str, path: str, query: Sequence[str]) -> str:
    """The address of a request: the path below that of the base address, whose own query stays."""
    # As it is sent: a name of another script, and letters that an address does not have.
    parts = urlsplit(str(URL(base)))
    pairs = "&".join(filter(None, (parts.query, *query)))
    return parts._replace(path=parts.path.rstrip("/") + path, query=pairs, fragment="").geturl()


def agreement_of(api: Api) -> Agreement:
    """What an API is in the words of the protocol: tools alone, whose list may change."""
    info: dict[str, object] = {"name": api.title or "API", "version": api.version}
    if api.title:
        info["title"] = api.title
    return Agreement(
        version=f"openapi-{api.openapi}",
        capabilities={"tools": {"listChanged": True}},
        server_info=info,
        instructions=api.description[:MAX_INSTRUCTIONS] or None,
    )
