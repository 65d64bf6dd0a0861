"""What is written and read of a run that has been parked, as plain values, with their bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from portal.state.kinds import Kind
from portal.state.run_states import EndState, ParkReason, RunState

LOG_SECONDS = 60.0
"""So long after the end of a run it is looked whether the log has its row."""
RUNS = "runs"
"""What subscribers of a store are told when a run is parked, ready, given back or has ended."""

MAX_CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""A full heap of 64 MiB compresses to less, unless its data are random. All other writers wait while it is written:
half a second for one of this size, on a machine that does much besides."""
MAX_RUN_BYTES: Final = 48 * 1024 * 1024
"""The checkpoint, and what the run got since then."""
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
MAX_ARGUMENTS_BYTES: Final = 2 * 1024 * 1024
MAX_RUN_DOCUMENT_BYTES: Final = 16 * 1024
MOST_OF_SUBJECT: Final = 100
MOST_OF_PORTAL: Final = 10_000
"""Runs that have not ended."""
MOST_BYTES_OF_SUBJECT: Final = 256 * 1024 * 1024
MOST_BYTES_OF_PORTAL: Final = 4 * 1024 * 1024 * 1024
"""What is kept of runs that have not ended."""
MOST_ENDED_OF_SUBJECT: Final = 200
MOST_RESULT_BYTES_OF_SUBJECT: Final = 32 * 1024 * 1024
"""Results of a person that are kept; the oldest give way."""
MOST_ATTEMPTS: Final = 5
"""Processes in a row that may take up a run and come to nothing, before it is lost."""

CallEffect = Literal["read", "idempotent", "effect"]
CallState = Literal["started", "done", "failed", "unknown", "happened", "repeat", "refused"]
"""`started`: it may have left. `unknown`: nobody knows whether it did anything. What a person decided of such a call:
`happened`, with an answer; `repeat`: it did nothing, and may be made; `refused`: it fails. `done` and `failed`: the
program has its settlement."""
Verdict = Literal["happened", "repeat", "refused"]


class _Shown(BaseModel):
    # A newer version may write members that this one does not know.
    model_config = ConfigDict(extra="allow", frozen=True)


class WaitOfRun(_Shown):
    """What a run waits for: of which kind, and for a call of which tool."""

    kind: Annotated[str, Field(max_length=32)]
    tool: Annotated[str, Field(max_length=600)] = ""
    url: Annotated[str, Field(max_length=2048)] = ""


class EndOfRun(_Shown):
    """How a run ended, with the name of its error if it has one, and words that are no value of its program."""

    state: Annotated[str, Field(max_length=16)]
    kind: Annotated[str, Field(max_length=32)] = ""
    name: Annotated[str, Field(max_length=128)] = ""
    words: Annotated[str, Field(max_length=2048)] = ""


class RunDocument(_Shown):
    """What may be shown of a run: the SHA-256 of its program, who its client says it is, how many calls it made, what
    it waits for, how it ended. No value of its program is in it. `login` is the family of the tokens that it was begun
    with, "" without one: no token is in it."""

    program: Annotated[str, Field(max_length=64)] = ""
    client_name: Annotated[str, Field(max_length=256)] = ""
    login: Annotated[str, Field(max_length=128)] = ""
    calls: int = 0
    waits: Annotated[tuple[WaitOfRun, ...], Field(max_length=64)] = ()
    end: EndOfRun | None = None


RUN: Final = Kind("run", RunDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """A run to be parked. `subject` is the key of whose it is, `client` their client, `reason` what it waits for.
    `wake_at` is when it goes on by itself; `expires_at` when it ends whatever it waits for."""

    id: str
    portal: str
    subject: str
    client: str
    reason: ParkReason
    expires_at: datetime
    wake_at: datetime | None = None
    document: RunDocument = RunDocument()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as it was read. `wake_at` is from when on it may be claimed, if that is known. `expires_at` is when it
    ends, and of one that has ended until when its result is kept. `size` counts the bytes that are kept of it."""

    id: str
    portal: str
    subject: str
    client: str
    state: RunState
    reason: ParkReason
    revision: int
    owner: str | None
    lease_until: datetime | None
    created_at: datetime
    updated_at: datetime
    wake_at: datetime | None
    expires_at: datetime
    size: int
    document: RunDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStart:
    """A call that is about to leave. `call` is the id that its program gave it, `seq` its number in the run, `digest`
    the SHA-256 of its canonical arguments, `arguments` these themselves."""

    call: int
    seq: int
    server: str
    tool: str
    effect: CallEffect
    digest: bytes
    arguments: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call that was written as it started. `us` is how long it took, in microseconds."""

    call: int
    failed: bool = False
    us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """A call as it was read. `revision` is that of the claim under which it started. `answer` is what a person gave for
    one that `happened`."""

    call: int
    seq: int
    server: str
    tool: str
    effect: CallEffect
    state: CallState
    revision: int
    digest: bytes
    at: datetime
    us: int
    answer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoredResume:
    """How a run went on: `data` is of whoever wrote it. Numbers begin with 1 after each checkpoint."""

    number: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A run that a process has claimed: its checkpoint, what happened since then, and the calls that were written.

    `run.revision` fences: every write of this run names it.
    """

    run: StoredRun
    checkpoint: bytes = field(repr=False)
    tail: tuple[StoredResume, ...] = ()
    calls: tuple[StoredCall, ...] = ()


@dataclass(frozen=True, slots=True)
class RunCandidate:
    """A run that may be claimed. `turn` is its place among those of its subject, from 1."""

    id: str
    portal: str
    subject: str
    revision: int
    turn: int


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, the newest first: those of all that is given. `before` is the last one of the page before."""

    portal: str | None = None
    subject: str | None = None
    client: str | None = None
    states: Sequence[RunState] = ()
    reason: ParkReason | None = None
    before: StoredRun | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run is to end. `result` is for its owner, until `keep_until`."""

    state: EndState
    keep_until: datetime
    document: RunDocument
    result: bytes | None = field(default=None, repr=False)
