"""Names of tools and of the properties of their inputs: valid wherever tools go, readable, unique, and the same however
the rest of the document changes."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_CHARACTERS = 64
_INVALID = re.compile(r"[^A-Za-z0-9_-]+")
_INVALID_PROPERTY = re.compile(r"[^A-Za-z0-9_.-]+")
_VALID_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VARIABLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """What a tool's name is made from."""

    operation_id: str
    method: str
    path: str

    @property
    def sorting(self) -> tuple[str, str]:
        return self.path, self.method

    @property
    def key(self) -> str:
        """The same for no other operation of the document."""
        return f"{self.method} {self.path}"


def tool_names(operations: Sequence[Wording]) -> list[str]:
    """A name for each operation.

    A valid operationId is the name. Of operations that would have the same name the one whose operationId that is keeps
    it, else the first by path and method; the others get it with a hash of path and method.
    """
    wanted = [_wanted(one) for one in operations]
    claims: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(wanted):
        claims[name.lower()].append(number)
    names = [""] * len(operations)
    taken: set[str] = set()
    later: list[int] = []
    for numbers in claims.values():
        first = min(numbers, key=lambda n: (operations[n].operation_id != wanted[n], operations[n].sorting))
        names[first] = wanted[first]
        taken.add(wanted[first].lower())
        later += [number for number in numbers if number != first]
    for number in later:
        names[number] = _free(with_hash(wanted[number], operations[number].key), taken)
    return names


def property_names(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """A name in the input for each (place, name on the wire), the most important first.

    A name that is taken gets its place in front: `id` in the path and in the body are `id` and `body_id`.
    """
    names: list[str] = []
    taken: set[str] = set()
    for place, wire in wanted:
        name = _property(wire)
        if name in taken:
            name = _property(f"{place}_{name}")
        number = 2
        plain = name
        while name in taken:
            name = f"{plain[:56]}_{number}"
            number += 1
        taken.add(name)
        names.append(name)
    return names


def definition_name(wire: str) -> str:
    """The name of a definition in a tool's schema, which becomes that of a type."""
    name = _INVALID.sub("_", wire[:200]).replace("-", "_").strip("_")[:MOST_CHARACTERS] or "Schema"
    return f"_{name}" if name[0].isdigit() else name


def with_hash(name: str, of: str) -> str:
    """The name, at most 64 characters with a hash of something that tells it from others."""
    return f"{name[: MOST_CHARACTERS - 9].rstrip('_-')}_{_hash(of)}"


def _wanted(one: Wording) -> str:
    if len(one.operation_id) <= MOST_CHARACTERS and one.operation_id and not _INVALID.search(one.operation_id):
        return one.operation_id
    source = one.operation_id
    name = _INVALID.sub("_", source).strip("_")
    if not name.strip("_-"):
        source = one.key
        path = _VARIABLE.sub(lambda found: f"by_{found[1]}", one.path)
        name = re.sub(r"_{2,}", "_", _INVALID.sub("_", f"{one.method.lower()}_{path}")).strip("_")
    return name if len(name) <= MOST_CHARACTERS else with_hash(name, source)


def _property(wire: str) -> str:
    if _VALID_PROPERTY.fullmatch(wire):
        return wire
    name = _INVALID_PROPERTY.sub("_", wire).strip("_") or "value"
    return name if len(name) <= MOST_CHARACTERS else with_hash(name, wire)


def _free(name: str, taken: set[str]) -> str:
    plain, number = name, 2
    while name.lower() in taken:
        name = f"{plain[: MOST_CHARACTERS - 8]}_{number}"
        number += 1
    taken.add(name.lower())
    return name


def _hash(of: str) -> str:
    return hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:8]
