"""The runs and images of a worker. Knows isolates but no sockets; the threads of the lanes and of the control channel
call it.

A worker has a bounded number of live isolates, and may have many more suspended runs. When a slice needs an isolate and
none is free, the run that has been suspended longest is frozen to bytes inside the worker. It is thawed when it is
resumed.

An owner is a number that stands for one identity; 0 is nobody in particular, and has no part of its own. The runs of an
owner with more live isolates than its part are frozen at its own expense. Where the bytes are too many, the owner that
has most of them loses a run.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from sandbox.engine import Engine, Image
from sandbox.errors import EngineError, GuestAbiError, IsolateClosed, LocalStateError, Overloaded
from sandbox.isolate import Isolate

EARLY_STOPS: Final = 1024
"""How many ids of stopped but unknown runs are remembered: start and stop travel on different sockets, and a stop may
arrive first."""

PART: Final = 4
"""One owner has this part of the live isolates and of the bytes of frozen runs."""
SPARE: Final = 8
"""How many places for live isolates stay free while runs are suspended; at most an eighth of the places."""


class Slice(NamedTuple):
    """The result of one slice. `cpu_time`: seconds that the run has used."""

    suspended: bool
    cpu_time: float
    output: bytes


@dataclass(slots=True)
class WorkerRun:
    """One run: live (`isolate`), frozen (`frozen`), or lost (`error`, raised at the next request)."""

    owner: int = 0
    image: Image | None = None
    frozen: bytes = b""
    isolate: Isolate | None = None
    error: EngineError | None = None
    running: bool = False
    freezing: bool = False
    stopped: bool = False


class Runs:
    """At most `isolates` live runs, `frozen_bytes` for the frozen ones, and `output_bytes` for the output of a slice.

    Raises (from `start`, `resume`, `thaw`, `freeze`):
        EngineError: the run is unknown, lost or refused. It is dropped, except when `freeze` fails.
    """

    def __init__(self, engine: Engine, *, isolates: int, frozen_bytes: int, output_bytes: int) -> None:
        self._engine = engine
        self._most_output = output_bytes
        self._isolates = isolates
        self._spare = min(SPARE, isolates // 8)
        self._frozen_left = frozen_bytes
        self._part_of_isolates = max(1, isolates // PART)
        self._part_of_bytes = frozen_bytes // PART
        self._live = 0
        self._live_of: Counter[int] = Counter()
        self._frozen_of: Counter[int] = Counter()
        """Bytes of the frozen runs of each owner."""
        self._runs: dict[int, WorkerRun] = {}
        self._idle: OrderedDict[int, WorkerRun] = OrderedDict()
        """The live runs that do not compute, the one suspended longest first: it is the next to be frozen."""
        self._stopped_early: OrderedDict[int, None] = OrderedDict()
        self._ended: list[Isolate] = []
        self._lock = threading.Condition()
        """Notified when a run has been frozen."""

    def __repr__(self) -> str:
        return f"<Runs {len(self._runs)} runs, {self._live} of {self._isolates} isolates>"

    def start(self, run_id: int, image: Image | None, batch: bytes, owner: int = 0) -> Slice:
        with self._lock:
            self._add(run_id, WorkerRun(owner, image))
        return self._slice(run_id, lambda isolate: isolate.start_batch(batch))

    def thaw(self, run_id: int, frozen: bytes, batch: bytes, excused: float = 0.0, owner: int = 0) -> Slice:
        """Continue a frozen run, of this worker or another. `excused` as for `resume`."""
        with self._lock:
            self._add(run_id, run := WorkerRun(owner))
            self._keep(run, frozen)
        return self._slice(run_id, lambda isolate: isolate.resume_batch(batch, excused))

    def resume(self, run_id: int, batch: bytes, excused: float = 0.0) -> Slice:
        """`excused`: seconds since the last slice that do not count as wall time."""
        return self._slice(run_id, lambda isolate: isolate.resume_batch(batch, excused))

    def freeze(self, run_id: int) -> bytes:
        """The suspended run as bytes. The run stays in this worker."""
        with self._lock:
            run = self._suspended(run_id)
            if run.isolate is None:
                return run.frozen
            isolate = run.isolate
            self._idle.pop(run_id, None)
            run.freezing = True
        try:
            return isolate.freeze()
        finally:
            with self._lock:
                run.freezing = False
                self._lock.notify_all()
                if run.stopped:
                    self._drop(run_id, run)
                else:
                    self._idle[run_id] = run

    def stop(self, run_id: int) -> None:
        """The run is over: interrupt its slice, or drop it."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                self._stopped_early[run_id] = None
                if len(self._stopped_early) > EARLY_STOPS:
                    self._stopped_early.popitem(last=False)
            elif not run.running and not run.freezing:
                self._drop(run_id, run)
            else:  # the thread that computes or freezes it drops it
                run.stopped = True
                if run.running and run.isolate is not None:
                    run.isolate.interrupt()

    def sweep(self) -> None:
        """Close the isolates of runs that have ended. Called after their outcome is sent, so no caller waits for it."""
        with self._lock:
            self._close_ended()

    def pause(self, run_id: int) -> None:
        """Stop the slice of this run, if one computes, until `proceed` or `stop`."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and run.running and run.isolate is not None:
                run.isolate.pause()

    def proceed(self, run_id: int) -> None:
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and run.isolate is not None:
                run.isolate.proceed()

    def _slice(self, run_id: int, step: Callable[[Isolate], bytes]) -> Slice:
        with self._lock:
            run = self._suspended(run_id)
            self._idle.pop(run_id, None)
            run.running = True
        try:
            output = step(isolate := self._alive(run))
            if len(output) > self._most_output:
                raise GuestAbiError(f"the guest wrote {len(output)} bytes, more than its limits allow")
            cpu_time = isolate.cpu_time
            suspended = isolate.suspended
        except BaseException:
            with self._lock:
                self._drop(run_id, run)
            raise
        with self._lock:
            run.running = False
            if suspended and not run.stopped:
                self._idle[run_id] = run
            else:
                self._drop(run_id, run, close=False)
        if suspended and run.stopped:
            raise IsolateClosed("the program was stopped")
        if suspended:
            self._leave_room(run)
        return Slice(suspended, cpu_time, output)

    def _add(self, run_id: int, run: WorkerRun) -> None:
        if run_id in self._runs:
            raise LocalStateError(f"run {run_id} exists already")
        if run_id in self._stopped_early:
            del self._stopped_early[run_id]
            raise IsolateClosed("the program was stopped before it started")
        self._runs[run_id] = run

    def _suspended(self, run_id: int) -> WorkerRun:
        """The run if it is suspended. Waits while it is being frozen. To be called with the lock.

        Raises:
            EngineError: it is unknown, running or lost.
        """
        run = self._runs.get(run_id)
        while run is not None and run.freezing:
            self._lock.wait()
            run = self._runs.get(run_id)
        if run is None:
            raise IsolateClosed("this program has ended: there is nothing to resume or freeze")
        if run.running:
            raise LocalStateError("this program is running: it can be resumed or frozen only when it is suspended")
        if run.error is not None:
            self._drop(run_id, run)
            raise run.error
        return run

    def _alive(self, run: WorkerRun) -> Isolate:
        """The isolate of a run that this thread computes, thawed or new if it has none. It is made without the lock."""
        if run.isolate is not None:
            return run.isolate
        self._take_place()
        try:
            isolate = self._engine.thaw(run.frozen) if run.frozen else self._engine.isolate(run.image)
        except BaseException:
            with self._lock:
                self._live -= 1
            raise
        with self._lock:
            self._hold(run, isolate)
            run.image = None
            self._keep(run, b"")
            if run.stopped:
                raise IsolateClosed("the program was stopped")
        return isolate

    def _take_place(self) -> None:
        """Take a place for a live isolate. When none is free, the run suspended longest is frozen for it."""
        while True:
            with self._lock:
                if self._live >= self._isolates:
                    self._close_ended()
                if self._live < self._isolates:
                    self._live += 1
                    return
                if not self._idle:
                    raise Overloaded(f"all {self._isolates} isolates of this worker are running")
                run_id, run = self._idle.popitem(last=False)
                run.freezing = True
            if self._freeze_out(run_id, run):
                return

    def _leave_room(self, suspended: WorkerRun) -> None:
        """Freeze a run when few places are free, or when the owner of the one that has just suspended has more than its
        part: then one of its own. The thread of a run that suspends does it, so that no new run waits for a large
        program to be frozen."""
        owner = suspended.owner
        with self._lock:
            if owner and self._live_of[owner] > self._part_of_isolates:
                run_id = next((id for id, run in self._idle.items() if run.owner == owner), None)
            elif self._live > self._isolates - self._spare:
                run_id = next(iter(self._idle), None)
            else:
                return
            if run_id is None:
                return
            run = self._idle.pop(run_id)
            run.freezing = True
        with suppress(Overloaded):
            if self._freeze_out(run_id, run):
                with self._lock:
                    self._live -= 1

    def _freeze_out(self, run_id: int, run: WorkerRun) -> bool:
        """Freeze a suspended run and close its isolate.

        True when the caller has its place now. False when the run was stopped meanwhile: any thread may take it then.

        Raises:
            Overloaded: there is no room for the bytes. The run stays live.
        """
        isolate, frozen, error = run.isolate, b"", None
        assert isolate is not None
        try:
            frozen = isolate.freeze()
        except EngineError as failure:
            error = failure
        except MemoryError:
            error = EngineError("there was no memory to freeze this program in")
        with self._lock:
            run.freezing = False
            self._lock.notify_all()
            if run.stopped:
                self._drop(run_id, run)
                return False
            if run.owner and self._frozen_of[run.owner] + len(frozen) > self._part_of_bytes:
                frozen, error = b"", _past_its_part(self._part_of_bytes)
            while len(frozen) > self._frozen_left and self._lose_one(run, len(frozen)):
                pass
            if len(frozen) > self._frozen_left and run.owner:
                frozen, error = b"", _past_its_part(self._part_of_bytes)
            if len(frozen) > self._frozen_left:
                self._idle[run_id] = run
                self._idle.move_to_end(run_id, last=False)  # it is still the one suspended longest
                raise Overloaded("this worker holds as many suspended programs as it may: nothing was run, try again")
            self._hold(run, None)
            self._keep(run, frozen)
            run.error = error
        isolate.close()
        return True

    def _lose_one(self, run: WorkerRun, size: int) -> bool:
        """Give up the largest frozen run of the owner that has most bytes, for `size` bytes of `run`. False when that
        owner would be its own, or all of them compute. To be called with the lock."""
        most, held = self._frozen_of.most_common(1)[0] if self._frozen_of else (0, 0)
        if not most or held <= self._frozen_of[run.owner] + size:
            return False
        frozen = (one for one in self._runs.values() if one.owner == most and one.frozen and not one.running)
        if (largest := max(frozen, key=lambda one: len(one.frozen), default=None)) is None:
            return False
        self._keep(largest, b"")
        largest.error = _past_its_part(self._part_of_bytes)
        return True

    def _hold(self, run: WorkerRun, isolate: Isolate | None) -> None:
        """Note the isolate of a run. To be called with the lock."""
        if run.owner:
            self._live_of[run.owner] += (isolate is not None) - (run.isolate is not None)
            if not self._live_of[run.owner]:
                del self._live_of[run.owner]
        run.isolate = isolate

    def _keep(self, run: WorkerRun, frozen: bytes) -> None:
        """Note the bytes of a run, b"" for none. To be called with the lock."""
        more = len(frozen) - len(run.frozen)
        self._frozen_left -= more
        if run.owner and more:
            self._frozen_of[run.owner] += more
            if not self._frozen_of[run.owner]:
                del self._frozen_of[run.owner]
        run.frozen = frozen

    def _drop(self, run_id: int, run: WorkerRun, *, close: bool = True) -> None:
        del self._runs[run_id]
        self._idle.pop(run_id, None)
        self._keep(run, b"")
        if run.isolate is not None:
            self._ended.append(run.isolate)
            self._hold(run, None)
        if close:
            self._close_ended()

    def _close_ended(self) -> None:
        self._live -= len(self._ended)
        while self._ended:
            self._ended.pop().close()


def _past_its_part(size: int) -> Overloaded:
    return Overloaded(
        "this program was ended while it waited: the programs of one person that wait may have "
        f"{size // (1024 * 1024)} MiB together, frozen in one worker. What it had called has happened",
        own=True,
    )


class Images:
    """The images sent to a worker. The least recently used are dropped when all together have more than `cap` bytes."""

    def __init__(self, cap: int) -> None:
        self._left = cap
        self._images: OrderedDict[str, Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image_id: str) -> Image | None:
        with self._lock:
            if image_id not in self._images:
                return None
            self._images.move_to_end(image_id)
            return self._images[image_id]

    def add(self, image: Image) -> None:
        """Store this image, however large it is, and drop others to make room."""
        with self._lock:
            if image.id in self._images:
                return
            self._images[image.id] = image
            self._left -= len(image.data)
            while self._left < 0 and len(self._images) > 1:
                _, dropped = self._images.popitem(last=False)
                self._left += len(dropped.data)
