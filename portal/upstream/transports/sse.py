"""HTTP with SSE, the transport of 2024-11-05: one event stream in, a POST for every message out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

import aiohttp

from portal.config import HttpServer
from portal.errors import ResponseInvalid, ResponseTooLarge, RpcError, SessionExpired, UpstreamError
from portal.upstream.credential import Confidential, Credential
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.event_stream import Event
from portal.upstream.transports.http_client import (
    HttpClient,
    address,
    body,
    events,
    media_type,
    origin,
    refusal_messages,
    resolve_url,
)
from portal.upstream.transports.wire import invalid_response, refusal_in, snippet

_HEAD = {"accept": "text/event-stream", "cache-control": "no-store"}


class SsePipe:
    """Implements `Pipe` with an event stream and POSTs to its endpoint."""

    acknowledges = True

    def __init__(
        self,
        client: HttpClient,
        response: aiohttp.ClientResponse,
        stream: AsyncIterator[Event],
        endpoint: str,
        secrets: Sequence[str],
        max_bytes: int,
    ) -> None:
        self._client = client
        self._response = response
        self._events = stream
        self._endpoint = endpoint
        self._secrets = secrets
        self._max_bytes = max_bytes
        # Whether the server knew the session once.
        self._accepted = False
        self._end_reason = "the server closed the event stream"

    @classmethod
    async def open(cls, config: HttpServer, max_bytes: int, credential: Credential | None = None) -> SsePipe:
        """An open stream, after it has named its endpoint.

        Raises:
            UpstreamError: the server has no such stream, or it names no endpoint.
        """
        client = HttpClient(config, credential)
        response = None
        try:
            response = await client.send("GET", _HEAD)
            if response.status in (401, 403):
                raise await client.authorization_required(response)
            if response.status >= 400 or media_type(response) != "text/event-stream":
                what = f"answered HTTP {response.status} with {media_type(response) or 'no content type'}"
                raise ResponseInvalid(f"{what} where an event stream was expected", status=response.status)
            stream = events(response, max_event_bytes=max_bytes, max_bytes=None)
            secrets = Confidential(config.secrets, credential)
            return cls(client, response, stream, await _endpoint(client.url, stream), secrets, max_bytes)
        except BaseException:
            # Cancellation too: nothing else would close these.
            if response is not None:
                response.release()
            await client.aclose()
            raise

    async def receive(self) -> bytes | TooLarge | None:
        try:
            async for event in self._events:
                if event.name == "message" and event.data:
                    self._accepted = True
                    return event.data
                if event.name == "endpoint":
                    self._endpoint = _endpoint_in(event, self._client.url)
        except ResponseTooLarge as error:
            self._end_reason = error.message
        except UpstreamError:
            self._end_reason = "the event stream was lost"
        return None

    async def send(self, data: bytes) -> bytes:
        response = await self._client.send("POST", {"content-type": "application/json"}, data, url=self._endpoint)
        try:
            if response.status in (401, 403):
                raise await self._client.authorization_required(response)
            if response.status >= 400:
                await self._refuse(response)
            self._accepted = True
            return await body(response, self._max_bytes) if media_type(response) == "application/json" else b""
        finally:
            response.release()

    async def _refuse(self, response: aiohttp.ClientResponse) -> NoReturn:
        data, messages = await refusal_messages(response)
        error = refusal_in(messages)
        if isinstance(error, RpcError):
            error.status = response.status
            raise error
        if response.status == 404 and self._accepted:
            raise SessionExpired("the server no longer knows the session")
        what = f"answered HTTP {response.status} to a message"
        raise invalid_response(what, data, self._secrets, status=response.status)

    def pass_over(self, data: bytes) -> None:
        """Keep-alives, most of the time: nothing that would say why a stream ended."""

    def end_reason(self) -> str:
        return self._end_reason

    async def aclose(self) -> None:
        self._response.release()
        await self._client.aclose()


async def _endpoint(base: str, stream: AsyncIterator[Event]) -> str:
    # Others may come before it: a `retry`, or what keeps the stream alive.
    async for event in stream:
        if event.name == "endpoint":
            return _endpoint_in(event, base)
    raise ResponseInvalid("the event stream names no endpoint")


def _endpoint_in(event: Event, base: str) -> str:
    endpoint = resolve_url(base, event.data.decode("utf-8", "replace").strip())
    if endpoint is None or origin(endpoint) != origin(base):
        named = f": {snippet(address(endpoint))}" if endpoint is not None else ""
        raise ResponseInvalid(f"the event stream names an endpoint that is not on its own origin{named}")
    return endpoint
