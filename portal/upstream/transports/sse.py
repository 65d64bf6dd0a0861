"""HTTP with SSE, the transport of 2024-11-05: one event stream in, a POST for every message out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from portal.config import HttpServer
from portal.errors import ResponseInvalid, ResponseTooLarge, UpstreamError
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.event_stream import Event
from portal.upstream.transports.http_client import (
    HttpClient,
    authorization_required,
    events,
    media_type,
    origin,
    resolve_url,
)

_HEAD = {"accept": "text/event-stream", "cache-control": "no-store"}


class SsePipe:
    """Implements `Pipe` with an event stream and POSTs to its endpoint."""

    def __init__(
        self, client: HttpClient, response: aiohttp.ClientResponse, stream: AsyncIterator[Event], endpoint: str
    ) -> None:
        self._client = client
        self._response = response
        self._events = stream
        self._endpoint = endpoint
        self._end_reason = "the server closed the event stream"

    @classmethod
    async def open(cls, config: HttpServer, max_bytes: int) -> SsePipe:
        """An open stream, after it has named its endpoint.

        Raises:
            UpstreamError: the server has no such stream, or it names no endpoint.
        """
        client = HttpClient(config.request_url, config.headers, connect_timeout=config.connect_timeout)
        response = None
        try:
            response = await client.send("GET", _HEAD)
            if response.status in (401, 403):
                raise authorization_required(response)
            if response.status >= 400 or media_type(response) != "text/event-stream":
                what = f"answered HTTP {response.status} with {media_type(response) or 'no content type'}"
                raise ResponseInvalid(f"{what} where an event stream was expected", status=response.status)
            stream = events(response, max_event_bytes=max_bytes, max_bytes=None)
            return cls(client, response, stream, await _endpoint(client.url, stream))
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
                    return event.data
        except ResponseTooLarge as error:
            self._end_reason = error.message
        except UpstreamError:
            self._end_reason = "the event stream was lost"
        return None

    async def send(self, data: bytes) -> None:
        response = await self._client.send("POST", {"content-type": "application/json"}, data, url=self._endpoint)
        try:
            if response.status in (401, 403):
                raise authorization_required(response)
            if response.status >= 400:
                raise ResponseInvalid(f"answered HTTP {response.status} to a message", status=response.status)
        finally:
            response.release()

    def end_reason(self) -> str:
        return self._end_reason

    async def aclose(self) -> None:
        self._response.release()
        await self._client.aclose()


async def _endpoint(base: str, stream: AsyncIterator[Event]) -> str:
    async for event in stream:
        if event.name == "endpoint":
            endpoint = resolve_url(base, event.data.decode("utf-8", "replace"))
            if endpoint is None or origin(endpoint) != origin(base):
                raise ResponseInvalid("the event stream names an endpoint that is not on its own origin")
            return endpoint
        if event.name == "message":
            break
    raise ResponseInvalid("the event stream names no endpoint")
