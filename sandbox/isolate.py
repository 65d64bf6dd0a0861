"""An isolate: one program in one instance, used once and thrown away."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import orjson

from sandbox import frozen, pages
from sandbox.batch import encode_failed
from sandbox.conversation import Conversation
from sandbox.epoch import Budget, Ticker
from sandbox.errors import GuestAbiError, IsolateClosed, LocalStateError
from sandbox.events import Outcome, Settlement
from sandbox.limits import Limits
from sandbox.wasm import STACK_OVERFLOW, Trap, WasmInstance

_LAYOUT = struct.Struct("<9I")
_MESSAGES = {
    "cpu_time": "the program used more CPU time than its limit of {:g} s",
    "wall_time": "the program took longer than its limit of {:g} s",
}


class Layout:
    """The guest's published words (guest.h, struct layout). Every field is hostile."""

    __slots__ = ("heap", "input", "input_size", "logs", "logs_size", "output", "output_size", "stopped")

    def __init__(self, data: bytes) -> None:
        abi, self.input, self.input_size, self.output, self.output_size, self.logs, self.logs_size, self.stopped, self.heap = (
            _LAYOUT.unpack(data)
        )
        if abi != 1:
            raise GuestAbiError(f"the guest speaks version {abi} of the batch format")

    @classmethod
    def read(cls, instance: WasmInstance, at: int) -> Layout:
        return cls(instance.read(at, _LAYOUT.size))


class Isolate:
    """Made by `Engine.isolate` and `Engine.thaw`. Single use; a context manager; `close` is idempotent.

    One thread at a time, which need not stay the same; the thread's stack must have 8 MiB or more. `start` and `resume`
    block until the program waits or ends, so call them off the event loop and off the main thread.
    """

    def __init__(
        self,
        instance: WasmInstance,
        *,
        limits: Limits,
        ticker: Ticker,
        layout_at: int,
        build: str,
        base: bytes,
        on_close: Callable[[Isolate], None],
        header: frozen.Header | None = None,
    ) -> None:
        self._instance = instance
        self._ticker = ticker
        self._layout_at = layout_at
        self._build = build
        self._base = base
        self._on_close = on_close
        self._limits = limits
        self._lock = threading.Lock()
        self._running = False
        self._closed = False
        used = (header.cpu_used, header.wall_used) if header else (0.0, 0.0)
        self._budget = Budget(limits.cpu_time, limits.wall_time, *used)
        self._conversation = Conversation(limits, waiting=header.waiting if header else None)
        self._suspended = header is not None

    @property
    def cpu_time(self) -> float:
        """Seconds of CPU time the program has used so far."""
        return self._budget.cpu_used

    def start(self, source: str, now: float, seed: bytes) -> Outcome:
        """Runs a program until it waits or ends. `now` is milliseconds since the epoch, `seed` 32 random bytes.

        Raises LocalStateError when it was started before, IsolateClosed, and GuestAbiError.
        """
        return self._conversation.received(self._slice(b"start", self._conversation.start(source, now, seed)))

    def resume(self, settlements: Sequence[Settlement], now: float) -> Outcome:
        """Settles calls, fires the timers that are due, and runs on. Raises as `start` does."""
        return self._conversation.received(self._slice(b"resume", self._conversation.resume(settlements, now)))

    def start_batch(self, batch: bytes) -> bytes:
        """`start` for bytes made and read elsewhere, by a Conversation."""
        return self._slice(b"start", batch)

    def resume_batch(self, batch: bytes) -> bytes:
        """`resume` for bytes made and read elsewhere, by a Conversation."""
        if not self._suspended:
            raise LocalStateError("the isolate is not suspended")
        return self._slice(b"resume", batch)

    def freeze(self) -> bytes:
        """The suspended program as bytes, for `Engine.thaw` of the same build. The isolate stays as it is."""
        with self._use():
            if not self._suspended:
                raise LocalStateError("only a suspended program can be frozen")
            self._instance.call(b"pending")
            layout = Layout.read(self._instance, self._layout_at)
            waiting = tuple(orjson.loads(self._instance.read(layout.output, layout.output_size)))
            header = frozen.Header(self._build, "program", self._budget.cpu_used, self._budget.wall_used, waiting)
            memory = self._instance.read(0, self._instance.memory_size())
            return frozen.pack(header, pages.dirty(memory, self._base))

    def interrupt(self) -> None:
        """From any thread: makes a running slice end within a tick or two; it then raises IsolateClosed."""
        self._budget.stopped = True

    def close(self) -> None:
        """Frees the instance. From another thread while a slice runs, it interrupts it and the slice frees it."""
        with self._lock:
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

    def _release(self) -> None:
        self._conversation.close()
        self._instance.close()
        self._on_close(self)

    def _use(self) -> _Use:
        return _Use(self)

    def _slice(self, export: bytes, batch: bytes) -> bytes:
        with self._use():
            kind = self._budget.passed(running=False)
            if kind is not None:
                return self._over(kind, b"")
            self._suspended = False
            try:
                self._write_input(batch)
            except Trap as trap:
                raise GuestAbiError(f"the guest could not take the batch: {trap}") from None
            return self._run(export, len(batch))

    def _write_input(self, batch: bytes) -> None:
        layout = Layout.read(self._instance, self._layout_at)
        at = layout.input
        if len(batch) > layout.input_size:
            at = self._instance.call(b"reserve", len(batch))
        if at:
            self._instance.write(at, batch)

    def _run(self, export: bytes, size: int) -> bytes:
        self._ticker.enter(self._budget)
        self._instance.set_deadline(1)
        try:
            self._instance.call(export, size)
        except Trap as trap:
            return self._trapped(trap)
        finally:
            self._ticker.leave(self._budget)
        output = self._output(Layout.read(self._instance, self._layout_at))
        self._suspended = output.startswith(b'["suspended"')
        return output

    def _output(self, layout: Layout) -> bytes:
        return self._instance.read(layout.output, layout.output_size)

    def _trapped(self, trap: Trap) -> bytes:
        """What a trap means. Nothing runs in this instance any more; its memory may still be read."""
        layout = Layout.read(self._instance, self._layout_at)
        if trap.code is None:
            if self._budget.stopped:
                raise IsolateClosed("the isolate was closed while it ran")
            return self._over(self._budget.passed() or "cpu_time", self._logs(layout))
        if trap.code == STACK_OVERFLOW:
            return encode_failed("stack", "the program's calls are nested too deeply", self._logs(layout))
        if layout.stopped == 1:
            return self._output(layout)
        raise GuestAbiError(str(trap))

    def _over(self, kind: str, logs: bytes) -> bytes:
        limit = self._limits.cpu_time if kind == "cpu_time" else self._limits.wall_time
        return encode_failed(kind, _MESSAGES[kind].format(limit), logs)

    def _logs(self, layout: Layout) -> bytes:
        """The lines logged in the slice that was stopped, or nothing when they cannot be read."""
        try:
            logs = self._instance.read(layout.logs, layout.logs_size)
            orjson.loads(b"[%b]" % logs)
        except (GuestAbiError, orjson.JSONDecodeError):
            return b""
        return logs


class _Use:
    """Guards an isolate against two threads, and frees it when it was closed in the meantime."""

    __slots__ = ("_isolate",)

    def __init__(self, isolate: Isolate) -> None:
        self._isolate = isolate

    def __enter__(self) -> None:
        isolate = self._isolate
        with isolate._lock:
            if isolate._closed:
                raise IsolateClosed("the isolate is closed")
            if isolate._running:
                raise LocalStateError("the isolate is running in another thread")
            isolate._running = True

    def __exit__(self, *_: object) -> None:
        isolate = self._isolate
        with isolate._lock:
            isolate._running = False
            closed = isolate._closed
        if closed:
            isolate._release()


