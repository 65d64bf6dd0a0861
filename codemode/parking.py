"""A parked program: plain values from which this or another process goes on with it, and their form as bytes.

The log says what the program received and which calls it made, so that the same program can be given the same again, in
another build too. The frozen bytes are a short cut to the end of the log, for the build that made them. Whoever stores
the bytes seals them: they have arguments and results.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias, get_args

import orjson

from codemode.errors import ParkedUnreadable
from codemode.packed import (
    MAYBE_FLOAT,
    MAYBE_INT,
    MAYBE_TEXT,
    Packer,
    Unpacked,
    each,
    hex_bytes,
    json_bytes,
    row,
    texts,
    typed,
)
from codemode.recorded import RecordedEnd, RecordedParts
from codemode.results import Block
from codemode.returned import KEPT_RESULTS, Returned
from codemode.run import MOST_CAUSES, Cause, Failure, Rejection, Run, RunCall, RunFailed, UnknownName
from codemode.waits import Waiting, WaitKind
from sandbox import GuestAbiError, HostCall, LogLine, Settlement

MAX_LOG_BYTES = 16 * 1024 * 1024
"""The most bytes of values and names in a log that is kept."""
_OVERHEAD = 64  # bytes that a call or a resume takes in a log, in addition to its values
_PROGRAM, _RESUME, _ENDED = b"CMPK\x01", b"CMPR\x01", b"CMPE\x01"
_SEED, _DIGEST = 32, 32
_LARGEST_ID = 2**31
_DIGEST_NOW = 256  # bytes of arguments; those of most calls are shorter, and their digest can wait

_NotedCall: TypeAlias = tuple[int, str, bytes, bool]  # its id, name, and arguments as JSON, or the digest of that
_Note: TypeAlias = tuple[float, Sequence[Settlement] | None, Sequence[_NotedCall]]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that the program made and that is to be made again. `seq`: its number in the record of the run; 0 for a
    function of `codemode` itself. `line`: where the program makes it."""

    id: int
    name: str
    arguments: object
    line: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that the program made. `digest`: the SHA-256 of its arguments as canonical JSON."""

    id: int
    name: str
    digest: bytes

    @classmethod
    def of(cls, call: HostCall) -> LoggedCall:
        return cls(call.id, call.name, digest_of(call.arguments))


@dataclass(frozen=True, slots=True)
class LoggedResume:
    """What the program received at one resume, in order, and which calls it made then.

    `calls` is None where that is not known: then they are not compared.
    """

    now: float
    settlements: tuple[Settlement, ...]
    calls: tuple[LoggedCall, ...] | None = None

    def as_bytes(self) -> bytes:
        """This resume alone, for a journal."""
        packer = Packer()
        return packer.pack(_RESUME, _row_of_resume(self, packer))

    @classmethod
    def from_bytes(cls, data: bytes) -> LoggedResume:
        """Raises ParkedUnreadable for other bytes than those of `as_bytes`."""
        unpacked = Unpacked(_RESUME, data)
        if unpacked.tail:
            raise ParkedUnreadable("there is more behind its end")
        return _resume(unpacked.rows, unpacked)


@dataclass(slots=True)
class ProgramLog:
    """What a program received, and which calls it made: enough to repeat it exactly.

    `begin`: what its image lacked of the catalog. `calls`: those that it made before its first resume. `whole` is False
    once the log has more than `MAX_LOG_BYTES`; then it is empty. `made`: the id of the last call. `recorded`: of a run
    that is to be repeated when it has ended (`codemode.RunRecording`).

    While a program runs, what happens is only noted, because most programs never park; `write` makes the log of it.
    """

    source: str
    begin: str = ""
    seed: bytes = b"\0" * _SEED
    now: float = 0.0
    calls: tuple[LoggedCall, ...] = ()
    resumes: list[LoggedResume] = field(default_factory=list)
    whole: bool = True
    made: int = 0
    last_now: float = 0.0
    size: int = 0
    recorded: RecordedParts | None = None
    _notes: list[_Note] = field(default_factory=list)
    _open: Sequence[Settlement] | None = None

    def start(self, now: float, seed: bytes) -> None:
        """The program starts, with this time and this randomness."""
        self.now = self.last_now = now
        self.seed = seed

    def resume(self, now: float, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
        """The program resumes. Returns the settlements in the form in which the log keeps them: nobody changes them."""
        for one in settlements:
            if type(one.payload) is not orjson.Fragment:
                settlements, size = _encoded(settlements)
                self.size += size
                break
        self.last_now = now
        self._open = settlements
        return settlements

    def receive(self, calls: Sequence[HostCall]) -> None:
        """The program waits again, or ends: the calls that it made since.

        Raises GuestAbiError for ids that do not follow the last one: a thawed program could name those of others.
        """
        noted: list[_NotedCall] = []
        if calls:
            if calls[0].id != self.made + 1:
                raise GuestAbiError(f"the guest made call {calls[0].id} out of turn")
            self.made = calls[-1].id
        if not self.whole:
            return
        size = self.size + _OVERHEAD
        for call in calls:
            text = canonical(call.arguments)
            if self.recorded is not None:
                self.recorded.arguments.append(text)
                size += len(text)
            if len(text) > _DIGEST_NOW:
                text = hashlib.sha256(text).digest()
                noted.append((call.id, call.name, text, True))
            else:
                noted.append((call.id, call.name, text, False))
            size += _OVERHEAD + len(text)
        self._notes.append((self.last_now, self._open, noted))
        self._open = None
        self.size = size
        if size > MAX_LOG_BYTES:
            self.whole = False
            self.calls = ()
            self.resumes.clear()
            self._notes.clear()
            if self.recorded is not None:
                self.recorded.arguments.clear()
                self.recorded.logs.clear()

    def say(self, lines: Sequence[LogLine]) -> None:
        """The program has logged these lines."""
        if self.recorded is not None and self.whole:
            self.recorded.logs += lines

    def stop(self, failure: Failure) -> None:
        """The program is ended while it is parked."""
        if self.recorded is not None:
            self.recorded.end = RecordedEnd(failure=failure, stopped=True)

    def write(self) -> ProgramLog:
        """This log, with all that has been noted."""
        for now, settlements, noted in self._notes:
            calls = tuple(
                LoggedCall(id, name, text if is_digest else hashlib.sha256(text).digest())
                for id, name, text, is_digest in noted
            )
            if settlements is None:
                self.calls = calls
            else:
                self.resumes.append(LoggedResume(now, tuple(settlements), calls))
        self._notes.clear()
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedProgram:
    """A program that waits and is nowhere in memory. `run`: its record so far, with the pending calls.

    `source`: the program that advice is about. `own_lines`: how many lines the running text had before something was
    added to it; None where nothing was. `placed`: whether its lines are those of the program. `is_part`: whether its
    image is that of all catalogs of parts. `build`: the build that froze it. `waiting`: what the pending calls waited
    for. `wake_at`: when its next timer is due. `wall_used`, `excused`: seconds of wall time so far, and those of a
    person of which its isolate does not know. `elapsed`: milliseconds from its start. `taken`: the runs whose results
    it got.
    """

    run: Run
    source: str
    own_lines: int | None
    placed: bool
    is_part: bool
    log: ProgramLog
    frozen: bytes
    build: str
    pending: tuple[PendingCall, ...]
    waiting: tuple[Waiting, ...] = ()
    wake_at: float | None = None
    wall_used: float = 0.0
    excused: float = 0.0
    elapsed: float = 0.0
    taken: tuple[str, ...] = ()

    def as_bytes(self) -> bytes:
        """The whole of it. Takes about a millisecond for a small one, and a second for the largest logs."""
        packer = Packer()
        rows = [
            _row_of_run(self.run, packer),
            [self.source, self.own_lines, self.placed, self.is_part, self.build],
            row_of_log(self.log.write(), packer),
            [[one.id, one.name, packer.add_json(one.arguments), one.line, one.seq] for one in self.pending],
            [[one.text, one.url, one.tool, one.run, one.asked, one.kind, one.repeatable] for one in self.waiting],
            [self.wake_at, self.wall_used, self.excused, self.elapsed, list(self.taken)],
        ]
        return packer.pack(_PROGRAM, rows, self.frozen)

    @classmethod
    def from_bytes(cls, data: bytes) -> ParkedProgram:
        """Raises ParkedUnreadable for other bytes than those of `as_bytes`, of this version."""
        read = Unpacked(_PROGRAM, data)
        run, program, log, pending, waiting, rest = row(read.rows, list, list, list, list, list, list)
        source, own_lines, placed, is_part, build = row(program, str, MAYBE_INT, bool, bool, str)
        wake_at, wall_used, excused, elapsed, taken = row(rest, MAYBE_FLOAT, float, float, float, list)
        return cls(
            run=_run(run, read),
            source=source,
            own_lines=own_lines,
            placed=placed,
            is_part=is_part,
            log=log_of(log, read),
            frozen=read.tail,
            build=build,
            pending=_pending(pending, read),
            waiting=tuple(each(waiting, _waiting)),
            wake_at=wake_at,
            wall_used=_not_negative(wall_used),
            excused=_not_negative(excused),
            elapsed=_not_negative(elapsed),
            taken=tuple(texts(taken)),
        )


def ended_as_bytes(run: Run) -> bytes:
    """A run that has ended, for `ended_from_bytes`: its record, with its value or how it failed."""
    packer = Packer()
    failure = None if run.failure is None else row_of_failure(run.failure, packer)
    rows = [_row_of_run(run, packer), run.has_value, packer.add_json(run.value), failure]
    return packer.pack(_ENDED, rows)


def ended_from_bytes(data: bytes) -> Run:
    """Raises ParkedUnreadable for other bytes than those of `ended_as_bytes`, of this version."""
    read = Unpacked(_ENDED, data)
    of_run, has_value, value, failure = row(read.rows, list, bool, int, (list, type(None)))
    run = _run(of_run, read)
    run.value, run.has_value = read.json(value), has_value
    run.failure = None if failure is None else failure_of(failure, read)
    return run


def digest_of(arguments: object) -> bytes:
    """The SHA-256 of arguments as JSON with sorted names."""
    return hashlib.sha256(canonical(arguments)).digest()


def canonical(arguments: object) -> bytes:
    """Arguments as JSON with sorted names."""
    try:
        return orjson.dumps(arguments, None, orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than its writer goes
        return json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()


def _encoded(settlements: Sequence[Settlement]) -> tuple[tuple[Settlement, ...], int]:
    """Settlements with their values as JSON, and the bytes of those that had others."""
    kept: list[Settlement] = []
    size = 0
    for one in settlements:
        if type(one.payload) is not orjson.Fragment:
            with suppress(TypeError, ValueError, RecursionError):  # the sandbox refuses it, in words of its own
                payload = json_bytes(one.payload)
                one = Settlement(one.id, one.ok, orjson.Fragment(payload))
                size += len(payload)
        kept.append(one)
    return tuple(kept), size


def _not_negative(value: float) -> float:
    if not value >= 0 or math.isinf(value):
        raise ParkedUnreadable("a time in it is negative")
    return value


def _id(value: object) -> int:
    found = typed(value, int)
    if not 0 < found < _LARGEST_ID:
        raise ParkedUnreadable("the id of a call is out of range")
    return int(found)


def row_of_log(log: ProgramLog, packer: Packer) -> list[object]:
    """A log, of which all that has been noted is written, for `log_of`."""
    recorded = log.recorded
    return [
        *(log.source, log.begin, log.seed.hex(), log.now, log.whole, log.made, log.last_now),
        _rows_of_calls(log.calls),
        [_row_of_resume(one, packer) for one in log.resumes],
        *([] if recorded is None else [_row_of_recorded(recorded, packer)]),
    ]


def log_of(value: object, read: Unpacked) -> ProgramLog:
    """Raises ParkedUnreadable for another row than that of `row_of_log`."""
    types = [str, str, str, float, bool, int, float, list, list]
    # Only that of a recorded run has one more.
    has_more = isinstance(value, list) and len(value) > len(types)
    source, begin, seed, now, whole, made, last_now, calls, resumes, *more = row(value, *types, *([list] * has_more))
    log = ProgramLog(
        *(source, begin, hex_bytes(seed, _SEED), now),
        calls=tuple(each(calls, _call)),
        resumes=each(resumes, lambda one: _resume(one, read)),
        whole=whole,
        made=made,
        last_now=last_now,
        recorded=_recorded(more[0], read) if more else None,
    )
    log.size = sum(map(_size, (log.calls, *(one.calls or () for one in log.resumes))))
    log.size += sum(_OVERHEAD + len(orjson.dumps(given.payload)) for one in log.resumes for given in one.settlements)
    if log.recorded is not None:
        log.size += sum(map(len, log.recorded.arguments))
    if not 0 <= made < _LARGEST_ID:
        raise ParkedUnreadable("the id of the last call is out of range")
    return log


def _row_of_recorded(recorded: RecordedParts, packer: Packer) -> list[object]:
    names = None if recorded.names is None else packer.add(recorded.names.encode("utf-8", "surrogatepass"))
    arguments = [packer.add(one) for one in recorded.arguments]
    return [names, recorded.build, arguments, [[line.level, line.text] for line in recorded.logs]]


def _recorded(value: object, read: Unpacked) -> RecordedParts:
    names, build, arguments, logs = row(value, MAYBE_INT, str, list, list)
    try:
        table = None if names is None else read.value(names).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise ParkedUnreadable("the names in it are no text") from None
    return RecordedParts(
        table, build, each(arguments, read.value), each(logs, lambda one: LogLine(*row(one, str, str)))
    )


def _size(calls: Iterable[LoggedCall]) -> int:
    return sum(_OVERHEAD + len(one.name) for one in calls)


def _rows_of_calls(calls: Iterable[LoggedCall]) -> list[object]:
    return [[one.id, one.name, one.digest.hex()] for one in calls]


def _call(value: object) -> LoggedCall:
    id, name, digest = row(value, int, str, str)
    return LoggedCall(_id(id), name, hex_bytes(digest, _DIGEST))


def _row_of_resume(resume: LoggedResume, packer: Packer) -> list[object]:
    settlements = [[one.id, one.ok, packer.add_json(one.payload)] for one in resume.settlements]
    return [resume.now, settlements, None if resume.calls is None else _rows_of_calls(resume.calls)]


def _resume(value: object, read: Unpacked) -> LoggedResume:
    def settlement(value: object) -> Settlement:
        id, ok, payload = row(value, int, bool, int)
        return Settlement(_id(id), ok, orjson.Fragment(read.value(payload)))

    now, settlements, calls = row(value, float, list, (list, type(None)))
    return LoggedResume(now, tuple(each(settlements, settlement)), None if calls is None else tuple(each(calls, _call)))


def _pending(value: object, read: Unpacked) -> tuple[PendingCall, ...]:
    def pending(value: object) -> PendingCall:
        id, name, arguments, line, seq = row(value, int, str, int, int, int)
        if line < 0 or seq < 0:
            raise ParkedUnreadable("the place of a call is out of range")
        return PendingCall(_id(id), name, read.json(arguments), line, seq)

    return tuple(each(value, pending))


def _waiting(value: object) -> Waiting:
    text, url, tool, run, asked, kind, repeatable = row(value, str, MAYBE_TEXT, str, str, bool, str, bool)
    if kind not in get_args(WaitKind):
        raise ParkedUnreadable("it waits for something of another kind")
    return Waiting(text, url, tool, run, asked, kind, repeatable)


def _row_of_run(run: Run, packer: Packer) -> list[object]:
    return [
        *(run.id, run.program, run.note, run.entered, run.notes, packer.add_json(run.check)),
        [[line.level, line.text] for line in run.logs],
        [[one.seq, one.tool, float(one.at), one.status, float(one.ms), one.run, one.line] for one in run.calls],
        [packer.add_json(block) for block in run.emitted],
        [_row_of_cause(cause, packer) for cause in run.causes],
        [[one.tool, packer.add(one.encoded), one.whole] for one in run.returned],
    ]


def _run(value: object, read: Unpacked) -> Run:
    def called(value: object) -> RunCall:
        return RunCall(*row(value, int, str, float, str, float, str, int))

    def block(index: object) -> Block:
        found = read.json(index)
        if not isinstance(found, dict):
            raise ParkedUnreadable("an emitted block in it is no object")
        return found

    def result(value: object) -> Returned:
        tool, encoded, whole = row(value, str, int, bool)
        return Returned(tool, read.value(encoded), whole)

    lists = (list,) * 5
    id, program, note, entered, notes, check, logs, calls, emitted, causes, returned = row(
        value, str, str, MAYBE_TEXT, bool, list, int, *lists
    )
    checked = read.json(check)
    if not isinstance(checked, dict | None):
        raise ParkedUnreadable("the result of a check in it is no object")
    return Run(
        id,
        program,
        logs=each(logs, lambda one: LogLine(*row(one, str, str))),
        calls=each(calls, called),
        emitted=each(emitted, block),
        causes=deque(each(causes, lambda one: _cause(one, read)), MOST_CAUSES),
        returned=deque(each(returned, result), KEPT_RESULTS),
        check=checked,
        notes=texts(notes),
        note=note,
        entered=entered,
    )


def _row_of_cause(cause: Cause, packer: Packer) -> list[object]:
    match cause:
        case Rejection(tool, message, code, data, about_arguments):
            return ["rejection", tool, message, packer.add_json([code, data]), about_arguments]
        case UnknownName(message, path, nearest, signed):
            return ["unknown", message, path, list(nearest), signed]
        case RunFailed(message, name, failure):
            return ["failed", message, name, row_of_failure(failure, packer)]


def row_of_failure(failure: Failure, packer: Packer) -> list[object]:
    """A failure with its cause, for `failure_of`."""
    of = failure.cause
    # Its cause is no failure of another run again (`Failure.of`).
    of_row = None if of is None or isinstance(of, RunFailed) else _row_of_cause(of, packer)
    place = (failure.line, failure.column, failure.stack)
    return [failure.kind, failure.name, failure.message, *place, of_row]


def failure_of(value: object, read: Unpacked) -> Failure:
    """Raises ParkedUnreadable for another row than that of `row_of_failure`."""
    *words, of = row(value, str, str, str, MAYBE_INT, MAYBE_INT, MAYBE_TEXT, (list, type(None)))
    return replace(Failure(*words), cause=None if of is None else _cause(of, read, inner=True))


def _cause(value: object, read: Unpacked, *, inner: bool = False) -> Cause:
    kind, *rest = typed(value, list) or [None]
    if kind == "rejection":
        tool, message, facts, about_arguments = row(rest, str, str, int, bool)
        code, data = row(read.json(facts), MAYBE_INT, object)
        return Rejection(tool, message, code, data, about_arguments)
    if kind == "unknown":
        message, path, nearest, signed = row(rest, str, str, list, bool)
        return UnknownName(message, path, tuple(texts(nearest)), signed)
    if kind == "failed" and not inner:
        message, name, failure = row(rest, str, str, list)
        return RunFailed(message, name, failure_of(failure, read))
    raise ParkedUnreadable("an error in it is of another kind")
