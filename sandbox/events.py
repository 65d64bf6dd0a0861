"""Events: the immutable values that pass between a program and its host. Failures of the program are values too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sandbox.errors import GuestError, LimitExceeded


@dataclass(frozen=True, slots=True)
class HostCall:
    """A call the program makes to its host. `arguments` is decoded JSON, None when the program passes no argument.

    `line` is where the program makes it, from 1, by the engine's stack; 0 where that does not say. A program can make
    it say anything, so it is for people to read, and two calls are the same whatever it is.
    """

    id: int
    name: str
    arguments: Any
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LogLine:
    """`level` is one of log, info, warn, error, debug."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """The answer to one host call: a value the call's promise is fulfilled with, or an error it is rejected with."""

    id: int
    ok: bool
    payload: Any

    @classmethod
    def value(cls, id: int, value: Any) -> Settlement:
        """Fulfils the call's promise with a JSON value."""
        return cls(id, True, value)

    @classmethod
    def error(cls, id: int, *, name: str, message: str, properties: Mapping[str, Any] | None = None) -> Settlement:
        """Rejects the call's promise with an Error of that name and message, carrying `properties` as its own."""
        return cls(id, False, (name, message, dict(properties or {})))


@dataclass(frozen=True, slots=True)
class Suspended:
    """The program waits. `calls`: the calls made since the last outcome. `wake_at`: when its earliest timer is due, in
    milliseconds since the epoch; resume it then, even without a settlement."""

    calls: tuple[HostCall, ...]
    logs: tuple[LogLine, ...] = ()
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The program ended. `has_value` is False for undefined, and `value` then None. `calls`: the calls made since the
    last outcome, for which the program does not wait."""

    value: Any
    logs: tuple[LogLine, ...] = ()
    has_value: bool = True
    calls: tuple[HostCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The program threw, does not compile, can never go on, or reached a limit. `calls`: the calls made since the last
    outcome; empty when the program was stopped for its CPU or wall time."""

    error: GuestError | LimitExceeded
    logs: tuple[LogLine, ...] = ()
    calls: tuple[HostCall, ...] = ()


Outcome: TypeAlias = Suspended | Completed | Failed
