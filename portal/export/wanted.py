"""Which rows a job exports: Logpush's filters, `{"where": {"and": [{"key", "operator", "value"}]}}`. Pure.

Source: https://developers.cloudflare.com/logs/logpush/logpush-job/filters/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from portal.export.record import FIELDS, Record, Value

MAX_FILTER = 30_000
"""Characters of a filter."""
MAX_CONDITIONS = 100
MAX_DEPTH = 8
_MAX_VALUES = 1000

_ORDERED: Mapping[str, Callable[[int, int], bool]] = {
    "lt": lambda value, bound: value < bound,
    "leq": lambda value, bound: value <= bound,
    "gt": lambda value, bound: value > bound,
    "geq": lambda value, bound: value >= bound,
}
_TEXTUAL: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": lambda value, part: part in value,
}
OPERATORS = ("eq", "in", *_TEXTUAL, *_ORDERED)
"""`!` before one of the first five negates it."""
_NEGATED = ("eq", "in", *_TEXTUAL)


class FilterInvalid(ValueError):
    """It is no filter. The message says where and what to write, and quotes no value."""


@dataclass(frozen=True, slots=True)
class FilterCondition:
    """One field compared with a value, or with several for `in`."""

    key: str
    operator: str
    value: Value | tuple[Value, ...]

    def holds(self, record: Record) -> bool:
        operator = self.operator.removeprefix("!")
        return self._compared(record[self.key], operator) is not self.operator.startswith("!")

    def _compared(self, found: Value, operator: str) -> bool:
        if isinstance(self.value, tuple):
            return found in self.value
        if operator == "eq":
            return found == self.value
        if isinstance(found, str) and isinstance(self.value, str):
            return _TEXTUAL[operator](found, self.value)
        return _ORDERED[operator](int(found), int(self.value))


@dataclass(frozen=True, slots=True)
class FilterConditions:
    """`and`: all of them hold; `or`: one does."""

    joined: Literal["and", "or"]
    parts: tuple[FilterCondition | FilterConditions, ...]

    def holds(self, record: Record) -> bool:
        held = (part.holds(record) for part in self.parts)
        return all(held) if self.joined == "and" else any(held)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which records are wanted: all without `where`. `keys` are the fields it looks at."""

    where: FilterCondition | FilterConditions | None = None
    keys: tuple[str, ...] = ()

    def wants(self, record: Record) -> bool:
        """Whether a record with at least the fields `keys` is wanted."""
        return self.where is None or self.where.holds(record)


def read_filter(text: str | None) -> RowFilter:
    """The filter in a text; None and "" want everything.

    Raises:
        FilterInvalid: it is none.
    """
    if not text:
        return RowFilter()
    if len(text) > MAX_FILTER:
        raise FilterInvalid(f"has over {MAX_FILTER} characters")
    try:
        document = orjson.loads(text)
    except ValueError:
        raise FilterInvalid(
            'is not JSON; write {"where": {"key": "Success", "operator": "eq", "value": false}}'
        ) from None
    if not isinstance(document, dict) or set(document) != {"where"}:
        raise FilterInvalid("must be a JSON object with `where` and nothing else")
    where = _read(document["where"], "where", 1)
    conditions = list(_flat(where))
    if len(conditions) > MAX_CONDITIONS:
        raise FilterInvalid(f"has over {MAX_CONDITIONS} conditions")
    return RowFilter(where, tuple(dict.fromkeys(one.key for one in conditions)))


def _flat(where: FilterCondition | FilterConditions) -> Iterator[FilterCondition]:
    if isinstance(where, FilterCondition):
        yield where
    else:
        for part in where.parts:
            yield from _flat(part)


def _read(node: object, place: str, depth: int) -> FilterCondition | FilterConditions:
    if depth > MAX_DEPTH:
        raise FilterInvalid(f"is nested over {MAX_DEPTH} deep")
    if not isinstance(node, dict):
        raise FilterInvalid(f"{place}: must be an object with `and`, `or`, or `key`, `operator` and `value`")
    for joined in ("and", "or"):
        if set(node) == {joined}:
            parts = node[joined]
            if not isinstance(parts, list) or not parts:
                raise FilterInvalid(f"{place}.{joined}: must be a list of conditions, and not an empty one")
            read = [_read(part, f"{place}.{joined}[{at}]", depth + 1) for at, part in enumerate(parts)]
            return FilterConditions("and" if joined == "and" else "or", tuple(read))
    if set(node) != {"key", "operator", "value"}:
        raise FilterInvalid(f"{place}: must have `and` or `or` alone, or `key`, `operator` and `value`")
    return _condition(node["key"], node["operator"], node["value"], place)


def _condition(key: object, operator: object, value: object, place: str) -> FilterCondition:
    if not isinstance(key, str) or key not in FIELDS:
        raise FilterInvalid(f"{place}.key: is no field of this dataset")
    kind = FIELDS[key].kind
    if kind == "time":
        raise FilterInvalid(f"{place}.key: a time is no field to filter by")
    plain = operator.removeprefix("!") if isinstance(operator, str) else ""
    if not isinstance(operator, str) or plain not in OPERATORS or (operator[0] == "!" and plain not in _NEGATED):
        raise FilterInvalid(f"{place}.operator: must be one of {', '.join(OPERATORS)}, or ! and one of the first five")
    if (plain in _TEXTUAL and kind != "string") or (plain in _ORDERED and kind != "int"):
        raise FilterInvalid(f"{place}.operator: is not for a field of the type {kind}")
    if plain != "in":
        return FilterCondition(key, operator, _value(kind, value, f"{place}.value"))
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_VALUES:
        raise FilterInvalid(f"{place}.value: must be a list of 1 to {_MAX_VALUES} values")
    return FilterCondition(
        key, operator, tuple(_value(kind, one, f"{place}.value[{at}]") for at, one in enumerate(value))
    )


_TYPES: Mapping[str, type[Value]] = {"string": str, "int": int, "bool": bool}


def _value(kind: str, value: object, place: str) -> Value:
    if type(value) is not _TYPES[kind]:
        raise FilterInvalid(f"{place}: must be a value of the type {kind}")
    assert isinstance(value, Value)
    return value


def keys_read(names: Sequence[str], wanted: RowFilter) -> tuple[str, ...]:
    """The fields to read of a row: those that are exported first."""
    return tuple(dict.fromkeys((*names, *wanted.keys)))
