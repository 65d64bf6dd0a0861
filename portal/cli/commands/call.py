"""`codemode call`: calls one tool, as a client does through the portal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from codemode import ArgumentCheck, Catalog, CatalogError
from portal.calls import Call
from portal.cli.arguments import parse_arguments
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import nearest
from portal.cli.session import connect, read_config
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.cli.show.report import result_view
from portal.errors import CallError, UpstreamError


async def call(path: str, words: Sequence[str], config: Path | None, *, as_json: bool) -> Exit:
    """Call SERVER.TOOL. The exit code is 0 for a result, 1 for a tool's error, 3 if the server does not answer."""
    stdout, stderr = consoles()
    file, document = read_config(config, stderr, quiet=as_json)
    async with connect(document, stderr, file=file) as session:
        tool = _find(session.catalog, path, session.snapshot.unavailable())
        arguments = parse_arguments(words, tool.input_schema)
        if wrong := ArgumentCheck(tool.input_schema).mismatches(arguments):
            raise CommandError(f"{path} was not called, because its arguments do not fit: {'; '.join(wrong)}.")
        for unknown, meant in _misspelt(arguments, tool.input_schema):
            note = f"{path} says nothing of an argument {unknown}. Did you mean {meant}?"
            stderr.print(Text(note, style="yellow"), soft_wrap=True)
        try:
            with WaitLine(stderr, f"Calling {path} ..."):
                result = await session.caller.call(Call.tool(tool.server, tool.name, arguments))
        except CallError as error:
            code = Exit.UPSTREAM if isinstance(error, UpstreamError) else Exit.USAGE
            raise CommandError(error.full_message, code) from error
    failed = bool(result.get("isError"))
    if as_json:
        stdout.print_json(data=result)
    elif failed:
        stderr.print(Text(f"{path} answered with an error: {_text(result)}", style="red"), soft_wrap=True)
    else:
        stdout.print(result_view(_value(result)), soft_wrap=True)
    return Exit.PROGRAM_FAILED if failed else Exit.OK


def _misspelt(arguments: Mapping[str, object], schema: Mapping[str, object] | bool) -> Iterator[tuple[str, str]]:
    """The arguments that the schema does not name, and the one of its own that each is nearly. Many servers pass over
    what they do not know, and answer as if it had not been there."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if isinstance(properties, Mapping):
        for name in arguments:
            if name not in properties and (near := nearest(name, properties, most=1)):
                yield name, near[0]


@dataclass(frozen=True, slots=True)
class _Tool:
    server: str
    name: str
    input_schema: Mapping[str, object] | bool


def _find(catalog: Catalog, path: str, unavailable: Mapping[str, str]) -> _Tool:
    """The tool at `path`, in any spelling that a program may use.

    Raises:
        CommandError: there is no such tool. The message names similar ones.
    """
    keys = catalog.names.resolve(path)
    if len(keys) == 1 and (entry := catalog.get(catalog.names.path(*keys[0]))) is not None:
        return _Tool(entry.server.id, entry.tool.name, entry.tool.input_schema)
    server = path.partition(".")[0]
    if server in unavailable:
        raise CommandError(f"Server {server} is not available: {unavailable[server]}", Exit.UPSTREAM)
    try:
        catalog.describe(path)
    except CatalogError as error:
        raise CommandError(str(error)) from error
    raise CommandError(f"{path!r} is a server; name one of its tools, as `codemode tools {path}` lists them.")


def _value(result: Mapping[str, object]) -> object:
    """The value to print: the structured content, else the text (parsed if it is JSON), else the content blocks."""
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    blocks = _blocks(result)
    if not all(block.get("type") == "text" for block in blocks):
        return blocks
    text = _text(result)
    try:
        return json.loads(text) if text.lstrip().startswith(("{", "[")) else text
    except ValueError:
        return text


def _text(result: Mapping[str, object]) -> str:
    return "\n".join(str(block.get("text", "")) for block in _blocks(result) if block.get("type") == "text")


def _blocks(result: Mapping[str, object]) -> list[Mapping[str, object]]:
    blocks = result.get("content")
    return [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
