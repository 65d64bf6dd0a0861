"""Selects the diagnostics of a compiler that matter when a program runs, and words them for an agent.

Programs are JavaScript, and most of what a type checker reports of JavaScript is a matter of style. Findings are made
of code that throws, arguments that a tool would refuse, and members that do not exist. There is none where the compiler
only cannot know: for a union, a widened literal, an object that is filled later, a member that is only tested.

The regular expressions here read the compiler's English, which is all that it gives in addition to numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from codemode.advice import for_name
from codemode.catalog import Catalog
from codemode.check.certain import callee, exists, unknown_tool
from codemode.check.context import Context
from codemode.check.finding import MAX_FINDINGS, MAX_MESSAGE_CHARS, UNKNOWN_TOOL, Finding, place
from codemode.syntax import NO_MODULES

_MISSING_NAME = frozenset({2304, 2552, 2580, 2581, 2582, 2583, 2584, 2591, 2592, 2593, 2693, 18004})
_MISSING_MEMBER = frozenset({2339, 2551})
_ARGUMENT = frozenset({2322, 2345, 2353, 2554, 2555, 2559, 2560, 2561, 2739, 2740, 2741, 2820})
_ALWAYS_THROWS = frozenset({2349, 2351, 2448, 2461, 2488, 2588})
_NO_MODULE = frozenset({2307, 2792})

_NAME = re.compile(r"'([^']{1,100})'")
_ON_TYPE = re.compile(r"does not exist on type '(.*?)'(?:\.|$)", re.MULTILINE)
_ASSIGNED = re.compile(r"(?:Argument of type|Type) '(.*?)' is not assignable to (?:parameter of )?type '(.*?)'\.")
_INSIDE = re.compile(r"\{[^{}]*\}|\([^()]*\)|\"[^\"]*\"|<[^<>]*>")
_LITERAL = re.compile(r"\"|-?\d|true$|false$|`")
_LOOSE = frozenset({"{}", "unknown", "never", "object", "Object", "Error", "any", "void", "undefined", "null"})
_HINT = re.compile(r" Do you need to .*| Try changing .*| '.*' may be .*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A diagnostic: its offset in the program, the number of its message, and the message, perhaps of several lines."""

    offset: int
    number: int
    message: str


def relevant(complaints: Iterable[Complaint], context: Context, catalog: Catalog) -> list[Finding]:
    """The findings among a compiler's complaints, one for each place."""
    findings: dict[tuple[int, int], Finding] = {}
    for complaint in complaints:
        if len(findings) == MAX_FINDINGS:
            break
        finding = _finding(complaint, context, catalog)
        if finding is not None:
            findings.setdefault((finding.line, finding.column), finding)
    return sorted(findings.values(), key=lambda one: (one.line, one.column))


def _finding(complaint: Complaint, context: Context, catalog: Catalog) -> Finding | None:
    number, offset = complaint.number, complaint.offset
    if context.is_type(offset):
        return None
    if number in _MISSING_MEMBER:
        return _member(complaint, context, catalog)
    if number in _ARGUMENT:
        members = context.called(offset)
        if members is None or _may_fit(complaint, context):
            return None
        return _finding_at(complaint, context, _in_words(complaint.message), callee(catalog, members))
    if number in _NO_MODULE or (number in _MISSING_NAME and context.word(offset)[:1] == '"'):
        return _finding_at(complaint, context, f"A program cannot import. {NO_MODULES}")
    if number in _MISSING_NAME:
        name = (_NAME.search(complaint.message) or [""] * 2)[1]
        if context.is_tested(name):
            return None
        words = _HINT.sub("", complaint.message.split("\n")[0])
        advice = for_name(name, catalog)
        return _finding_at(complaint, context, f"{words} {advice}" if advice else words)
    if number in _ALWAYS_THROWS and " | " not in complaint.message and "'never'" not in complaint.message:
        origin = context.called(offset) or context.origin(offset)
        return _finding_at(
            complaint, context, _with_await(complaint.message), callee(catalog, origin) if origin else None
        )
    return None


def _finding_at(complaint: Complaint, context: Context, message: str, stub: str | None = None) -> Finding:
    line, column = place(context.program, complaint.offset)
    return Finding(line, column, f"TS{complaint.number}", message[:MAX_MESSAGE_CHARS], stub)


def _member(complaint: Complaint, context: Context, catalog: Catalog) -> Finding | None:
    if (path := context.path(complaint.offset)) is not None:
        members, start = path
        if exists(catalog, members):
            return None
        message, nearest = unknown_tool(catalog, members)
        line, column = place(context.program, start)
        return Finding(line, column, UNKNOWN_TOOL, message, catalog.signature(nearest) if nearest else None)
    types = _ON_TYPE.findall(complaint.message)
    if len(types) != 1 or types[0] in _LOOSE or " | " in types[0] or types[0].endswith("Error"):
        return None
    if types[0].startswith("typeof ") or context.is_assigned(complaint.offset) or context.is_probed(complaint.offset):
        return None
    origin = context.origin(complaint.offset)
    stub = callee(catalog, origin) if origin else None
    return _finding_at(complaint, context, _with_await(complaint.message), stub)


def _with_await(message: str) -> str:
    """The compiler's words, with a remedy where a promise is taken for its value."""
    first = message.split("\n")[0]
    return f"{_HINT.sub('', first)} It is a Promise: await it first." if "'Promise<" in first else _in_words(message)


def _in_words(message: str) -> str:
    """The first line and the last, which names the innermost cause."""
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    return lines[0] if len(lines) < 2 else f"{lines[0]} {lines[-1]}"


def _may_fit(complaint: Complaint, context: Context) -> bool:
    """Whether a value may be right after all, because its author knows more of it than the compiler."""
    message = complaint.message
    if "but source may have" in message:
        return True
    missing = "is missing in type" in message or "is missing the following" in message
    if missing and not context.is_literal(complaint.offset):
        return "'Promise<" not in message
    for source, target in _ASSIGNED.findall(message):
        if _is_union(source) or source in _LOOSE:
            return True
        if source in ("string", "number", "boolean") and _LITERAL.match(target):
            return True
    return False


def _is_union(type_text: str) -> bool:
    while (outer := _INSIDE.sub("", type_text)) != type_text:
        type_text = outer
    return " | " in type_text
