"""What the `code` tool says of itself: at most 600 tokens, however many tools and whatever their texts.

No tokenizer is needed at run time: the parts that never change are counted once (a test counts them again), and what
comes from servers is counted by a bound that no text exceeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codemode.catalog import Catalog, summary
from codemode.text import encodable
from stubs import declarations

MAX_TOKENS = 600
_FIXED_TOKENS = 230
_MAX_SERVER_CHARS = 100
_MAX_DECLARED_TOOLS = 12

_HEAD = """\
Run a JavaScript or TypeScript program that calls tools and returns only what you need. Write the body of an async \
function: top-level await and return work. It runs in a fresh sandbox without network, files or modules; \
console.log is returned with the result.
Tools are codemode.<server>.<tool>(input): one object in, a Promise out; it rejects with ToolError \
{message, code, data, tool}. Combine calls, loop, use Promise.all, filter before you return."""

_DISCOVER = """\
Find tools first, do not guess names:
  await codemode.search("words", {limit, server, readOnly}) -> [{path, signature, description}]
  await codemode.describe("server.tool" | "server" | [...], {full}) -> TypeScript declarations
  await codemode.tools({server}) -> [{path, inputSchema, ...}]
  await codemode.emit(block) adds an image or another MCP content block to the answer"""

_EXAMPLE = """\
Example:
  const [tool] = await codemode.search("list open issues");
  return {tool, types: await codemode.describe(tool.path)};"""

_NO_SERVERS = "No server is available now."

# Single tokens of o200k, in lower case and capitalised, with and without a space in front. Other words are counted by
# letters.
_COMMON = frozenset(
    """
    a about accepted access account accounts action active add address adds after against alerts all allows
    already always amazon an analytics and any api app application apply are as associated at authentication
    available aws azure bank based be been before beta billing body both browser bucket build but by cache
    calendar call can cannot catalog categories category center certificate change changes chat check client
    closed cloud code com command company complete configuration connection connections connector content control
    conversion create created creates creating credential credentials current currently custom customer customers
    data database dataset date days default defined delete deleted demo deploy deployment deprecated design
    destination detail details device devices dimension directory disable discord distribution docker docs
    document documentation does domain domains drive each edit editing elastic email emails employees empty enable
    enabled endpoint entities entries entry error event events every everything example existing extension
    extensions external fake false fast features feed fetch few field fields file files filter filters finance
    find first for from full gateway get gets git github given gone google graph group has have help history how
    http identifier identity image images in incident include included includes including information input
    instance instances instead integration internal into inventory invoice is issue issues it item its job json
    key keys knowledge large latest layer lets level library linear list lists local location locations log logs
    machine magic manage managed many maps matching may meeting memory message messages metadata method metrics
    mode model modified modify mongo monitor more most moving multiple must mysql name namespace network new non
    not note notes number object objects of on one only open operation operations optional or order orders
    organization origin other output over own owned page pages pagination parameter parameters password patch path
    pattern payment payments paypal people per period plan platform please policy post prefix previous private
    product products profile project projects properties protocol provided provider public pull queries query
    queue range read reading reads record records redis reference registration registry relations release remote
    remove replace report repository request requested requests required requires resource resources response
    result results retrieve return returned returns role room route routes routing rule rules run sales same saved
    scan schedule schema script search secret secure security see send sending server servers service session set
    sets setting settings shipping signals simple single site slides small software source space specific spotify
    sql staff starts state status storage store stream stripe subscription such summary support supported supports
    sync system systems table tag tags target task tasks team telegram terraform test tests text that the their
    these this through ticket tickets tier time to token tool tools top total track traffic transfer travel true
    trust twitter two type types until update updated updates upload uploaded url usage use used user users uses
    using validation value values version versions via video view waiting wan warp weather web website when where
    whether which while wiki will with within without work worker workers workflow write writes writing you your
    youtube zero zone zones
    """.split()
)
_PIECE = re.compile(r"(?P<word>[^\W\d_]+)|\d{1,3}|(?P<space> +)|[^A-Za-z\d ]")


def description(catalog: Catalog) -> str:
    """The description of `code` for a catalog, at most `MAX_TOKENS` tokens of o200k."""
    room = MAX_TOKENS - _FIXED_TOKENS
    declared = _declared(catalog, room)
    if declared is not None:
        return encodable(
            "\n".join((_HEAD, declared, *_lines_within(_unavailable(catalog), room - tokens(declared)), _DISCOVER))
        )
    lines = [*_servers(catalog), *_unavailable(catalog)] or [_Line(_NO_SERVERS, _NO_SERVERS)]
    return encodable("\n".join((_HEAD, "Servers:", *_lines_within(lines, room), _DISCOVER, _EXAMPLE)))


def tokens(text: str) -> int:
    """An upper bound for the o200k tokens of a text."""
    return sum(_piece_tokens(piece, text) for piece in _PIECE.finditer(text))


def _piece_tokens(piece: re.Match[str], text: str) -> int:
    found = piece[0]
    if not found.isascii():
        return len(found.encode("utf-8", "replace"))
    if piece["space"]:
        # One space is part of the token of the word behind it.
        alone = len(found) == 1 and text[piece.end() : piece.end() + 1].isalpha()
        return 0 if alone else 1 + len(found) // 8
    if not piece["word"]:
        return 1
    if found.lower() not in _COMMON or found not in (found.lower(), found.capitalize()):
        return len(found)
    # Punctuation straight in front may take letters with it into a token.
    before = text[piece.start() - 1 : piece.start()]
    return 1 if before in ("", " ") else 2


def _declared(catalog: Catalog, room: int) -> str | None:
    if not 0 < len(catalog) <= _MAX_DECLARED_TOOLS:
        return None
    text = declarations(catalog.servers, catalog.names).strip()
    return text if tokens(text) <= room else None


class _Line(NamedTuple):
    """A line of the list of servers, and a shorter one for where there is little room."""

    text: str
    short: str


def _servers(catalog: Catalog) -> Iterator[_Line]:
    for server in catalog.servers:
        name = catalog.names.server(server.id)
        count = len(catalog.names.tools[server.id]) and len({tool.name for tool in server.tools})
        about = summary(server.description or server.name or "")[:_MAX_SERVER_CHARS]
        short = f"- {name} ({count} tools)"
        yield _Line(f"{short}: {about}" if about else short, short)


def _unavailable(catalog: Catalog) -> Iterator[_Line]:
    for server_id, reason in sorted(catalog.unavailable.items()):
        short = f"- {_plain(server_id)} is not available"
        yield _Line(f"{short}: {_plain(reason)[:_MAX_SERVER_CHARS]}", short)


def _lines_within(lines: Iterable[_Line], room: int) -> list[str]:
    """As many whole lines as there is room for; then short ones; then how many more there are."""
    everything = list(lines)
    if sum(tokens(line.text) + 1 for line in everything) <= room:
        return [line.text for line in everything]
    # However many are left out in the end, their number has no more digits than that of all.
    room -= tokens(_more(len(everything))) + 1
    shown: list[str] = []
    for line in everything:
        fitting = next((text for text in line if tokens(text) + 1 <= room), None)
        if fitting is None:
            break
        shown.append(fitting)
        room -= tokens(fitting) + 1
    return [*shown, _more(len(everything) - len(shown))]


def _more(count: int) -> str:
    return f'- and {count} more: codemode.search("") lists all'


def _plain(text: str) -> str:
    return " ".join(text.split())
