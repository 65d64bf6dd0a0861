"""Whether a run was what its test expects, and how it was not. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from portal.bench.cases import EXPECTED
from portal.bench.mock_rules import ABSENT, agrees
from portal.bench.session import Ran

_LINES = 60


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`about` is what was expected otherwise: result, error, calls or logs. `lines` is a diff: expected -, actual +."""

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


def verdict(expect: Mapping[str, object], ran: Ran) -> list[Mismatch]:
    """What differs; empty when all is as expected. A failure nobody expected is a mismatch of its own."""
    actual = outcome(expect, ran)
    found = [
        Mismatch(about, expect[about], actual.get(about, ABSENT))
        for about in EXPECTED
        if about in expect and not _agrees(about, expect[about], actual.get(about, ABSENT))
    ]
    if not ran.completed and "error" not in expect:
        found.append(Mismatch("error", ABSENT, actual["error"]))
    return found


def outcome(expect: Mapping[str, object], ran: Ran) -> dict[str, object]:
    """What happened, in the form of an expectation, with no more detail than `expect` asks about."""
    answer = ran.answer
    happened: dict[str, object] = {}
    if "error" in answer:
        happened["error"] = _error(expect.get("error"), answer["error"])
    elif "result" in answer:
        happened["result"] = answer["result"]
    happened["calls"] = _calls(expect.get("calls"), ran)
    happened["logs"] = _logs(expect.get("logs"), answer.get("logs") or [])
    return happened


def updated(expect: Mapping[str, object], ran: Ran) -> dict[str, object]:
    """The expectations this run meets, changed as little as can be; of a test without any, its result and calls."""
    wrong = {mismatch.about for mismatch in verdict(expect, ran)}
    actual = outcome(expect, ran)
    if not expect:
        return {key: actual[key] for key in ("result", "error", "calls") if key in actual}
    kept = {key: value for key, value in expect.items() if key not in wrong}
    fresh = {key: actual[key] for key in wrong if key in actual}
    if wrong & {"result", "error"}:
        fresh.update({key: actual[key] for key in ("result", "error") if key in actual})
    merged = {**kept, **fresh}
    return {key: merged[key] for key in EXPECTED if key in merged}


def _agrees(about: str, expected: object, actual: object) -> bool:
    if about == "error" and isinstance(actual, Mapping):
        return _error_agrees(expected, actual)
    return agrees(expected, actual)


def _error_agrees(expected: object, actual: Mapping[str, object]) -> bool:
    """Text is part of the message; so is the message of an object."""
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
    asked = set(expected) if isinstance(expected, Mapping) else {"kind", "message"}
    asked |= {"message"}
    return {key: error[key] for key in ("kind", "name", "message", "line") if key in asked and key in error}


def _calls(expected: object, ran: Ran) -> object:
    calls = ran.answer.get("calls") or []
    if isinstance(expected, int):
        return len(calls)
    made = {made.seq: made.arguments for made in ran.made}
    described = expected if isinstance(expected, list) else []
    shown = []
    for place, call in enumerate(calls):
        like = described[place] if place < len(described) else {"arguments": None}
        if isinstance(like, str):
            shown.append(call["tool"])
            continue
        one: dict[str, object] = {"tool": call["tool"]}
        if "arguments" in like and call["seq"] in made:
            one["arguments"] = made[call["seq"]]
        if "status" in like or (call["status"] != "ok" and "arguments" not in like):
            one["status"] = call["status"]
        shown.append(one)
    return shown


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
