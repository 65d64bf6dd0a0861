"""The TypeScript declarations of servers: what an agent reads, an editor completes from, and a compiler checks.

The text stands alone: it declares `codemode` and every type it mentions, and compiles under `tsc --strict`.
"""

from collections.abc import Collection, Iterable, Mapping

from stubs.calls import Call, call_of
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
    servers: Iterable[Server], names: Names, only: Collection[str] | None = None, *, members: str = ""
) -> str:
    """`declare const codemode: { <server>: { <tool>(input: ...): Promise<...>; } }` with the named types it needs.

    `only` are paths of tools (`server.tool` in identifiers) to declare, None for all. `members` is TypeScript for
    further members of `codemode`, written in front of the servers; it is trusted text.
    """
    types: list[str] = []
    bodies: list[str] = []
    integers = False
    for server in servers:
        tools = _selected(server, names, only)
        if tools or only is None:
            printer, body = _server(server, tools, names)
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
        keys = (names.paths[path] for path in only if path in names.paths)
        wanted = {key.tool for key in keys if key.server == server.id}
        tools = (tool for tool in server.tools if tool.name in wanted)
    first: dict[str, Tool] = {}
    for tool in tools:
        first.setdefault(tool.name, tool)
    return list(first.values())


def _server(server: Server, tools: Iterable[Tool], names: Names) -> tuple[Printer, str]:
    library = Library()
    identifier = names.server(server.id)
    calls = [(tool, name := names.tool(server.id, tool.name), call_of(tool, name, library)) for tool in tools]
    printer = Printer(name_types([root for _, name, call in calls for root in call.roots(name)], identifier))
    lines = [_member(tool, name, call, printer) for tool, name, call in calls]
    return printer, f"{block(_server_text(server), '  ')}  {identifier}: {{\n{''.join(lines)}  }};\n"


def _member(tool: Tool, name: str, call: Call, printer: Printer) -> str:
    given = "{}" if call.bare else printer.text(call.given, _INDENT)
    returned = printer.text(call.returned, _INDENT)
    comment = block(tool_text(tool), _INDENT)
    return f"{comment}{_INDENT}{name}(input{'?' if call.optional else ''}: {given}): Promise<{returned}>;\n"


def tool_text(tool: Tool) -> str:
    """The comment over a tool: its description once, its hints, and what its schemas say as wholes."""
    words = (text for text in (tool.description, tool.title) if isinstance(text, str) and text.strip())
    text = paragraphs(next(words, ""))
    hints = tool.annotations if isinstance(tool.annotations, Mapping) else {}
    marks = [word for key, word in _HINTS if hints.get(key) is True]
    if "read-only" in marks:
        marks = ["read-only"]
    if marks:
        text = f"{text} ({', '.join(marks)})" if text else ", ".join(marks)
    given = describe(_root_words(tool.input_schema, tool))
    returned = describe(_root_words(tool.output_schema, tool))
    return "\n".join(
        part
        for part in (text, f"@param input {given}" if given else "", f"@returns {returned}" if returned else "")
        if part
    )


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
