"""The input and the output of a tool, as shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from stubs.defaults import without_defaulted
from stubs.library import Library
from stubs.shapes import Intersection, Note, Object, Reference, Shape, Union
from stubs.tools import Tool

OBJECT = frozenset({"object"})
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class CallTypes:
    """The types of one tool. `optional`: the tool takes an empty object, so its argument can be left out."""

    input: Shape
    output: Shape
    optional: bool
    bare: bool
    """The tool declares that it has no parameters, and allows any."""

    def roots(self, name: str) -> list[tuple[str, Shape]]:
        """The shapes, each with a word for its name, for `name_types`."""
        return [(f"{name} input", self.input), (f"{name} output", self.output)]


def call_of(tool: Tool, name: str, library: Library) -> CallTypes:
    """Compile the schemas of a tool. Without an output schema the output is `unknown`."""
    input = library.add(without_defaulted(tool.input_schema), f"{name} input", OBJECT)
    output: Shape = library.shapes.unknown
    if tool.output_schema is not None:
        output = library.add(tool.output_schema, f"{name} output")
    return CallTypes(input, output, _allows_empty(input), _is_bare(input, tool.input_schema))


def _allows_empty(shape: Shape, depth: int = _DEEPEST) -> bool:
    """Whether `{}` belongs to a type of objects."""
    match shape:
        case Object(properties):
            return not any(item.required for item in properties)
        case Union(members):
            return any(_allows_empty(member, depth) for member in members)
        case Intersection(members):
            return all(_allows_empty(member, depth) for member in members)
        case Note():
            return _allows_empty(shape.shape, depth)
        case Reference(definition):
            return definition.body is not None and depth > 0 and _allows_empty(definition.body, depth - 1)
        case _:
            return False


def _is_bare(shape: Shape, schema: object) -> bool:
    if not isinstance(shape, Object) or shape.properties or shape.indexes:
        return False
    return isinstance(schema, Mapping) and schema.get("properties") == {}
