"""Streamable HTTP in both generations: each request is a POST of its own, answered with JSON or an event stream.

Source: MCP 2025-11-25 "Streamable HTTP" (sessions, GET stream, resumption) and 2026-07-28 (none of these; closing the
answer cancels the request).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from mcp_types import METHOD_NOT_FOUND

from portal.config import HttpServer
from portal.errors import OutcomeUnknown, ResponseInvalid, RpcError, SessionExpired, UpstreamError
from portal.exact import encode
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.credential import Confidential, Credential
from portal.upstream.transports.bounds import MAX_ASKED, MAX_TOLD, Flood, PerSecond, Turn, aside
from portal.upstream.transports.event_stream import Event
from portal.upstream.transports.http_client import (
    HttpClient,
    chunks,
    events,
    events_in,
    finish,
    media_type,
    opened,
    refusal_messages,
    words_of,
)
from portal.upstream.transports.link import MAX_NOTICES, MAX_QUESTIONS, Inbound, deliver, reply_to
from portal.upstream.transports.protocol import Agreement, Introduction, outgoing_headers, outgoing_params
from portal.upstream.transports.wire import (
    SNIPPET,
    first_words,
    id_of_damaged_answer,
    invalid_response,
    is_outcome,
    kind_of,
    messages_among,
    params_of,
    read_messages,
    refusal_in,
    result_in,
    same_id,
)

SESSION_HEADER = "mcp-session-id"
LISTEN = "subscriptions/listen"
_HEAD = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_STREAM_HEAD = {"accept": "text/event-stream", "cache-control": "no-store"}
_NEVER_CANCELLED = ("initialize", "server/discover")
_ONLY_READ = frozenset(
    {*_NEVER_CANCELLED, "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}
)
# Bytes of an answer beyond its result: progress and log messages on the same stream.
_CHATTER_BYTES = 16 * 1024 * 1024
_STRAY_BYTES = 1024
_MAX_FRUITLESS_RESUMES = 3
_UNANSWERED_SECONDS = 5.0
_GOODBYE_SECONDS = 2.0
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_NOT_INITIALIZED = re.compile(
    r"\bserver (?:is |has )?not (?:yet )?(?:been )?initiali[sz]ed|before initiali[sz]ation", re.IGNORECASE
)
_OF_SESSION = re.compile(rf"session|{_NOT_INITIALIZED.pattern}", re.IGNORECASE)
# Codes with which SDKs refuse a session.
_CODES_OF_SESSION = (-32000, -32001, -32600)
# Answers to the GET of a session's stream after which it is worth another try.
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class OlderTransport(ResponseInvalid):
    """The server answers a POST with the event stream of HTTP with SSE."""


@dataclass(slots=True)
class _Call:
    """A request. `stray` is the last event of its stream that is neither a message nor an answer to this request."""

    id: int
    method: str
    context: CallContext
    max_bytes: int
    headers: Mapping[str, str]
    session: str | None = None
    own_credentials: bool = False
    questions: int = 0
    stray: bytes = b""
    told: PerSecond = field(default_factory=lambda: PerSecond(MAX_TOLD))
    flood: Flood = field(default_factory=Flood)


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

    def __init__(
        self, config: HttpServer, introduction: Introduction, inbound: Inbound, credential: Credential | None = None
    ) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._config = config
        self._secrets = Confidential(config.secrets, credential)
        self._introduction = introduction
        self._inbound = inbound
        self._client = HttpClient(config, credential)
        self._version: str | None = None
        self._modern = False
        self._session: str | None = None
        self._last_id = 0
        self._in_flight = 0
        self._notices = 0
        # Questions that belong to no call and wait for their answer.
        self._questions = 0
        self._asked = PerSecond(MAX_ASKED)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

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
        call.own_credentials = bool(credentials)
        message = {"jsonrpc": "2.0", "id": call.id, "method": method, **({"params": sent} if sent else {})}
        if method != "initialize":
            call.session = self._session
        self._in_flight += 1
        try:
            return await self._read_answer(await self._post_request(message, call), call)
        except RpcError as error:
            if call.session is not None and _NOT_INITIALIZED.search(error.message):
                raise _expired(error.message) from None
            raise
        except asyncio.CancelledError:
            # In 2026-07-28 closing the answer cancels the request. Older versions need a notification.
            if not self._modern and method not in _NEVER_CANCELLED and self._notices < MAX_NOTICES:
                self._notices += 1
                self._spawn(self._tell_cancelled(call.id))
            raise
        finally:
            self._in_flight -= 1

    async def _tell_cancelled(self, id: int) -> None:
        try:
            await self.notify("notifications/cancelled", {"requestId": id, "reason": "the caller went away"})
        finally:
            self._notices -= 1

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
            if response.status >= 400:
                return await self._read_refusal(response, call)
            self._adopt_session(response, call)
            limit = None if call.method == LISTEN else call.max_bytes + _CHATTER_BYTES
            answer = await opened(response, call.max_bytes, limit)
            if answer.streamed:
                result = await self._read_streamed_answer(response, answer.pieces(), call)
            else:
                result = await self._read_whole_answer(response, await answer.whole(call.max_bytes), call)
            done = True
            return result
        finally:
            if done and not response.content.at_eof():
                self._spawn(finish(response))
            else:
                response.release()  # This closes the connection if the answer was not read to its end.

    async def _read_whole_answer(self, response: aiohttp.ClientResponse, data: bytes, call: _Call) -> dict[str, object]:
        """The result in a body that is one message, or a batch of them (2025-03-26)."""
        result, turn = None, Turn()
        for message in (messages := await _messages_for(call, data)):
            if len(messages) > 1:
                await turn.over()
            found = await self._handle_message(message, call)
            result = found if found is not None else result
        if result is not None:
            return result
        if not data:
            raise self._invalid(f"answered HTTP {response.status} with nothing", data)
        if (kind := media_type(response)) not in ("application/json", "text/event-stream"):
            raise self._invalid(f"answered HTTP {response.status} with {kind or 'no content type'}", data)
        raise self._invalid(
            "the answer is not to this request" if messages else "the answer is not a JSON-RPC message", data
        )

    async def _read_streamed_answer(
        self, response: aiohttp.ClientResponse, pieces: AsyncIterator[bytes], call: _Call
    ) -> dict[str, object]:
        """The result in an event stream. It is resumed if it ends early and the server allows that (Last-Event-ID)."""
        cursor = _Cursor()
        result = await self._read(pieces, call, cursor)
        fruitless = 0
        while result is None:
            if self._modern or not cursor.last_event or fruitless >= _MAX_FRUITLESS_RESUMES:
                if call.stray:
                    raise self._invalid("the answer ended, and has no message for this request", call.stray)
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
                result = await self._read(chunks(resumed, call.max_bytes + _CHATTER_BYTES), call, cursor)
            finally:
                resumed.release()
            fruitless = fruitless + 1 if cursor.seen == seen else 0
        return result

    async def _read(self, pieces: AsyncIterator[bytes], call: _Call, cursor: _Cursor) -> dict[str, object] | None:
        """The result in one stream, or None if the stream ended before it and may be resumed."""
        try:
            async for event in events_in(pieces, call.max_bytes):
                cursor.note(event)
                if (result := await self._handle_event(event, call)) is not None:
                    return result
        except OutcomeUnknown:
            if not cursor.last_event:
                raise
        return None

    async def _handle_event(self, event: Event, call: _Call) -> dict[str, object] | None:
        """The result if this event has the answer, else None.

        Only `message` events are messages. Others keep the connection alive, and so do some without a name: what is no
        message is passed over, unless it is the damaged answer.
        """
        if event.name == "endpoint" and call.method in _NEVER_CANCELLED:
            raise OlderTransport("answered with the event stream of the older transport, HTTP with SSE")
        if not event.data:
            return None
        messages = await _messages_for(call, event.data)
        if event.name != "message":
            if any(same_id(message.get("id"), call.id) for message in messages):
                call.stray = f"event: {event.name[:40]}, data: ".encode() + event.data[:_STRAY_BYTES]
            return None
        if not messages:
            if id_of_damaged_answer(event.data) == call.id:
                raise self._invalid("the answer is not JSON", event.data)
            call.stray = event.data[:_STRAY_BYTES]
        if len(messages) > 1:
            call.flood.count(len(messages))
        result, turn = None, Turn()
        for message in messages:
            kind = kind_of(message)
            if kind is None:
                continue
            if len(messages) > 1:
                await turn.over()
            found = await self._handle_message(message, call)
            if found is None and kind == "answer":
                call.stray = event.data[:_STRAY_BYTES]
            result = found if found is not None else result
        return result

    async def _handle_message(self, message: Mapping[str, object], call: _Call) -> dict[str, object] | None:
        """The result if this message is the answer, else None: notifications are delivered, questions answered."""
        kind = kind_of(message)
        if kind == "notification":
            token = call.id if call.context.on_progress is not None else None
            await deliver(str(message["method"]), params_of(message), call.context, token, self._inbound, call.told)
        elif kind == "request":
            if call.questions < MAX_QUESTIONS and not self._asked.exceeded():
                call.questions += 1
                self._spawn(self._reply(message, call))
        else:
            return result_in(message, call.id, self._secrets)
        return None

    async def _read_refusal(self, response: aiohttp.ClientResponse, call: _Call) -> dict[str, object]:
        """The result in an answer with a status of 400 or more: of a tool that failed, which its server says twice.

        Raises:
            UpstreamError: it has none.
        """
        if response.status in (401, 403):
            raise await self._client.authorization_required(response, own_credentials=call.own_credentials)
        data, messages = await refusal_messages(response)
        found = refusal_in(messages, call.id)
        if isinstance(found, dict):
            return found
        words = words_of(data, found, self._secrets)
        is_own = any(same_id(message.get("id"), call.id) for message in messages)
        if call.session is not None and _session_is_over(response.status, words, found, is_own):
            raise _expired(words)
        if found is not None:
            found.status = response.status
            raise found
        kind = media_type(response) or "no content type"
        raise self._invalid(f"answered HTTP {response.status} with {kind}", data, status=response.status)

    def _invalid(self, what: str, data: bytes, status: int | None = None) -> ResponseInvalid:
        return invalid_response(what, data, self._secrets, status=status)

    # Messages that are not requests

    async def _reply(self, message: Mapping[str, object], call: _Call | None) -> None:
        """Answer a request of the server. `call` is the call it belongs to, if any."""
        try:
            reply = await reply_to(message, call.context if call is not None else None)
        finally:
            if call is not None:
                call.questions -= 1
            else:
                self._questions -= 1
        await self._post_unanswered(reply)

    async def _post_unanswered(self, message: Mapping[str, object]) -> None:
        """Send a message that has no answer. Failures are ignored, because nothing waits for it."""
        headers = {**_HEAD, **outgoing_headers(str(message.get("method", "")), {}, self._version, NO_CONTEXT)}
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_UNANSWERED_SECONDS):
                (await self._post(encode(message), headers, self._session)).release()

    async def _post_request(self, message: Mapping[str, object], call: _Call) -> aiohttp.ClientResponse:
        """The answer to a request. One that only reads is sent once more if the connection closes under it.

        Some servers close after every answer, and do not say so.
        """
        data = encode(message)
        call.context.traffic.sent += len(data)
        try:
            return await self._post(data, call.headers, call.session)
        except OutcomeUnknown:
            if call.method not in _ONLY_READ:
                raise
        return await self._post(data, call.headers, call.session)

    async def _post(self, data: bytes, headers: Mapping[str, str], session: str | None) -> aiohttp.ClientResponse:
        if session is not None:
            headers = {**headers, SESSION_HEADER: session}
        return await self._client.send("POST", headers, data)

    async def _attend_stream(self) -> None:
        """Read the GET stream of a legacy session: notifications and questions that belong to no call."""
        cursor, failures, had_stream, flood = _Cursor(), 0, False, Flood()
        limit = self._config.max_result_bytes
        while not self.closed.is_set():
            resumed = {"last-event-id": cursor.last_event} if cursor.last_event else {}
            failures += 1
            with suppress(UpstreamError):
                response = await self._client.send("GET", {**_STREAM_HEAD, **self._session_headers(), **resumed})
                try:
                    if response.status not in _TRY_AGAIN and not _has_events(response):
                        if response.status == 404 and had_stream:
                            self.end("the server no longer knows the session")
                        # Otherwise it never had such a stream. Most servers say so with 405, as the specification has
                        # it, and others with whatever their framework answers.
                        return
                    if _has_events(response):
                        had_stream = True
                        async for event in events(response, max_event_bytes=limit, max_bytes=None):
                            failures = 0
                            cursor.note(event)
                            await self._handle_unsolicited(event, flood)
                finally:
                    response.release()
            await asyncio.sleep(min(cursor.pause * 2 ** min(failures, 16), _LONGEST_PAUSE))

    async def _handle_unsolicited(self, event: Event, flood: Flood) -> None:
        """Handle an event of the GET stream. As in an answer, only `message` events are messages.

        Raises:
            ResponseTooLarge: there are too many messages in it, or in this second.
        """
        if event.name != "message" or not event.data:
            return
        messages = await read_messages(event.data, self._config.max_result_bytes)
        if len(messages) > 1:
            flood.count(len(messages))
        for message in messages:
            kind = kind_of(message)
            if kind == "request":
                if self._questions < MAX_QUESTIONS and not self._asked.exceeded():
                    self._questions += 1
                    self._spawn(self._reply(message, None))
            elif kind == "notification":
                self._inbound.notification(str(message["method"]), params_of(message))

    def _adopt_session(self, response: aiohttp.ClientResponse, call: _Call) -> None:
        """Use the session that `initialize` began, or the one that a later answer puts in its place.

        The session that an answer to somebody's own credentials names may be theirs alone.
        """
        session = response.headers.get(SESSION_HEADER, "")
        if not session and call.method != "initialize":
            return
        usable = re.fullmatch(r"[\x21-\x7e]{1,1024}", session) is not None
        if call.method == "initialize":
            self._session = session if usable else None
        elif usable and call.session not in (None, session) and not call.own_credentials:
            self._session = session

    def _session_headers(self) -> dict[str, str]:
        headers = outgoing_headers("", {}, self._version, NO_CONTEXT)
        return {**headers, SESSION_HEADER: self._session} if self._session else headers

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _messages_for(call: _Call, data: bytes) -> list[dict[str, object]]:
    """The messages in the answer to a call. Raises as `messages_in`.

    If it is no message as a whole, messages in a row all count, and of what is behind words (a warning of PHP) the
    result or error of this call.
    """

    def among() -> list[dict[str, object]]:
        return [
            message
            for message, alone in messages_among(data)
            if alone or (is_outcome(message) and same_id(message.get("id"), call.id))
        ]

    call.context.traffic.received += len(data)
    return await read_messages(data, call.max_bytes) or await aside(among, len(data))


def _expired(words: str) -> SessionExpired:
    said = f": {first_words(words, SNIPPET)}" if words else ""
    return SessionExpired(f"the server no longer knows the session{said}")


def _session_is_over(status: int, words: str, error: RpcError | None, is_own: bool) -> bool:
    """Whether a refusal says that the server does not know the session. `is_own`: the error has the request's id.

    The specification says 404. Servers that follow the TypeScript SDK's examples answer 400, and one that was started
    again answers that it was not initialized.
    """
    if status not in (400, 404, 410):
        return False
    if _OF_SESSION.search(words):
        return True
    # Some map the codes of JSON-RPC to statuses: such a 404 is about the method, or about what the request asks for.
    about_request = error is not None and (
        error.code == METHOD_NOT_FOUND or (is_own and error.code not in _CODES_OF_SESSION)
    )
    return status != 400 and not about_request


def _has_events(response: aiohttp.ClientResponse) -> bool:
    return response.status < 400 and media_type(response) == "text/event-stream"
