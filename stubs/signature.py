"""A tool on one line, for lists of search results: enough to call it, with types of any size."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stubs.calls import call_of
from stubs.library import Library
from stubs.names import Names
from stubs.naming import name_types
from stubs.shapes import (
    ALL,
    Array,
    Intersection,
    JsonTypes,
    Literal,
    Note,
    Object,
    Primitive,
    Property,
    Reference,
    Shape,
    Shapes,
    Tuple,
    Union,
    is_null,
    json_types,
)
from stubs.text import index_head, property_name
from stubs.tools import Server, Tool

LONGEST_INPUT = 240
LONGEST_OUTPUT = 140
_DETAIL = (
    *((40, 256, 99), (4, 256, 24), (3, 256, 16), (2, 256, 12), (1, 256, 8), (0, 256, 8)),
    *((0, 16, 6), (0, 8, 4), (0, 4, 4), (0, 2, 3), (0, 2, 1)),
)
"""The tries, each with less detail: levels of objects written out, properties of each, members of a union."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MORE = re.compile(r'/\* ([\d,]+) more \*/ "(?:[^"\\]|\\.)*"$')

_WIDEST = {
    "array": "unknown[]",
    "boolean": "boolean",
    "null": "null",
    "number": "number",
    "object": "Record<string, unknown>",
    "string": "string",
}


def signature(
    server: Server,
    tool: Tool,
    names: Names,
    *,
    longest_input: int = LONGEST_INPUT,
    longest_output: int = LONGEST_OUTPUT,
) -> str:
    """`codemode.fix.search(input: { query: string; limit?: number }): Promise<...>`, on one line, without comments.

    `longest_input`, `longest_output`: characters. Of a longer type first the inner objects and then the optional
    properties are only counted.
    """
    name = names.tool(server.id, tool.name)
    call = call_of(tool, name, Library(documented=False))
    types = name_types(call.roots(name), names.server(server.id))
    input = "{}" if call.bare else brief(call.input, longest_input, types)
    output = brief(call.output, longest_output, types)
    path = names.path(server.id, tool.name)
    mark = "/* inferred */ " if tool.output_inferred and output != "unknown" else ""
    return f"codemode.{path}(input{'?' if call.optional else ''}: {input}): Promise<{mark}{output}>"


def type_of(schema: Any, longest: int = 100_000) -> str:
    """The type of one schema on one line. Where the schema refers to itself, the type is `unknown`."""
    return brief(Library(documented=False).add(schema, "Root"), longest, {})


def brief(shape: Shape, longest: int, types: Mapping[Shape, str]) -> str:
    """A type on one line of at most `longest` characters, with as much detail as fits.

    `types`: names for recursive types. A recursive type without a name is `unknown`.
    """
    for depth, properties, members in _DETAIL:
        try:
            return _Brief(longest, types, properties, members).text(shape, depth)
        except _TooLong:
            continue
    return _widest(json_types(shape))


def _widest(types: JsonTypes) -> str:
    """The type of all values of some JSON types."""
    return "unknown" if types >= ALL else " | ".join(_WIDEST.get(name, name) for name in sorted(types)) or "never"


def _cut_keys(keys: str, most: int) -> str:
    """A union of strings with the first of them, a comment that counts others, and the last one."""
    texts = _STRING.findall(keys)
    if len(texts) <= most + 1:
        return keys
    cut_before = _MORE.search(keys)
    more = len(texts) - most - 1 + (int(cut_before[1].replace(",", "")) if cut_before else 0)
    return " | ".join([*texts[:most], f"/* {more:,} more */ {texts[-1]}"])


class _TooLong(Exception):
    """The line is too long; the next try has less detail."""


class _Brief:
    """One try to write a type within a number of characters."""

    def __init__(self, room: int, types: Mapping[Shape, str], most_properties: int, most_members: int) -> None:
        self._room = room
        self._types = types
        self._most_properties = most_properties
        self._most_members = most_members

    def text(self, shape: Shape, depth: int, *, tight: bool = False) -> str:
        """`tight`: put a union or an intersection in parentheses, because `[]`, `?` or `&` follows."""
        match shape:
            case Primitive(text) | Literal(text):
                return self._spend("number" if text == "integer" else text)
            case Note():
                return self.text(shape.shape, depth, tight=tight)
            case Array(item):
                return self.text(item, depth, tight=True) + self._spend("[]")
            case Tuple():
                return self._tuple(shape, depth)
            case Object(properties, indexes):
                return self._object(shape, depth) if properties or indexes else self._spend("Record<string, unknown>")
            case Union(members) if len(members) > self._most_members + 1:
                return self._cut_union(members, depth, tight)
            case Union(members) | Intersection(members):
                sign = " | " if isinstance(shape, Union) else " & "
                inner = sign.join(self.text(item, depth, tight=isinstance(shape, Intersection)) for item in members)
                self._spend(sign * len(members))
                return f"({inner})" if tight else inner
            case Reference(definition):
                if definition.body is None or definition.recursive:
                    return self._spend(self._types.get(shape, "unknown"))
                return self.text(definition.body, depth, tight=tight)

    def _spend(self, text: str) -> str:
        self._room -= len(text)
        if self._room < 0:
            raise _TooLong
        return text

    def _cut_enumeration(self, members: Sequence[Shape], tight: bool) -> str:
        """The first literals, a comment that counts others, and the last literal; `null` behind them."""
        literals = [item for item in members if isinstance(item, Literal)]
        hidden = literals[self._most_members :]
        last = Shapes().cut(len(hidden) - 1, hidden[-1])
        shown = [item.text for item in (*literals[: self._most_members], last)]
        text = " | ".join([*shown, "null"] if len(literals) < len(members) else shown)
        return self._spend(f"({text})" if tight else text)

    def _cut_union(self, members: Sequence[Shape], depth: int, tight: bool) -> str:
        if all(isinstance(item, Literal) or is_null(item) for item in members):
            return self._cut_enumeration(members, tight)
        first = [self.text(item, depth) for item in members[: self._most_members]]
        hidden = members[self._most_members :]
        comment = self._spend(" | /* … */ ")
        widest = self._spend(_widest(frozenset().union(*map(json_types, hidden))))
        self._spend(" | " * len(first))
        text = " | ".join(first) + comment + widest
        return f"({text})" if tight else text

    def _tuple(self, shape: Tuple, depth: int) -> str:
        items = [
            self.text(item, depth, tight=position >= shape.required) + ("" if position < shape.required else "?")
            for position, item in enumerate(shape.items)
        ]
        if shape.rest is not None:
            items.append(f"...{self.text(shape.rest, depth, tight=True)}[]")
        self._spend(", " * len(items))
        return f"[{', '.join(items)}]"

    def _object(self, shape: Object, depth: int) -> str:
        count = len(shape.properties)
        ordered = sorted(shape.properties, key=lambda item: not item.required)
        if depth < 0:
            return self._spend(f"{{ /* {count} properties */ }}" if count else "{ /* map */ }")
        if not count and len(shape.indexes) == 1 and shape.indexes[0].key == "string" and depth > 0:
            self._spend("Record<string, >")
            return f"Record<string, {self.text(shape.indexes[0].shape, depth - 1)}>"
        first = ordered[: self._most_properties]
        parts = [self._property(item, depth) for item in first]
        for key, inner, _ in shape.indexes:
            head = index_head(_cut_keys(key, self._most_members) if key[0] == '"' else key)
            parts.append(self._spend(head) + self.text(inner, depth - 1))
        hidden = f"; /* {count - len(first)} more */" if len(first) < count else ""
        self._spend("; " * len(parts) + hidden)
        return f"{{ {'; '.join(parts)}{hidden} }}"

    def _property(self, item: Property, depth: int) -> str:
        mark = "" if item.required else "?"
        return self._spend(f"{property_name(item.name)}{mark}: ") + self.text(item.shape, depth - 1)
