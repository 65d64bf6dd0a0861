"""The functions of `codemode` itself: search, describe, tools, emit, runs, portal. Served here; they call no tool."""

from __future__ import annotations

import asyncio
import binascii
import contextlib
from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from codemode.catalog import Catalog, Likeness
from codemode.check.certain import HOW_TO_CALL
from codemode.errors import CatalogError
from codemode.found import DEFAULT_LIMIT
from codemode.handle import RunHandle
from codemode.kept import FUNCTIONS as RUN_FUNCTIONS
from codemode.kept import RunCalls
from codemode.outcome import encode
from codemode.own_servers import FUNCTIONS as SERVER_FUNCTIONS
from codemode.own_servers import ServerCalls
from codemode.run import Run, UnknownName
from sandbox import HostCall, Settlement

EMITTED_BYTES = 10 * 1024 * 1024
EMITTED_BLOCKS = 100
_MESSAGE_CHARS = 4_000
_MEANT = {  # by a text where a function takes options
    "tools": f". {HOW_TO_CALL}",
    "search": '. Several needs are a list: codemode.search(["open issues", "post a message"])',
}
_NOTHING_FOUND = '// The list has no tool: nothing was found. Search with other words; search("") lists the servers.'
_BLOCKS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource": ("resource",),
    "resource_link": ("uri", "name"),
}


_NAMES = frozenset(("search", "describe", "tools", "emit", "arity", "unknown", *RUN_FUNCTIONS, *SERVER_FUNCTIONS))


def is_local(name: str) -> bool:
    """Whether calls of this name are served here."""
    return name in _NAMES


class LocalCalls:
    """Serves the local functions for one run, and two messages of the preload: `arity` and `unknown`."""

    def __init__(
        self,
        run: Run,
        catalog: Catalog,
        limit: int,
        handle: RunHandle,
        likeness: Likeness | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        """`limit`: the most bytes of one answer. `likeness`: for searches by meaning. `taken`: the runs whose results
        the run got before it was parked."""
        self._run = run
        self._catalog = catalog
        self._limit = limit
        self._likeness = likeness
        self._emitted_bytes = sum(map(_size, run.emitted))
        # A program may search a hundred times at once: its searches take turns, and leave the threads to others.
        self._searching = asyncio.Lock()
        self._runs = RunCalls(run, handle, self._emit, taken)
        self._servers = ServerCalls(handle)

    @property
    def taken(self) -> tuple[str, ...]:
        """The runs whose results the run got."""
        return tuple(sorted(self._runs.taken))

    async def settle(self, call: HostCall) -> Settlement:
        """The answer to a call that is no tool's. Raises nothing: wrong arguments reject the call."""
        arguments = call.arguments if isinstance(call.arguments, list) else []
        first = arguments[0] if arguments else None
        second = arguments[1] if len(arguments) > 1 else None
        value: Any = None
        try:
            match call.name:
                case "search":
                    value = await self._search(*_query(first, second))
                case "describe" if (targets := _paths(first)) == []:
                    value = _NOTHING_FOUND
                case "describe":
                    full = _options("describe", second, {"full"}).get("full") is True
                    # In a thread, because the schemas of a single tool may take a tenth of a second.
                    value = await asyncio.to_thread(self._catalog.describe, targets, full=full)
                case "tools":
                    is_server = isinstance(first, str) and self._catalog.names.server_id(first) is not None
                    options = _options("tools", {"server": first} if is_server else first, {"server"})
                    value = self._within_limit([_readable(tool) for tool in self._catalog.tools(options.get("server"))])
                case "emit":
                    self._emit(first)
                case "arity":
                    raise CatalogError(self._arity(first, second))
                case "unknown":
                    self._report(arguments)
                case name if name in RUN_FUNCTIONS:
                    return await self._runs.settle(call, first)
                case name if name in SERVER_FUNCTIONS:
                    return await self._servers.settle(call, first)
                case _:
                    raise CatalogError(f"codemode has no function {call.name!r:.100}")
        except CatalogError as error:
            message = str(error) if call.name == "arity" else f"codemode.{call.name}: {error}"
            return Settlement.error(call.id, name="TypeError", message=message[:_MESSAGE_CHARS])
        return Settlement.value(call.id, value)

    def finish(self, calls: Iterable[HostCall]) -> None:
        """Serve calls that a program did not wait for: its emitted blocks and wrong names count all the same."""
        for call in calls:
            if not isinstance(call.arguments, list):
                continue
            if call.name == "unknown":
                self._report(call.arguments)
            elif call.name == "emit":
                with contextlib.suppress(CatalogError):
                    self._emit(call.arguments[0] if call.arguments else None)

    def _report(self, arguments: list[Any]) -> None:
        """Record the error for a name that does not exist, as the preload reports it."""
        match arguments:
            # A program can patch `toJSON` and change what the preload sends.
            case [str(message), str(path), list(nearest), bool(signed)]:
                paths = tuple(one for one in nearest if isinstance(one, str))
                self._run.causes.append(UnknownName(message, path, paths, signed))

    def _within_limit(self, listings: list[bytes]) -> list[orjson.Fragment]:
        if (size := sum(map(len, listings)) + len(listings) + 1) > self._limit:
            raise CatalogError(
                f"the list of {len(listings):,} tools has {size:,} bytes, over the limit of {self._limit:,} "
                '(tool_result): ask for one server, codemode.tools({server: "..."}), or use codemode.search'
            )
        return [orjson.Fragment(listing) for listing in listings]

    async def _search(self, query: Any, options: Any) -> Sequence[object]:
        """The results for one text, or for each need of a list."""
        checked = _options("search", options, {"limit", "readOnly", "server"})
        limit, server, read_only = (checked.get(name) for name in ("limit", "server", "readOnly"))
        has_needs = isinstance(query, list)

        def search() -> Sequence[object]:
            if has_needs:
                return self._catalog.search_all(query, limit, server, read_only, likeness=self._likeness)
            most = DEFAULT_LIMIT if limit is None else limit
            return self._catalog.search(query, most, server, read_only, likeness=self._likeness)

        # In a thread, because it may take long: the first one builds the index, a model takes milliseconds, and a word
        # that no tool has is compared with all words of all tools.
        async with self._searching:
            return await asyncio.to_thread(search)

    def _arity(self, path: Any, count: Any) -> str:
        """The message for a tool that was called with `count` arguments."""
        exists = isinstance(path, str) and self._catalog.get(path) is not None
        expected = f"\nExpected: {self._catalog.brief(path)}" if exists else ""
        return f"codemode.{path} takes one argument, an object; got {count}.{expected}"

    def _emit(self, block: Any) -> None:
        checked = _content_block(block)
        size = _size(checked)
        if len(self._run.emitted) >= EMITTED_BLOCKS:
            raise CatalogError(f"at most {EMITTED_BLOCKS} blocks may be emitted")
        if self._emitted_bytes + size > EMITTED_BYTES:
            raise CatalogError(f"emitted blocks may have {EMITTED_BYTES:,} bytes together; this one has {size:,}")
        self._emitted_bytes += size
        self._run.emitted.append(checked)


def _query(query: object, options: object) -> tuple[object, object]:
    """The words and the options of `search`, which programs also give in one object, or with the limit alone."""
    if isinstance(query, dict) and "query" in query and options is None:
        return query["query"], {name: value for name, value in query.items() if name != "query"}
    is_number = isinstance(options, int | float) and not isinstance(options, bool)
    return query, {"limit": options} if is_number else options


def _paths(targets: object) -> Any:
    """The targets of `describe`, with the path in place of what `search` or `tools` says of a tool, and the targets of
    the lists that `search` gives for several needs."""
    if isinstance(targets, list):
        flat = [one for some in targets for one in (some if isinstance(some, list) else [some])]
        return [_paths(one) if isinstance(one, dict) else one for one in flat]
    return targets["path"] if isinstance(targets, dict) and isinstance(targets.get("path"), str) else targets


def _options(function: str, options: Any, names: set[str]) -> dict[str, Any]:
    """The options of a local function. Raises CatalogError for others than `names`."""
    if options is None:
        return {}
    if not isinstance(options, dict) or not options.keys() <= names:
        how = _MEANT.get(function, "") if isinstance(options, str) else ""
        raise CatalogError(f"the options of {function} are {{{', '.join(sorted(names))}}}, got {options!r:.100}{how}")
    return options


def _readable(tool: dict[str, Any]) -> bytes:
    """A tool of the list as JSON, without its schemas when they are nested too deep for any reader."""
    return encode(tool) or encode({**tool, "inputSchema": True, "outputSchema": True, "annotations": {}}) or b"null"


def _content_block(block: Any) -> dict[str, Any]:
    """An MCP content block as the protocol defines it (2025-11-25, server/tools, tool result).

    Raises CatalogError for anything else.
    """
    kinds = ", ".join(_BLOCKS)
    if not isinstance(block, dict) or block.get("type") not in _BLOCKS:
        raise CatalogError(f"emit takes an MCP content block, an object whose type is one of {kinds}")
    checked = {**block}
    if isinstance(data := checked.get("data"), dict) and isinstance(data.get("base64"), str):
        checked["data"] = data["base64"]  # a Uint8Array leaves the isolate like this
    for member in _BLOCKS[checked["type"]]:
        kind = dict if member == "resource" else str
        if not isinstance(checked.get(member), kind):
            raise CatalogError(f"a block of type {checked['type']} needs {member}, {_article(kind)}")
    if checked["type"] == "resource" and not isinstance(checked["resource"].get("uri"), str):
        raise CatalogError("a block of type resource needs resource.uri, a string")
    if checked["type"] in ("image", "audio"):
        try:
            b64decode(checked["data"], validate=True)
        except (binascii.Error, ValueError):
            raise CatalogError(f"the data of a block of type {checked['type']} is base64, or a Uint8Array") from None
    return checked


def _article(kind: type) -> str:
    return "an object" if kind is dict else "a string"


def _size(value: Any) -> int:
    """About the bytes of a JSON value."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return sum(len(key) + _size(part) + 4 for key, part in value.items())
    if isinstance(value, list):
        return sum(_size(part) + 1 for part in value)
    return 8
