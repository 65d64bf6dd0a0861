"""The description of the `code` tool: at most 600 tokens, for any number of tools and any texts of theirs.

It declares all tools where their declarations fit, and a task takes one program. Otherwise it shows how to find them,
and a task takes two. The tokens of the constant parts are constants, which a test counts again. `most_tokens` counts
the parts that come from servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from codemode.about import LONGEST, about, briefly
from codemode.catalog import Catalog
from codemode.cost import most_tokens
from codemode.text import encodable
from stubs import Names, Server, declarations

MAX_TOKENS = 600
_DECLARING_TOKENS = 132
_FINDING_TOKENS = 225
_ROOM_TO_DECLARE = MAX_TOKENS - _DECLARING_TOKENS
"""Declarations up to this bound are in the description, however many tools they declare.

The budget alone decides, because it ends before declarations become dear. Measured over completed tasks
(`benchmarks/subjects/task_searched.py`), declarations cost as much as finding a tool (a search, its answer and one more
turn) when they have 272 tokens, each text counted once; 441, counted as often as it is read. This room, in which
`most_tokens` counts a real declaration 2.4 times, is full at 214. A test fails where that is no longer so.
"""
_LEAST_DECLARATION = 20
"""Each tool takes more of the room than this, so that the declarations of many need not be written to be measured."""

_HEAD = """\
Run a JavaScript or TypeScript program that calls tools and returns only what you need. Write the body of an async \
function. It runs in a fresh sandbox without network, files or modules; console.log comes with the result.
Tools are codemode.<server>.<tool>(input): one object in, a Promise out; it rejects with ToolError \
{message, code, data, tool}. Combine calls with loops and Promise.all, filter before you return."""

_EMIT = "  await codemode.emit(block) adds an image or another MCP block to the answer"
_ALL_DECLARED = "All tools are declared here. There is also:"
_FIND = """\
Find tools first, never guess names:
  await codemode.search("need" | [...], {limit, server, readOnly}) -> [{path, signature, description}], a list per need
  await codemode.describe("server.tool" | "server" | [...], {full}) -> TypeScript declarations
  await codemode.tools({server}) -> [{path, inputSchema, ...}]"""

EXAMPLE_WORDS = "list open issues"
EXAMPLE = f'return codemode.describe(await codemode.search("{EXAMPLE_WORDS}", {{limit: 2}}));'
"""The program by which an agent finds a tool: one turn, and the next program can call what this one shows."""

_EXAMPLE = f"Example:\n  {EXAMPLE}"

_NO_SERVERS = "No server is available now."


def description(catalog: Catalog) -> str:
    """The description of `code` for a catalog, at most `MAX_TOKENS` tokens of o200k."""
    declared = _declared(catalog)
    return with_servers(catalog) if declared is None else with_declarations(catalog, declared)


def with_declarations(catalog: Catalog, declared: str) -> str:
    """The description that declares all tools. `declared` are the declarations, as long as they are."""
    unavailable = _lines_within(_unavailable(catalog), _ROOM_TO_DECLARE - most_tokens(declared))
    return encodable("\n".join((_HEAD, declared, *unavailable, _ALL_DECLARED, _EMIT)))


def with_servers(catalog: Catalog) -> str:
    """The description that lists the servers, and shows how to find tools."""
    lines = [*_servers(catalog), *_unavailable(catalog)] or [_Line(_NO_SERVERS, _NO_SERVERS, _NO_SERVERS)]
    shown = _lines_within(lines, MAX_TOKENS - _FINDING_TOKENS)
    return encodable("\n".join((_HEAD, "Servers:", *shown, _FIND, _EMIT, _EXAMPLE)))


def declared_tools(catalog: Catalog) -> str:
    """The declarations of all tools of a catalog."""
    return _declarations(catalog.servers, catalog.names)


def has_room_for(declared: str, unavailable: int = 0) -> bool:
    """Whether the description may have these declarations of all tools, when so many servers cannot be used now."""
    # However little room these have, their number has to be said.
    others = most_tokens(_more(unavailable)) + 1 if unavailable else 0
    return most_tokens(declared) + others <= _ROOM_TO_DECLARE


def _declared(catalog: Catalog) -> str | None:
    """The declarations of all tools; None where there are none, or too many tokens of them."""
    if not 0 < len(catalog) * _LEAST_DECLARATION <= _ROOM_TO_DECLARE:
        return None
    servers = catalog.servers
    first = next(server for server in servers if server.tools)
    text = ""
    # Where all are too long, the first two mostly are, and take less time to be declared.
    for some in ([replace(first, tools=first.tools[:2])], servers):
        text = _declarations(some, catalog.names)
        if not has_room_for(text, len(catalog.unavailable)):
            return None
    return text


def _declarations(servers: Iterable[Server], names: Names) -> str:
    return declarations([briefly(server) for server in servers], names).strip()


class _Line(NamedTuple):
    """A line of the list of servers, and shorter ones for where there is little room.

    `whole` names some tools, `text` says what the server is for, `short` is its name.
    """

    whole: str
    text: str
    short: str


def _servers(catalog: Catalog) -> Iterator[_Line]:
    for server, count in catalog.server_tools():
        name = catalog.names.server(server.id)
        short = f"- {name} ({count} tool{'' if count == 1 else 's'})"
        words = about(server)
        text = f"{short}: {words}" if words else short
        names = catalog.some_tools(server.id)
        # Without a word of its own its tools have to say what it is for, however little room there is.
        whole = f"{text} ({names})" if words and names else f"{short}: {names}" if names else text
        yield _Line(whole, text if words else whole, short)


def _unavailable(catalog: Catalog) -> Iterator[_Line]:
    for server_id, why in sorted(catalog.unavailable.items()):
        short = f"- {_plain(server_id)} is not available"
        text = f"{short}: {why[:LONGEST]}"
        yield _Line(text, text, short)


def _lines_within(lines: Iterable[_Line], room: int) -> list[str]:
    """As many whole lines as there is room for; then short ones; then how many more there are."""
    everything = list(lines)
    for version in ([line.whole for line in everything], [line.text for line in everything]):
        if sum(most_tokens(text) + 1 for text in version) <= room:
            return version
    # However many are left out in the end, their number has no more digits than that of all.
    room -= most_tokens(_more(len(everything))) + 1
    chosen: list[str] = []
    for line in everything:
        fitting = next((text for text in (line.text, line.short) if most_tokens(text) + 1 <= room), None)
        if fitting is None:
            break
        chosen.append(fitting)
        room -= most_tokens(fitting) + 1
    return [*chosen, _more(len(everything) - len(chosen))]


def _more(count: int) -> str:
    return f'- and {count} more: codemode.search("") lists all'


def _plain(text: str) -> str:
    return " ".join(text.split())
