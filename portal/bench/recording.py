"""Recordings: everything a run received from outside, in order, so that it can be repeated exactly.

A recording is one file, `recording.json`, in a folder of the developer's choice. It has unchanged arguments and
results, which may be secrets, so only its owner can read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codemode import CallOutcome, Flight, Pace, RealPace, ToolDenied, ToolFailed, ToolReturned
from portal.bench.json_checks import check_keys
from portal.bench.tool_lists import as_document, servers_of
from portal.config import read_document
from portal.errors import InputError
from sandbox import Settlement
from stubs import Server

FILE = "recording.json"
FORMAT = "codemode-recording/1"
MAX_BYTES = 1024 * 1024 * 1024
_KEYS = (
    *("format", "title", "source", "input", "now", "seed", "servers", "unavailable", "calls", "resumes", "answer"),
)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call and its outcome, which is None if there was no answer. `at` and `ms` are in milliseconds."""

    seq: int
    server: str
    tool: str
    arguments: dict[str, object]
    outcome: CallOutcome | None
    at: float = 0.0
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Resume:
    """One continuation of the program: the time, and the ids of the host calls that were settled, in order."""

    now: float
    settled: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A run with everything it received. `answer` is its result. Without an input, `has_input` is False.

    `now` is milliseconds since the epoch.
    """

    title: str
    source: str
    now: float
    seed: bytes
    servers: tuple[Server, ...]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[RecordedCall, ...] = ()
    resumes: tuple[Resume, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    input: object = None
    has_input: bool = False


class RecordingPace:
    """A `Pace` that records the decisions of another."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.start = 0.0
        self.seed = b""
        self.resumes: list[Resume] = []
        self._pace = pace or RealPace()
        self._now = 0.0

    def begin(self) -> tuple[float, bytes]:
        self.resumes.clear()
        self.start, self.seed = self._pace.begin()
        return self.start, self.seed

    def now(self) -> float:
        return self._now

    def elapsed(self) -> float:
        return self._pace.elapsed()

    async def settled(self, flight: Flight, wake_at: float | None) -> list[Settlement]:
        settled = await self._pace.settled(flight, wake_at)
        self._now = self._pace.now()
        self.resumes.append(Resume(self._now, tuple(settlement.id for settlement in settled)))
        return settled


def write_recording(recording: Recording, folder: Path) -> Path:
    """The file of the recording, written atomically into a folder, which is created if it is missing.

    Raises:
        InputError: the file cannot be written.
    """
    file = folder / FILE
    draft = folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(_document(recording), out, indent=1, ensure_ascii=True)
            out.write("\n")
        draft.replace(file)
    except OSError as error:
        raise InputError(f"Cannot write the recording {file}: {error.strerror or error}.") from error
    return file


def read_recording(folder: Path) -> Recording:
    """The recording in a folder, or in a file.

    Raises:
        InputError: the file cannot be read, is not a recording, or is damaged.
    """
    file = folder / FILE if folder.is_dir() else folder
    document = read_document(file, largest=MAX_BYTES)
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise InputError(f"{file} is no recording of this version ({FORMAT}); `codemode run --record` makes one.")
    check_keys(document, _KEYS, str(file))
    try:
        return Recording(
            title=str(document["title"]),
            source=str(document["source"]),
            input=document.get("input"),
            has_input="input" in document,
            now=float(document["now"]),
            seed=bytes.fromhex(document["seed"]),
            servers=servers_of({"servers": document["servers"]}, str(file)),
            unavailable={str(key): str(value) for key, value in document.get("unavailable", {}).items()},
            calls=tuple(_call(call) for call in document["calls"]),
            resumes=tuple(Resume(float(now), tuple(map(int, settled))) for now, settled in document["resumes"]),
            answer=dict(document["answer"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {type(error).__name__} {error}.") from error


def _document(recording: Recording) -> dict[str, object]:
    members = {"input": recording.input} if recording.has_input else {}
    return {
        "format": FORMAT,
        "title": recording.title,
        "source": recording.source,
        **members,
        "now": recording.now,
        "seed": recording.seed.hex(),
        "servers": as_document(recording.servers)["servers"],
        "unavailable": dict(recording.unavailable),
        "calls": [
            {
                "seq": call.seq,
                "server": call.server,
                "tool": call.tool,
                "arguments": call.arguments,
                "at": call.at,
                "ms": call.ms,
                **outcome_document(call.outcome),
            }
            for call in recording.calls
        ],
        "resumes": [[resume.now, list(resume.settled)] for resume in recording.resumes],
        "answer": dict(recording.answer),
    }


def outcome_document(outcome: CallOutcome | None) -> dict[str, object]:
    """An outcome as JSON: `result` (the raw MCP result), `failed` or `denied`; {} for a call without an outcome."""
    if isinstance(outcome, ToolReturned):
        return {"result": outcome.result}
    if isinstance(outcome, ToolFailed):
        return {"failed": {"message": outcome.message, "code": outcome.code, "data": outcome.data}}
    return {"denied": outcome.reason} if isinstance(outcome, ToolDenied) else {}


def _call(call: Mapping[str, Any]) -> RecordedCall:
    outcome: CallOutcome | None = None
    if "result" in call:
        outcome = ToolReturned(dict(call["result"]))
    elif "failed" in call:
        outcome = ToolFailed(str(call["failed"]["message"]), call["failed"].get("code"), call["failed"].get("data"))
    elif "denied" in call:
        outcome = ToolDenied(str(call["denied"]))
    times = float(call.get("at", 0)), float(call.get("ms", 0))
    return RecordedCall(int(call["seq"]), call["server"], call["tool"], dict(call["arguments"]), outcome, *times)
