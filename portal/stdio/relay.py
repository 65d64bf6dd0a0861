"""Passes messages between a client on standard input and output and a portal behind streamable HTTP.

The client's messages go on as they are, one request of HTTP each, and whatever the portal writes into the answers and
streams comes back as a line. What only HTTP has is done here: the session's id, the headers that repeat the body, the
stream of notifications, coming back for an answer whose connection broke, and beginning a session again that the portal
has lost. Source: MCP 2025-11-25 and 2026-07-28, "Transports".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND

from portal.errors import OutcomeUnknown, ResponseInvalid, ResponseTooLarge, UpstreamError
from portal.exact import encode
from portal.stdio.exchange import Exchange, ExchangeAnswer
from portal.stdio.messages import (
    ClientMessage,
    Id,
    MessageBatch,
    MessageUnreadable,
    as_line,
    error_of,
    is_strict,
    read_line,
    too_long,
)
from portal.stdio.mirrors import Mirrors
from portal.stdio.session import INITIALIZED, LIST, PortalSession, SessionSettings
from portal.upstream import SESSION_HEADER, Body, Event, EventParser, TooLarge, kind_of, read_messages

MAX_UNDER_WAY = 1000
"""Requests of the client that may be under way."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one message of the portal."""
GRACE_SECONDS, PREPARED_SECONDS = 1.0, 60.0
"""How long requests may take that are under way when the client closes its output: it has left, or it had written down
all of its messages before there was an answer (`codemode stdio < messages`)."""
_TOLD_SECONDS = 30.0
_GOODBYE_SECONDS = 1.0
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_MAX_FRUITLESS = 5
_POST = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_STREAM = {"accept": "text/event-stream", "cache-control": "no-store"}
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class _UnderWay:
    """A request of the client. `write` takes its answer; `cancelled`: the client wants none any more."""

    message: ClientMessage
    write: Write
    task: asyncio.Task[None] | None = None
    cancelled: bool = False


@dataclass(slots=True)
class _Place:
    """The place in a stream, and the seconds that the portal asks to wait before it is resumed."""

    last: str = ""
    pause: float = _PAUSE
    seen: int = 0

    def note(self, event: Event) -> None:
        self.seen += 1
        self.last = event.id or self.last
        if event.retry is not None:
            self.pause = min(event.retry / 1000, _LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class _Found:
    """The answer to a request, its bytes, and the session that came with it."""

    message: Mapping[str, object]
    raw: bytes
    session: str


class _SessionLost(Exception):
    """The portal does not know the session any more. The request did not run."""


class Relay:
    """`write` takes a line for the client, `tell` a sentence for the person who started it."""

    def __init__(self, exchange: Exchange, write: Write, tell: Callable[[str], object]) -> None:
        self._exchange = exchange
        self._write = write
        self._tell = tell
        self._session: PortalSession | None = None
        # The request with which the client began its session.
        self._opening: ClientMessage | None = None
        self._kept = SessionSettings()
        self._mirrors = Mirrors()
        self._under_way: dict[Id, _UnderWay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None
        self._renewing = asyncio.Lock()
        self._answered = False

    async def run(self, lines: AsyncIterator[bytes | TooLarge]) -> None:
        """Pass on every line, until there are no more. Requests that are under way then have a little time."""
        waiting: asyncio.Queue[bytes | TooLarge] = asyncio.Queue(64)
        working = asyncio.create_task(self._work(waiting))
        try:
            # Read while a line is worked on, so that the end of the input is seen at once.
            async for line in lines:
                await waiting.put(line)
            async with asyncio.timeout(GRACE_SECONDS if self._answered else PREPARED_SECONDS):
                await waiting.join()
                while tasks := [one.task for one in self._under_way.values() if one.task is not None]:
                    await asyncio.wait(tasks)
        except TimeoutError:
            if number := len(self._under_way) + waiting.qsize():
                self._tell(f"the client closed its output while {number} of its messages were under way")
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def aclose(self) -> None:
        """End what is under way, and the session."""
        tasks = [*self._tasks, *filter(None, [self._listener])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None and self._session.id:
            await self._end(self._session)

    async def _work(self, waiting: asyncio.Queue[bytes | TooLarge]) -> None:
        while True:
            line = await waiting.get()
            try:
                await self._take(line)
            except Exception as error:  # the edge of one line: the next ones are passed on
                self._tell(f"a message of the client could not be passed on: {type(error).__name__}")
            finally:
                waiting.task_done()

    # The client's messages

    async def _take(self, line: bytes | TooLarge) -> None:
        if isinstance(line, TooLarge):
            await self._write(too_long(line.beginning, line.end).answer)
            return
        match read_line(line, self._session.version if self._session is not None else ""):
            case MessageUnreadable(answer):
                await self._write(answer)
            case MessageBatch() as batch:
                await self._take_batch(batch)
            case ClientMessage() as message:
                await self._pass_on(message, self._reply)

    async def _reply(self, line: bytes) -> None:
        if line:
            self._answered = True
            await self._write(line)

    async def _take_batch(self, batch: MessageBatch) -> None:
        """Pass on the parts of an array. The answers of its requests come as one array, when all are there."""
        answers: list[bytes] = []
        missing = sum(isinstance(part, MessageUnreadable) or part.kind == "request" for part in batch.parts)

        async def collect(answer: bytes) -> None:
            answers.append(answer)
            # Of what was cancelled there is none.
            if len(answers) == missing and any(answers):
                await self._reply(b"[" + b",".join(filter(None, answers)) + b"]")

        for part in batch.parts:
            if isinstance(part, MessageUnreadable):
                await collect(part.answer)
            else:
                await self._pass_on(part, collect)

    async def _pass_on(self, message: ClientMessage, write: Write) -> None:
        if message.kind == "request":
            await self._begin(message, write)
            return
        if message.method == "notifications/cancelled" and await self._cancel(message):
            return
        if self._session is None:
            # At 2026-07-28 a client sends nothing but requests, and cancels by closing the answer.
            return
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                # In their order: what comes after it may depend on it.
                await self._post_told(self._session, message.raw)
        except (UpstreamError, TimeoutError) as error:
            self._tell(f"a message of the client could not be passed on: {error or 'it took too long'}")
        if message.method == "notifications/initialized":
            self._listen(self._session)

    async def _post_told(self, session: PortalSession, data: bytes) -> None:
        answer = await self._exchange.send("POST", {**_POST, **session.headers}, data)
        await answer.aclose()

    async def _begin(self, message: ClientMessage, write: Write) -> None:
        assert message.id is not None
        if message.id in self._under_way:
            await write(
                error_of(message.id, INVALID_REQUEST, "A request with this id is under way. This one did not run.")
            )
            return
        if len(self._under_way) >= MAX_UNDER_WAY:
            words = f"{MAX_UNDER_WAY} requests are under way. This one did not run; try again when some have ended."
            await write(error_of(message.id, INVALID_REQUEST, words))
            return
        one = self._under_way[message.id] = _UnderWay(message, write)
        one.task = self._spawn(self._ask(one))
        if message.method == "initialize":
            # What follows is of the session that it begins.
            await asyncio.wait({one.task})

    async def _cancel(self, message: ClientMessage) -> bool:
        """Whether that is all that is to be done about it."""
        id = message.params.get("requestId")
        one = self._under_way.get(id) if isinstance(id, str | int) else None
        if one is None:
            return self._session is None
        one.cancelled = True
        if not one.message.version and one.message.method != "initialize":
            return False
        # Closing the answer is how one cancels over HTTP.
        if one.task is not None:
            one.task.cancel()
        return True

    # A request and its answer

    async def _ask(self, one: _UnderWay) -> None:
        message = one.message
        try:
            await self._ask_anywhere(one)
        except UpstreamError as error:
            await self._answer(one, error_of(message.id, error.code, error.full_message, error.data))
        except asyncio.CancelledError:
            if one.cancelled:
                await one.write(b"")
            raise
        except Exception as error:  # the edge of one request: the others go on
            self._tell(f"{message.method[:64]} failed: {type(error).__name__}")
            await self._answer(one, error_of(message.id, INTERNAL_ERROR, "The request could not be passed on."))
        finally:
            assert message.id is not None
            self._under_way.pop(message.id, None)

    async def _ask_anywhere(self, one: _UnderWay) -> None:
        if one.message.version:
            await self._ask_without_session(one)
        elif one.message.method == "initialize":
            await self._initialize(one)
        else:
            session = self._session
            try:
                found = await self._post(one, session.headers if session is not None else {}, session)
            except _SessionLost:
                assert session is not None
                session = await self._renewed(session)
                try:
                    found = await self._post(one, session.headers, session)
                except _SessionLost:
                    raise ResponseInvalid("The portal does not keep the session. The request did not run.") from None
            if "result" in found.message:
                self._kept.note(one.message)
            await self._answer(one, found.raw)

    async def _ask_without_session(self, one: _UnderWay) -> None:
        message = one.message

        async def post() -> _Found:
            return await self._post(one, {**message.headers(), **self._mirrors.headers(message)}, None)

        found = await post()
        if message.method == "tools/call" and _has_code(found.message, HEADER_MISMATCH):
            # Nothing ran. The client may never have listed the tool.
            await self._list_for(message)
            if self._mirrors.headers(message):
                found = await post()
        if message.method == "tools/list" and b"x-mcp-header" in found.raw:
            self._mirrors.learn(found.message.get("result"))
        await self._answer(one, found.raw)

    async def _list_for(self, message: ClientMessage) -> None:
        meta = message.params.get("_meta")
        assert isinstance(meta, dict), "it says its version there"
        params = {"_meta": {name: value for name, value in meta.items() if name != "progressToken"}}
        raw = encode({"jsonrpc": "2.0", "id": LIST, "method": "tools/list", "params": params})
        listing = ClientMessage("request", raw, LIST, "tools/list", params, message.version)
        found = await self._post(_UnderWay(listing, _nowhere), listing.headers(), None)
        self._mirrors.learn(found.message.get("result"))

    async def _initialize(self, one: _UnderWay) -> None:
        former, self._session = self._session, None
        self._kept = SessionSettings()
        if former is not None:
            self._spawn(self._end(former))
        found = await self._post(one, {}, None)
        result = found.message.get("result")
        if isinstance(result, dict):
            self._opening = one.message
            self._session = PortalSession.of(found.session, result)
        # Only now: the client may write the next message as soon as it has this one.
        await self._answer(one, found.raw)

    async def _post(self, one: _UnderWay, headers: Mapping[str, str], session: PortalSession | None) -> _Found:
        """Send a request, and pass on what comes until its answer, which is for the caller to pass on.

        Raises:
            UpstreamError: it has no answer.
            _SessionLost: the portal does not know the session.
        """
        message = one.message
        answer = await self._exchange.send("POST", {**_POST, **headers}, message.raw)
        try:
            if answer.status >= 400:
                found = await self._refusal(answer, message, session)
            else:
                found = await self._read(answer, one, session)
            return _Found(*found, answer.header(SESSION_HEADER))
        finally:
            await answer.aclose()

    async def _answer(self, one: _UnderWay, data: bytes) -> None:
        # A client that has cancelled does not expect one.
        await one.write(b"" if one.cancelled else as_line(data))

    async def _refusal(
        self, answer: ExchangeAnswer, message: ClientMessage, session: PortalSession | None
    ) -> tuple[Mapping[str, object], bytes]:
        """The JSON-RPC error in an answer with a status of 400 or more."""
        body = await answer.body()
        text = await body.whole(MAX_ANSWER) if not body.streamed else b""
        messages = await read_messages(text, MAX_ANSWER)
        if session is not None and session.id and _is_of_session(answer.status, messages):
            raise _SessionLost
        for found in messages:
            if isinstance(found.get("error"), dict):
                # What refuses a body without reading it has no id for it.
                mended = {**found, "jsonrpc": "2.0", "id": message.id}
                return mended, encode(mended)
        raise ResponseInvalid(f"The portal answered HTTP {answer.status}, without a JSON-RPC error.")

    async def _read(
        self, answer: ExchangeAnswer, one: _UnderWay, session: PortalSession | None
    ) -> tuple[Mapping[str, object], bytes]:
        body = await answer.body()
        if not body.streamed:
            data = await body.whole(MAX_ANSWER)
            found = await self._deliver(data, one)
            if found is None:
                raise ResponseInvalid(f"The portal answered HTTP {answer.status}, without an answer to the request.")
            return found
        place = _Place()
        found = await self._read_stream(body, one, place)
        fruitless = 0
        while found is None:
            if session is None or not place.last or fruitless >= _MAX_FRUITLESS:
                raise OutcomeUnknown("The connection was lost before the answer was complete; the call may have run.")
            await answer.aclose()
            await asyncio.sleep(place.pause)
            seen = place.seen
            with suppress(OutcomeUnknown):
                found = await self._resume(one, session, place)
            fruitless = fruitless + 1 if place.seen == seen else 0
        return found

    async def _resume(
        self, one: _UnderWay, session: PortalSession, place: _Place
    ) -> tuple[Mapping[str, object], bytes] | None:
        """Come back for an answer (Last-Event-ID)."""
        try:
            answer = await self._exchange.send("GET", {**_STREAM, **session.headers, "last-event-id": place.last})
        except UpstreamError:
            return None
        try:
            if answer.status in _TRY_AGAIN:
                return None
            body = await answer.body()
            if answer.status >= 400 or not body.streamed:
                raise ResponseInvalid("The connection was lost, and the answer is not kept; the call may have run.")
            return await self._read_stream(body, one, place)
        finally:
            await answer.aclose()

    async def _read_stream(
        self, body: Body, one: _UnderWay | None, place: _Place
    ) -> tuple[Mapping[str, object], bytes] | None:
        """Pass on what is in a stream. The answer to the request, None if the stream ends without it."""
        parser = EventParser(MAX_ANSWER)
        try:
            async for piece in body.pieces():
                for event in parser.feed(piece):
                    place.note(event)
                    if event.name != "message" or not event.data:
                        continue
                    if (found := await self._deliver(event.data, one)) is not None:
                        return found
        except ValueError:
            raise ResponseTooLarge(f"A message of the portal has more than {MAX_ANSWER} bytes.") from None
        except OutcomeUnknown:
            pass
        return None

    async def _deliver(self, data: bytes, one: _UnderWay | None) -> tuple[Mapping[str, object], bytes] | None:
        """Pass on the messages in these bytes, but for the answer to the request, which is returned. What is no message
        does not get through: the client reads nothing else."""
        messages = await read_messages(data, MAX_ANSWER)
        found = None
        for message in messages:
            as_written = len(messages) == 1 and not data.lstrip().startswith(b"[") and is_strict(data)
            raw = as_line(data) if as_written else encode(message)
            kind = kind_of(message)
            if kind == "answer":
                if one is not None and _is_answer_to(message, one.message.id):
                    found = message, raw
            elif kind is not None:
                await self._write(raw)
        return found

    # The session

    def _listen(self, session: PortalSession) -> None:
        if self._listener is not None:
            self._listener.cancel()
        self._listener = asyncio.create_task(self._attend(session)) if session.id else None

    async def _attend(self, session: PortalSession) -> None:
        """Pass on what comes on the session's own stream: notifications, and questions that belong to no request."""
        place, failures = _Place(), 0
        while True:
            failures += 1
            resumed = {"last-event-id": place.last} if place.last else {}
            try:
                answer = await self._exchange.send("GET", {**_STREAM, **session.headers, **resumed})
            except UpstreamError:
                answer = None
            if answer is not None:
                try:
                    body = await answer.body() if answer.status < 400 else None
                    if body is not None and body.streamed:
                        seen = place.seen
                        await self._read_stream(body, None, place)
                        failures = 0 if place.seen > seen else failures
                    elif answer.status not in _TRY_AGAIN:
                        # It has none (405), or the session is over, which the next request will see.
                        return
                except UpstreamError:
                    pass
                finally:
                    await answer.aclose()
            await asyncio.sleep(min(place.pause * 2 ** min(failures, 10), _LONGEST_PAUSE))

    async def _renewed(self, lost: PortalSession) -> PortalSession:
        """The session in the place of one that the portal has lost. What the client has set there is set again.

        Raises:
            UpstreamError: there is none. The request that needs it did not run.
        """
        async with self._renewing:
            if self._session is not None and self._session is not lost:
                return self._session
            assert self._opening is not None
            found = await self._opened(self._opening)
            if found.version != lost.version:
                words = (
                    f"The portal speaks {found.version or 'another version'} now, not {lost.version}. Connect again."
                )
                raise ResponseInvalid(words)
            self._session = found
            self._tell("the portal had ended the session; a new one was begun")
            await self._post_told(found, INITIALIZED)
            for request in self._kept.requests():
                answer = await self._exchange.send("POST", {**_POST, **found.headers}, request)
                with suppress(UpstreamError):
                    await (await answer.body()).whole(MAX_ANSWER)
                await answer.aclose()
            self._listen(found)
            for change in found.changes():
                await self._write(change)
            return found

    async def _opened(self, opening: ClientMessage) -> PortalSession:
        # The client has its answer to `initialize`.
        found = await self._post(_UnderWay(opening, _nowhere), {}, None)
        result = found.message.get("result")
        if not isinstance(result, dict):
            raise ResponseInvalid("The portal has ended the session, and begins no other one. The request did not run.")
        return PortalSession.of(found.session, result)

    async def _end(self, session: PortalSession) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await (await self._exchange.send("DELETE", session.headers)).aclose()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _nowhere(line: bytes) -> None:
    """The client has not asked."""


def _has_code(message: Mapping[str, object], code: int) -> bool:
    error = message.get("error")
    return isinstance(error, dict) and error.get("code") == code


def _is_answer_to(message: Mapping[str, object], id: Id | None) -> bool:
    found = message.get("id")
    return found == id and type(found) is type(id)


def _is_of_session(status: int, messages: list[dict[str, object]]) -> bool:
    """Whether a refusal says that the session is over: 404, as the specification has it. A method that is not there may
    have the same status, with its code."""
    about_request = (METHOD_NOT_FOUND, INVALID_PARAMS, HEADER_MISMATCH)
    return status == 404 and not any(_has_code(one, code) for one in messages for code in about_request)
