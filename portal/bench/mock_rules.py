"""Mocks as data: for each tool a result, or rules that answer the calls they match. Pure, except `Turns`, which counts.

    {"shop.get_order": {"result": {"id": 7}}}
    {"shop.get_order": [
        {"when": {"id": {"$gt": 100}}, "error": "there is no such order"},
        {"results": [{"id": 1}, {"id": 2}], "delay": 250}
    ]}

The first rule that matches a call's arguments and is not used up answers it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codemode import CallOutcome, ToolDenied, ToolFailed, ToolReturned
from portal.bench.json_checks import check_keys, json_kind
from portal.errors import InputError

ANSWERS = ("result", "results", "raw", "error", "denied")
MEMBERS = ("when", *ANSWERS, "delay", "times")
OPERATORS = ("$any", "$type", "$in", "$not", "$regex", "$gt", "$gte", "$lt", "$lte", "$exact", "$absent")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
ABSENT = object()
"""Stands for a missing member in comparisons."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call, and the milliseconds it takes in the program's virtual time."""

    outcome: CallOutcome
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Answers the calls whose arguments match `when`; None matches all.

    `outcomes` are given in turn, and from the beginning after the last. `times` is the number of calls that the rule
    answers in all, or None for any number.
    """

    outcomes: tuple[CallOutcome, ...]
    when: Mapping[str, object] | None = None
    delay_ms: float = 0.0
    times: int | None = None

    def outcome(self, used: int) -> CallOutcome | None:
        """The answer to the next call after `used` answers, or None if the rule is used up."""
        if self.times is not None and used >= self.times:
            return None
        return self.outcomes[used % len(self.outcomes)]


@dataclass(slots=True)
class Turns:
    """The rules of one tool, and how often each was used in one run."""

    rules: Sequence[Rule]
    used: dict[int, int] = field(default_factory=dict)

    def reply(self, arguments: Mapping[str, object]) -> Reply | None:
        """The answer of the first rule that matches, or None if there is none."""
        for place, rule in enumerate(self.rules):
            if rule.when is not None and not matches(rule.when, arguments):
                continue
            outcome = rule.outcome(self.used.get(place, 0))
            if outcome is not None:
                self.used[place] = self.used.get(place, 0) + 1
                return Reply(outcome, rule.delay_ms)
        return None


def parse_rules(value: object, where: str) -> tuple[Rule, ...]:
    """The rules of one tool, from one rule or a list of them. Raises `InputError`."""
    if isinstance(value, list):
        return tuple(_rule(one, f"{where}[{place}]") for place, one in enumerate(value))
    return (_rule(value, where),)


def tool_result(value: object) -> ToolReturned:
    """The MCP result for a plain value: null is no content, text is a text block, anything else structured content."""
    if value is None:
        return ToolReturned({"content": []})
    if isinstance(value, str):
        return ToolReturned({"content": [{"type": "text", "text": value}]})
    return ToolReturned({"content": [], "structuredContent": value})


def _rule(value: object, where: str) -> Rule:
    rule = check_keys(value, MEMBERS, where)
    answers = [key for key in ANSWERS if key in rule]
    if len(answers) != 1:
        raise InputError(
            f"{where} needs one of {', '.join(ANSWERS)}{f', not {len(answers)} of them' if answers else ''}."
        )
    when = rule.get("when")
    if when is not None:
        if not isinstance(when, dict):
            raise InputError(f"{where}.when must be an object of arguments, not {json_kind(when)}.")
        check_operators(when, f"{where}.when")
    times = _number(rule, "times", where, whole=True)
    outcomes = _outcomes(answers[0], rule[answers[0]], where)
    if answers[0] == "results":
        if times is not None:
            raise InputError(f"{where} has results, which are given once each; times is for a single answer.")
        times = len(outcomes)
    delay = _number(rule, "delay", where) or 0.0
    return Rule(outcomes, when, float(delay), None if times is None else int(times))


def _outcomes(key: str, value: object, where: str) -> tuple[CallOutcome, ...]:
    if key == "result":
        return (tool_result(value),)
    if key == "results":
        if not isinstance(value, list) or not value:
            raise InputError(f"{where}.results must be a list of results, given in turn.")
        return tuple(tool_result(one) for one in value)
    if key == "raw":
        if not isinstance(value, dict):
            raise InputError(f"{where}.raw must be an MCP result with content or structuredContent.")
        return (ToolReturned(value),)
    if key == "denied":
        return (ToolDenied(str(value)),)
    if isinstance(value, str):
        return (ToolReturned({"isError": True, "content": [{"type": "text", "text": value}]}),)
    error = check_keys(value, ("message", "code", "data"), f"{where}.error")
    code = error.get("code")
    message = error.get("message")
    if not isinstance(message, str) or not isinstance(code, int | None):
        raise InputError(f"{where}.error needs a message; its code is a whole number.")
    return (ToolFailed(message, code, error.get("data")),)


def _number(rule: Mapping[str, object], key: str, where: str, *, whole: bool = False) -> float | None:
    value = rule.get(key)
    if value is None:
        return None
    if isinstance(value, int) or (isinstance(value, float) and not whole):
        if not isinstance(value, bool) and (1 if whole else 0) <= value <= 1e9:
            return float(value)
    raise InputError(f"{where}.{key} must be {'a whole number' if whole else 'milliseconds'}, not {value!r:.40}.")


# Matchers


def matches(pattern: object, value: object) -> bool:
    """Whether a value matches a pattern. The pattern's members must match, others may be there. Lists match in full."""
    if isinstance(pattern, dict):
        if _is_operator(pattern):
            return all(_holds(operator, operand, value) for operator, operand in pattern.items())
        return isinstance(value, dict) and all(matches(part, value.get(key, ABSENT)) for key, part in pattern.items())
    if isinstance(pattern, list):
        return (
            isinstance(value, list)
            and len(pattern) == len(value)
            and all(matches(part, item) for part, item in zip(pattern, value, strict=True))
        )
    return same(pattern, value)


def agrees(expected: object, actual: object) -> bool:
    """Whether a value equals the expected one, in which operators may be anywhere."""
    if isinstance(expected, dict):
        if _is_operator(expected):
            return all(_holds(operator, operand, actual) for operator, operand in expected.items())
        return (
            isinstance(actual, dict)
            and not actual.keys() - expected.keys()
            and all(agrees(part, actual.get(key, ABSENT)) for key, part in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(agrees(part, item) for part, item in zip(expected, actual, strict=True))
        )
    return same(expected, actual)


def same(first: object, second: object) -> bool:
    """Whether two values are equal as JSON: true is not 1, and 1.0 is 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(part, second[key]) for key, part in first.items())
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


def _is_operator(pattern: Mapping[object, object]) -> bool:
    return bool(pattern) and all(isinstance(key, str) and key.startswith("$") for key in pattern)


def _holds(operator: str, operand: object, value: object) -> bool:
    if operator == "$absent":
        return (value is ABSENT) is bool(operand)
    if value is ABSENT:
        return False
    match operator:
        case "$any":
            return True
        case "$type":
            types = _TYPES[str(operand)]
            return isinstance(value, types) and (bool in types or not isinstance(value, bool))
        case "$in":
            return isinstance(operand, list) and any(same(one, value) for one in operand)
        case "$not":
            return not matches(operand, value)
        case "$regex":
            return isinstance(value, str) and re.search(str(operand), value) is not None
        case "$exact":
            return same(operand, value)
        case _:
            return _compares(operator, operand, value)


def _compares(operator: str, operand: object, value: object) -> bool:
    if isinstance(value, str) and isinstance(operand, str):
        return _in_order(operator, value < operand, value == operand, value > operand)
    if isinstance(value, int | float) and isinstance(operand, int | float) and not isinstance(value, bool):
        return _in_order(operator, value < operand, value == operand, value > operand)
    return False


def _in_order(operator: str, below: bool, equal: bool, above: bool) -> bool:
    # A number that is none (NaN) is neither below nor above.
    return {"$gt": above, "$gte": above or equal, "$lt": below, "$lte": below or equal}[operator]


def check_operators(pattern: object, where: str) -> None:
    """Check the operators in a pattern before a run uses it. Raises `InputError` for an unknown or malformed one."""
    if isinstance(pattern, list):
        for place, part in enumerate(pattern):
            check_operators(part, f"{where}[{place}]")
    if not isinstance(pattern, dict):
        return
    if not _is_operator(pattern):
        for key, part in pattern.items():
            check_operators(part, f"{where}.{key}")
        return
    for operator, operand in check_keys(pattern, OPERATORS, where).items():
        _check_operand(operator, operand, f"{where}.{operator}")


def _check_operand(operator: str, operand: object, where: str) -> None:
    if operator == "$type" and (not isinstance(operand, str) or operand not in _TYPES):
        raise InputError(f"{where} must be one of {', '.join(_TYPES)}.")
    if operator == "$in" and not isinstance(operand, list):
        raise InputError(f"{where} must be a list, not {json_kind(operand)}.")
    if operator == "$not":
        check_operators(operand, where)
    if operator == "$regex":
        try:
            if not isinstance(operand, str):
                raise TypeError("it is not text")
            re.compile(operand)
        except (re.error, TypeError) as error:
            raise InputError(f"{where} is no regular expression: {error}.") from error
