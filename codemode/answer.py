"""The answer contract: a run as the MCP `CallToolResult` that an agent reads.

Text comes first (the result, or the error with its place in the program), then notes and logs in blocks of their own,
then the emitted blocks. `structuredContent` holds the same for clients that compute. Every part has a budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from codemode.cost import about_tokens, clipped
from codemode.results import Block
from codemode.run import Failure, Rejection, Run, RunCall
from codemode.truncation import text_of, truncate, truncate_text
from codemode.waits import Waiting
from sandbox import LogLine, Overloaded

RESULT_CHARS = 24_000
LOG_CHARS = 8_000
_ERROR_TOKENS = 280
_PLACE_TOKENS, _CALLS_TOKENS, _ADVICE_TOKENS = 70, 60, 110
_ERROR_CHARS = 1_000
_LINE_CHARS = 100
_NOTES_WEIGHT = 4_000
_DATA_TOKENS, _DATA_CHARS = 80, 2_000
_CALL_GROUPS = 8
_STACK_CHARS = 2_000
_ADVICE_LINES, _ADVICE_CHARS = 20, 600
_MESSAGE_CHARS = 4_000
_PAUSED_TOKENS, _LEAST_TEXT_TOKENS = 110, 5

CHECK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "The findings of a check before the run.",
    "properties": {
        "ok": {"type": "boolean"},
        "diagnostics": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "line": {"type": "integer"},
                    "column": {"type": "integer"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "stub": {"type": "string"},
                },
                "required": ["line", "column", "code", "message"],
            },
        },
        "checkedBy": {"type": "string"},
        "unchecked": {"type": "string"},
    },
    "required": ["ok", "diagnostics"],
}

OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"enum": ["completed", "failed", "paused"]},
        "executionId": {"type": "string"},
        "waiting": {
            "type": "array",
            "description": "What a paused run waits for; codemode.runs.result(executionId) gives its result.",
            "items": {
                "type": "object",
                "properties": {
                    "tool": {"type": "string"},
                    "text": {"type": "string"},
                    "url": {"type": "string"},
                },
                "required": ["tool", "text"],
            },
        },
        "result": {"description": "What the program returned; absent when undefined."},
        "error": {
            "type": "object",
            "properties": {
                "kind": {
                    "enum": [
                        *("syntax", "exception", "deadlock", "cpu_time", "wall_time", "memory", "stack"),
                        *("calls", "size", "cancelled", "denied", "type", "engine", "lost", "expired"),
                    ]
                },
                "name": {"type": "string"},
                "message": {"type": "string"},
                "line": {"type": "integer"},
                "column": {"type": "integer"},
                "snippet": {"type": "string"},
                "stack": {"type": "string"},
                "tool": {"type": "string"},
                "code": {"type": "integer"},
                "data": {"description": "The data of the tool's error, cut."},
                "advice": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "What to write instead, a line each.",
                },
            },
            "required": ["kind", "name", "message"],
        },
        "logs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"level": {"type": "string"}, "text": {"type": "string"}},
                "required": ["level", "text"],
            },
        },
        "calls": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "seq": {"type": "integer"},
                    "tool": {"type": "string"},
                    "status": {"enum": ["ok", "error", "denied", "cancelled", "pending"]},
                    "at": {"type": "number"},
                    "ms": {"type": "number"},
                    "run": {"type": "string", "description": "The earlier run that made the call."},
                },
                "required": ["seq", "tool", "status", "ms"],
            },
        },
        "check": CHECK_SCHEMA,
        "note": {"type": "string", "description": "What to know in addition to the result."},
        "truncated": {
            "type": "object",
            "properties": {"chars": {"type": "integer"}, "paths": {"type": "array", "items": {"type": "string"}}},
            "required": ["chars", "paths"],
        },
    },
    "required": ["status", "executionId", "logs", "calls"],
}


def answer(run: Run, advice: list[str]) -> dict[str, Any]:
    """The `CallToolResult` of a finished run. `advice`: lines that help an agent to repair a failure."""
    structured: dict[str, Any] = {"status": "completed" if run.failure is None else "failed", "executionId": run.id}
    if run.note is not None:
        structured["note"] = run.note
        advice = [*advice, run.note]
    if run.failure is None:
        content = [_text(_result(run, structured))]
    else:
        structured["error"] = error = _error(run.failure, run.program)
        if advice:
            error["advice"] = [_clip(line, _ADVICE_CHARS) for line in advice[:_ADVICE_LINES]]
        content = [_text(_failure_text(run, run.failure, error, advice))]
    logs = _within_budget(run.logs)
    structured["logs"] = [{"level": line.level, "text": line.text} for line in logs]
    structured["calls"] = [call.as_dict() for call in run.calls]
    if run.failure is None and run.note is not None:
        content.append(_text(run.note))
    if run.failure is None and (note := _note_on_cancelled(run.calls)):
        structured["note"] = note if run.note is None else f"{run.note}\n{note}"
        content.append(_text(note))
    if run.check is not None:
        structured["check"] = run.check
    if run.failure is None and run.notes:
        content.append(_text(_clip("\n".join(run.notes), _NOTES_WEIGHT)))
    if logs:
        content.append(_text("Logs:\n" + "\n".join(_log_line(line) for line in logs)))
    content += run.emitted
    return {"content": content, "structuredContent": structured, "isError": run.failure is not None}


def refused(run_id: str, error: Overloaded) -> Block:
    """The `CallToolResult` of a program that does not run, because there is no room for it."""
    return answer(Run(run_id, "", failure=Failure.of_engine(error)), [])


def paused(run_id: str, waiting: Sequence[Waiting], calls: Sequence[RunCall]) -> Block:
    """The `CallToolResult` of a run that waits for a person, or for its own timer, for longer than its client waits. No
    error: it goes on.

    `calls` are those made so far. Logs and emitted blocks come with the result.
    """
    by_itself = bool(waiting) and all(one.kind == "timer" for one in waiting)
    pages = list(dict.fromkeys(one.url for one in waiting if one.url))
    more = f" (and {len(pages) - 1} more, in `waiting`)" if len(pages) > 1 else ""
    lines = [
        "Paused, not failed: the program sleeps."
        if by_itself
        else "Paused, not failed: a person has to do something first.",
        *([pages[0] + more] if pages else []),
        "Go on with this program then:" if by_itself else "Tell them. When it is done, go on with this program:",
        f'return await codemode.runs.result("{run_id}")',
    ]
    texts = "; ".join(dict.fromkeys(" ".join(one.text.split()) for one in waiting))
    lines.insert(1, clipped(texts, max(_PAUSED_TOKENS - about_tokens("\n".join(lines)), _LEAST_TEXT_TOKENS)))
    structured: dict[str, object] = {
        "status": "paused",
        "executionId": run_id,
        "waiting": [one.as_dict() for one in waiting],
        "logs": [],
        "calls": [call.as_dict() for call in calls],
    }
    return {"content": [_text("\n".join(lines))], "structuredContent": structured, "isError": False}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _result(run: Run, structured: dict[str, Any]) -> str:
    """The text of the result, cut; its value goes into `structured`."""
    if not run.has_value:
        return "undefined"
    value = run.value
    if isinstance(value, str):
        short = truncate_text(value, RESULT_CHARS)
        structured["result"] = value if short is None else short
        if short is not None:
            structured["truncated"] = {"chars": len(value), "paths": ["result"]}
        return value if short is None else short
    cut = truncate(value, RESULT_CHARS)
    if cut is None:
        structured["result"] = value
        return text_of(value)
    structured["result"] = cut.value
    structured["truncated"] = {"chars": cut.chars, "paths": cut.paths}
    return text_of(cut.value)


def _error(failure: Failure, program: str) -> dict[str, Any]:
    error: dict[str, Any] = {
        "kind": failure.kind,
        "name": failure.name[:100],
        "message": failure.message[:_MESSAGE_CHARS],
    }
    if failure.line is not None:
        error["line"] = failure.line
        if failure.column is not None:
            error["column"] = failure.column
        if lines := snippet(program, failure.line, failure.column):
            error["snippet"] = lines
    if failure.stack:
        error["stack"] = failure.stack[:_STACK_CHARS]
    if isinstance(failure.cause, Rejection):
        error |= _tool_error(failure.cause)
    return error


def _tool_error(cause: Rejection) -> dict[str, Any]:
    """The tool that failed, with its `code` and `data`."""
    error: dict[str, Any] = {"tool": cause.tool}
    if cause.code is not None:
        error["code"] = cause.code
    if cause.data is not None:
        cut = truncate(cause.data, _DATA_CHARS, "data")
        error["data"] = cause.data if cut is None else cut.value
    return error


def snippet(program: str, line: int, column: int | None) -> str | None:
    """The line with its number, and a caret under the column. Of a long line the part around the column."""
    lines = program.splitlines()
    if not 1 <= line <= len(lines):
        return None
    text = lines[line - 1].replace("\t", " ")
    at = max(0, min((column or 1) - 1, len(text)))
    start = max(0, min(at - _LINE_CHARS // 2, len(text) - _LINE_CHARS))
    part = text[start : start + _LINE_CHARS]
    head = f"{line} | {'…' if start else ''}"
    ending = "…" if start + _LINE_CHARS < len(text) else ""
    if column is None:
        return head + part + ending
    return f"{head}{part}{ending}\n{' ' * (len(head) + at - start)}^"


def _failure_text(run: Run, failure: Failure, error: dict[str, Any], advice: list[str]) -> str:
    others = []
    # An error about arguments names its tool already, and has no code or data.
    if isinstance(failure.cause, Rejection) and not failure.cause.about_arguments:
        others.append(clipped(_tool_line(error), _DATA_TOKENS))
    if failure.line is not None:
        place = f"at line {failure.line}" + (f", column {failure.column}" if failure.column is not None else "")
        others.append(clipped(f"{place}\n{error['snippet']}" if "snippet" in error else place, _PLACE_TOKENS))
    if advice:
        others.append(clipped("\n".join(advice), _ADVICE_TOKENS))
    if run.calls:
        others.append(clipped(f"Calls made: {_summary(run.calls)}", _CALLS_TOKENS))
    # The failure's own message gets the room that the other lines leave.
    room = _ERROR_TOKENS - sum(map(about_tokens, others))
    head = clipped(_clip(f"{failure.name}: {failure.message}", _ERROR_CHARS - sum(map(len, others))), room)
    return _clip("\n".join((head, *others)), _ERROR_CHARS)


def _tool_line(error: dict[str, Any]) -> str:
    """`from fix.search, code -32000, data {...}`."""
    parts = [f"from {error['tool']}"]
    parts += [f"code {error['code']}"] if "code" in error else []
    parts += [f"data {text_of(error['data'])}"] if "data" in error else []
    return ", ".join(parts)


def _clip(text: str, weight: int) -> str:
    """A text cut by weight. A character beyond ASCII weighs three: it has about as many tokens as three letters."""
    if len(text) * 3 <= weight or (text.isascii() and len(text) <= weight):
        return text
    room = weight
    for position, character in enumerate(text):
        room -= 1 if character < "\x80" else 3
        if room < 0:
            return text[: max(0, position - 1)] + "…"
    return text


def _summary(calls: list[RunCall]) -> str:
    """Tools and statuses of calls in their order, equal ones in a row counted."""
    groups = [(key, len(list(members))) for key, members in groupby(calls, lambda call: (call.tool, call.status))]
    texts = [f"{tool} {status}" + (f" ×{count}" if count > 1 else "") for (tool, status), count in groups]
    more = sum(count for _, count in groups[_CALL_GROUPS:])
    return ", ".join(texts[:_CALL_GROUPS]) + (f" and {more} more" if more else "")


def _note_on_cancelled(calls: list[RunCall]) -> str | None:
    tools = [call.tool for call in calls if call.status == "cancelled" and not call.run]
    if not tools:
        return None
    names = ", ".join(dict.fromkeys(tools[:_CALL_GROUPS]))
    return f"Note: {len(tools)} calls were not awaited and were cancelled when the program ended: {names}"


def _log_line(line: LogLine) -> str:
    return line.text if line.level == "log" else f"[{line.level}] {line.text}"


def _within_budget(logs: list[LogLine]) -> list[LogLine]:
    """The log lines; of too many the first and the last ones, with a line between them that counts the others."""
    if sum(len(line.text) for line in logs) + 10 * len(logs) <= LOG_CHARS:
        return logs
    half = LOG_CHARS // 2
    first = _take(logs, half)
    last = _take(logs[len(first) :][::-1], half)[::-1]
    missing = len(logs) - len(first) - len(last)
    if not missing:
        return first + last
    return [*first, LogLine("info", f"… {missing} log lines left out …"), *last]


def _take(logs: list[LogLine], room: int) -> list[LogLine]:
    """As many lines as have room, the last of them perhaps cut."""
    lines: list[LogLine] = []
    for line in logs:
        if room < 40:
            break
        short = truncate_text(line.text, room)
        lines.append(line if short is None else LogLine(line.level, short))
        room -= len(lines[-1].text) + 10
    return lines
