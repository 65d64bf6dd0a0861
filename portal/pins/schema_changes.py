"""The changes between two JSON Schemas of one tool, in words, and whether they break programs. Pure.

A program writes a tool's input: a change breaks it if the tool accepts less than before. A program reads a tool's
output: a change breaks it if the tool returns other kinds of values than before, or no longer returns a member.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from portal.pins.schema_view import ANYTHING, BOUNDS, MAX_DEPTH, SchemaView, resolved, view

Level = Literal["breaking", "caution", "safe"]
Side = Literal["input", "output"]
_MAX_CHANGES = 200
_MAX_STEPS = 20_000
_REFUSED = "programs that do not give it are refused"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change. `where` is the path of the member, `what` a clause about it.

    `breaks` is a clause about the programs that no longer work, or None if all still do.
    """

    level: Level
    kind: str
    where: str
    what: str
    breaks: str | None = None


def schema_changes(old: object, new: object, side: Side) -> list[SchemaChange]:
    """The changes from one schema document to another, at most `_MAX_CHANGES`."""
    changes: list[SchemaChange] = []
    for change in _Comparison(old, new, side).compare(old, new, "", 0):
        changes.append(change)
        if len(changes) == _MAX_CHANGES:
            break
    return changes


class _Comparison:
    def __init__(self, old_root: object, new_root: object, side: Side) -> None:
        self._old_root = old_root
        self._new_root = new_root
        self._side = side
        self._within: set[tuple[int, int]] = set()
        self._steps = 0

    def compare(self, old: object, new: object, where: str, depth: int) -> Iterator[SchemaChange]:
        old, new = resolved(old, self._old_root), resolved(new, self._new_root)
        # By identity, which ends recursion: a definition that refers to itself is the same object again.
        key = (id(old), id(new))
        self._steps += 1
        if depth > MAX_DEPTH or key in self._within or self._steps > _MAX_STEPS:
            return
        self._within.add(key)
        before, after = view(old, self._old_root), view(new, self._new_root)
        yield from self._kinds(before, after, where)
        if any(_covers(after.kinds, kind) and _covers(before.kinds, kind) for kind in before.kinds | after.kinds):
            yield from self._inside(before, after, where, depth)
        self._within.discard(key)

    def _inside(self, before: SchemaView, after: SchemaView, where: str, depth: int) -> Iterator[SchemaChange]:
        yield from self._values(before, after, where)
        yield from self._bounds(before, after, where)
        yield from self._members(before, after, where, depth)
        yield from self._rest(before, after, where)
        if before.items is not None or after.items is not None:
            old, new = (True if schema.items is None else schema.items for schema in (before, after))
            yield from self.compare(old, new, f"{where}[]", depth + 1)

    def _kinds(self, before: SchemaView, after: SchemaView, where: str) -> Iterator[SchemaChange]:
        removed = {kind for kind in before.kinds if not _covers(after.kinds, kind)}
        added = {kind for kind in after.kinds if not _covers(before.kinds, kind)}
        if not removed and not added:
            return
        what = f"{self._name(where)} changed from {_kinds(before.kinds)} to {_kinds(after.kinds)}"
        if self._side == "input":
            if removed:
                yield SchemaChange(
                    "breaking", "type", where, what, f"programs that give it {_kinds(removed)} are refused"
                )
            else:
                yield SchemaChange("safe", "type", where, what)
        elif added:
            yield SchemaChange("breaking", "type", where, what, f"programs that read it find {_kinds(added)}")
        else:
            yield SchemaChange("safe", "type", where, what)

    def _values(self, before: SchemaView, after: SchemaView, where: str) -> Iterator[SchemaChange]:
        if before.values == after.values:
            return
        name = self._name(where)
        old, new = before.values, after.values
        if old is None:
            assert new is not None
            level: Level = "breaking" if self._side == "input" else "safe"
            breaks = "programs that give it another value are refused" if self._side == "input" else None
            yield SchemaChange(level, "values", where, f"{name} is now only one of {_listed(new)}", breaks)
        elif new is None:
            safe = self._side == "input"
            what = f"{name} may now be any {_kinds(after.kinds)}, not only {_listed(old)}"
            yield SchemaChange("safe" if safe else "caution", "values", where, what)
        else:
            removed = tuple(value for value in old if value not in new)
            added = tuple(value for value in new if value not in old)
            if removed and self._side == "input":
                breaks = f"programs that give it {_listed(removed)} are refused"
                yield SchemaChange("breaking", "values", where, f"{name} no longer accepts {_listed(removed)}", breaks)
            elif removed:
                yield SchemaChange("caution", "values", where, f"{name} is no longer {_listed(removed)}")
            if added:
                word = "also accepts" if self._side == "input" else "may also be"
                level = "safe" if self._side == "input" else "caution"
                yield SchemaChange(level, "values", where, f"{name} {word} {_listed(added)}")

    def _bounds(self, before: SchemaView, after: SchemaView, where: str) -> Iterator[SchemaChange]:
        for bound in BOUNDS:
            old, new = before.bounds.get(bound), after.bounds.get(bound)
            if old == new:
                continue
            tighter = _tighter(bound, old, new)
            what = f"{bound} of {self._name(where)} changed from {_value(old)} to {_value(new)}"
            if self._side == "input" and tighter:
                breaks = "programs that give it a value outside are refused"
                yield SchemaChange("breaking", "bound", where, what, breaks)
            else:
                yield SchemaChange("safe" if self._side == "input" or tighter else "caution", "bound", where, what)

    def _members(self, before: SchemaView, after: SchemaView, where: str, depth: int) -> Iterator[SchemaChange]:
        for name in before.members:
            inside = f"{where}.{name}" if where else str(name)
            if name not in after.members:
                yield self._removed(inside, after)
                continue
            yield from self._required(inside, name in before.required, name in after.required)
            yield from self.compare(before.members[name], after.members[name], inside, depth + 1)
        for name in after.members:
            if name not in before.members:
                yield self._added(f"{where}.{name}" if where else str(name), name in after.required, before)

    def _removed(self, where: str, after: SchemaView) -> SchemaChange:
        name = self._name(where)
        if self._side == "output":
            return SchemaChange(
                "breaking", "removed", where, f"{name} was removed", "programs that read it find undefined"
            )
        breaks = "programs that give it are refused" if not after.open else "what programs give it is ignored"
        return SchemaChange("breaking", "removed", where, f"{name} was removed", breaks)

    def _added(self, where: str, required: bool, before: SchemaView) -> SchemaChange:
        name = self._name(where)
        if self._side == "input" and required:
            return SchemaChange(
                "breaking",
                "added",
                where,
                f"{name} was added and is required",
                "programs that do not give it are refused",
            )
        return SchemaChange("safe", "added", where, f"{name} was added")

    def _required(self, where: str, before: bool, after: bool) -> Iterator[SchemaChange]:
        if before == after:
            return
        name = self._name(where)
        if self._side == "input":
            if after:
                yield SchemaChange("breaking", "required", where, f"{name} became required", _REFUSED)
            else:
                yield SchemaChange("safe", "required", where, f"{name} became optional")
        elif after:
            yield SchemaChange("safe", "required", where, f"{name} is now always there")
        else:
            breaks = "programs that rely on it may find undefined"
            yield SchemaChange("breaking", "required", where, f"{name} is no longer always there", breaks)

    def _rest(self, before: SchemaView, after: SchemaView, where: str) -> Iterator[SchemaChange]:
        name = self._name(where)
        if before.open and not after.open and self._side == "input" and "object" in before.kinds & after.kinds:
            breaks = "programs that give it others are refused"
            yield SchemaChange("breaking", "closed", where, f"{name} accepts no other members than those named", breaks)
        if before.others != after.others:
            yield SchemaChange("caution", "alternatives", where, f"the alternatives of {name} changed")
        if before.default != after.default and self._side == "input":
            what = f"the default of {name} changed from {before.default or 'none'} to {after.default or 'none'}"
            yield SchemaChange("caution", "default", where, what)

    def _name(self, where: str) -> str:
        if not where:
            return f"the {self._side}"
        return f"{'parameter' if self._side == 'input' else 'output'} `{where}`"


def _covers(kinds: frozenset[str], kind: str) -> bool:
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _kinds(kinds: frozenset[str] | set[str]) -> str:
    if ANYTHING <= kinds:
        return "any value"
    return " or ".join(sorted(kinds)) or "nothing"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(values[:10]) + (f" and {len(values) - 10} more" if len(values) > 10 else "")


def _value(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _tighter(bound: str, old: object, new: object) -> bool:
    """Whether the new bound accepts fewer values than the old one."""
    if new is None or new is False:
        return False
    upward = BOUNDS[bound]
    if upward is None or not isinstance(old, int | float) or not isinstance(new, int | float):
        return True
    return new > old if upward else new < old
