"""An isolate: one program in one instance, used once and thrown away."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Self

import orjson

from sandbox import frozen, pages
from sandbox.batch import encode_failed
from sandbox.conversation import Conversation
from sandbox.epoch import Ticker, TimeBudget
from sandbox.errors import GuestAbiError, IsolateClosed, LocalStateError
from sandbox.events import Outcome, Settlement
from sandbox.limits import Limits
from sandbox.wasm import STACK_OVERFLOW, Layout, Trap, WasmInstance

_NEW, _SUSPENDED, _SPENT = "new", "suspended", "spent"
_SHORT = 1.0  # CPU seconds for a call that runs none of the program's code; needing more is the guest's fault
_PART_HEAD = 8  # bytes before a part of the difference, as `freeze.c` writes it: its size, and zeros
_ID_SIZE = 11  # bytes: the digits of an id and a comma
_MESSAGES = {
    "cpu_time": "the program used more CPU time than its limit of {:g} s",
    "wall_time": "the program took longer than its limit of {:g} s",
}


@dataclass(frozen=True, slots=True)
class Home:
    """What the isolates of one engine have in common: the constants of the build, the limits, the epoch."""

    build: str
    limits: Limits
    ticker: Ticker
    layout_at: int
    input_at: int
    input_size: int
    base: bytes
    on_close: Callable[[Isolate], None]
    known: frozen.KnownPages | None = None  # for frozen programs


def difference(instance: WasmInstance, home: Home, end: int) -> bytes:
    """The patch that turns the initial memory into that of `instance` up to `end`, an address in whole pages. To be
    called between two slices, while the ticker runs.

    The guest writes the part of its initial memory, and the host does not read what it writes. Raises GuestAbiError
    when it does not come to an end, and Trap.
    """
    initial = len(home.base)
    parts, at = [], 0
    # The guest is hostile: it must come to an end, in no more steps than the honest one needs.
    for _ in range(initial // pages.PAGE):
        at = instance.call(b"difference", at)
        length = int.from_bytes(instance.read(home.input_at, 4), "little")
        if length > home.input_size - _PART_HEAD:
            break
        if length:
            parts.append(instance.read(home.input_at + _PART_HEAD, length))
        if at >= initial:
            size = min(max(end, initial), instance.memory_size())
            behind = ((page, instance.read(page, pages.WASM_PAGE)) for page in range(initial, size, pages.WASM_PAGE))
            return pages.serialise(size, parts, pages.pieces_of(behind))
    raise GuestAbiError("the guest does not say how it differs from its initial memory")


class Isolate:
    """One program, from `Engine.isolate` or `Engine.thaw`. Single use; a context manager; `close` is idempotent.

    One thread at a time may use it, not always the same one, with a stack of 8 MiB or more. `start` and `resume` block
    until the program waits or ends, so call them neither on the event loop nor on the main thread.
    """

    __slots__ = (
        "__weakref__", "_budget", "_closed", "_conversation", "_home", "_instance", "_layout", "_lock", "_running",
        "_step",
    )  # fmt: skip

    def __init__(self, instance: WasmInstance, home: Home, header: frozen.Header | None = None) -> None:
        self._instance = instance
        self._home = home
        self._layout = instance.view(Layout, home.layout_at)
        self._lock = Lock()
        self._running = False
        self._closed = False
        self._step = _NEW if header is None else _SUSPENDED
        limits = home.limits
        if header is None:
            self._budget = TimeBudget(limits.cpu_time, limits.wall_time)
            self._conversation = Conversation(limits)
        else:
            self._budget = TimeBudget(limits.cpu_time, limits.wall_time, header.cpu_used, header.wall_used)
            self._conversation = Conversation(limits, waiting=header.waiting)

    @property
    def cpu_time(self) -> float:
        """Seconds of CPU time that the program has used."""
        return self._budget.cpu_used

    def start(self, source: str, now: float, seed: bytes, begin: str = "") -> Outcome:
        """Runs a program until it waits or ends. `now` is milliseconds since the epoch, `seed` 32 random bytes.
        `begin` is given to the preload's `host.begin` before the program runs, unless it is empty.

        Raises LocalStateError for a second start, IsolateClosed, and GuestAbiError.
        """
        batch = self._conversation.start(source, now, seed, begin)
        return self._conversation.receive(self._slice(_NEW, b"start", batch))

    def resume(self, settlements: Sequence[Settlement], now: float, excused: float = 0.0) -> Outcome:
        """Settles calls, fires the timers that are due, and continues. Raises as `start` does.

        `excused`: seconds since the last outcome that do not count as wall time.
        """
        batch = self._conversation.resume(settlements, now)
        return self._conversation.receive(self.resume_batch(batch, excused))

    def start_batch(self, batch: bytes) -> bytes:
        """`start` for a caller that encodes and decodes the batches itself, with a Conversation."""
        return self._slice(_NEW, b"start", batch)

    def resume_batch(self, batch: bytes, excused: float = 0.0) -> bytes:
        """`resume` for a caller that encodes and decodes the batches itself, with a Conversation."""
        if excused:
            self._budget.excuse(excused)
        return self._slice(_SUSPENDED, b"resume", batch)

    def freeze(self) -> bytes:
        """The suspended program as bytes, for `Engine.thaw` of the same build. The isolate does not change."""
        self._enter()
        try:
            if self._step != _SUSPENDED:
                raise LocalStateError("only a suspended program can be frozen")
            waiting = self._pending()
            header = frozen.Header(self._home.build, "program", self._budget.cpu_used, self._budget.wall_used, waiting)
            return frozen.pack(header, self._difference(), self._home.known)
        finally:
            self._leave()

    def _pending(self) -> tuple[int, ...]:
        """The ids of the waiting calls, as the guest reports them. They are checked: it may come from forged bytes."""
        self._call(b"pending", 0)
        output = self._output()
        if len(output) <= _ID_SIZE * self._home.limits.calls + _ID_SIZE:
            try:
                ids = orjson.loads(output)
            except orjson.JSONDecodeError:
                ids = None
            if frozen.are_call_ids(ids):
                return tuple(ids)
        self._step = _SPENT
        raise GuestAbiError("the guest does not say which calls it waits for")

    def _difference(self) -> bytes:
        budget = TimeBudget(_SHORT, math.inf)
        try:
            with self._home.ticker.running(budget):
                return difference(self._instance, self._home, pages.whole(self._layout.end))
        except (Trap, GuestAbiError) as error:
            self._step = _SPENT
            raise GuestAbiError(f"the guest cannot be frozen: {error}") from None

    @property
    def suspended(self) -> bool:
        """Whether the program waits and can be resumed or frozen."""
        return self._step == _SUSPENDED

    def interrupt(self) -> None:
        """From any thread: the slice that runs ends within two ticks. It raises IsolateClosed, and so does every later
        one."""
        self._budget.stop()

    def pause(self) -> None:
        """From any thread: the slice that runs stops computing at its next tick, until `proceed`. It keeps its thread,
        and the pause counts as wall time. The next slice begins without a pause."""
        with self._lock:
            if self._running:
                self._budget.pause()

    def proceed(self) -> None:
        """From any thread: ends a pause."""
        self._budget.proceed()

    def close(self) -> None:
        """Frees the instance. A slice that runs in another thread is interrupted, and frees it at its end."""
        with self._lock:
            if self._closed:
                return  # the first call frees it: a store must be deleted only once
            self._closed = True
            if self._running:
                self.interrupt()
                return
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self) -> None:
        """Refuses a second thread, which would be undefined behaviour in the engine."""
        with self._lock:
            if self._closed or self._budget.stopped:
                raise IsolateClosed("the isolate is closed")
            if self._running:
                raise LocalStateError("the isolate is running in another thread")
            self._budget.paused = False
            self._running = True

    def _leave(self) -> None:
        with self._lock:
            self._running = False
            closed = self._closed
        if closed:
            self._release()

    def _release(self) -> None:
        self._conversation.close()
        self._instance.close()
        self._home.on_close(self)

    def _slice(self, step: str, export: bytes, batch: bytes) -> bytes:
        self._enter()
        try:
            if self._step != step:
                raise LocalStateError(f"the isolate is {self._step}, this needs one that is {step}")
            self._step = _SPENT
            if step == _SUSPENDED:
                kind = self._budget.limit_reached(running=False)
                if kind is not None:
                    return self._over(kind, b"")
            at, size = self._home.input_at, len(batch)
            if size > self._home.input_size:
                at = self._call(b"reserve", size)
                if not at:
                    return encode_failed("memory", "the program has no memory left for the values it receives")
            self._instance.write(at, batch)
            return self._run(export, size)
        finally:
            self._leave()

    def _run(self, export: bytes, size: int) -> bytes:
        ticker, budget = self._home.ticker, self._budget
        ticker.enter(budget)
        try:
            self._instance.call(export, size)
        except Trap as trap:
            return self._trapped(trap)
        finally:
            ticker.leave(budget)
        output = self._output()
        if output.startswith(b'["suspended"'):
            self._step = _SUSPENDED
        return output

    def _call(self, export: bytes, argument: int) -> int:
        """Calls an export that runs none of the program's code. It has a budget of its own: a program past its limits
        can still be frozen."""
        budget = TimeBudget(_SHORT, math.inf)
        self._home.ticker.enter(budget)
        try:
            return self._instance.call(export, argument)
        except Trap as trap:
            self._step = _SPENT
            raise GuestAbiError(f"the guest trapped at {export.decode()}: {trap}") from None
        finally:
            self._home.ticker.leave(budget)

    def _output(self) -> bytes:
        return self._instance.read(self._layout.output, self._layout.output_size)

    def _trapped(self, trap: Trap) -> bytes:
        """The outcome for a trap. Nothing may run in this instance after it; its memory can still be read.

        Raises IsolateClosed after `interrupt`, and GuestAbiError for a trap that no limit explains.
        """
        if trap.code is None:
            if self._budget.stopped:
                raise IsolateClosed("the isolate was closed while it ran")
            # No limit is reached when the engine stopped the guest because it could not ask (`WasmEngine`).
            return self._over(self._budget.limit_reached() or "cpu_time", self._logs())
        if trap.code == STACK_OVERFLOW:
            return encode_failed("stack", "the program's calls are nested too deeply", self._logs())
        if self._layout.stopped == 1:
            return self._output()
        raise GuestAbiError(str(trap))

    def _over(self, kind: str, logs: bytes) -> bytes:
        limits = self._home.limits
        limit = limits.cpu_time if kind == "cpu_time" else limits.wall_time
        return encode_failed(kind, _MESSAGES[kind].format(limit), logs)

    def _logs(self) -> bytes:
        """The log lines of the slice that was stopped; empty when they cannot be read."""
        try:
            logs = self._instance.read(self._layout.logs, self._layout.logs_size)
            orjson.loads(b"[%b]" % logs)
        except (GuestAbiError, orjson.JSONDecodeError):
            return b""
        return logs
