"""The tools that one identity may use, as an immutable snapshot. Values derived from them are made on first use.

Values that depend on one server (names, signatures, the index of its words) are made once for each server, in a
`CatalogServer`. A catalog selects servers and tools from these. It is cheap to make and small, so that many can
share the same servers.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import orjson

from codemode.about import about, briefly, reason
from codemode.arguments import ArgumentCheck
from codemode.brevity import LEVELS, shortened
from codemode.cost import about_tokens
from codemode.errors import CatalogError
from codemode.found import (
    DEFAULT_LIMIT,
    FoundTool,
    check_needs,
    check_options,
    default_limit,
    grouped,
    within_room,
)
from codemode.postings import Entry, Part, ServerIndex
from codemode.preload import preload, table, with_absent
from codemode.search import Search, is_whole_task
from codemode.text import encodable
from stubs import Names, Server, ServerNames, Tool, assign_names, declarations, signature

MAX_SIGNED_TOOLS = 100
TOOL_TOKENS = 250
MAX_SHORTENED_TOOLS = 20
_HINT = "// Shortened: codemode.describe(path, {full: true}) shows all of it.\n"
_HINT_TOKENS = 20
_FAR_TOO_LONG = 8  # times the room: such a tool is shortened in larger steps
_MAX_TARGETS = 1_000
_MOST_COMPARED = 5_000
_MOST_NAMES, _MOST_NAME_CHARS = 3, 60  # of tools in the line of a server
_MOST_ABSENT, _REASON_CHARS = 500, 400  # that a program is told at its start
_BRIEF_INPUT, _BRIEF_OUTPUT = 130, 80
_SEARCHED_MEMBERS, _SEARCHED_VALUES, _SEARCHED_CHARS = 100, 20, 200
_FUNCTIONS = """\
  /** Ranked tools for plain words; an empty query lists the servers. */
  search(query: string, options?: { limit?: number; server?: string; readOnly?: boolean }):
    Promise<{ path: string; signature?: string; description?: string; server?: string; tools?: number }[]>;
  /** The same for 1 to 10 needs at once: the tools for each, in their order. */
  search(needs: readonly string[], options?: { limit?: number; server?: string; readOnly?: boolean }):
    Promise<{ path: string; signature?: string; description?: string; server?: string }[][]>;
  /** Declarations of tools (`server.tool`), of servers, or of what `search` found, as text; shortened unless `full`. */
  describe(target: string | { path: string } | readonly (string | { path: string } | readonly { path: string }[])[],
    options?: { full?: boolean }): Promise<string>;
  tools(options?: { server?: string }): Promise<{
    path: string; name: string; rawName: string; server: string; description?: string;
    inputSchema: unknown; outputSchema?: unknown; annotations: { [hint: string]: unknown };
  }[]>;
  /** Adds an MCP content block (image, audio, resource) to the answer, after the result. */
  emit(block: { type: string; [member: string]: unknown }): Promise<void>;
  /** Calls the function. The name is for readers alone. */
  step<T>(name: string, work: () => T): Promise<Awaited<T>>;
"""
_RUNS = """\
  /** Runs of yours that answered `paused`. Their logs, calls and emitted blocks come with the answer that ends them. */
  runs: {
    /** Waits for a run; returns its result, or throws its error. */
    result(id: string): Promise<any>;
    list(): Promise<{
      id: string; status: "running" | "paused" | "completed" | "failed"; startedAt: string; expiresAt: string;
      waiting: { tool: string; text: string; url?: string }[];
    }[]>;
    /** Ends a run and forgets it; false if it had ended. */
    cancel(id: string): Promise<boolean>;
  };
"""
_PORTAL = """\
  /** The servers of this portal that you may use. What is turned on or connected is there for the next program. */
  portal: {
    /** `login`: the state of your login there, "" where none is needed; `reason`: why it is not as it should be. */
    servers(): Promise<{
      id: string; name: string; description: string; enabled: boolean; connected: boolean; login: string;
      reason: string;
    }[]>;
    /** Turns a server on for you, and waits for your login where it needs one; whether it can be used then. */
    enable(id: string): Promise<boolean>;
    disable(id: string): Promise<void>;
    /** Waits for your login at a server; whether it can be used then. */
    connect(id: string): Promise<boolean>;
  };
"""
_SPACES = {"runs": _RUNS, "portal": _PORTAL}


@dataclass(frozen=True, slots=True)
class CatalogTool:
    """One tool under its path, `server.tool` in identifiers."""

    path: str
    server: Server
    tool: Tool


class Likeness(Protocol):
    """How alike requests and tools are in meaning, where a host knows (`codemode.meaning`)."""

    def similarities(
        self, queries: Sequence[str], parts: Sequence[tuple[CatalogServer, bytes | None]]
    ) -> Sequence[Sequence[float]] | None:
        """For each query, a number from 0 to 1 for each tool of the parts, in their order; None if it is not known."""


class CatalogServer:
    """One server with the values that all its catalogs share, made on first use. Tasks and threads may share it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        first: dict[str, Tool] = {}
        for tool in server.tools:
            first.setdefault(tool.name, tool)
        self.tools = tuple(first.values())
        """The server's tools, each once even if the server lists it twice."""
        # Two threads may both make one of these: the results are equal, and either may stay.
        self._names: ServerNames | None = None
        self._index: ServerIndex | None = None
        self._head: bytes | None = None
        self._digests: tuple[bytes, ...] = ()
        self._signatures: dict[str, str] = {}
        self._briefs: dict[str, str] = {}
        self._results: dict[str, FoundTool] = {}
        self._checks: dict[str, ArgumentCheck] = {}

    def __repr__(self) -> str:
        return f"<CatalogServer {self.server.id}: {len(self.tools)} tools>"

    @property
    def names(self) -> ServerNames:
        if self._names is None:
            self._names = ServerNames(self.server.id, (tool.name for tool in self.tools))
        return self._names

    @property
    def indexed(self) -> bool:
        """Whether the search index is built."""
        return self._index is not None

    @property
    def index(self) -> ServerIndex:
        if self._index is None:
            self._index = ServerIndex([_entry(self.server, tool) for tool in self.tools])
        return self._index

    def visible(self, tools: Iterable[str]) -> bytes | None:
        """The part with these tools, by raw name, for `Catalog.of`; None if it is all of them."""
        names_in_part = set(tools)
        part = bytes(name in names_in_part for name in self.names.positions)
        return None if all(part) else part

    def chosen(self, part: bytes | None) -> tuple[Tool, ...]:
        """The tools in a part."""
        return self.tools if part is None else tuple(itertools.compress(self.tools, part))

    def digest(self, part: bytes | None) -> bytes:
        """A hash of all that a program can see of a part."""
        if self._head is None:
            server = self.server
            self._digests = tuple(hashlib.sha256(_stable(_content(tool))).digest() for tool in self.tools)
            self._head = hashlib.sha256(_stable([server.id, server.name, server.description])).digest()
        digests = self._digests if part is None else itertools.compress(self._digests, part)
        return hashlib.sha256(b"".join((self._head, *digests))).digest()

    def signature(self, entry: CatalogTool, names: Names) -> str:
        """`codemode.server.tool(input: ...): Promise<...>`, on one line."""
        text = self._signatures.get(entry.path)
        if text is None:
            text = self._signatures[entry.path] = encodable(signature(self.server, entry.tool, names))
        return text

    def brief(self, entry: CatalogTool, names: Names) -> str:
        """A signature for lists and errors: it only counts the optional properties of a large input."""
        text = self._briefs.get(entry.path)
        if text is None:
            text = self.signature(entry, names)
            if len(text) > len(entry.path) + _BRIEF_INPUT + _BRIEF_OUTPUT:
                limits = {"longest_input": _BRIEF_INPUT, "longest_output": _BRIEF_OUTPUT}
                text = encodable(signature(self.server, entry.tool, names, **limits))
            self._briefs[entry.path] = text
        return text

    def result(self, entry: CatalogTool, names: Names) -> FoundTool:
        """A tool as a search result."""
        result = self._results.get(entry.path)
        if result is None:
            result = self._results[entry.path] = FoundTool.of(
                entry.path, self.brief(entry, names), entry.tool.description or entry.tool.title or ""
            )
        return result

    def argument_check(self, tool: Tool) -> ArgumentCheck:
        """The compiled check of a tool's arguments."""
        check = self._checks.get(tool.name)
        if check is None:
            check = self._checks[tool.name] = ArgumentCheck(tool.input_schema)
        return check


class Catalog:
    """Made by `Catalog.build` or `Catalog.of`. Equal content has an equal `id`. Safe to share between tasks, threads.

    `is_part` says that it is one of many over the same servers, so nothing large is cached for it.
    """

    def __init__(
        self,
        parts: Sequence[tuple[CatalogServer, bytes | None]],
        unavailable: Mapping[str, str],
        unavailable_tools: Mapping[tuple[str, str], str],
        *,
        is_part: bool,
        others: Collection[str] = (),
    ) -> None:
        self.unavailable = {server_id: reason(why) for server_id, why in unavailable.items()}
        self.unavailable_tools = dict(unavailable_tools)
        self.names = Names(((part.names, visible) for part, visible in parts), {*self.unavailable, *others})
        self.is_part = is_part
        self._parts = {part.server.id: (part, visible) for part, visible in parts}
        self._size = sum(len(part.tools) if visible is None else sum(visible) for part, visible in parts)
        # Made at first use. Two threads may both make one: the results are equal, and either may stay.
        self._tools_id: str | None = None
        self._table: str | None = None
        self._search: Search | None = None
        self._begin: str | None = None

    @classmethod
    def build(
        cls,
        servers: Iterable[Server],
        unavailable: Mapping[str, str] | None = None,
        unavailable_tools: Mapping[tuple[str, str], str] | None = None,
    ) -> Catalog:
        """A catalog of these servers.

        `unavailable` has the reasons, in a few words, of servers that cannot be used now, by id. `unavailable_tools`
        has the reasons, as sentences, of tools that must not be used now, by server and name. A tool that its server
        lists twice is one tool. Raises ValueError when two servers have the same id.
        """
        return cls(
            [(CatalogServer(server), None) for server in servers],
            unavailable or {},
            unavailable_tools or {},
            is_part=False,
        )

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[CatalogServer, bytes | None]],
        unavailable: Mapping[str, str] | None = None,
        unavailable_tools: Mapping[tuple[str, str], str] | None = None,
        *,
        is_part: bool = True,
        others: Collection[str] = (),
    ) -> Catalog:
        """A catalog of parts of servers, from `CatalogServer.visible`; None stands for all tools of a server.

        The server's other tools do not affect it, with one exception: a tool has the same path in every catalog of its
        server. `others` are the ids of servers that this caller does not have: what is spelled as their tools is none
        of these. Raises as `build`.
        """
        return cls(parts, unavailable or {}, unavailable_tools or {}, is_part=is_part, others=others)

    def __repr__(self) -> str:
        return f"<Catalog {len(self._parts)} servers, {len(self)} tools>"

    def __len__(self) -> int:
        """The number of tools."""
        return self._size

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers, each with the tools that are in the catalog."""
        return tuple(
            part.server if visible is None else replace(part.server, tools=part.chosen(visible))
            for part, visible in self._parts.values()
        )

    def server_tools(self) -> Iterator[tuple[Server, int]]:
        """The servers, each whole, and how many of its tools are in the catalog."""
        for part, visible in self._parts.values():
            yield part.server, len(part.tools) if visible is None else sum(visible)

    @property
    def id(self) -> str:
        """A hash of everything that a program can see of this catalog."""
        absent = [
            sorted(self.unavailable.items()),
            *([sorted(self.unavailable_tools.items())] if self.unavailable_tools else ()),
        ]
        return hashlib.sha256(_stable([self.tools_id, *absent])).hexdigest()

    @property
    def tools_id(self) -> str:
        """A hash of the tools only. Reasons for unavailability change often, and must not need a new image."""
        if self._tools_id is None:
            digests = (part.digest(visible) for part, visible in self._parts.values())
            barred = "\n".join(sorted(self.names.barred)).encode("utf-8", "replace")
            self._tools_id = hashlib.sha256(b"".join(digests) + barred).hexdigest()
        return self._tools_id

    @property
    def table(self) -> str:
        """The names as the script in an isolate reads them, as JSON."""
        if self._table is None:
            signed = self._entries() if len(self) <= MAX_SIGNED_TOOLS else ()
            self._table = table(self.names, {tool.path: self._brief(tool) for tool in signed})
        return self._table

    @property
    def preload(self) -> str:
        """The trusted JavaScript that defines `codemode` in the image of the programs. Catalogs of parts share one."""
        return preload(None if self.is_part else self.table)

    @property
    def begin(self) -> str:
        """The text that a program starts with: the `table` if many catalogs share its image, and why what is missing
        cannot be used now; "" for most programs."""
        if self._begin is None:
            servers, tools = map(_within_room, self._absent)
            self._begin = with_absent(self.table if self.is_part else "", servers, tools)
        return self._begin

    def prepare(self) -> None:
        """Make all derived values now. Takes half a second for thousands of tools: use a thread."""
        _ = self.tools_id, self.table, self._search_index()

    @property
    def parts(self) -> tuple[CatalogServer, ...]:
        """The servers with all their tools, which other catalogs share."""
        return tuple(part for part, _ in self._parts.values())

    @property
    def searchable(self) -> bool:
        """Whether the search index is built. If not, the first search builds it."""
        return all(part.indexed for part, _ in self._parts.values())

    def get(self, path: str) -> CatalogTool | None:
        """The tool at a path, which is spelled as a program's call spells it."""
        key = self.names.of_path(path)
        if key is None:
            return None
        part = self._parts[key.server][0]
        return CatalogTool(path, part.server, part.tools[part.names.positions[key.tool]])

    def signature(self, path: str) -> str:
        """`codemode.server.tool(input: ...): Promise<...>` of an existing path, on one line."""
        entry = self._existing(path)
        return self._part(entry).signature(entry, self.names)

    def brief(self, path: str) -> str:
        """A signature for lists and errors: it only counts the optional properties of a large input."""
        return self._brief(self._existing(path))

    def argument_check(self, path: str) -> ArgumentCheck:
        """The compiled check of an existing path's arguments."""
        entry = self._existing(path)
        return self._part(entry).argument_check(entry.tool)

    def _brief(self, entry: CatalogTool) -> str:
        return self._part(entry).brief(entry, self.names)

    def _existing(self, path: str) -> CatalogTool:
        entry = self.get(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def _part(self, entry: CatalogTool) -> CatalogServer:
        return self._parts[entry.server.id][0]

    def paths(self, server_id: str) -> Iterator[str]:
        """The paths of the tools of one server, in its order."""
        return (entry.path for entry in self._entries(server_id))

    def some_tools(self, server_id: str) -> str:
        """The names of the first tools of a server, as many as a line has room for."""
        names: list[str] = []
        for path in self.paths(server_id):
            name = path.partition(".")[2]
            if len(names) == _MOST_NAMES or sum(map(len, names)) + len(name) > _MOST_NAME_CHARS:
                return ", ".join([*names, "…"] if names else [])
            names.append(name)
        return ", ".join(names)

    def _entries(self, server_id: str | None = None) -> Iterator[CatalogTool]:
        """All tools, or one server's, in order."""
        for part, visible in self._parts.values():
            if server_id in (None, part.server.id):
                server = self.names.server(part.server.id)
                for tool in part.chosen(visible):
                    yield CatalogTool(f"{server}.{part.names.identifiers[tool.name]}", part.server, tool)

    def _best_tools(
        self,
        queries: Sequence[str],
        *,
        limit: int,
        server: str | None = None,
        read_only: bool | None = None,
        likeness: Likeness | None = None,
    ) -> list[list[CatalogTool]]:
        """The best tools for each of some queries, in their order."""
        parts = list(self._parts.values())
        number = None if server is None else list(self._parts).index(server)
        index, similar = self._search_index(), likeness.similarities(queries, parts) if likeness is not None else None
        found = []
        for place, query in enumerate(queries):
            similarity = None if similar is None else similar[place]
            matches = index.find(query, limit=limit, part=number, read_only=read_only, similarity=similarity)
            tools = ((parts[part][0], parts[part][0].tools[position]) for part, position in matches)
            best = [CatalogTool(self.names.path(one.server.id, tool.name), one.server, tool) for one, tool in tools]
            found.append(best)
        return found

    def search(
        self,
        query: str,
        limit: int = DEFAULT_LIMIT,
        server: str | None = None,
        read_only: bool | None = None,
        *,
        full: bool = False,
        likeness: Likeness | None = None,
    ) -> list[dict[str, Any]]:
        """Tools for plain words, best first: `path`, `signature`, `description`. An empty query lists the servers.

        A query that is a whole task has its tools from several servers: each result has its `server` too, and those of
        one server stand together, among the best five and among the others.

        `limit` is 1 to 50; `server` is a configured id or its identifier; `read_only` keeps the tools that declare to
        only read (True), or all others (False). Later results have no signature and a shorter description, so that ten
        of them cost about `SEARCH_TOKENS`; with `full`, which is for people, all are whole. With `likeness` tools are
        found by their meaning too; that takes milliseconds, in a thread. Raises CatalogError for other arguments.
        """
        if not isinstance(query, str):
            raise CatalogError(
                'search needs words as its first argument: codemode.search("open issues", {limit: 5}); or a list of '
                'needs: codemode.search(["open issues", "post a message"])'
            )
        check_options(limit, read_only)
        server_id = None if server is None else self._server(server).id
        if not query.strip():
            return self._server_results(server_id)[: int(limit)]
        [found] = self._found([query], int(limit), server_id, read_only, likeness)
        if full:
            return [dict(tool.whole) for tool in found]
        [results] = within_room([found])
        return results

    def search_all(
        self,
        needs: Sequence[str],
        limit: int | None = None,
        server: str | None = None,
        read_only: bool | None = None,
        *,
        likeness: Likeness | None = None,
    ) -> list[list[dict[str, Any]]]:
        """Tools for each of 1 to `MAX_NEEDS` needs in plain words, in the order of the needs, as from `search`.

        All options hold for every need; `limit` is 10 for one, and 5 for each of several, less where that would be more
        than 20 together. The results together cost what those of one search cost. Raises CatalogError as `search`, and
        for a need that is blank.
        """
        check_needs(needs)
        if limit is None:
            limit = default_limit(len(needs))
        check_options(limit, read_only)
        server_id = None if server is None else self._server(server).id
        return within_room(self._found(needs, int(limit), server_id, read_only, likeness))

    def _found(
        self, queries: Sequence[str], limit: int, server: str | None, read_only: bool | None, likeness: Likeness | None
    ) -> list[list[FoundTool]]:
        """The search results for each of some queries, those of a whole task with their servers."""
        best = self._best_tools(queries, limit=limit, server=server, read_only=read_only, likeness=likeness)
        return [self._results(query, entries) for query, entries in zip(queries, best, strict=True)]

    def _results(self, query: str, entries: Sequence[CatalogTool]) -> list[FoundTool]:
        if len(self._parts) == 1 or not is_whole_task(query):
            return [self._part(entry).result(entry, self.names) for entry in entries]
        together = grouped(entries, lambda entry: entry.server.id)
        return [self._part(entry).result(entry, self.names).with_server(entry.server.id) for entry in together]

    def describe(self, target: str | Sequence[str], *, full: bool = False) -> str:
        """TypeScript declarations of a tool, a server, or a list of both.

        A few tools are shortened to about `TOOL_TOKENS` each, and say so, unless `full`. Raises CatalogError for an
        unknown target.
        """
        targets = [target] if isinstance(target, str) else target
        if not isinstance(targets, list | tuple) or not targets or not all(isinstance(item, str) for item in targets):
            raise CatalogError('describe needs a path ("server.tool"), a server, or a list of them')
        if len(targets) > _MAX_TARGETS:
            raise CatalogError(f"describe takes at most {_MAX_TARGETS} targets, got {len(targets)}")
        entries: dict[str, CatalogTool] = {}
        if own := [name for item in targets if (name := self._space(item))]:
            if len(own) == len(targets):
                return declarations((), self.names, members="".join(_SPACES[name] for name in dict.fromkeys(own)))
            raise CatalogError(f"describe codemode.{own[0]} on its own")
        for item in targets:
            for entry in self._targets(item):
                entries[entry.path] = entry
        if full or len(entries) > MAX_SHORTENED_TOOLS:
            return self._declarations([(entry, 0) for entry in entries.values()])
        return self._declarations_within_room(list(entries.values()))

    def _space(self, target: str) -> str:
        """The functions of `codemode` itself that a target of `describe` stands for, "" for others."""
        name = target.removeprefix("codemode.")
        is_own = name in _SPACES and not self.names.resolve(target) and self.names.server_id(name) is None
        return name if is_own else ""

    def _declarations(self, entries: Sequence[tuple[CatalogTool, int]]) -> str:
        """Declarations of tools, each at its level of brevity."""
        servers = [
            replace(
                briefly(part.server),
                tools=tuple(shortened(e.tool, level) for e, level in entries if e.server is part.server),
            )
            for part, _ in self._parts.values()
            if any(entry.server is part.server for entry, _ in entries)
        ]
        return encodable(declarations(servers, self.names))

    def _declarations_within_room(self, entries: list[CatalogTool]) -> str:
        """Declarations of tools, the longest ones shortened until all fit."""
        room = TOOL_TOKENS * max(2, len(entries)) - (_HINT_TOKENS if entries else 0)
        levels = [0] * len(entries)
        costs = [about_tokens(self._declarations([(entry, 0)])) for entry in entries]
        while sum(costs) > room:
            longest = max((n for n in range(len(entries)) if levels[n] < LEVELS), key=costs.__getitem__, default=None)
            if longest is None:
                break
            steps = 1 if costs[longest] < _FAR_TOO_LONG * room else 4
            levels[longest] = min(LEVELS, levels[longest] + steps)
            costs[longest] = about_tokens(self._declarations([(entries[longest], levels[longest])]))
        text = self._declarations(list(zip(entries, levels, strict=True)))
        return text + _HINT if any(levels) else text

    def declarations(self) -> str:
        """Declarations of every tool and of `codemode`'s own functions, for an editor's completion."""
        return encodable(
            declarations(map(briefly, self.servers), self.names, members=_FUNCTIONS + _RUNS + _PORTAL, whole=True)
        )

    def tools(self, server: str | None = None) -> list[dict[str, Any]]:
        """All tools, or one server's, with their schemas as the upstream sent them."""
        server_id = None if server is None else self._server(server).id
        return [_listing(entry) for entry in self._entries(server_id)]

    def _server_results(self, only: str | None) -> list[dict[str, Any]]:
        servers: list[dict[str, Any]] = [
            {
                "path": self.names.server(server.id),
                "server": server.id,
                "tools": count,
                "description": about(server) or self.some_tools(server.id),
            }
            for server, count in self.server_tools()
            if only in (None, server.id)
        ]
        for server_id, why in self.unavailable.items():
            if only is None:
                servers.append({"server": server_id, "tools": 0, "unavailable": why})
        return servers

    def _targets(self, target: str) -> list[CatalogTool]:
        """The tools that a target of `describe` stands for. Raises CatalogError when there are none, or several."""
        keys = self.names.resolve(target)
        if len(keys) == 1:
            return [self._existing(self.names.path(*keys[0]))]
        if keys:
            raise CatalogError(f"{target!r:.100} means several tools: {_paths(self.names.path(*key) for key in keys)}")
        name = target.removeprefix("codemode.")
        if self.names.server_id(name) is None:
            if why := self.missing(name):
                raise CatalogError(why)
            raise CatalogError(f"there is no tool or server {target!r:.100}. {self.nearest(target)}")
        server = self._server(name)
        return list(self._entries(server.id))

    def nearest_paths(self, written: str) -> list[str]:
        """Paths of up to three tools that a wrong name may have meant, likeliest first."""
        name = written.removeprefix("codemode.")[:200]
        paths = self._namesakes(name)[:2]
        if len(self) <= _MOST_COMPARED:
            close = difflib.get_close_matches(name, [entry.path for entry in self._entries()], n=3, cutoff=0.5)
            paths = [*paths, *(path for path in close if path not in paths)][:3]
        [best] = self._best_tools([name.replace(".", " ")], limit=3)
        for entry in best:
            if len(paths) < 3 and entry.path not in paths:
                paths.append(entry.path)
        return paths

    def nearest(self, written: str) -> str:
        """A sentence with the signatures of the nearest tools, or `server_list` if there are none."""
        paths = self.nearest_paths(written)
        return "Nearest:\n  " + "\n  ".join(map(self.brief, paths)) if paths else self.server_list()

    def server_list(self) -> str:
        """A sentence that names the servers."""
        return f"The servers are: {', '.join(map(self.names.server, self._parts)) or 'none'}."

    def _namesakes(self, written: str) -> list[str]:
        """Paths of the tools with this name, whatever its server."""
        name = written.rpartition(".")[2]
        paths = (f"{self.names.server(server_id)}.{name}" for server_id in self._parts)
        return [path for path in paths if self.names.of_path(path) is not None]

    def missing(self, written: str) -> str | None:
        """The reason why a server or tool is unavailable, or None if it is not."""
        servers, tools = self._absent
        if (why := tools.get(written)) is not None or written.partition(".")[0] in self.names.servers:
            return why
        ends = (at for at, character in enumerate(f"{written}.") if character in "._")
        return next((servers[written[:at]] for at in ends if written[:at] in servers), None)

    @cached_property
    def _absent(self) -> tuple[dict[str, str], dict[str, str]]:
        """Why servers and tools are unavailable, by every spelling of them."""
        names = assign_names([Server(server_id) for server_id in self.unavailable])
        servers = {
            spelling: f"the server {server_id!r} is not available: {why}"
            for server_id, why in self.unavailable.items()
            for spelling in (server_id, names.server(server_id))
        }
        return servers, dict(_spellings(self.unavailable_tools))

    def _server(self, name: str) -> Server:
        """The server with this id or identifier. Raises CatalogError when there is none."""
        server_id = self.names.server_id(name) if isinstance(name, str) else None
        if server_id is not None:
            return self._parts[server_id][0].server
        if isinstance(name, str) and (why := self.missing(name)):
            raise CatalogError(why)
        ids = ", ".join(itertools.islice(self._parts, 50)) or "none"
        raise CatalogError(f"there is no server {name!r:.100}. The servers are: {ids}")

    def _search_index(self) -> Search:
        if self._search is None:
            self._search = Search([Part(part.index, visible) for part, visible in self._parts.values()])
        return self._search


def _within_room(reasons: Mapping[str, str]) -> dict[str, str]:
    """The first reasons, each as long as a program is told."""
    first = itertools.islice(reasons.items(), _MOST_ABSENT)
    return {encodable(spelling): encodable(why)[:_REASON_CHARS] for spelling, why in first}


def _listing(entry: CatalogTool) -> dict[str, Any]:
    """A tool as `codemode.tools` returns it."""
    tool = entry.tool
    listing: dict[str, Any] = {
        "path": entry.path,
        "name": entry.path.split(".")[1],
        "rawName": tool.name,
        "server": entry.server.id,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": tool.annotations,
    }
    if tool.output_schema is not None:
        listing["outputSchema"] = tool.output_schema
    return listing


def _spellings(unavailable_tools: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Every spelling of every unavailable tool, with the reason."""
    servers: dict[str, list[Tool]] = {}
    for server_id, name in unavailable_tools:
        servers.setdefault(server_id, []).append(Tool(name))
    names = assign_names([Server(server_id, tools=tuple(tools)) for server_id, tools in servers.items()])
    for (server_id, name), why in unavailable_tools.items():
        path = names.path(server_id, name)
        for spelling in (path, path.replace(".", "_", 1), f"{server_id}.{name}", f"{server_id}_{name}"):
            yield spelling, why.rstrip(".")


def _stable(content: Any) -> bytes:
    """The same bytes for the same content, also for content from upstream servers that orjson refuses."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # lone surrogates, integers past 64 bits, deep nesting
        pass
    try:
        return json.dumps(content, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return secrets.token_bytes(32)  # a unique hash: the image is not reused


def _paths(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths))


def _entry(server: Server, tool: Tool) -> Entry:
    inputs = _members(tool.input_schema)
    outputs = _members(tool.output_schema)
    return Entry(
        server=server.id,
        name=tool.name,
        title=tool.title or "",
        description=tool.description or "",
        parameters=[str(name) for name in inputs],
        server_name=server.name or "",
        annotations=tool.annotations,
        details=[*_texts(inputs), *map(str, outputs), *_texts(outputs)],
    )


def _members(schema: Any) -> Mapping[Any, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return dict(itertools.islice(properties.items(), _SEARCHED_MEMBERS)) if isinstance(properties, Mapping) else {}


def _texts(members: Mapping[Any, Any]) -> Iterator[str]:
    """The descriptions of a schema's members, and the values they may have."""
    for member in members.values():
        if isinstance(member, Mapping):
            if isinstance(text := member.get("description"), str):
                yield text[:_SEARCHED_CHARS]
            if isinstance(values := member.get("enum"), list):
                texts = (value for value in values[:_SEARCHED_VALUES] if isinstance(value, str))
                yield from (value[:_SEARCHED_CHARS] for value in texts)


def _content(tool: Tool) -> list[Any]:
    return [tool.name, tool.title, tool.description, tool.input_schema, tool.output_schema, dict(tool.annotations)]
