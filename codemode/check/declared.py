"""The declarations one program is checked against: its own tools, what its isolate has, and nothing that costs time.

Only tools whose names stand in the program are declared, so the check takes as long for ten tools as for ten thousand.
Everything else of `codemode` is `any`: access by a computed name is never an error. So is what a schema leaves open,
and what is only known from results seen: the next result may have more.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from codemode.catalog import Catalog
from codemode.text import encodable
from stubs import Server, declarations

_WORD = re.compile(r"[\w$]+")
_QUOTED = re.compile(r"[\"'`]([^\"'`\n]{1,200})[\"'`]")
_OPEN_TYPE = re.compile(r"/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|\bunknown\b(?!\??:)", re.DOTALL)
_MOST_UNNAMED = 100
_MEMBERS = """\
  [name: string]: any;
  search(query: string, options?: object): Promise<any[]>;
  describe(target: string | readonly string[]): Promise<string>;
  tools(options?: object): Promise<any[]>;
  emit(block: object): Promise<void>;
"""


@cache
def isolate_declarations() -> str:
    """TypeScript declarations of the globals of an isolate that the language itself does not have, `codemode` aside."""
    return Path(__file__).with_name("isolate.d.ts").read_text(encoding="utf-8")


def named_tools(program: str, catalog: Catalog) -> list[str]:
    """Paths of the tools whose server and own name both stand in a program, in whatever spelling."""
    words = {*_WORD.findall(program), *_QUOTED.findall(program)}
    names = catalog.names
    found: dict[str, None] = {}
    for word in words:
        if (key := names.shortcuts.get(word)) is not None:
            found[names.path(*key)] = None
    for server_id in sorted({names.servers[word] for word in words if word in names.servers}):
        tools = names.tools[server_id]
        named = [word for word in words if word in tools]
        # A server whose tools are all spelled wrong is there too, or nothing would be wrong with them.
        for word in named or (tools if len(tools) <= _MOST_UNNAMED else ()):
            found[names.path(server_id, tools[word])] = None
    return sorted(found)


def declarations_for(program: str, catalog: Catalog) -> str:
    """`declare const codemode: ...` with the tools a program names."""
    servers = map(_without_guesses, catalog.servers)
    text = declarations(servers, catalog.names, named_tools(program, catalog), members=_MEMBERS)
    return encodable(_OPEN_TYPE.sub(lambda match: "any" if match[0] == "unknown" else match[0], text))


def _without_guesses(server: Server) -> Server:
    if not any(tool.output_inferred for tool in server.tools):
        return server
    tools = (replace(tool, output_schema=None) if tool.output_inferred else tool for tool in server.tools)
    return replace(server, tools=tuple(tools))
