"""Links over one pipe each way (stdio, HTTP with SSE): answers are matched to requests by id, on raw messages.

A pipe does not show which call a question or log message of the server belongs to. It is forwarded only while exactly
one call in flight can receive it, and refused otherwise: a question must never reach the wrong person.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from portal.errors import OutcomeUnknown, ResponseTooLarge, UpstreamError, UpstreamUnavailable
from portal.exact import encode
from portal.upstream.context import NO_CONTEXT, CallContext
from portal.upstream.transports.bounds import INLINE_BYTES, MAX_ASKED, MAX_TOLD, Flood, PerSecond, Turn, aside
from portal.upstream.transports.link import MAX_NOTICES, MAX_QUESTIONS, Inbound, deliver, reply_to
from portal.upstream.transports.protocol import Agreement, Introduction, outgoing_params
from portal.upstream.transports.wire import (
    END_BYTES,
    id_of_answer,
    id_of_damaged_answer,
    invalid_response,
    is_outcome,
    kind_of,
    messages_among,
    params_of,
    read_id,
    read_messages,
    result_in,
    rpc_error,
)

_NEVER_CANCELLED = ("initialize", "server/discover")
# Progress and log messages that may wait in the mailbox of one call. More are dropped.
_MAILBOX = 1000
_UNANSWERED_SECONDS = 5.0
# Messages after which it is looked how long others have waited.
_LOOKS = 16
# What refuses a message may overtake what answers it: they come over two connections.
_OVERTAKEN_SECONDS = 0.1
# An answer behind words on the same line may be quoted in a line of a log, and the real one on its way.
_QUOTED_SECONDS = 1.0
# Colours, cursor movements and titles that a program writes for a terminal, also when its output is a pipe.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A message that was too large to keep. `beginning` and `end` are its first and last bytes."""

    beginning: bytes
    end: bytes


class Pipe(Protocol):
    """A transport for a `DuplexLink`: messages in, messages out.

    `acknowledges`: `send` waits for an acknowledgement, and what answers the message may come before it.
    """

    acknowledges: bool

    async def receive(self) -> bytes | TooLarge | None:
        """The next message, or None at the end."""

    async def send(self, data: bytes) -> bytes:
        """Send one message. What acknowledges it, if that may be a message itself, else b"".

        Raises:
            UpstreamError: it cannot be sent.
        """

    def pass_over(self, data: bytes) -> None:
        """Take note of data that is no message, for `end_reason`."""

    def end_reason(self) -> str:
        """The reason there are no more messages."""

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class _Call:
    id: int
    context: CallContext
    max_bytes: int
    mailbox: asyncio.Queue[Mapping[str, object] | UpstreamError] = field(default_factory=asyncio.Queue)
    told: PerSecond = field(default_factory=lambda: PerSecond(MAX_TOLD))


class DuplexLink:
    """Implements `Link` over a pipe. `max_bytes` bounds a message that is no answer with a limit of its own.

    Errors that quote a message do so without `secrets`.
    """

    def __init__(
        self, pipe: Pipe, introduction: Introduction, inbound: Inbound, max_bytes: int, secrets: Sequence[str] = ()
    ) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self._pipe = pipe
        self._introduction = introduction
        self._inbound = inbound
        self._max_bytes = max_bytes
        self._secrets = secrets
        self._version: str | None = None
        self._last_id = 0
        self._calls: dict[int, _Call] = {}
        self._questions = 0
        self._notices = 0
        self._asked = PerSecond(MAX_ASKED)
        self._flood = Flood()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._read())

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def agree(self, agreement: Agreement) -> None:
        self._version = agreement.version

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
            raise UpstreamUnavailable(self.reason)
        self._last_id += 1
        call = self._calls[self._last_id] = _Call(self._last_id, context, max_bytes or self._max_bytes)
        token = call.id if context.on_progress is not None else None
        sent = outgoing_params(params, version or self._version, self._introduction, context, token)
        message = {"jsonrpc": "2.0", "id": call.id, "method": method, **({"params": sent} if sent else {})}
        sending = None
        try:
            data = encode(message)
            context.traffic.sent += len(data)
            if self._pipe.acknowledges:
                sending = self._spawn(self._send_apart(data, call))
            else:
                await self._pipe.send(data)
            return await self._answer(call, token)
        except asyncio.CancelledError:
            if method not in _NEVER_CANCELLED and self._notices < MAX_NOTICES:
                self._notices += 1
                self._spawn(self._tell_cancelled(call.id))
            raise
        finally:
            del self._calls[call.id]
            if sending is not None and not sending.done():
                # Some servers acknowledge nothing before the session ends.
                asyncio.get_running_loop().call_later(_UNANSWERED_SECONDS, sending.cancel)

    async def _tell_cancelled(self, id: int) -> None:
        try:
            await self.notify("notifications/cancelled", {"requestId": id, "reason": "the caller went away"})
        finally:
            self._notices -= 1

    async def notify(self, method: str, params: Mapping[str, object]) -> None:
        await self._send_unanswered(
            {"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})}
        )

    def end(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        for call in self._calls.values():
            call.mailbox.put_nowait(OutcomeUnknown(reason))

    async def aclose(self) -> None:
        self.end("closed")
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pipe.aclose()

    async def _send_apart(self, data: bytes, call: _Call) -> None:
        """Send a message. If it cannot be sent, and has no answer all the same, its call fails."""
        try:
            acknowledgement = await self._pipe.send(data)
        except UpstreamError as error:
            asyncio.get_running_loop().call_later(_OVERTAKEN_SECONDS, call.mailbox.put_nowait, error)
        else:
            # Some servers answer there and not in the stream.
            with suppress(ResponseTooLarge):
                if any(map(kind_of, await read_messages(acknowledgement, call.max_bytes))):
                    await self._take(acknowledgement)

    async def _answer(self, call: _Call, token: int | None) -> dict[str, object]:
        turn = Turn()
        while True:
            message = await call.mailbox.get()
            if isinstance(message, UpstreamError):
                raise message
            if kind_of(message) == "notification":
                await deliver(str(message["method"]), params_of(message), call.context, token, self._inbound, call.told)
                await turn.over()
            elif (result := result_in(message, call.id, self._secrets)) is not None:
                return result

    async def _read(self) -> None:
        turn, count = Turn(), 0
        try:
            while (data := await self._pipe.receive()) is not None:
                self._flood.count(1)
                count += 1
                if isinstance(data, TooLarge) or len(data) > self._max_bytes:
                    await self._route_oversized(data)
                else:
                    await self._take(data)
                if count % _LOOKS == 0:
                    await turn.over()
        except ResponseTooLarge as error:
            self.end(error.message)
        self.end(self._pipe.end_reason())

    async def _take(self, data: bytes) -> None:
        """Route what was received: a message, several of them, or an answer that cannot be read.

        Raises:
            ResponseTooLarge: there are too many messages in this second.
        """
        try:
            messages = await self._messages(data)
        except ResponseTooLarge as error:
            self._refuse(data[:END_BYTES], data[-END_BYTES:], error.message.removeprefix("the answer "))
            return
        if len(messages) > 1:
            self._flood.count(len(messages))
        for message in messages:
            self._route(message, len(data))
        if any(map(kind_of, messages)):
            return
        call = self._calls.get(id_of_damaged_answer(data) or 0)
        if call is not None:
            call.mailbox.put_nowait(invalid_response("the answer is not JSON", data, self._secrets))
        else:
            self._pipe.pass_over(data)

    async def _messages(self, data: bytes) -> list[dict[str, object]]:
        """The messages in a line. Raises as `messages_in`."""
        most = self._max_bytes
        if len(data) > INLINE_BYTES:
            most = max([most, *(call.max_bytes for call in self._calls.values())])
        if messages := await read_messages(data, most):
            return messages
        if b"{" not in data:
            # A line of a log, most of the time.
            return []
        bare = _without_escapes(data)
        if bare != data and (messages := await read_messages(bare, most)):
            return messages
        return await self._messages_among(data) if self._calls else []

    async def _messages_among(self, data: bytes) -> list[dict[str, object]]:
        """The messages with which a line begins that is none as a whole.

        An answer behind words counts if no other comes soon. Some programs write words without the end of the line.
        """
        found = []
        for message, alone in await aside(lambda: list(messages_among(data)), len(data)):
            if alone:
                found.append(message)
            elif (call := self._call(message.get("id"))) is not None and is_outcome(message):
                asyncio.get_running_loop().call_later(_QUOTED_SECONDS, call.mailbox.put_nowait, message)
        return found

    def _route(self, message: Mapping[str, object], size: int) -> None:
        """Give a message, which came in so many bytes, to whom it is for."""
        kind, method = kind_of(message), message.get("method")
        if kind == "answer":
            if (call := self._answered(message)) is not None:
                call.context.traffic.received += size
                call.mailbox.put_nowait(message)
        elif kind == "request":
            if self._questions < MAX_QUESTIONS and not self._asked.exceeded():
                self._questions += 1
                self._spawn(self._reply(message, self._only_call(lambda context: context.on_request is not None)))
        elif kind is None or not isinstance(method, str):
            return
        elif method == "notifications/progress":
            self._post(self._call(params_of(message).get("progressToken")), message)
        elif method == "notifications/message":
            call = self._only_call(lambda context: context.on_log is not None)
            if call is None:
                self._inbound.notification(method, params_of(message))
            self._post(call, message)
        elif method != "notifications/cancelled":
            self._inbound.notification(method, params_of(message))

    def _post(self, call: _Call | None, message: Mapping[str, object]) -> None:
        if call is not None and call.mailbox.qsize() < _MAILBOX:
            call.mailbox.put_nowait(message)

    def _answered(self, message: Mapping[str, object]) -> _Call | None:
        """The call in flight that a message answers.

        An error whose id is null is from a server that could not read the request: of the only call in flight, if
        there is only one.
        """
        if message.get("id") is None and "jsonrpc" in message and rpc_error(message.get("error")) is not None:
            return next(iter(self._calls.values())) if len(self._calls) == 1 else None
        return self._call(message.get("id"))

    def _call(self, id: object) -> _Call | None:
        """The call in flight with this id."""
        number = read_id(id)
        return self._calls.get(number) if number is not None else None

    def _only_call(self, receives: Callable[[CallContext], bool]) -> _Call | None:
        """The call whose context `receives` the message, if it is the only one."""
        receivers = [call for call in self._calls.values() if receives(call.context)]
        return receivers[0] if len(receivers) == 1 else None

    async def _route_oversized(self, data: bytes | TooLarge) -> None:
        """Route a message over the link's limit. An answer may be longer if its call allows that."""
        beginning, end = (
            (data.beginning, data.end) if isinstance(data, TooLarge) else (data[:END_BYTES], data[-END_BYTES:])
        )
        call = self._call(id_of_answer(beginning, end))
        if isinstance(data, bytes) and call is not None and len(data) <= call.max_bytes:
            await self._take(data)
        else:
            most = call.max_bytes if call is not None else self._max_bytes
            self._refuse(beginning, end, f"has more than {most} bytes")

    def _refuse(self, beginning: bytes, end: bytes, why: str) -> None:
        """Refuse a message of which only these first and last bytes are read. `why` says what it has too much of."""
        call = self._call(id_of_answer(beginning, end))
        if call is not None:
            call.mailbox.put_nowait(ResponseTooLarge(f"the answer {why}"))
        else:
            # A call may wait for the answer in this message. It would wait until its timeout if the link stayed open.
            self.end(f"sent a message that answers no call and {why}")

    async def _reply(self, message: Mapping[str, object], call: _Call | None) -> None:
        try:
            reply = await reply_to(message, call.context if call is not None else None)
        finally:
            self._questions -= 1
        await self._send_unanswered(reply)

    async def _send_unanswered(self, message: Mapping[str, object]) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_UNANSWERED_SECONDS):
                await self._pipe.send(encode(message))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _without_escapes(data: bytes) -> bytes:
    """A line without what is for terminals: escape sequences, and text that the rest of the line overwrites."""
    return _ESCAPES.sub(b"", data).rstrip().rpartition(b"\r")[2]
