"""The declarations that a program is checked against: of the tools it names, and of the globals of its isolate.

With only the tools whose names are in the program, a check takes as long for ten tools as for ten thousand. Every other
member of `codemode` is `any`, so access by a computed name is never an error. What a schema leaves open is `any` too,
and so is an output type that was learned from results: the next result may have more.
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
  search<Q extends string | readonly string[]>(
    query: Q | { query: Q; [option: string]: any }, options?: object | number
  ): Promise<Q extends string ? any[] : any[][]>;
  describe(target: string | readonly (string | readonly string[])[], options?: object): Promise<string>;
  tools(options?: object | string): Promise<any[]>;
  emit(block: object): Promise<void>;
  step<T>(name: string, work: () => T): Promise<Awaited<T>>;
  runs: { result(id: string): Promise<any>; list(): Promise<any[]>; cancel(id: string): Promise<boolean> };
  portal: {
    servers(): Promise<any[]>; enable(id: string): Promise<boolean>; disable(id: string): Promise<void>;
    connect(id: string): Promise<boolean>;
  };
"""


@cache
def isolate_declarations() -> str:
    """TypeScript declarations of the globals of an isolate, without those of the language itself and `codemode`."""
    return Path(__file__).with_name("isolate.d.ts").read_text(encoding="utf-8")


def named_tools(program: str, catalog: Catalog) -> list[str]:
    """Paths of the tools whose server and own name are both in a program, in any spelling."""
    words = {*_WORD.findall(program), *_QUOTED.findall(program)}
    names = catalog.names
    paths: set[str] = set()
    for word in words:
        if len(keys := names.shortcut(word)) == 1:
            paths.add(names.path(*keys[0]))
    for server_id in sorted({names.servers[word] for word in words if word in names.servers}):
        tools = names.tools[server_id]
        spellings = [word for word in words if word in tools]
        # When a program spells every tool of a server wrong, all its tools are declared. Otherwise the server would be
        # `any`, and no name an error.
        for spelling in spellings or (tools if len(tools) <= _MOST_UNNAMED else ()):
            paths.add(names.path(server_id, tools[spelling]))
    return sorted(paths)


def declarations_for(program: str, catalog: Catalog) -> str:
    """`declare const codemode: ...` with the tools that a program names."""
    servers = map(_without_learned_outputs, catalog.servers)
    text = declarations(servers, catalog.names, named_tools(program, catalog), members=_MEMBERS, whole=True)
    return encodable(_OPEN_TYPE.sub(lambda match: "any" if match[0] == "unknown" else match[0], text))


def _without_learned_outputs(server: Server) -> Server:
    if not any(tool.output_inferred for tool in server.tools):
        return server
    tools = (replace(tool, output_schema=None) if tool.output_inferred else tool for tool in server.tools)
    return replace(server, tools=tuple(tools))
