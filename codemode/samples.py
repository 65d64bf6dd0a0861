"""Made-up answers of tools that are not called: for one output schema several values, each leaf with a name.

A program that is planned runs several times, each time with another of these values. They differ wherever the real
answer could: in numbers, texts, truth values, the length of lists, and in whether a member is there at all. So a value
that the program only hands on can be told from one that it knows, and a program that decides by an answer does not do
the same in all of these runs. Schemas come from servers and are hostile: everything that is made here is bounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from codemode.parking import canonical
from codemode.schema_cost import References
from stubs import Schema

VARIANTS: Final = 3
"""How many values are made for one answer."""
MAX_NODES, MAX_DEPTH, MAX_MEMBERS = 400, 12, 100
_MAX_PARTS: Final = 2_000
"""So many schemas in lists of `allOf` are looked at for one answer."""
MAX_NAME: Final = 120
SAMPLED_ITEMS: Final = 2
"""So many items are made for a list, at most."""
_MAX_TEXT = 4_000

Values: TypeAlias = tuple[object, ...]
"""A value for each variant."""


class Absent:
    """In the place of a member that is not there in a variant."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of an answer that is not known yet: `3.user.name` is in the answer of call 3. `types` are the JSON types
    that it may have; none where nothing is known of it."""

    name: str
    values: Values
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """The made-up answers to one call, and the parts of them that differ."""

    values: Values
    holes: tuple[Hole, ...]


def sample(schema: Schema | None, call: int, count: Iterator[int]) -> Sample:
    """Answers of a tool with this output schema, to the call with this number. `count` makes numbers that no other
    sample of the plan has."""
    root = schema if isinstance(schema, Mapping) else {}
    made = _Sampler(References(root), count)
    values = made.grow(root, str(call), (True,) * VARIANTS, 0)
    return Sample(values, tuple(made.holes))


def json_type(value: object) -> str:
    """What JSON Schema calls the type of a JSON value; whole numbers are "integer"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list | tuple) else "object"


def types_of(values: Sequence[object]) -> tuple[str, ...]:
    """The types of these values, in the order of the alphabet. "number" stands for whole numbers too."""
    found = {json_type(value) for value in values if value is not ABSENT}
    return tuple(sorted(found - {"integer"} if "number" in found else found))


@dataclass(slots=True)
class _Sampler:
    references: References
    count: Iterator[int]
    holes: list[Hole] = field(default_factory=list)
    nodes: int = 0
    parts: int = 0

    def grow(self, schema: object, name: str, there: tuple[bool, ...], depth: int) -> Values:
        """The values of one node. `there`: the variants in which it is."""
        self.nodes += 1
        schema, nullable = self._resolved(schema)
        values, types = self._values(schema, name, there, depth)
        if nullable:
            values = (values[0], None, *values[2:])
            types = tuple(sorted({*types, "null"})) if types else ()
        seen = tuple(value if is_there else ABSENT for value, is_there in zip(values, there, strict=True))
        if any(key_of(value) != key_of(seen[0]) for value in seen[1:]):
            self.holes.append(Hole(name, seen, types))
        return values

    def _values(
        self, schema: Mapping[str, object], name: str, there: tuple[bool, ...], depth: int
    ) -> tuple[Values, tuple[str, ...]]:
        if "const" in schema:
            return (schema["const"],) * VARIANTS, types_of([schema["const"]])
        if isinstance(options := schema.get("enum"), list) and options:
            chosen = tuple(options[index % len(options)] for index in range(VARIANTS))
            return chosen, types_of(options[:MAX_MEMBERS])
        match _type(schema):
            case "object":
                return self._object(schema, name, there, depth), ("object",)
            case "array":
                return self._array(schema, name, there, depth), ("array",)
            case "boolean":
                return (True, False, True), ("boolean",)
            case "integer":
                return self._numbers(schema, whole=True), ("integer",)
            case "number":
                return self._numbers(schema, whole=False), ("number",)
            case "null":
                return (None,) * VARIANTS, ("null",)
            case "string":
                return self._texts(schema, name), ("string",)
            case _:
                return self._texts(schema, name), ()

    def _object(self, schema: Mapping[str, object], name: str, there: tuple[bool, ...], depth: int) -> Values:
        made: list[dict[str, object]] = [{} for _ in range(VARIANTS)]
        required = schema.get("required")
        needed = set(_texts_in(required)) if isinstance(required, list) else set()
        members = schema.get("properties")
        members = members if isinstance(members, Mapping) else {}
        others = schema.get("additionalProperties")
        if not members and isinstance(others, Mapping) and others:
            # A map: its names are not known, and neither is how many there are.
            members, needed = {"key": others, "other": others}, {"key"}
        # Those that are always there first: there may be no room for all.
        for member in sorted(itertools.islice(members, MAX_MEMBERS), key=lambda one: one not in needed):
            if self.nodes >= MAX_NODES or depth >= MAX_DEPTH:
                break
            is_in = (True, member in needed, True)
            inner = tuple(outer and own for outer, own in zip(there, is_in, strict=True))
            values = self.grow(members[member], f"{name}.{member}"[:MAX_NAME], inner, depth + 1)
            for target, value, has_it in zip(made, values, is_in, strict=True):
                if has_it:
                    target[member] = value
        return tuple(made)

    def _array(self, schema: Mapping[str, object], name: str, there: tuple[bool, ...], depth: int) -> Values:
        """One item, two, and none where that may be."""
        least = schema.get("minItems")
        may_be_empty = not (isinstance(least, int) and least > 0)
        items: Sequence[object] = [schema.get("items", {})] * SAMPLED_ITEMS
        made: list[list[object]] = [[] for _ in range(VARIANTS)]
        for index, item in enumerate(items):
            if self.nodes >= MAX_NODES or depth >= MAX_DEPTH:
                break
            is_in = (index == 0, True, index == 0 and not may_be_empty)
            inner = tuple(outer and own for outer, own in zip(there, is_in, strict=True))
            values = self.grow(item, f"{name}[{index}]"[:MAX_NAME], inner, depth + 1)
            for target, value, has_it in zip(made, values, is_in, strict=True):
                if has_it:
                    target.append(value)
        return tuple(made)

    def _numbers(self, schema: Mapping[str, object], *, whole: bool) -> Values:
        unique = next(self.count)
        part = 0.0 if whole else 0.5
        wanted: list[float] = [4_000 + unique + part, 900_000_000 + 7 * unique + part, 11 + unique + part]
        low, high = _bound(schema, "minimum", "exclusiveMinimum"), _bound(schema, "maximum", "exclusiveMaximum")
        if (low is not None and min(wanted) <= low) or (high is not None and max(wanted) >= high):
            wanted = _between(low, high, unique, part)
        return tuple(int(number) if whole else number for number in wanted)

    def _texts(self, schema: Mapping[str, object], name: str) -> Values:
        unique = next(self.count)
        if (formatted := _formatted(schema.get("format"), unique)) is not None:
            return formatted
        shown = name.replace("⟨", "(").replace("⟩", ")")
        texts = (f"⟨{shown}⟩", f"another {unique}", f"third ({unique})")
        least, most = schema.get("minLength"), schema.get("maxLength")
        if isinstance(least, int) and len(min(texts, key=len)) < least <= _MAX_TEXT:
            return tuple(text.ljust(least, "~") for text in texts)
        if isinstance(most, int) and 0 < most < len(max(texts, key=len)):
            return tuple(f"{mark}{unique}"[:most] for mark in "abc")
        return texts

    def _resolved(self, schema: object, depth: int = 0) -> tuple[Mapping[str, object], bool]:
        """The schema without references and choices, and whether it may be null too."""
        nullable = False
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, Mapping):
                return {}, nullable
            nullable = nullable or schema.get("nullable") is True
            if isinstance(reference := schema.get("$ref"), str):
                _, schema = self.references.target(reference)
            elif options := next(
                (schema[key] for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list)), None
            ):
                assert isinstance(options, list)
                others = [one for one in options if not (isinstance(one, Mapping) and one.get("type") == "null")]
                nullable = nullable or len(others) < len(options)
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = _merged([rest, others[0]]) if others else {"type": "null"}
            elif isinstance(all_of := schema.get("allOf"), list) and all_of:
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                schema = _merged([rest, *self._parts(all_of, depth)])
            else:
                types = schema.get("type")
                return schema, nullable or (isinstance(types, list) and "null" in types and len(types) > 1)
        return {}, nullable

    def _parts(self, all_of: Sequence[object], depth: int) -> Iterator[Mapping[str, object]]:
        """The schemas of an `allOf`, resolved. One that is in itself, or is there very often, comes to an end."""
        for one in all_of[:MAX_DEPTH]:
            if self.parts >= _MAX_PARTS or depth >= MAX_DEPTH:
                return
            self.parts += 1
            yield self._resolved(one, depth + 1)[0]


def key_of(value: object) -> bytes:
    """The same for equal JSON values, and for no others: true is not 1, and 1.0 is 1."""
    return b"" if value is ABSENT else canonical(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _type(schema: Mapping[str, object]) -> str:
    types = schema.get("type")
    if isinstance(types, list):
        types = next((one for one in types if one != "null"), None)
    if isinstance(types, str):
        return types
    if isinstance(schema.get("properties"), Mapping):
        return "object"
    return "array" if "items" in schema else ""


def _texts_in(values: Sequence[object]) -> list[str]:
    return [one for one in values if isinstance(one, str)]


def _bound(schema: Mapping[str, object], *names: str) -> float | None:
    bounds = [schema.get(name) for name in names]
    return next((float(one) for one in bounds if isinstance(one, int | float) and not isinstance(one, bool)), None)


def _between(low: float | None, high: float | None, unique: int, part: float) -> list[float]:
    """Three numbers within bounds, different ones if there is room."""
    if low is not None and high is not None:
        span = max(0.0, high - low)
        if span <= 4:
            return [low + min(1.0, span), high, low] if span else [low] * VARIANTS
        step = (unique % 97) / 97
        return [float(int(low + span * (share + step / 4))) + part for share in (0.25, 0.6, 0.05)]
    if low is not None:
        return [low + 4_000 + unique, low + 900_000_000 + 7 * unique, low + 11 + unique]
    assert high is not None, "a number without bounds is not asked for here"
    return [high - 4_000 - unique, high - 900_000_000 - 7 * unique, high - 11 - unique]


def _formatted(form: object, unique: int) -> Values | None:
    """Texts in a form that programs and servers read; None for forms that are not made here."""
    day = 1 + unique % 28
    match form:
        case "uuid":
            return tuple(f"{mark}{unique:07x}-0000-4000-8000-00000000000{mark}" for mark in "abc")
        case "email" | "idn-email":
            return tuple(f"{mark}{unique}@plan.invalid" for mark in "abc")
        case "uri" | "url" | "iri":
            return tuple(f"https://plan.invalid/{mark}{unique}" for mark in "abc")
        case "date-time":
            return tuple(f"20{year}-03-{day:02}T10:{unique % 60:02}:{unique // 60 % 60:02}Z" for year in (37, 18, 44))
        case "date":
            return tuple(f"20{year}-{1 + unique // 28 % 12:02}-{day:02}" for year in (37, 18, 44))
        case _:
            return None


def _merged(schemas: Sequence[object]) -> Mapping[str, object]:
    """One schema with the members of all; those of an object are together."""
    merged: dict[str, object] = {}
    for schema in schemas:
        if not isinstance(schema, Mapping):
            continue
        for key, value in schema.items():
            before = merged.get(key)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                merged[key] = {**before, **value}
            elif isinstance(before, list) and isinstance(value, list):
                merged[key] = [*before, *value]
            else:
                merged[key] = value
    return merged
