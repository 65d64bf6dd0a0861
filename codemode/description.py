"""The description of the `code` tool: at most 600 tokens, for any number of tools and any texts of theirs.

The tokens of the constant parts are a constant, which a test counts again. `most_tokens` counts the parts that come
from servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codemode.about import LONGEST, about, briefly
from codemode.catalog import Catalog
from codemode.cost import most_tokens
from codemode.text import encodable
from stubs import declarations

MAX_TOKENS = 600
_FIXED_TOKENS = 230
_MAX_DECLARED_TOOLS = 12

_HEAD = """\
Run a JavaScript or TypeScript program that calls tools and returns only what you need. Write the body of an async \
function. It runs in a fresh sandbox without network, files or modules; console.log comes with the result.
Tools are codemode.<server>.<tool>(input): one object in, a Promise out; it rejects with ToolError \
{message, code, data, tool}. Combine calls with loops and Promise.all, filter before you return."""

_DISCOVER = """\
Find tools first, never guess names:
  await codemode.search("need" | [...], {limit, server, readOnly}) -> [{path, signature, description}], a list per need
  await codemode.describe("server.tool" | "server" | [...], {full}) -> TypeScript declarations
  await codemode.tools({server}) -> [{path, inputSchema, ...}]
  await codemode.emit(block) adds an image or another MCP block to the answer"""

_EXAMPLE = """\
Example:
  const [[issue], [message]] = await codemode.search(["find issues", "post a message"]);
  return codemode.describe([issue.path, message.path]);"""

_NO_SERVERS = "No server is available now."


def description(catalog: Catalog) -> str:
    """The description of `code` for a catalog, at most `MAX_TOKENS` tokens of o200k."""
    room = MAX_TOKENS - _FIXED_TOKENS
    declared = _declared(catalog, room)
    if declared is not None:
        return encodable(
            "\n".join((_HEAD, declared, *_lines_within(_unavailable(catalog), room - most_tokens(declared)), _DISCOVER))
        )
    lines = [*_servers(catalog), *_unavailable(catalog)] or [_Line(_NO_SERVERS, _NO_SERVERS, _NO_SERVERS)]
    return encodable("\n".join((_HEAD, "Servers:", *_lines_within(lines, room), _DISCOVER, _EXAMPLE)))


def _declared(catalog: Catalog, room: int) -> str | None:
    """The declarations of a few small tools; None when they are too many or too long."""
    if not 0 < len(catalog) <= _MAX_DECLARED_TOOLS:
        return None
    servers = [briefly(server) for server in catalog.servers]
    text = declarations(servers, catalog.names).strip()
    return text if most_tokens(text) <= room else None


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
