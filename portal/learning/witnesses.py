"""Who has seen each part of a shape: a key is told to others when enough people have seen it. Pure.

A key of a result can be somebody's data, as in `{"project-falcon": ...}`, and looks like any other key. A key that
several unrelated people see belongs to the tool; one that a single person sees may be theirs. So a shape is kept whole,
with the people who saw each key, and shown without the keys that fewer than `ENOUGH` of them have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stubs import Seen

ENOUGH = 3
"""People who have seen a key before others are told of it."""
OPERATOR = ""
"""The caller where nobody signs in. That is one person, who is told everything."""
ITEM, VALUE = "[]", "{}"
_FIELD = "."


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The people who have seen one part of a shape, by their keys; None if they are enough. `parts`: those of the items
    of an array, of the values of a map, and of each property of an object (`.name`)."""

    people: frozenset[str] | None = frozenset()
    parts: Mapping[str, Witnesses] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: Seen, people: frozenset[str] | None) -> Witnesses:
        """These people have seen all of a shape."""
        return cls(people, {name: cls.of(part, people) for name, part in _parts(shape)})

    def __or__(self, other: Witnesses) -> Witnesses:
        people = _together(self.people, other.people)
        if not other.parts or not self.parts:
            return Witnesses(people, self.parts or other.parts)
        parts = {name: part | other.parts[name] if name in other.parts else part for name, part in self.parts.items()}
        parts.update((name, part) for name, part in other.parts.items() if name not in parts)
        return Witnesses(people, parts)

    def has(self, shape: Seen, person: str) -> bool:
        """Whether this person, or enough people, have seen all of a shape: it teaches nothing more."""
        if self.people is not None and person not in self.people:
            return False
        for name, part in _parts(shape):
            known = self.parts.get(name)
            if known is None or not known.has(part, person):
                return False
        return True

    def within(self, shape: Seen) -> Witnesses:
        """Those of the parts that a shape has. A record that has become a map has the people of all its keys."""
        return Witnesses(self.people, {name: self._part(name).within(part) for name, part in _parts(shape)})

    def shown(self, shape: Seen) -> Seen:
        """A shape without the keys that are not told, as an object with more properties (`Seen.more`).

        An object of which no key is told, though enough people have seen it, is a map: it has a key for each of them.
        """
        items = None if shape.items is None else self._part(ITEM).shown(shape.items)
        values = None if shape.values is None else self._part(VALUE).shown(shape.values)
        fields = None
        more = shape.more
        if shape.fields is not None:
            told = {name: self._part(_FIELD + name) for name in shape.fields}
            fields = {
                name: (told[name].shown(part), always)
                for name, (part, always) in shape.fields.items()
                if told[name].people is None
            }
            more = more or len(fields) < len(shape.fields)
            if shape.fields and not fields and self.people is None and not shape.more:
                fields, more, values = None, False, self._as_map(shape)
        return Seen(shape.scalars, items, fields, values, shape.anything, more)

    def _as_map(self, shape: Seen) -> Seen:
        inner = Seen()
        for part, _ in (shape.fields or {}).values():
            inner |= part
        return self._part(VALUE).within(inner).shown(inner)

    def _part(self, name: str) -> Witnesses:
        if name != VALUE:
            return self.parts.get(name, _NOBODY)
        found = self.parts.get(VALUE, _NOBODY)
        for key, part in self.parts.items():
            if key.startswith(_FIELD):
                found |= part
        return found


_NOBODY = Witnesses()


def _together(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    if first is None or second is None:
        return None
    both = first | second
    return None if len(both) >= ENOUGH else both


def _parts(shape: Seen) -> Iterator[tuple[str, Seen]]:
    if shape.items is not None:
        yield ITEM, shape.items
    if shape.values is not None:
        yield VALUE, shape.values
    if shape.fields is not None:
        for name, (part, _) in shape.fields.items():
            yield _FIELD + name, part
