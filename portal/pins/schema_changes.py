"""What is different between two schemas of one tool, in words, and what it means for programs. Pure.

A program gives a tool its input: there less must not be accepted than before. It reads the tool's output: there it must
not find more than before, nor less of what it relies on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from portal.pins.schema_view import ANYTHING, BOUNDS, MAX_DEPTH, View, resolved, view

Level = Literal["breaking", "caution", "safe"]
Side = Literal["input", "output"]
_MAX_FOUND = 200
_MAX_STEPS = 20_000
_REFUSED = "programs that do not give it are refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is a clause about `where`; `breaks` says which programs it breaks, None when none."""

    level: Level
    kind: str
    where: str
    what: str
    breaks: str | None = None


def differences(old: Any, new: Any, side: Side) -> list[Difference]:
    """The differences of two schema documents, at most a few hundred."""
    found: list[Difference] = []
    for difference in _Comparison(old, new, side).compare(old, new, "", 0):
        found.append(difference)
        if len(found) == _MAX_FOUND:
            break
    return found


class _Comparison:
    def __init__(self, old_root: Any, new_root: Any, side: Side) -> None:
        self._old_root = old_root
        self._new_root = new_root
        self._side = side
        self._within: set[tuple[int, int]] = set()
        self._steps = 0

    def compare(self, old: Any, new: Any, where: str, depth: int) -> Iterator[Difference]:
        old, new = resolved(old, self._old_root), resolved(new, self._new_root)
        # By identity: a definition that holds itself is the same object again.
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

    def _inside(self, before: View, after: View, where: str, depth: int) -> Iterator[Difference]:
        yield from self._values(before, after, where)
        yield from self._bounds(before, after, where)
        yield from self._members(before, after, where, depth)
        yield from self._rest(before, after, where)
        if before.items is not None or after.items is not None:
            old, new = (True if one.items is None else one.items for one in (before, after))
            yield from self.compare(old, new, f"{where}[]", depth + 1)

    def _kinds(self, before: View, after: View, where: str) -> Iterator[Difference]:
        gone = {kind for kind in before.kinds if not _covers(after.kinds, kind)}
        come = {kind for kind in after.kinds if not _covers(before.kinds, kind)}
        if not gone and not come:
            return
        what = f"{self._name(where)} changed from {_kinds(before.kinds)} to {_kinds(after.kinds)}"
        if self._side == "input":
            if gone:
                yield Difference("breaking", "type", where, what, f"programs that give it {_kinds(gone)} are refused")
            else:
                yield Difference("safe", "type", where, what)
        elif come:
            yield Difference("breaking", "type", where, what, f"programs that read it find {_kinds(come)}")
        else:
            yield Difference("safe", "type", where, what)

    def _values(self, before: View, after: View, where: str) -> Iterator[Difference]:
        if before.values == after.values:
            return
        name = self._name(where)
        old, new = before.values, after.values
        if old is None:
            assert new is not None
            level: Level = "breaking" if self._side == "input" else "safe"
            breaks = "programs that give it another value are refused" if self._side == "input" else None
            yield Difference(level, "values", where, f"{name} is now only one of {_shown(new)}", breaks)
        elif new is None:
            safe = self._side == "input"
            what = f"{name} may now be any {_kinds(after.kinds)}, not only {_shown(old)}"
            yield Difference("safe" if safe else "caution", "values", where, what)
        else:
            gone = tuple(value for value in old if value not in new)
            come = tuple(value for value in new if value not in old)
            if gone and self._side == "input":
                breaks = f"programs that give it {_shown(gone)} are refused"
                yield Difference("breaking", "values", where, f"{name} no longer accepts {_shown(gone)}", breaks)
            elif gone:
                yield Difference("caution", "values", where, f"{name} is no longer {_shown(gone)}")
            if come:
                word = "also accepts" if self._side == "input" else "may also be"
                level = "safe" if self._side == "input" else "caution"
                yield Difference(level, "values", where, f"{name} {word} {_shown(come)}")

    def _bounds(self, before: View, after: View, where: str) -> Iterator[Difference]:
        for bound in BOUNDS:
            old, new = before.bounds.get(bound), after.bounds.get(bound)
            if old == new:
                continue
            tighter = _tighter(bound, old, new)
            what = f"{bound} of {self._name(where)} changed from {_value(old)} to {_value(new)}"
            if self._side == "input" and tighter:
                breaks = "programs that give it a value outside are refused"
                yield Difference("breaking", "bound", where, what, breaks)
            else:
                yield Difference("safe" if self._side == "input" or tighter else "caution", "bound", where, what)

    def _members(self, before: View, after: View, where: str, depth: int) -> Iterator[Difference]:
        for name in before.members:
            inside = f"{where}.{name}" if where else str(name)
            if name not in after.members:
                yield self._removed(inside, after)
                continue
            yield from self._demanded(inside, name in before.required, name in after.required)
            yield from self.compare(before.members[name], after.members[name], inside, depth + 1)
        for name in after.members:
            if name not in before.members:
                yield self._added(f"{where}.{name}" if where else str(name), name in after.required, before)

    def _removed(self, where: str, after: View) -> Difference:
        name = self._name(where)
        if self._side == "output":
            return Difference(
                "breaking", "removed", where, f"{name} was removed", "programs that read it find undefined"
            )
        breaks = "programs that give it are refused" if not after.open else "what programs give it is ignored"
        return Difference("breaking", "removed", where, f"{name} was removed", breaks)

    def _added(self, where: str, required: bool, before: View) -> Difference:
        name = self._name(where)
        if self._side == "input" and required:
            return Difference(
                "breaking",
                "added",
                where,
                f"{name} was added and is required",
                "programs that do not give it are refused",
            )
        return Difference("safe", "added", where, f"{name} was added")

    def _demanded(self, where: str, before: bool, after: bool) -> Iterator[Difference]:
        if before == after:
            return
        name = self._name(where)
        if self._side == "input":
            if after:
                yield Difference("breaking", "required", where, f"{name} became required", _REFUSED)
            else:
                yield Difference("safe", "required", where, f"{name} became optional")
        elif after:
            yield Difference("safe", "required", where, f"{name} is now always there")
        else:
            breaks = "programs that rely on it may find undefined"
            yield Difference("breaking", "required", where, f"{name} is no longer always there", breaks)

    def _rest(self, before: View, after: View, where: str) -> Iterator[Difference]:
        name = self._name(where)
        if before.open and not after.open and self._side == "input" and "object" in before.kinds & after.kinds:
            breaks = "programs that give it others are refused"
            yield Difference("breaking", "closed", where, f"{name} accepts no other members than those named", breaks)
        if before.others != after.others:
            yield Difference("caution", "alternatives", where, f"the alternatives of {name} changed")
        if before.default != after.default and self._side == "input":
            what = f"the default of {name} changed from {before.default or 'none'} to {after.default or 'none'}"
            yield Difference("caution", "default", where, what)

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


def _shown(values: tuple[str, ...]) -> str:
    return ", ".join(values[:10]) + (f" and {len(values) - 10} more" if len(values) > 10 else "")


def _value(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _tighter(bound: str, old: Any, new: Any) -> bool:
    """Whether less passes than before."""
    if new is None or new is False:
        return False
    upward = BOUNDS[bound]
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    if old is None or upward is None or not numbers:
        return True
    return bool(new > old if upward else new < old)
