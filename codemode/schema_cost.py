"""Counts what a JSON Schema check may cost, before it runs.

A few hundred characters of `allOf` and `$ref` can make a validator visit a schema 2^30 times, and a validator holds the
interpreter and cannot be stopped. So its visits are counted beforehand: a subschema as often as references reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

MAX_COST = 500_000  # subschema visits in one check; about ten nanoseconds each
_VALUES = frozenset({"enum", "const", "default", "examples", "example", "description", "title"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_MAX_DEPTH = 200
_CHARS_A_NODE = 64  # patterns take as long for one long string as for many short ones


def cost(schema: Any) -> int:
    """How many subschemas one check of a value may visit, those behind references included; at most `MAX_COST`.

    A reference to a schema around it counts as one visit: validators remember those. A reference that is neither a JSON
    pointer nor an anchor in the same document cannot be counted and costs `MAX_COST`.
    """
    return _Count(schema).of(schema, 0)


def nodes(value: Any, limit: int) -> int:
    """How many values a JSON value consists of, a long string counted by its length; at most `limit`."""
    count = 0
    pending = [value]
    while pending and count < limit:
        item = pending.pop()
        count += 1
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            if len(item) >= limit:
                return limit
            pending.extend(item)
        elif isinstance(item, str):
            count += len(item) // _CHARS_A_NODE
    return min(count, limit)


class References:
    """Where the references of a document lead within it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._anchors: dict[str, Any] | None = None

    def target(self, reference: str) -> tuple[bool, Any]:
        """Whether a reference stays in the document, and where it leads; None where it leads nowhere."""
        if not reference.startswith("#"):
            return False, None
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            if self._anchors is None:
                self._anchors = _anchors(self._root)
            return fragment in self._anchors, self._anchors.get(fragment)
        target = self._root
        for part in fragment.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                return True, None
        return True, target


class _Count:
    def __init__(self, root: Any) -> None:
        self._references = References(root)
        self._costs: dict[int, int] = {}  # by the identity of a schema; one that is being counted costs 1

    def of(self, schema: Any, depth: int) -> int:
        if depth > _MAX_DEPTH:
            return MAX_COST
        if isinstance(schema, Mapping):
            if (cost_before := self._costs.get(id(schema))) is not None:
                return cost_before
            self._costs[id(schema)] = 1
            total = 1 + self._referenced(schema, depth)
            for key, part in schema.items():
                if key not in _VALUES and key not in _DEFINITIONS and isinstance(part, (Mapping, list)):
                    total += self.of(part, depth + 1)
                    if total >= MAX_COST:
                        break
            self._costs[id(schema)] = min(total, MAX_COST)
            return self._costs[id(schema)]
        if isinstance(schema, list):
            total = 0
            for part in schema:
                total += self.of(part, depth + 1)
                if total >= MAX_COST:
                    return MAX_COST
            return total
        return 0

    def _referenced(self, schema: Mapping[str, Any], depth: int) -> int:
        if isinstance(schema.get("$dynamicRef"), str) or isinstance(schema.get("$recursiveRef"), str):
            return MAX_COST
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return 0
        countable, target = self._references.target(reference)
        return self.of(target, depth + 1) if countable else MAX_COST


def _anchors(root: Any) -> dict[str, Any]:
    anchors: dict[str, Any] = {}
    pending = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if isinstance(name := item.get("$anchor"), str):
                anchors[name] = item
            if isinstance(name := item.get("$id"), str) and name.startswith("#"):
                anchors[name[1:]] = item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return anchors
