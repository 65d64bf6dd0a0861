"""What the log of a recorded program keeps besides what every log has, as plain values: names, arguments, its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from codemode.run import Failure, Run
from sandbox import Completed, Failed, LogLine


@dataclass(frozen=True, slots=True)
class RecordedEnd:
    """How a program ended, as the isolate said it.

    `stopped`: it waited, and was ended from outside, with this `failure`. `failure` has no cause.
    """

    value: object = None
    has_value: bool = False
    failure: Failure | None = None
    stopped: bool = False


@dataclass(slots=True)
class RecordedParts:
    """`names`: those of its image (`Catalog.table`); None where the program starts with its own. `build`: the build in
    which it began. `arguments`: those of each call, in order, as canonical JSON. `logs`: the lines that the program
    logged. `end` is None until it ends."""

    names: str | None
    build: str
    arguments: list[bytes] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    end: RecordedEnd | None = None


def end_of(run: Run, outcome: object) -> RecordedEnd:
    """How a program ended: with its last outcome, or from outside, where that is no end."""
    if isinstance(outcome, Completed):
        return RecordedEnd(run.value, run.has_value)
    failure = run.failure or Failure("cancelled", "RunEnded", "the run was stopped")
    return RecordedEnd(failure=replace(failure, cause=None), stopped=not isinstance(outcome, Failed))
