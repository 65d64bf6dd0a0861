"""The tools one identity may use, as an immutable snapshot, and everything derived from it, made when first needed."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from codemode.arguments import ArgumentCheck
from codemode.brevity import LEVELS, shortened
from codemode.cost import about_tokens
from codemode.errors import CatalogError
from codemode.preload import preload
from codemode.search import Entry, SearchIndex
from codemode.text import encodable
from stubs import Names, Server, Tool, assign_names, declarations, signature

DEFAULT_LIMIT = 10
MAX_LIMIT = 50
MAX_SIGNED_TOOLS = 100
SEARCH_TOKENS = 500
TOOL_TOKENS = 250
MAX_SHORTENED_TOOLS = 20
_HINT = "// Shortened: codemode.describe(path, {full: true}) shows all of it.\n"
_HINT_TOKENS = 20
_FAR_TOO_LONG = 8
_MAX_TARGETS = 1_000
_MOST_COMPARED = 5_000
_SUMMARY_CHARS, _SHORT_SUMMARY_CHARS = 140, 60
_BRIEF_INPUT, _BRIEF_OUTPUT = 130, 80
_SAID_MEMBERS, _SAID_VALUES, _SAID_CHARS = 100, 20, 200
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'])|\n\s*\n")
_API = """\
  /** Ranked tools for plain words; an empty query lists the servers. */
  search(query: string, options?: { limit?: number; server?: string; readOnly?: boolean }):
    Promise<{ path: string; signature?: string; description?: string; server?: string; tools?: number }[]>;
  /** Declarations of a tool (`server.tool`), a server, or a list of them, as text; shortened unless `full`. */
  describe(target: string | string[], options?: { full?: boolean }): Promise<string>;
  tools(options?: { server?: string }): Promise<{
    path: string; name: string; rawName: string; server: string; description?: string;
    inputSchema: unknown; outputSchema?: unknown; annotations: { [hint: string]: unknown };
  }[]>;
  /** Adds an MCP content block (image, audio, resource) to the answer, after the result. */
  emit(block: { type: string; [member: string]: unknown }): Promise<void>;
"""


@dataclass(frozen=True, slots=True)
class CatalogTool:
    """One tool under its path, `server.tool` in identifiers."""

    path: str
    server: Server
    tool: Tool


class _Result(NamedTuple):
    """A result of a search, whole and with the least said of it, and what either costs."""

    whole: dict[str, Any]
    least: dict[str, Any]
    tokens: int
    least_tokens: int


class Catalog:
    """Made by `Catalog.build`. Equal content has an equal `id`. Safe to share between tasks and threads."""

    def __init__(
        self, servers: tuple[Server, ...], unavailable: Mapping[str, str], withheld: Mapping[tuple[str, str], str]
    ) -> None:
        self.servers = servers
        self.unavailable = dict(unavailable)
        self.withheld = dict(withheld)
        self.names: Names = assign_names(servers)
        self._by_path: dict[str, CatalogTool] = {}
        for server in servers:
            for tool in server.tools:
                path = self.names.path(server.id, tool.name)
                self._by_path.setdefault(path, CatalogTool(path, server, tool))
        self._ordered = tuple(self._by_path.values())
        self._tools_id: str | None = None
        self._preload: str | None = None
        self._index: SearchIndex | None = None
        self._signatures: dict[str, str] = {}
        self._briefs: dict[str, str] = {}
        self._results: dict[str, _Result] = {}
        self._checks: dict[str, ArgumentCheck] = {}
        self._absent: dict[str, str] | None = None

    @classmethod
    def build(
        cls,
        servers: Iterable[Server],
        unavailable: Mapping[str, str] | None = None,
        withheld: Mapping[tuple[str, str], str] | None = None,
    ) -> Catalog:
        """A catalog of these servers. `unavailable`: id of a server that cannot be used now -> why, in a few words.
        `withheld`: server and name of a tool that is not to be used now -> why, as a sentence.

        A tool listed twice by its server is one tool. Raises ValueError when two servers have the same id.
        """
        return cls(tuple(servers), unavailable or {}, withheld or {})

    def __repr__(self) -> str:
        return f"<Catalog {len(self.servers)} servers, {len(self)} tools>"

    def __len__(self) -> int:
        """How many tools there are."""
        return len(self._ordered)

    @property
    def id(self) -> str:
        """A hash of everything a program can see of this catalog."""
        absent = [sorted(self.unavailable.items()), *([sorted(self.withheld.items())] if self.withheld else ())]
        return hashlib.sha256(_stable([self.tools_id, *absent])).hexdigest()

    @property
    def tools_id(self) -> str:
        """A hash of what is available: why something is not may change every few seconds, and makes no new image."""
        if self._tools_id is None:
            self._tools_id = hashlib.sha256(_stable([_content(server) for server in self.servers])).hexdigest()
        return self._tools_id

    @property
    def preload(self) -> str:
        """The trusted JavaScript that defines `codemode` for these tools."""
        if self._preload is None:
            few = self._ordered if len(self) <= MAX_SIGNED_TOOLS else ()
            self._preload = preload(self.names, {tool.path: self.brief(tool.path) for tool in few})
        return self._preload

    def prepare(self) -> None:
        """Make all that is made when first needed. Takes a tenth of a second for thousands of tools: use a thread."""
        _ = self.tools_id, self.preload, self._search_index()

    @property
    def searchable(self) -> bool:
        """Whether the search index has been built: the first search builds it."""
        return self._index is not None

    def get(self, path: str) -> CatalogTool | None:
        """The tool at a path, exactly as a program's call names it."""
        return self._by_path.get(path)

    def signature(self, path: str) -> str:
        """`codemode.server.tool(input: ...): Promise<...>` of an existing path, on one line."""
        found = self._signatures.get(path)
        if found is None:
            entry = self._by_path[path]
            found = self._signatures[path] = encodable(signature(entry.server, entry.tool, self.names))
        return found

    def brief(self, path: str) -> str:
        """A signature for lists and errors: the optional properties of a large input are only counted."""
        found = self._briefs.get(path)
        if found is None:
            found = self.signature(path)
            if len(found) > len(path) + _BRIEF_INPUT + _BRIEF_OUTPUT:
                entry = self._by_path[path]
                limits = {"longest_input": _BRIEF_INPUT, "longest_output": _BRIEF_OUTPUT}
                found = encodable(signature(entry.server, entry.tool, self.names, **limits))
            self._briefs[path] = found
        return found

    def argument_check(self, path: str) -> ArgumentCheck:
        """The compiled check of an existing path's arguments."""
        found = self._checks.get(path)
        if found is None:
            found = self._checks[path] = ArgumentCheck(self._by_path[path].tool.input_schema)
        return found

    def search(
        self,
        query: str,
        limit: int = DEFAULT_LIMIT,
        server: str | None = None,
        read_only: bool | None = None,
        *,
        full: bool = False,
    ) -> list[dict[str, Any]]:
        """Tools for plain words, best first: `path`, `signature`, `description`. An empty query lists the servers.

        `limit` is 1 to 50; `server` is a configured id or its identifier; `read_only` keeps the tools that declare that
        they only read, or the others. `full` is for people: an agent is told less of the later ones, so that ten
        results cost about `SEARCH_TOKENS`. Raises CatalogError for anything else.
        """
        if not isinstance(query, str):
            raise CatalogError('search needs words as its first argument: codemode.search("open issues", {limit: 5})')
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit <= MAX_LIMIT:
            raise CatalogError(f"search: limit is 1 to {MAX_LIMIT}, got {limit!r:.40}")
        if read_only is not None and not isinstance(read_only, bool):
            raise CatalogError(f"search: readOnly is true or false, got {read_only!r:.40}")
        server_id = None if server is None else self._server(server).id
        if not query.strip():
            return self._listed_servers(server_id)[: int(limit)]
        found = self._search_index().find(query, limit=int(limit), server=server_id, read_only=read_only)
        entries = [self._ordered[position] for position in found]
        return [self._found(entry) for entry in entries] if full else self._within(entries)

    def describe(self, target: str | Sequence[str], *, full: bool = False) -> str:
        """TypeScript declarations of a tool, a server, or a list of both. Raises CatalogError for an unknown one.

        Of a few tools each is told in about `TOOL_TOKENS`, unless `full`: what is left out is said.
        """
        targets = [target] if isinstance(target, str) else target
        if not isinstance(targets, list | tuple) or not targets or not all(isinstance(one, str) for one in targets):
            raise CatalogError('describe needs a path ("server.tool"), a server, or a list of them')
        if len(targets) > _MAX_TARGETS:
            raise CatalogError(f"describe takes at most {_MAX_TARGETS} targets, got {len(targets)}")
        wanted: dict[str, CatalogTool] = {}
        for one in targets:
            for entry in self._described(one):
                wanted[entry.path] = entry
        if full or len(wanted) > MAX_SHORTENED_TOOLS:
            return self._declared([(entry, 0) for entry in wanted.values()])
        return self._shortened(list(wanted.values()))

    def _declared(self, wanted: Sequence[tuple[CatalogTool, int]]) -> str:
        """Declarations of tools, each at its level of brevity."""
        chosen = [
            replace(server, tools=tuple(shortened(e.tool, level) for e, level in wanted if e.server is server))
            for server in self.servers
            if any(entry.server is server for entry, _ in wanted)
        ]
        return encodable(declarations(chosen, self.names))

    def _shortened(self, wanted: list[CatalogTool]) -> str:
        """Declarations within their room: the longest tool gives way first."""
        room = TOOL_TOKENS * max(2, len(wanted)) - (_HINT_TOKENS if wanted else 0)
        levels = [0] * len(wanted)
        costs = [about_tokens(self._declared([(entry, 0)])) for entry in wanted]
        while sum(costs) > room:
            longest = max((n for n in range(len(wanted)) if levels[n] < LEVELS), key=costs.__getitem__, default=None)
            if longest is None:
                break
            steps = 1 if costs[longest] < _FAR_TOO_LONG * room else 4
            levels[longest] = min(LEVELS, levels[longest] + steps)
            costs[longest] = about_tokens(self._declared([(wanted[longest], levels[longest])]))
        text = self._declared(list(zip(wanted, levels, strict=True)))
        return text + _HINT if any(levels) else text

    def declarations(self) -> str:
        """Declarations of everything, `codemode`'s own functions included: what an editor completes from."""
        return encodable(declarations(self.servers, self.names, members=_API))

    def tools(self, server: str | None = None) -> list[dict[str, Any]]:
        """All tools, or one server's, with their schemas as the upstream sent them."""
        server_id = None if server is None else self._server(server).id
        return [self._listed(entry) for entry in self._ordered if server_id in (None, entry.server.id)]

    def _found(self, entry: CatalogTool) -> dict[str, Any]:
        about = summary(entry.tool.description or entry.tool.title or "")
        shown = {"path": entry.path, "signature": self.brief(entry.path)}
        return {**shown, "description": about} if about else shown

    def _within(self, entries: Sequence[CatalogTool]) -> list[dict[str, Any]]:
        """Results within their room: all have a path and some words, the first ones their signatures too."""
        room = SEARCH_TOKENS * max(DEFAULT_LIMIT, len(entries)) // DEFAULT_LIMIT
        listed = [self._result(entry) for entry in entries]
        room -= sum(result.least_tokens for result in listed)
        whole = 0
        while whole < len(listed) and (room := room + listed[whole].least_tokens - listed[whole].tokens) >= 0:
            whole += 1
        return [{**(one.whole if place < whole else one.least)} for place, one in enumerate(listed)]

    def _result(self, entry: CatalogTool) -> _Result:
        found = self._results.get(entry.path)
        if found is None:
            about = summary(entry.tool.description or entry.tool.title or "", _SHORT_SUMMARY_CHARS)
            least = {"path": entry.path, **({"description": about} if about else {})}
            whole = self._found(entry)
            found = self._results[entry.path] = _Result(whole, least, _cost(whole), _cost(least))
        return found

    def _listed(self, entry: CatalogTool) -> dict[str, Any]:
        tool = entry.tool
        listed: dict[str, Any] = {
            "path": entry.path,
            "name": entry.path.split(".")[1],
            "rawName": tool.name,
            "server": entry.server.id,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            "annotations": tool.annotations,
        }
        if tool.output_schema is not None:
            listed["outputSchema"] = tool.output_schema
        return listed

    def _listed_servers(self, only: str | None) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = [
            {
                "path": self.names.server(server.id),
                "server": server.id,
                "tools": len(self.names.tools[server.id]) and len({tool.name for tool in server.tools}),
                "description": summary(server.description or server.name or ""),
            }
            for server in self.servers
            if only in (None, server.id)
        ]
        for server_id, reason in self.unavailable.items():
            if only is None:
                listed.append({"server": server_id, "tools": 0, "unavailable": reason})
        return listed

    def _described(self, target: str) -> list[CatalogTool]:
        keys = self.names.resolve(target)
        if len(keys) == 1:
            return [self._by_path[self.names.path(*keys[0])]]
        if keys:
            raise CatalogError(f"{target!r:.100} means several tools: {_paths(self.names.path(*key) for key in keys)}")
        named = target.removeprefix("codemode.")
        if named not in self.names.servers:
            if missing := self.missing(named):
                raise CatalogError(missing)
            raise CatalogError(f"there is no tool or server {target!r:.100}. {self.nearest(target)}")
        server = self._server(named)
        return [entry for entry in self._ordered if entry.server.id == server.id]

    def nearest_paths(self, written: str) -> list[str]:
        """Paths of up to three tools that a wrong name may have meant, likeliest first."""
        wanted = written.removeprefix("codemode.")[:200]
        found = self._namesakes(wanted)[:2]
        if len(self) <= _MOST_COMPARED:
            close = difflib.get_close_matches(wanted, self._by_path, n=3, cutoff=0.5)
            found = [*found, *(path for path in close if path not in found)][:3]
        for position in self._search_index().find(wanted.replace(".", " "), limit=3):
            if len(found) < 3 and (path := self._ordered[position].path) not in found:
                found.append(path)
        return found

    def nearest(self, written: str) -> str:
        """A sentence with the signatures of those tools; where there are none, `server_list`."""
        paths = self.nearest_paths(written)
        return "Nearest:\n  " + "\n  ".join(map(self.brief, paths)) if paths else self.server_list()

    def server_list(self) -> str:
        """A sentence that names the servers."""
        return f"The servers are: {', '.join(self.names.server(server.id) for server in self.servers) or 'none'}."

    def _namesakes(self, written: str) -> list[str]:
        """Tools that are called so on another server."""
        name = written.rpartition(".")[2]
        paths = (f"{self.names.server(server.id)}.{name}" for server in self.servers)
        return [path for path in paths if path in self._by_path]

    def missing(self, written: str) -> str | None:
        """Why a server or tool is not there: the tool is withheld, or the server is unavailable."""
        if self._absent is None:
            self._absent = dict(_spelled(self.withheld))
        if (reason := self._absent.get(written)) is not None:
            return reason
        names = assign_names([Server(server_id) for server_id in self.unavailable])
        for server_id, reason in self.unavailable.items():
            for spelling in (server_id, names.server(server_id)):
                if written == spelling or written.startswith((f"{spelling}.", f"{spelling}_")):
                    return f"the server {server_id!r} is not available: {reason}"
        return None

    def _server(self, named: str) -> Server:
        server_id = self.names.servers.get(named) if isinstance(named, str) else None
        for server in self.servers:
            if server.id == server_id:
                return server
        if isinstance(named, str) and (missing := self.missing(named)):
            raise CatalogError(missing)
        known = ", ".join(server.id for server in self.servers[:50]) or "none"
        raise CatalogError(f"there is no server {named!r:.100}. The servers are: {known}")

    def _search_index(self) -> SearchIndex:
        if self._index is None:
            self._index = SearchIndex([_entry(entry) for entry in self._ordered])
        return self._index


def _spelled(withheld: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Every way in which a program may write a tool that is withheld, with the reason."""
    servers: dict[str, list[Tool]] = {}
    for server_id, name in withheld:
        servers.setdefault(server_id, []).append(Tool(name))
    names = assign_names([Server(server_id, tools=tuple(tools)) for server_id, tools in servers.items()])
    for (server_id, name), reason in withheld.items():
        path = names.path(server_id, name)
        for spelling in (path, path.replace(".", "_", 1), f"{server_id}.{name}", f"{server_id}_{name}"):
            yield spelling, reason.rstrip(".")


def _stable(content: Any) -> bytes:
    """The same bytes for the same content, which comes from upstreams and may hold what orjson refuses."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # lone surrogates, integers past 64 bits, deep nesting
        pass
    try:
        return json.dumps(content, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return secrets.token_bytes(32)


def summary(text: str, longest: int = _SUMMARY_CHARS) -> str:
    """The first sentence of a description on one line, cut to what a list has room for."""
    first = " ".join(_SENTENCE_END.split(text.strip(), maxsplit=1)[0].split())
    return first if len(first) <= longest else first[: longest - 1].rstrip() + "…"


def _cost(result: Mapping[str, str]) -> int:
    """What a result costs as JSON: its texts, and the names and marks around them."""
    return sum(about_tokens(text) + 4 for text in result.values()) + 2


def _paths(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths))


def _entry(entry: CatalogTool) -> Entry:
    given = _members(entry.tool.input_schema)
    returned = _members(entry.tool.output_schema)
    return Entry(
        server=entry.server.id,
        name=entry.tool.name,
        title=entry.tool.title or "",
        description=entry.tool.description or "",
        parameters=[str(name) for name in given],
        server_name=entry.server.name or "",
        annotations=entry.tool.annotations,
        details=[*_said(given), *map(str, returned), *_said(returned)],
    )


def _members(schema: Any) -> Mapping[Any, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return dict(itertools.islice(properties.items(), _SAID_MEMBERS)) if isinstance(properties, Mapping) else {}


def _said(members: Mapping[Any, Any]) -> Iterator[str]:
    """The words of a schema's members: what describes them and the values they may have."""
    for member in members.values():
        if isinstance(member, Mapping):
            if isinstance(described := member.get("description"), str):
                yield described[:_SAID_CHARS]
            if isinstance(values := member.get("enum"), list):
                yield from (value[:_SAID_CHARS] for value in values[:_SAID_VALUES] if isinstance(value, str))


def _content(server: Server) -> list[Any]:
    tools = [
        [tool.name, tool.title, tool.description, tool.input_schema, tool.output_schema, dict(tool.annotations)]
        for tool in server.tools
    ]
    return [server.id, server.name, server.description, tools]
