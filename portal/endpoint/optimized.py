"""The two modes for clients whose tool lists must be small but who write no programs.

`minimize_tools` lists every tool by name alone and adds `query`, which gives the definitions; `search_and_execute`
lists only `query` and `execute`, which calls a tool by its name. Policies and records are those of direct calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from codemode import Catalog, CatalogError, Likeness
from portal.endpoint.aggregate import Aggregate
from portal.endpoint.generations import Generation
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.request_log import UnlistedName
from portal.endpoint.tools import Tools, unknown_name
from portal.endpoint.views import Catalogs, View, Views, warm_search
from portal.exact import encode

DEFAULT_LIMIT = 10
MAX_LIMIT = 50
ANSWER_CHARS = 24_000

QUERY: dict[str, Any] = {
    "name": "query",
    "title": "Find tools",
    "description": (
        "Find tools by what they do and get their full definitions. Give `query` (words, ranked) or `names` (exact "
        "tool names). The tools of this server are listed without descriptions or schemas: query before you call."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What the tool should do."},
            "names": {"type": "array", "items": {"type": "string"}, "description": "Exact names instead of a query."},
            "server": {"type": "string", "description": "Only tools of this server."},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        },
        "additionalProperties": False,
    },
    "outputSchema": {
        "type": "object",
        "properties": {
            "tools": {"type": "array", "items": {"type": "object"}},
            "omitted": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["tools"],
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}
EXECUTE: dict[str, Any] = {
    "name": "execute",
    "title": "Call a tool",
    "description": "Call one tool by the name `query` gave, with `arguments` that fit its inputSchema.",
    "inputSchema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}


EXECUTE_CODE: dict[str, Any] = {
    **EXECUTE,
    "title": "Call a tool or run a program",
    "description": (
        "Call one tool by the name `query` gave, with `arguments` that fit its inputSchema. Or run `code`: JavaScript "
        "that calls tools as await codemode.<server>.<tool>(input) and returns what it found."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "arguments": {"type": "object"},
            "code": {"type": "string", "description": "A program, instead of a name."},
        },
        "additionalProperties": False,
    },
}
"""`execute` where programs run."""
RunCode = Callable[[ClientRequest, str], Awaitable[RawResult]]


class Minimized:
    """Every tool by name alone, and `query`."""

    def __init__(self, views: Views, query: "Query", tools: Tools) -> None:
        self._views = views
        self._query = query
        self._tools = tools

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        names = (name for name in view.aggregate.tools if name != "query")
        return [QUERY, *({"name": name, "inputSchema": {"type": "object"}} for name in names)]

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        if name == "query":
            return await self._query.answer(await self._views.arrived(request.scope, briefly=True), arguments)
        return await self._tools.call(request, name, arguments)


class QueryAndExecute:
    """`query` and `execute`. With `run_code`, `execute` takes a program as well."""

    def __init__(self, views: Views, query: "Query", tools: Tools, run_code: RunCode | None = None) -> None:
        self._views = views
        self._query = query
        self._tools = tools
        self._run_code = run_code

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        return [QUERY, EXECUTE if self._run_code is None else EXECUTE_CODE]

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        if name == "query":
            return await self._query.answer(await self._views.arrived(request.scope, briefly=True), arguments)
        if name == "execute":
            return await self._execute(request, arguments)
        hint = "Its tools are `query` and `execute`; call others as execute({name, arguments})."
        raise UnlistedName("tool", f"Unknown tool: {name[:128]!r}. {hint}")

    async def _execute(self, request: ClientRequest, arguments: Mapping[str, Any]) -> RawResult:
        # Models write null for what they leave out.
        given = {name: value for name, value in arguments.items() if value is not None}
        code, name, inner = given.get("code"), given.get("name"), given.get("arguments", {})
        if self._run_code is not None and isinstance(code, str) and given.keys() == {"code"}:
            return await self._run_code(request, code)
        if not isinstance(name, str) or not isinstance(inner, Mapping) or given.keys() - {"name", "arguments"}:
            or_code = "" if self._run_code is None else ", or {code: string},"
            return failure(f"execute takes {{name: string, arguments?: object}}{or_code} and nothing else.")

        async def attempt() -> RawResult:
            aggregate, target = await self._tools.find(request, name)
            if target is None:
                return failure(unknown_name("tool", name, aggregate.tools))
            return await self._tools.call_target(request, target, inner)

        return await self._tools.after_login(request, name, attempt)


class Query:
    """The tool `query`."""

    def __init__(self, catalogs: Catalogs, likeness: Likeness | None = None) -> None:
        self._catalogs = catalogs
        self._likeness = likeness

    async def answer(self, view: View, arguments: Mapping[str, Any]) -> RawResult:
        # Models write null for what they leave out.
        arguments = {name: value for name, value in arguments.items() if value is not None}
        problem = query_problem(arguments)
        if problem is not None:
            return failure(problem)
        aggregate = view.aggregate
        names: list[str] | None = arguments.get("names")
        if names is None:
            catalog = await self._catalogs.of(view)
            if not catalog.searchable:
                await warm_search(catalog)
            try:
                # In a thread, as a program's: words that no tool has take long.
                found = await asyncio.to_thread(search_names, aggregate, catalog, arguments, self._likeness)
            except CatalogError as error:
                return failure(str(error))
            names = found
        listed = {name: aggregate.tool_name(name) for name in names}
        unknown = [name for name in names if listed[name] is None]
        if unknown:
            return failure(unknown_name("tool", unknown[0], aggregate.tools))
        known = [name for name in listed.values() if name is not None]
        return definitions([{**aggregate.tools[name].definition, "name": name} for name in dict.fromkeys(known)])


def query_problem(arguments: Mapping[str, Any]) -> str | None:
    """A sentence about what is wrong with the arguments of `query`, None if they are right."""
    if extra := arguments.keys() - QUERY["inputSchema"]["properties"].keys():
        return f"query takes query, names, server and limit, not {', '.join(sorted(extra))[:200]}."
    limit = arguments.get("limit", DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        return f"limit is a whole number from 1 to {MAX_LIMIT}."
    names = arguments.get("names")
    if names is not None:
        valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not valid or len(names) > MAX_LIMIT:
            return f"names is a list of at most {MAX_LIMIT} tool names."
        return None
    query = arguments.get("query")
    if not isinstance(query, str) or not query.strip():
        return "Give `query` (what the tool should do) or `names` (exact tool names)."
    if not isinstance(arguments.get("server", ""), str):
        return "server is the id of a server."
    return None


def search_names(
    aggregate: Aggregate, catalog: Catalog, arguments: Mapping[str, Any], likeness: Likeness | None = None
) -> list[str]:
    """The names of the tools that a query finds, best first. Raises `CatalogError` for an unknown server."""
    listed_names = {(target.server, target.definition["name"]): name for name, target in aggregate.tools.items()}
    limit, server = arguments.get("limit", DEFAULT_LIMIT), arguments.get("server")
    found = catalog.search(arguments["query"], limit, server, likeness=likeness)
    entries = (catalog.get(hit["path"]) for hit in found)
    names = (listed_names.get((entry.server.id, entry.tool.name)) for entry in entries if entry is not None)
    return [name for name in names if name is not None]


def definitions(tools: list[dict[str, Any]]) -> RawResult:
    """As many definitions as fit into an answer, and the names of the others (`omitted`)."""
    fitting: list[dict[str, Any]] = []
    omitted: list[str] = []
    room = ANSWER_CHARS
    for tool in tools:
        size = len(encode(tool))
        if size <= room:
            fitting.append(tool)
            room -= size
        else:
            omitted.append(tool["name"])
    content: dict[str, Any] = {"tools": fitting, **({"omitted": omitted} if omitted else {})}
    text = encode(content).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": content}


def failure(message: str) -> RawResult:
    return {"content": [{"type": "text", "text": message}], "isError": True}
