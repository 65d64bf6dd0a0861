"""Conditions on calls in CEL, compiled and checked when they are configured, and bounded when they run.

The language has no side effects and no unbounded loops. Its macros over lists may not be nested here, and arguments
beyond `MAX_NODES` or `MAX_TEXT` are not evaluated: the answer is then None, "cannot be known". Needs the extra `cel`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from portal.access.errors import PolicyError

VARIABLES = frozenset({"arguments", "annotations", "tool", "server", "identity"})
MAX_NODES = 10_000
MAX_TEXT = 256 * 1024
MAX_DEPTH = 64
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter|transform\w+)\s*\(")
_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter|transform\w+)\s*\(\s*([A-Za-z_]\w*)\s*,")
_FAULT = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]+)")
_TEXT = re.compile(r"""[rRbB]{0,2}("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")


class _Program(Protocol):
    """What `cel.compile` returns."""

    def execute(self, variables: Mapping[str, object]) -> object: ...


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled condition. `uses_arguments` is whether it refers to `arguments`."""

    source: str
    program: _Program
    names: frozenset[str]

    @property
    def uses_arguments(self) -> bool:
        return "arguments" in self.names

    def holds(self, variables: Mapping[str, object]) -> bool | None:
        """Its value for these variables, or None if it cannot be evaluated or is not a boolean."""
        inputs = {name: variables[name] for name in self.names if name in variables}
        if "arguments" in inputs and not within_bounds(inputs["arguments"]):
            return None
        try:
            result = self.program.execute(inputs)
        except (KeyboardInterrupt, SystemExit):
            raise
        except (
            BaseException
        ):  # A missing key, a wrong type, or the library's panic, which is not an Exception: the value is unknown.
            return None
        return result if isinstance(result, bool) else None


def compile_expression(source: str, *, where: str = "") -> Expression:
    """The condition in this source.

    Raises:
        PolicyError: it is not CEL, uses unknown names, nests macros, or the extra is not installed.
    """
    try:
        cel = importlib.import_module("cel")
    except ImportError:
        problem = "conditions on arguments need the extra `cel`: pip install 'codemode-portal[cel]'"
        raise PolicyError(problem, where=where) from None
    bare = _TEXT.sub("''", source)
    if '"""' in source or "'''" in source:
        raise PolicyError("write texts in single or double quotes, not in three", where=where)
    if _nested(bare):
        raise PolicyError("macros over lists (all, exists, map, ...) may not be nested", where=where)
    try:
        program = cel.compile(source)
        names = program.references()
    except Exception as error:  # The library does not document its parse errors.
        raise PolicyError(f"is no CEL expression{_fault(str(error))}", where=where) from None
    bound = frozenset(_BOUND.findall(bare))
    unknown = sorted(set(names["variables"]) - VARIABLES - bound)
    if unknown or bound & VARIABLES:
        names_at_fault = ", ".join(unknown or sorted(bound & VARIABLES))
        raise PolicyError(
            f"does not know {names_at_fault[:200]}; there are {', '.join(sorted(VARIABLES))}", where=where
        )
    return Expression(source, program, frozenset(names["variables"]) & VARIABLES)


def within_bounds(value: object) -> bool:
    """Whether a JSON value is small enough to be evaluated."""
    nodes, text = 0, 0
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if isinstance(node, str):
            text += len(node)
        elif isinstance(node, Mapping):
            text += sum(len(key) for key in node)
            pending.extend((part, depth + 1) for part in node.values())
        elif isinstance(node, list | tuple):
            pending.extend((part, depth + 1) for part in node)
        if nodes + len(pending) > MAX_NODES or text > MAX_TEXT or depth > MAX_DEPTH:
            return False
    return True


def _fault(message: str) -> str:
    """Where the library stopped reading, and at what, without its list of every sign that could stand there."""
    found = _FAULT.search(message)
    if found is None:
        return ""
    line, column, what = found.groups()
    what = what.partition(" expecting ")[0][:100]
    return f": line {line}, column {column}: {'it ends too early' if '<EOF>' in what else what}"


def _nested(bare: str) -> bool:
    """Whether a macro is inside the parentheses of another. `bare` is the source with its string literals emptied."""
    opened = {match.end() - 1 for match in _MACRO.finditer(bare)}
    stack: list[bool] = []
    for position, character in enumerate(bare):
        if character == "(":
            macro = position in opened
            if macro and any(stack):
                return True
            stack.append(macro)
        elif character == ")" and stack:
            stack.pop()
    return False
