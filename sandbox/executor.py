"""Running programs from asyncio: the two interfaces that callers use, and the phases of a run.

A caller does not know where a program runs: on threads of this process (`in_process`), in child processes (`workers`),
or, one day, on other machines.
"""

import enum
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from sandbox.engine import Image
from sandbox.errors import ForeignImage, IsolateClosed, LocalStateError
from sandbox.events import Outcome, Settlement
from sandbox.frozen import Header, read_header
from sandbox.limits import Limits

QUEUE: Final = 1000
"""How many programs may wait for a place to run; more are refused."""


class Execution(Protocol):
    """One run of one program. Used by one task at a time; an async context manager that closes it.

    A cancelled `start` or `resume` ends the run: the slice is stopped and the isolate thrown away.
    """

    @property
    def identity(self) -> str:
        """The owner of this run. Places to run are shared fairly among identities."""

    @property
    def queue_time(self) -> float:
        """Seconds that this run has waited for a place, over all its slices."""

    @property
    def cpu_time(self) -> float:
        """Seconds of CPU time that this run had used at its last outcome."""

    async def start(self, source: str, now: float, seed: bytes, begin: str = "") -> Outcome:
        """Run the program up to its first suspension or its end. `now`: milliseconds since the epoch; `seed`: 32 bytes;
        `begin`: text for the preload's `host.begin`, which is called before the program unless the text is empty.

        Raises:
            Overloaded: too many programs wait for a place. Nothing has run; the call can be repeated.
            WorkerDied: the process in which it ran died.
            EngineError: another fault of this package or of the caller.
        """

    async def resume(self, settlements: Sequence[Settlement], now: float, excused: float = 0.0) -> Outcome:
        """Continue a suspended run. `excused`: seconds since its last outcome that do not count as wall time. Raises as
        `start`."""

    async def freeze(self) -> bytes:
        """The suspended run as bytes, for `Executor.thaw` of any executor of the same build. The run stays usable."""

    async def aclose(self) -> None:
        """End the run, and stop its slice if one runs. Idempotent."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Executor(Protocol):
    """A place to run programs; an async context manager that closes it. Belongs to one event loop."""

    @property
    def limits(self) -> Limits: ...

    async def build(self) -> str:
        """The build whose images and frozen runs it takes."""

    async def image(self, preload: str) -> Image:
        """The image that `preload`, which is trusted JavaScript, leaves."""

    def execution(self, image: Image | None = None, *, identity: str = "") -> Execution:
        """A new run. Costs nothing until it is started."""

    def thaw(self, frozen: bytes, *, identity: str = "") -> Execution:
        """A suspended run from the bytes of `Execution.freeze`. Costs nothing until it is resumed, and only then fails
        if another build froze it.

        Raises:
            ForeignImage: the bytes are not a frozen run, or they are damaged.
        """

    async def aclose(self) -> None:
        """Stop everything. Idempotent."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Phase(enum.Enum):
    """The state of an execution."""

    NEW = "not started"
    FROZEN = "frozen"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"

    def require(self, action: str, *phases: "Phase") -> None:
        """
        Raises:
            IsolateClosed: the run has ended.
            LocalStateError: the action is not allowed in this phase.
        """
        if self in phases:
            return
        if self is Phase.ENDED:
            raise IsolateClosed(f"cannot {action}: this run has ended")
        raise LocalStateError(f"cannot {action}: this run is {self.value}")


def read_program(frozen: bytes) -> Header:
    """The header of a frozen run.

    Raises:
        ForeignImage: the bytes are not a frozen run, or they are damaged.
    """
    header = read_header(frozen)
    if header.kind != "program":
        raise ForeignImage(f"a program cannot be thawed from a frozen {header.kind}")
    return header


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
