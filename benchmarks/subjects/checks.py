"""Checking a typical program before it runs: a quick look, a mistake that is certain, types over 50 tools."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from benchmarks.cases import Case, Unavailable
from codemode import Catalog, Checker
from codemode.check.certain import certain_findings, suspicious
from codemode.typescript import TypeScript, printed
from stubs import Server, Tool
from tests import node_tools

PROGRAM = """\
const [{items: open}, {items: late}] = await Promise.all([
  codemode.s1.list_2({query: 'open', limit: 50}),
  codemode.s2.list_3({query: 'late', limit: 50}),
]);
const byOwner = {};
for (const item of open.filter(one => late.some(other => other.id === one.id))) {
  (byOwner[item.owner] ??= []).push(item);
}
const report = [];
for (const [owner, items] of Object.entries(byOwner)) {
  const detail = await codemode.s1.get_2({id: items[0].id});
  report.push({owner, count: items.length, first: detail.title ?? 'untitled'});
}
await codemode.s3.update_4({id: report[0].owner, changes: {note: `${report.length} owners`}});
return report.sort((a, b) => b.count - a.count);
"""


def cases() -> Mapping[str, Case]:
    return {
        "quick_look": Case(quick_look, rounds=500),
        "certain": Case(certain, rounds=100),
        "types_50": Case(types, rounds=15),
    }


def catalog() -> Catalog:
    """Five servers of ten tools, each with an input of six properties and an output of eight."""
    text = {"type": "string"}
    item = {"type": "object", "properties": dict.fromkeys(("id", "title", "owner", "a", "b", "c", "d", "e"), text)}
    page = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    listing = {"query": text, "limit": {"type": "integer"}, "sort": {"enum": ["up", "down"]}, "x": text, "y": text}
    changes = {"id": text, "changes": {"type": "object", "additionalProperties": text}}
    servers = []
    for number in range(5):
        tools = [
            tool
            for place in range(1, 5)
            for tool in (
                Tool(f"list_{place}", None, "Lists things.", {"type": "object", "properties": listing}, page),
                Tool(f"get_{place}", None, "Gets one.", {"type": "object", "properties": {"id": text}}, item),
            )
        ]
        more = (
            Tool(f"update_{place}", None, "Changes one.", {"type": "object", "properties": changes}) for place in (3, 4)
        )
        servers.append(Server(f"s{number}", tools=(*tools, *more)))
    return Catalog.build(servers)


def quick_look() -> Callable[[], object]:
    tools = catalog()
    return lambda: suspicious(PROGRAM, tools)


def certain() -> Callable[[], object]:
    tools, program = catalog(), PROGRAM.replace("get_2", "gett_2")

    def operation() -> object:
        if len(found := certain_findings(program, tools, printed)) != 1:
            raise RuntimeError(f"the wrong path was not found: {found}")
        return found

    return operation


def types() -> Callable[[], object]:
    try:
        compiler = node_tools.tsc()
    except node_tools.NodeToolUnavailable as error:
        raise Unavailable(str(error)) from error
    tools, loop, typescript = catalog(), asyncio.new_event_loop(), TypeScript()
    checker = Checker({"CODEMODE_TYPE_CHECKER": str(compiler)})
    numbers = itertools.count()

    def operation() -> object:
        # Another comment makes another program, or the answer would be remembered.
        checked = loop.run_until_complete(checker.check(f"{PROGRAM}// {next(numbers)}", tools, typescript))
        if not checked.ok:
            raise RuntimeError(f"the program was not found right: {checked}")
        return checked

    return operation
