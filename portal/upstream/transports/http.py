"""Streamable HTTP in both generations: each request is a POST of its own, answered with JSON or an event stream.

Source: MCP 2025-11-25 "Streamable HTTP" (sessions, GET stream, resumption) and 2026-07-28 (none of these; closing the
answer cancels the request).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from portal.config import HttpServer
from portal.errors import OutcomeUnknown, ResponseInvalid, SessionExpired, UpstreamError
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.transports.event_stream import Event
from portal.upstream.transports.http_client import HttpClient, authorization_required, body, events, finish, media_type
from portal.upstream.transports.link import MAX_QUESTIONS, Inbound, deliver, reply_to
from portal.upstream.transports.protocol import Agreement, Introduction, outgoing_headers, outgoing_params
from portal.upstream.transports.wire import encode, message_in, params_of, result_in, rpc_error, snippet

SESSION_HEADER = "mcp-session-id"
LISTEN = "subscriptions/listen"
_HEAD = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_STREAM_HEAD = {"accept": "text/event-stream", "cache-control": "no-store"}
_NEVER_CANCELLED = ("initialize", "server/discover")
# Bytes of an answer beyond its result: progress and log messages on the same stream.
_CHATTER_BYTES = 16 * 1024 * 1024
_REFUSAL_BYTES = 256 * 1024
_MAX_FRUITLESS_RESUMES = 3
_UNANSWERED_SECONDS = 5.0
_GOODBYE_SECONDS = 2.0
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


@dataclass(slots=True)
class _Call:
    id: int
    method: str
    context: CallContext
    max_bytes: int
    headers: Mapping[str, str]
    session: str | None = None
    questions: int = 0


@dataclass(slots=True)
class _Cursor:
    """The position in an event stream, and the seconds its server asks to wait before the stream is resumed."""

    last_event: str = ""
    pause: float = _PAUSE
    seen: int = 0

    def note(self, event: Event) -> None:
        self.seen += 1
        self.last_event = event.id or self.last_event
        if event.retry is not None:
            self.pause = min(event.retry / 1000, _LONGEST_PAUSE)


class HttpLink:
    """Implements `Link` over HTTP."""

    def __init__(self, config: HttpServer, introduction: Introduction, inbound: Inbound) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._config = config
        self._introduction = introduction
        self._inbound = inbound
        self._client = HttpClient(config.request_url, config.headers, connect_timeout=config.connect_timeout)
        self._version: str | None = None
        self._modern = False
        self._session: str | None = None
        self._last_id = 0
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def agree(self, agreement: Agreement) -> None:
        self._version = agreement.version
        self._modern = agreement.modern

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
        self._last_id += 1
        version = version or self._version
        token = self._last_id if context.on_progress is not None else None
        sent = outgoing_params(params, version, self._introduction, context, token)
        headers = {**_HEAD, **outgoing_headers(method, sent, version, context), **(credentials or {})}
        call = _Call(self._last_id, method, context, max_bytes or self._config.max_result_bytes, headers)
        message = {"jsonrpc": "2.0", "id": call.id, "method": method, **({"params": sent} if sent else {})}
        if method != "initialize":
            call.session = self._session
        self._in_flight += 1
        try:
            return await self._read_answer(await self._post(message, headers, call.session), call)
        except asyncio.CancelledError:
            # In 2026-07-28 closing the answer cancels the request. Older versions need a notification.
            if not self._modern and method not in _NEVER_CANCELLED:
                cancelled = {"requestId": call.id, "reason": "the caller went away"}
                self._spawn(self.notify("notifications/cancelled", cancelled))
            raise
        finally:
            self._in_flight -= 1

    async def notify(self, method: str, params: Mapping[str, object]) -> None:
        await self._post_unanswered(
            {"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})}
        )
        if method == "notifications/initialized" and self._session is not None:
            self._spawn(self._attend_stream())

    def end(self, reason: str) -> None:
        if not self.closed.is_set():
            self.reason = reason
            self.closed.set()

    async def aclose(self) -> None:
        self.end("closed")
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            with suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    (await self._client.send("DELETE", self._session_headers())).release()
        await self._client.aclose()

    # The answer to a request

    async def _read_answer(self, response: aiohttp.ClientResponse, call: _Call) -> dict[str, object]:
        done = False
        try:
            kind = media_type(response)
            if response.status >= 400:
                raise await self._refusal(response, kind, call)
            if call.method == "initialize":
                self._adopt_session(response.headers.get(SESSION_HEADER, ""))
            if kind == "text/event-stream":
                result = await self._read_streamed_answer(response, call)
            elif kind == "application/json":
                result = self._result(await body(response, call.max_bytes), call)
            else:
                data = await body(response, _REFUSAL_BYTES)
                raise self._invalid(f"answered HTTP {response.status} with {kind or 'no content type'}", data)
            done = True
            return result
        finally:
            if done and not response.content.at_eof():
                self._spawn(finish(response))
            else:
                response.release()  # This closes the connection if the answer was not read to its end.

    def _result(self, data: bytes, call: _Call) -> dict[str, object]:
        message = message_in(data)
        if message is None:
            raise self._invalid("the answer is not a JSON-RPC message", data)
        result = result_in(message, call.id)
        if result is None:
            raise self._invalid("the answer is not to this request", data)
        return result

    async def _read_streamed_answer(self, response: aiohttp.ClientResponse, call: _Call) -> dict[str, object]:
        """The result in an event stream. It is resumed if it ends early and the server allows that (Last-Event-ID)."""
        cursor = _Cursor()
        result = await self._read(response, call, cursor)
        fruitless = 0
        while result is None:
            if self._modern or not cursor.last_event or fruitless >= _MAX_FRUITLESS_RESUMES:
                raise OutcomeUnknown("the answer ended before it was complete")
            response.release()
            if call.context.on_pause is not None:
                await call.context.on_pause()
            await asyncio.sleep(cursor.pause)
            seen = cursor.seen
            headers = {**_STREAM_HEAD, **self._session_headers(), "last-event-id": cursor.last_event}
            resumed = await self._client.send("GET", headers)
            try:
                if resumed.status >= 400 or media_type(resumed) != "text/event-stream":
                    raise OutcomeUnknown("the answer was interrupted and cannot be resumed")
                result = await self._read(resumed, call, cursor)
            finally:
                resumed.release()
            fruitless = fruitless + 1 if cursor.seen == seen else 0
        return result

    async def _read(self, response: aiohttp.ClientResponse, call: _Call, cursor: _Cursor) -> dict[str, object] | None:
        """The result in one stream, or None if the stream ended before it and can be resumed."""
        limit = None if call.method == LISTEN else call.max_bytes + _CHATTER_BYTES
        try:
            async for event in events(response, max_event_bytes=call.max_bytes, max_bytes=limit):
                cursor.note(event)
                if event.data and (result := await self._handle_message(event.data, call)) is not None:
                    return result
        except OutcomeUnknown:
            if not cursor.last_event:
                raise
        return None

    async def _handle_message(self, data: bytes, call: _Call) -> dict[str, object] | None:
        """The result if this message is the answer, else None: notifications are delivered, questions answered."""
        message = message_in(data)
        if message is None:
            raise self._invalid("the answer contains what is not a JSON-RPC message", data)
        method = message.get("method")
        if not isinstance(method, str):
            if (result := result_in(message, call.id)) is None:
                raise self._invalid("the answer is not to this request", data)
            return result
        if "id" not in message:
            token = call.id if call.context.on_progress is not None else None
            await deliver(method, params_of(message), call.context, token, self._inbound)
        elif call.questions < MAX_QUESTIONS:
            call.questions += 1
            self._spawn(self._reply(message, call))
        return None

    async def _refusal(self, response: aiohttp.ClientResponse, kind: str, call: _Call) -> UpstreamError:
        """The error for an answer with a status of 400 or more."""
        if response.status in (401, 403):
            return authorization_required(response)
        data = await body(response, _REFUSAL_BYTES)
        message = message_in(data) or {}
        error = rpc_error(message.get("error"))
        if call.session is not None:
            # The specification says 404. Servers that follow the TypeScript SDK's examples answer 400.
            unknown = response.status == 400 and error is not None and "session" in error.message.lower()
            if response.status == 404 or unknown:
                return SessionExpired("the server no longer knows the session")
        if error is not None:
            error.status = response.status
            return error
        return self._invalid(
            f"answered HTTP {response.status} with {kind or 'no content type'}", data, status=response.status
        )

    def _invalid(self, what: str, data: bytes, status: int | None = None) -> ResponseInvalid:
        found = snippet(data, self._config.secrets)
        return ResponseInvalid(f"{what}: {found}" if found else what, status=status)

    # Messages that are not requests

    async def _reply(self, message: Mapping[str, object], call: _Call | None) -> None:
        """Answer a request of the server. `call` is the call it belongs to, if any."""
        try:
            reply = await reply_to(message, call.context if call is not None else None)
        finally:
            if call is not None:
                call.questions -= 1
        await self._post_unanswered(reply)

    async def _post_unanswered(self, message: Mapping[str, object]) -> None:
        """Send a message that has no answer. Failures are ignored, because nothing waits for it."""
        headers = {**_HEAD, **outgoing_headers(str(message.get("method", "")), {}, self._version, NO_CONTEXT)}
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_UNANSWERED_SECONDS):
                (await self._post(message, headers, self._session)).release()

    async def _post(
        self, message: Mapping[str, object], headers: Mapping[str, str], session: str | None
    ) -> aiohttp.ClientResponse:
        if session is not None:
            headers = {**headers, SESSION_HEADER: session}
        return await self._client.send("POST", headers, encode(message))

    async def _attend_stream(self) -> None:
        """Read the GET stream of a legacy session: notifications and questions that belong to no call."""
        cursor, failures = _Cursor(), 0
        limit = self._config.max_result_bytes
        while not self.closed.is_set():
            resumed = {"last-event-id": cursor.last_event} if cursor.last_event else {}
            failures += 1
            with suppress(UpstreamError):
                response = await self._client.send("GET", {**_STREAM_HEAD, **self._session_headers(), **resumed})
                try:
                    if response.status == 404:
                        self.end("the server no longer knows the session")
                    if response.status < 500 and media_type(response) != "text/event-stream":
                        return  # The server has no such stream. Most say so with HTTP 405.
                    async for event in events(response, max_event_bytes=limit, max_bytes=None):
                        failures = 0
                        cursor.note(event)
                        self._handle_unsolicited(event.data)
                finally:
                    response.release()
            await asyncio.sleep(min(cursor.pause * 2**failures, _LONGEST_PAUSE))

    def _handle_unsolicited(self, data: bytes) -> None:
        message = (message_in(data) if data else None) or {}
        method = message.get("method")
        if not isinstance(method, str):
            return
        if "id" in message:
            self._spawn(self._reply(message, None))
        else:
            self._inbound.notification(method, params_of(message))

    def _adopt_session(self, session: str) -> None:
        if re.fullmatch(r"[\x21-\x7e]{1,1024}", session):
            self._session = session

    def _session_headers(self) -> dict[str, str]:
        headers = outgoing_headers("", {}, self._version, NO_CONTEXT)
        return {**headers, SESSION_HEADER: self._session} if self._session else headers

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
