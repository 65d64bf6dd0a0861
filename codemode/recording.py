"""A recorded run: all that it takes to repeat it and nothing else, its form as bytes, and how a repetition differs.

The recording of a run that has parked goes from its first line to its end, whatever processes it ran in. Whoever stores
the bytes seals them: they have arguments and results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from os.path import commonprefix
from typing import Literal

from codemode.calls import LogDiffers
from codemode.errors import NotRecordable, ParkedUnreadable
from codemode.packed import Packer, Unpacked, json_bytes, row
from codemode.parking import ProgramLog, canonical, failure_of, log_of, row_of_failure, row_of_log
from codemode.recorded import RecordedEnd
from codemode.run import Failure, Run
from sandbox import LogLine

_MAGIC = b"CMRP\x01"
_SHOWN, _BEFORE = 1_000, 200  # characters of a value in a difference, and of them before the place where it differs
_BY_TIME = "cpu_time"
_OURS = ("engine", "lost")
"""Ends that say nothing about the program."""


@dataclass(frozen=True, slots=True)
class ReplayDifference:
    """The first difference of a repetition. `at` is the number of the call or the line of the log, 0 for an end. `then`
    and `now` are what it is about, cut around the place where they differ; "" where there is nothing."""

    what: Literal["call", "log", "result", "end"]
    at: int
    words: str
    then: str = ""
    now: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a repetition. `calls` and `logs` are how many the recording has. `ended`: how the run had ended, a
    kind of `Failure` or "result". `same_build`: whether the run began in the build of today. Without a `difference`
    every call, every line of its logs and its end are equal."""

    calls: int
    logs: int
    ended: str
    same_build: bool
    difference: ReplayDifference | None = None


@dataclass(frozen=True, slots=True)
class RunRecording:
    """The log of a run, which has its `recorded` part, and its end."""

    log: ProgramLog
    end: RecordedEnd

    @classmethod
    def of(cls, log: ProgramLog | None) -> RunRecording:
        """That of a run that has ended, from the log of its handle.

        Raises:
            NotRecordable: it was not recorded, or what was recorded is not enough to repeat it.
        """
        if log is None or not log.now:
            raise NotRecordable("it ended before its program began")
        if log.recorded is None or log.recorded.end is None:
            raise NotRecordable("it was not recorded from its first line")
        if not log.whole:
            raise NotRecordable("it received more than a recording may have")
        end = log.recorded.end
        if end.failure is not None and end.failure.kind in _OURS:
            raise NotRecordable("it ended because of an error of this portal")
        return cls(log.write(), end)

    @property
    def names(self) -> str | None:
        """The names of its image; None where the program starts with its own."""
        return None if self.log.recorded is None else self.log.recorded.names

    @property
    def build(self) -> str:
        return "" if self.log.recorded is None else self.log.recorded.build

    @property
    def arguments(self) -> list[bytes]:
        """Those of each call, as canonical JSON."""
        return [] if self.log.recorded is None else self.log.recorded.arguments

    @property
    def logs(self) -> Sequence[LogLine]:
        """The lines that the program logged."""
        return () if self.log.recorded is None else self.log.recorded.logs

    @property
    def size(self) -> int:
        """About how many bytes it has in memory."""
        return self.log.size + len(self.log.source) + len(self.names or "") + len(self.log.begin)

    def texts(self) -> Iterator[str]:
        """All that it has of values: its program, what it sent, what it received, what it said and what it returned."""
        yield self.log.source
        for arguments in self.arguments:
            yield arguments.decode("utf-8", "replace")
        for resume in self.log.resumes:
            for settlement in resume.settlements:
                yield json_bytes(settlement.payload).decode("utf-8", "replace")
        for line in self.logs:
            yield line.text
        yield json_bytes(self.end.value).decode("utf-8", "replace")
        if self.end.failure is not None:
            yield self.end.failure.message

    def as_bytes(self) -> bytes:
        packer, end = Packer(), self.end
        failure = end.failure
        rows = [
            row_of_log(self.log, packer),
            [end.has_value, packer.add_json(end.value), end.stopped],
            None if failure is None else row_of_failure(failure, packer),
        ]
        return packer.pack(_MAGIC, rows)

    @classmethod
    def from_bytes(cls, data: bytes) -> RunRecording:
        """Raises ParkedUnreadable for other bytes than those of `as_bytes`, of this version."""
        read = Unpacked(_MAGIC, data)
        log, end, failure = row(read.rows, list, list, (list, type(None)))
        has_value, value, stopped = row(end, bool, int, bool)
        found = log_of(log, read)
        if read.tail or found.recorded is None:
            raise ParkedUnreadable("it is no recording")
        failed = None if failure is None else failure_of(failure, read)
        return cls(found, RecordedEnd(read.json(value), has_value, failed, stopped))


def comparison(recording: RunRecording, run: Run, build: str, *, ended: bool, differs: LogDiffers | None) -> Replayed:
    """What a repetition in this build says, whose record is `run`. `differs`: it called something else."""
    end = recording.end
    difference = _of_call(recording, differs) if differs is not None else _of_end(recording, run, ended=ended)
    kind = "result" if end.failure is None else end.failure.kind
    return Replayed(len(recording.arguments), len(recording.logs), kind, recording.build == build, difference)


def _of_call(recording: RunRecording, differs: LogDiffers) -> ReplayDifference:
    then, now = differs.then, differs.now
    was = b"" if then is None or then.id > len(recording.arguments) else recording.arguments[then.id - 1]
    before = "" if then is None else _called(then.name, was)
    after = "" if now is None else _called(now.name, canonical(now.arguments))
    number = then.id if then is not None else now.id if now is not None else 0
    return ReplayDifference("call" if number else "end", number, str(differs), *_around(before, after))


def _of_end(recording: RunRecording, run: Run, *, ended: bool) -> ReplayDifference | None:
    end, failure = recording.end, run.failure
    by_time = failure is not None and end.failure is not None and failure.kind == end.failure.kind == _BY_TIME
    for at, (then, now) in enumerate(zip_longest(recording.logs, run.logs), 1):
        if then == now:
            continue
        if by_time and (then is None or now is None):
            break  # how far a program comes in its time is no two times the same
        words = "it logged something else" if then and now else "it did not log this" if then else "it logged this too"
        return ReplayDifference("log", at, words, *_around(_line(then), _line(now)))
    if ended == end.stopped:
        words = "it ended where it had waited" if ended else "it waits where it had ended"
        return ReplayDifference("end", 0, words, _ended(end.failure, end.value, end.has_value), _now(run, ended))
    if end.stopped or by_time:
        return None
    then_text, now_text = _ended(end.failure, end.value, end.has_value), _now(run, ended)
    if then_text == now_text:
        return None
    if end.failure is None and failure is None:
        return ReplayDifference("result", 0, "it returned something else", *_around(then_text, now_text))
    return ReplayDifference("end", 0, "it ended in another way", *_around(then_text, now_text))


def _now(run: Run, ended: bool) -> str:
    return _ended(run.failure, run.value, run.has_value) if ended else ""


def _ended(failure: Failure | None, value: object, has_value: bool) -> str:
    if failure is None:
        return json_bytes(value).decode("utf-8", "replace") if has_value else "undefined"
    place = "" if failure.line is None else f" at {failure.line}:{failure.column}"
    stack = "" if failure.stack is None else f"\n{failure.stack}"
    return f"{failure.kind}: {failure.name}: {failure.message}{place}{stack}"


def _called(name: str, arguments: bytes) -> str:
    return f"codemode.{name}({arguments.decode('utf-8', 'replace')})"


def _line(line: LogLine | None) -> str:
    return "" if line is None else f"{line.level}: {line.text}"


def _around(then: str, now: str) -> tuple[str, str]:
    """Both texts, of which so much is left that a person sees where they differ."""
    start = max(0, len(commonprefix((then, now))) - _BEFORE) if then and now else 0
    return _cut(then, start), _cut(now, start)


def _cut(text: str, start: int) -> str:
    end = start + _SHOWN
    return f"{'…' if start and text else ''}{text[start:end]}{'…' if len(text) > end else ''}"
