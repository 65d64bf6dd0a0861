"""Compares a run with the expectations of its test. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from portal.bench.cases import EXPECTED
from portal.bench.mock_rules import ABSENT, agrees
from portal.bench.session import ProgramRun

_LINES = 60


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference in the result, error, calls or logs (`about`). `lines` is a diff: expected -, actual +."""

    about: str
    expected: object
    actual: object

    @property
    def title(self) -> str:
        return f"{self.about}: expected - and actual +"

    @property
    def lines(self) -> list[str]:
        expected, actual = _text(self.expected), _text(self.actual)
        compared = list(difflib.ndiff(expected, actual)) if len(expected) + len(actual) < 2_000 else []
        lines = [line for line in compared if not line.startswith("?")]
        lines = lines or [*(f"- {line}" for line in expected), *(f"+ {line}" for line in actual)]
        return lines if len(lines) <= _LINES else [*lines[:_LINES], f"  ... and {len(lines) - _LINES} more lines"]


def verdict(expect: Mapping[str, object], program_run: ProgramRun) -> list[Mismatch]:
    """The differences between a run and its expectations. A failure that is not expected is one too."""
    actual = outcome(expect, program_run)
    mismatches = [
        Mismatch(about, expect[about], actual.get(about, ABSENT))
        for about in EXPECTED
        if about in expect and not _agrees(about, expect[about], actual.get(about, ABSENT))
    ]
    if not program_run.completed and "error" not in expect:
        mismatches.append(Mismatch("error", ABSENT, actual["error"]))
    return mismatches


def outcome(expect: Mapping[str, object], program_run: ProgramRun) -> dict[str, object]:
    """The run in the form of an expectation, with only the details that `expect` has."""
    answer = program_run.answer
    happened: dict[str, object] = {}
    if "error" in answer:
        happened["error"] = _error(expect.get("error"), answer["error"])
    elif "result" in answer:
        happened["result"] = answer["result"]
    happened["calls"] = _calls(expect.get("calls"), program_run)
    happened["logs"] = _logs(expect.get("logs"), answer.get("logs") or [])
    return happened


def updated_expectations(expect: Mapping[str, object], program_run: ProgramRun) -> dict[str, object]:
    """Expectations that this run meets, with the fewest changes. Without any before, the run's result and calls."""
    wrong = {mismatch.about for mismatch in verdict(expect, program_run)}
    actual = outcome(expect, program_run)
    if not expect:
        return {key: actual[key] for key in ("result", "error", "calls") if key in actual}
    unchanged = {key: value for key, value in expect.items() if key not in wrong}
    replaced = {key: actual[key] for key in wrong if key in actual}
    if wrong & {"result", "error"}:
        replaced.update({key: actual[key] for key in ("result", "error") if key in actual})
    merged = {**unchanged, **replaced}
    return {key: merged[key] for key in EXPECTED if key in merged}


def _agrees(about: str, expected: object, actual: object) -> bool:
    if about == "error" and isinstance(actual, Mapping):
        return _error_agrees(expected, actual)
    return agrees(expected, actual)


def _error_agrees(expected: object, actual: Mapping[str, object]) -> bool:
    """Whether an error is the expected one. An expected text, or `message`, must be part of the error's message."""
    if isinstance(expected, str):
        return expected in str(actual.get("message"))
    if not isinstance(expected, Mapping):
        return False
    message = expected.get("message")
    rest = {key: value for key, value in expected.items() if key != "message"}
    if isinstance(message, str):
        if message not in str(actual.get("message")):
            return False
    elif message is not None and not agrees(message, actual.get("message")):
        return False
    return all(agrees(value, actual.get(key, ABSENT)) for key, value in rest.items())


def _error(expected: object, error: Mapping[str, object]) -> dict[str, object]:
    members = set(expected) if isinstance(expected, Mapping) else {"kind", "message"}
    members |= {"message"}
    return {key: error[key] for key in ("kind", "name", "message", "line") if key in members and key in error}


def _calls(expected: object, program_run: ProgramRun) -> object:
    calls = program_run.answer.get("calls") or []
    if isinstance(expected, int):
        return len(calls)
    arguments = {call.seq: call.arguments for call in program_run.calls}
    described = expected if isinstance(expected, list) else []
    calls_as_expected = []
    for place, call in enumerate(calls):
        like = described[place] if place < len(described) else {"arguments": None}
        if isinstance(like, str):
            calls_as_expected.append(call["tool"])
            continue
        described_call: dict[str, object] = {"tool": call["tool"]}
        if "arguments" in like and call["seq"] in arguments:
            described_call["arguments"] = arguments[call["seq"]]
        if "status" in like or (call["status"] != "ok" and "arguments" not in like):
            described_call["status"] = call["status"]
        calls_as_expected.append(described_call)
    return calls_as_expected


def _logs(expected: object, logs: list[Mapping[str, object]]) -> list[object]:
    described = expected if isinstance(expected, list) else []
    return [
        {"level": log["level"], "text": log["text"]}
        if place < len(described) and isinstance(described[place], Mapping) and "level" in described[place]
        else log["text"]
        for place, log in enumerate(logs)
    ]


def _text(value: object) -> list[str]:
    if value is ABSENT:
        return []
    return json.dumps(value, indent=2, ensure_ascii=False, default=str).split("\n")
