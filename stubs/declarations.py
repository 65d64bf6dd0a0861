"""The TypeScript declarations of servers: what an agent reads, an editor completes from, and a compiler checks.

The text stands alone: it declares `codemode` and every type it mentions, and compiles under `tsc --strict`.
"""

from collections.abc import Collection, Iterable, Mapping

from stubs.jsdoc import block, describe, line, paragraphs
from stubs.library import Library
from stubs.names import Names
from stubs.naming import name_types
from stubs.printer import Printer
from stubs.shapes import Intersection, Noted, Object, Reference, Shape, Union
from stubs.tools import Server, Tool

OBJECT = frozenset({"object"})
LONGEST_SERVER_TEXT = 200


def declarations(
    servers: Iterable[Server], names: Names, only: Collection[str] | None = None, *, members: str = ""
) -> str:
    """`declare const codemode: { <server>: { <tool>(input: ...): Promise<...>; } }` with the named types it needs.

    `only` are paths of tools (`server.tool` in identifiers) to declare, None for all. `members` is TypeScript for
    further members of `codemode`, written in front of the servers; it is trusted text.
    """
    types: list[str] = []
    bodies: list[str] = []
    for server in servers:
        tools = _selected(server, names, only)
        if tools or only is None:
            declared, body = _server(server, tools, names)
            types.extend(declared)
            bodies.append(body)
    return f"{''.join(types)}declare const codemode: {{\n{members}{''.join(bodies)}}};\n"


def _selected(server: Server, names: Names, only: Collection[str] | None) -> list[Tool]:
    unique = {tool.name: tool for tool in reversed(server.tools)}
    tools = [tool for tool in server.tools if unique[tool.name] is tool]
    return [tool for tool in tools if only is None or names.path(server.id, tool.name) in only]


def _server(server: Server, tools: Iterable[Tool], names: Names) -> tuple[Iterable[str], str]:
    library = Library()
    compiled = []
    roots: list[tuple[str, Shape]] = []
    for tool in tools:
        name = names.tool(server.id, tool.name)
        given = library.add(tool.input_schema, f"{name} input", OBJECT)
        returned: Shape = library.shapes.unknown
        if tool.output_schema is not None:
            returned = library.add(tool.output_schema, f"{name} output")
        compiled.append((tool, name, given, returned))
        roots += [(f"{name} input", given), (f"{name} output", returned)]
    identifier = names.server(server.id)
    printer = Printer(name_types(roots, identifier))
    lines = [
        f"{block(tool_text(tool), '    ')}    {name}({parameter(given, tool, printer)}): "
        f"Promise<{printer.text(returned, '    ')}>;\n"
        for tool, name, given, returned in compiled
    ]
    return printer.declarations(), f"{block(_server_text(server), '  ')}  {identifier}: {{\n{''.join(lines)}  }};\n"


def parameter(given: Shape, tool: Tool, printer: Printer, indent: str = "    ") -> str:
    """The one parameter of a tool, optional when the tool takes an empty object."""
    mark = "?" if takes_nothing(given) else ""
    declared = tool.input_schema.get("properties") if isinstance(tool.input_schema, Mapping) else None
    if isinstance(given, Object) and not given.properties and not given.indexes and declared == {}:
        return f"input{mark}: {{}}"
    return f"input{mark}: {printer.text(given, indent)}"


def takes_nothing(shape: Shape, depth: int = 50) -> bool:
    """Whether `{}` belongs to a type of objects."""
    match shape:
        case Object(properties):
            return not any(item.required for item in properties)
        case Union(members):
            return any(takes_nothing(member, depth) for member in members)
        case Intersection(members):
            return all(takes_nothing(member, depth) for member in members)
        case Noted():
            return takes_nothing(shape.shape, depth)
        case Reference(definition):
            return definition.body is not None and depth > 0 and takes_nothing(definition.body, depth - 1)
        case _:
            return False


def tool_text(tool: Tool) -> str:
    """The comment over a tool: its description once, its hints, and what its schemas say as wholes."""
    text = paragraphs(tool.description or tool.title or "")
    marks = [word for key, word in _HINTS if tool.annotations.get(key) is True]
    if marks:
        text = f"{text} ({', '.join(marks)})" if text else ", ".join(marks)
    given = describe(_root_words(tool.input_schema, tool))
    returned = describe(_root_words(tool.output_schema, tool))
    return "\n".join(
        part
        for part in (text, f"@param input {given}" if given else "", f"@returns {returned}" if returned else "")
        if part
    )


_HINTS = (("readOnlyHint", "read-only"), ("destructiveHint", "destructive"), ("idempotentHint", "idempotent"))


def _root_words(schema: object, tool: Tool) -> object:
    """A schema's own words, without those that only repeat the tool's."""
    if not isinstance(schema, Mapping):
        return None
    description = schema.get("description")
    known = f"{tool.description} {tool.title}"
    repeated = not isinstance(description, str) or description.strip() in known
    return {key: value for key, value in schema.items() if key != "title" and not (key == "description" and repeated)}


def _server_text(server: Server) -> str:
    return line(": ".join(filter(None, (server.name, server.description))), LONGEST_SERVER_TEXT)
