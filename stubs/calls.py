"""What a call of a tool takes and gives, as shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from stubs.library import Library
from stubs.shapes import Intersection, Noted, Object, Reference, Shape, Union
from stubs.tools import Tool

OBJECT = frozenset({"object"})
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Call:
    """The types of one tool. `optional`: the tool takes an empty object, so its argument can be left out."""

    given: Shape
    returned: Shape
    optional: bool
    bare: bool
    """The tool says that it has no parameters, without refusing any."""

    def roots(self, name: str) -> list[tuple[str, Shape]]:
        """The shapes with a word for each, as `name_types` takes them."""
        return [(f"{name} input", self.given), (f"{name} output", self.returned)]


def call_of(tool: Tool, name: str, library: Library) -> Call:
    """Compile a tool's schemas. A tool that declares no output gives `unknown`."""
    given = library.add(tool.input_schema, f"{name} input", OBJECT)
    returned: Shape = library.shapes.unknown
    if tool.output_schema is not None:
        returned = library.add(tool.output_schema, f"{name} output")
    return Call(given, returned, _takes_nothing(given), _is_bare(given, tool.input_schema))


def _takes_nothing(shape: Shape, depth: int = _DEEPEST) -> bool:
    """Whether `{}` belongs to a type of objects."""
    match shape:
        case Object(properties):
            return not any(item.required for item in properties)
        case Union(members):
            return any(_takes_nothing(member, depth) for member in members)
        case Intersection(members):
            return all(_takes_nothing(member, depth) for member in members)
        case Noted():
            return _takes_nothing(shape.shape, depth)
        case Reference(definition):
            return definition.body is not None and depth > 0 and _takes_nothing(definition.body, depth - 1)
        case _:
            return False


def _is_bare(shape: Shape, schema: object) -> bool:
    if not isinstance(shape, Object) or shape.properties or shape.indexes:
        return False
    return isinstance(schema, Mapping) and schema.get("properties") == {}
