"""The TypeScript declarations of servers, for agents to read, editors to complete from, and compilers to check.

The text is complete: it declares `codemode` and every type it mentions, and compiles under `tsc --strict`.
"""

from collections.abc import Collection, Iterable, Mapping

from stubs.calls import CallTypes, call_of
from stubs.jsdoc import block, describe, line, paragraphs
from stubs.library import Library
from stubs.names import Names
from stubs.naming import name_types
from stubs.printer import Printer
from stubs.tools import Server, Tool

LONGEST_SERVER_TEXT = 200

_INDENT = "    "
_HINTS = (("readOnlyHint", "read-only"), ("destructiveHint", "destructive"), ("idempotentHint", "idempotent"))


def declarations(
    servers: Iterable[Server],
    names: Names,
    only: Collection[str] | None = None,
    *,
    members: str = "",
    whole: bool = False,
) -> str:
    """`declare const codemode: { <server>: { <tool>(input: ...): Promise<...>; } }` with the named types it needs.

    `only`: the paths of the tools to declare (`server.tool` in identifiers), None for all. `members`: trusted
    TypeScript for further members of `codemode`, which come before the servers. `whole`: long enumerations are written
    out, for editors and compilers; otherwise some of their values are only counted.
    """
    types: list[str] = []
    bodies: list[str] = []
    integers = False
    for server in servers:
        tools = _selected(server, names, only)
        if tools or only is None:
            printer, body = _server(server, tools, names, whole)
            types.extend(printer.declarations())
            bodies.append(body)
            integers |= printer.mentions_integer
    integer = "type integer = number;\n" if integers else ""
    return f"{integer}{''.join(types)}declare const codemode: {{\n{members}{''.join(bodies)}}};\n"


def _selected(server: Server, names: Names, only: Collection[str] | None) -> list[Tool]:
    """The tools to declare, each once, in the server's order."""
    if only is None:
        tools: Iterable[Tool] = server.tools
    else:
        keys = map(names.of_path, only)
        selected = {key.tool for key in keys if key is not None and key.server == server.id}
        tools = (tool for tool in server.tools if tool.name in selected)
    first: dict[str, Tool] = {}
    for tool in tools:
        first.setdefault(tool.name, tool)
    return list(first.values())


def _server(server: Server, tools: Iterable[Tool], names: Names, whole: bool) -> tuple[Printer, str]:
    library = Library(whole=whole)
    identifier = names.server(server.id)
    calls = [(tool, name := names.tool(server.id, tool.name), call_of(tool, name, library)) for tool in tools]
    printer = Printer(name_types([root for _, name, call in calls for root in call.roots(name)], identifier))
    lines = [_member(tool, name, call, printer) for tool, name, call in calls]
    return printer, f"{block(_server_text(server), '  ')}  {identifier}: {{\n{''.join(lines)}  }};\n"


def _member(tool: Tool, name: str, call: CallTypes, printer: Printer) -> str:
    input = "{}" if call.bare else printer.text(call.input, _INDENT)
    output = printer.text(call.output, _INDENT)
    comment = block(tool_text(tool), _INDENT)
    return f"{comment}{_INDENT}{name}(input{'?' if call.optional else ''}: {input}): Promise<{output}>;\n"


def tool_text(tool: Tool) -> str:
    """The comment of a tool: its description, its hints, and what its schemas say of input and output as a whole."""
    words = (text for text in (tool.description, tool.title) if isinstance(text, str) and text.strip())
    text = paragraphs(next(words, ""))
    hints = tool.annotations if isinstance(tool.annotations, Mapping) else {}
    marks = [word for key, word in _HINTS if hints.get(key) is True]
    if "read-only" in marks:
        marks = ["read-only"]
    if marks:
        text = f"{text} ({', '.join(marks)})" if text else ", ".join(marks)
    input = describe(_root_words(tool.input_schema, tool))
    output = describe(_root_words(tool.output_schema, tool))
    parts = (text, f"@param input {input}" if input else "", f"@returns {output}" if output else "")
    return "\n".join(filter(None, parts))


def _root_words(schema: object, tool: Tool) -> object:
    """A schema without its title, and without a description that repeats the tool's."""
    if not isinstance(schema, Mapping):
        return None
    description = schema.get("description")
    own = f"{tool.description} {tool.title}"
    repeats = not isinstance(description, str) or description.strip() in own
    return {key: value for key, value in schema.items() if key != "title" and not (key == "description" and repeats)}


def _server_text(server: Server) -> str:
    return line(": ".join(filter(None, (server.name, server.description))), LONGEST_SERVER_TEXT)
