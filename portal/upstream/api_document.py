"""The OpenAPI document of one server: read, kept, and read again when it may have changed.

All connections to a server share it: a large document is in memory once. A document that cannot be read again leaves
the last one in use.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from codemode import ArgumentCheck, on_behalf_of
from portal.config import OpenApiServer
from portal.egress import AddressRule
from portal.errors import InputError, ResponseInvalid, UpstreamError, UpstreamUnavailable
from portal.exact import encode
from portal.openapi import LARGEST, Api, ApiOperation, BaseUrl, Gap, parse_document, read_api
from portal.upstream.transports.api_pages import names_pages, schema_with_pages
from portal.upstream.transports.api_security import remarks
from portal.upstream.transports.http_client import HttpClient, address, body, origin
from portal.upstream.transports.wire import snippet

_ACCEPT = "application/vnd.oai.openapi+json, application/vnd.oai.openapi, application/json, application/yaml, */*;q=0.1"
_MOST_NAMED = 5
MAX_TOOLS_BYTES = 32 * 1024 * 1024
"""Of all tools of one API, as JSON."""


@dataclass(frozen=True, slots=True)
class ServedApi:
    """An API as it is served: the operations that have an address, by tool name, with that address. `paged` are those
    whose pages are in headers. `notes` are lines about what is left out of the document, and what an administrator
    should know."""

    api: Api
    operations: Mapping[str, ApiOperation]
    addresses: Mapping[str, str]
    paged: frozenset[str]
    tools: tuple[Mapping[str, object], ...]
    notes: tuple[str, ...]
    _checks: dict[str, ArgumentCheck] = field(default_factory=dict, compare=False, repr=False)

    def mismatches(self, name: str, arguments: Mapping[str, object]) -> list[str]:
        """Where the arguments of a call are not what the operation takes, a line each. A program's are checked before
        they come here, a plain client's are not."""
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = ArgumentCheck(self.operations[name].input_schema)
        return check.mismatches(arguments)


@dataclass(frozen=True, slots=True)
class _Version:
    """What tells one version of a document from the next: of a file its place, size and time, of a URL what the
    server says (RFC 9110 8.8)."""

    mark: tuple[object, ...] = ()
    etag: str = ""
    modified: str = ""


class ApiDocument:
    """Owns what is known of one server's document. `served` is the last good one."""

    def __init__(self, config: OpenApiServer) -> None:
        self._config = config
        self.served: ServedApi | None = None
        self._version = _Version()
        self._reading: asyncio.Task[ServedApi] | None = None

    async def read(self) -> ServedApi:
        """The API as its document says it now. Whoever asks at the same time gets the answer of one reading, which goes
        on when one of them no longer waits.

        Raises:
            UpstreamError: it cannot be read, or has nothing that can be served.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name=f"document {self._config.id}")
            self._reading.add_done_callback(_retrieved)
        return await asyncio.shield(self._reading)

    async def known(self) -> ServedApi:
        """The API of the last good reading; the first one, if there was none. Raises what `read` raises."""
        return self.served if self.served is not None else await self.read()

    async def aclose(self) -> None:
        """End a reading that is under way. Idempotent."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def changed(self) -> bool:
        """Whether the file is another one than was read last. What is fetched or was given as text never says so."""
        config = self._config
        if config.text or config.document_url:
            return False
        mark = _mark(Path(config.openapi))
        return bool(mark) and mark != self._version.mark

    async def _read(self) -> ServedApi:
        found = await self._fresh()
        if found is None:
            assert self.served is not None
            return self.served
        data, version = found
        # As work of somebody, so that the event loop gets its turn more often (`codemode.threads`).
        with on_behalf_of(f"server {self._config.id}"):
            served = await asyncio.to_thread(_served, data, self._config)
        self.served, self._version = served, version
        return served

    async def _fresh(self) -> tuple[bytes, _Version] | None:
        """The document and its version, None if it is the one that is known."""
        config = self._config
        if config.text:
            return None if self.served is not None else (config.text.encode(), _Version())
        if config.document_url:
            return await self._fetched()
        path = Path(config.openapi)
        mark = _mark(path)
        if self.served is not None and mark and mark == self._version.mark:
            return None
        try:
            data = await asyncio.to_thread(_bytes_of, path)
        except OSError as error:
            raise UpstreamUnavailable(f"its document {path} cannot be read: {error.strerror or error}") from None
        return data, _Version(mark)

    async def _fetched(self) -> tuple[bytes, _Version] | None:
        """
        Raises:
            UpstreamError: it cannot be fetched.
        """
        url = self._config.document_url
        headers = {"accept": _ACCEPT, "accept-encoding": "gzip, deflate, identity;q=0.5"}
        if self.served is not None:
            headers |= {"if-none-match": self._version.etag} if self._version.etag else {}
            headers |= {"if-modified-since": self._version.modified} if self._version.modified else {}
        client = HttpClient(self._config, url=url, headers=self._headers(url), place="openapi")
        try:
            async with asyncio.timeout(self._config.timeout):
                response = await client.send("GET", headers)
                try:
                    if response.status == 304 and self.served is not None:
                        return None
                    if response.status != 200:
                        what = f"its document at {address(url)} is answered with HTTP {response.status}"
                        raise ResponseInvalid(what, status=response.status)
                    data = await body(response, LARGEST)
                    etag, modified = (response.headers.get(name, "")[:512] for name in ("etag", "last-modified"))
                finally:
                    response.release()
        except TimeoutError:
            raise UpstreamUnavailable(f"its document at {address(url)} does not come in time") from None
        except UpstreamError as error:
            if "document" not in error.message:
                error.message = f"its document at {address(url)}: {error.message}"
            raise
        finally:
            await client.aclose()
        return data, _Version((), etag, modified)

    def _headers(self, url: str) -> Mapping[str, str]:
        """The headers of the configuration, where the document is at the address that they are for."""
        config = self._config
        return config.headers if config.url and origin(config.url) == origin(url) else {}


def _retrieved(task: asyncio.Task[ServedApi]) -> None:
    # If everybody has gone, nobody else asks for the error.
    if not task.cancelled():
        task.exception()


def _mark(path: Path) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _served(data: bytes, config: OpenApiServer) -> ServedApi:
    """
    Raises:
        ResponseInvalid: it is no document that can be served. The text says why.
    """
    try:
        document = parse_document(data)
        api = read_api(document, location=config.document_url)
    except InputError as error:
        raise ResponseInvalid(f"its document cannot be used: {snippet(str(error))}") from None
    except RecursionError:
        raise ResponseInvalid("its document cannot be used: it is nested too deeply") from None
    base, lines = base_url(api, config)
    operations: dict[str, ApiOperation] = {}
    addresses: dict[str, str] = {}
    elsewhere: list[str] = []
    for one in api.operations:
        try:
            addresses[one.name] = base if one.base_urls == api.base_urls else _own_address(one, base, config)
        except ResponseInvalid as error:
            elsewhere.append(f"{one.method} {one.path} is left out: {error.message}")
        else:
            operations[one.name] = one
    left_out = [_line(gap) for gap in api.gaps]
    more = [f"and {api.gaps_not_kept:,} more parts of the document are left out"] if api.gaps_not_kept else []
    paged = frozenset(name for name, one in operations.items() if names_pages(one, document))
    tools = [_tool(one, paged=one.name in paged) for one in operations.values()]
    without = without_large_results(tools)
    notes = (*lines, *remarks(api, config), *without, *elsewhere, *left_out, *more)
    return ServedApi(api, operations, addresses, paged, tuple(tools), notes)


def _line(gap: Gap) -> str:
    what = "is left out" if gap.operation else "is passed over"
    return f"{gap.where} {what}: {gap.why}"


def without_large_results(tools: list[dict[str, object]], most: int = MAX_TOOLS_BYTES) -> list[str]:
    """Take the largest types of results out of the tools until these have `most` bytes, and say so in a line: a
    document in which everything refers to everything has all of itself in the type of each result."""
    sizes = [len(encode(tool)) for tool in tools]
    of_results = sorted(
        ((len(encode(tool["outputSchema"])), at) for at, tool in enumerate(tools) if "outputSchema" in tool),
        reverse=True,
    )
    total, count = sum(sizes), 0
    for size, at in of_results:
        if total <= most:
            break
        del tools[at]["outputSchema"]
        total, count = total - size, count + 1
    lines = (
        [f"the types of the results of {count:,} operations are left out: together they are too large"] if count else []
    )
    of_inputs = sorted(((len(encode(tool["inputSchema"])), at) for at, tool in enumerate(tools)), reverse=True)
    cut = 0
    for size, at in of_inputs:
        if total <= most:
            break
        schema = tools[at]["inputSchema"]
        assert isinstance(schema, Mapping)
        tools[at]["inputSchema"] = shallow(schema)
        total, cut = total - size + len(encode(tools[at]["inputSchema"])), cut + 1
    if cut:
        lines.append(f"the inputs of {cut:,} operations are not described in full: together they are too large")
    return lines


def shallow(schema: Mapping[str, object]) -> dict[str, object]:
    """The schema of an input without what is behind its references, for which any value will do."""
    properties = schema.get("properties")
    found: dict[str, object] = {}
    for name, member in properties.items() if isinstance(properties, Mapping) else ():
        whole = isinstance(member, Mapping) and b'"$ref"' not in encode(member)
        said = member.get("description") if isinstance(member, Mapping) else None
        found[name] = member if whole else {"description": said} if isinstance(said, str) else {}
    others = {name: value for name, value in schema.items() if name not in ("properties", "$defs")}
    return {**others, "properties": found}


def _tool(operation: ApiOperation, *, paged: bool) -> dict[str, object]:
    """An operation as a tool, a raw MCP object."""
    tool: dict[str, object] = {"name": operation.name}
    if operation.title:
        tool["title"] = operation.title
    if operation.description:
        tool["description"] = operation.description
    tool["inputSchema"] = operation.input_schema
    if paged:
        tool["outputSchema"] = schema_with_pages(operation.output_schema)
    elif operation.output_schema is not None:
        tool["outputSchema"] = operation.output_schema
    tool["annotations"] = dict(operation.annotations)
    return tool


def base_url(api: Api, config: OpenApiServer) -> tuple[str, list[str]]:
    """The address that paths are added to, and lines for an administrator about the choice.

    Raises:
        ResponseInvalid: there is none, or one to which the document must not send credentials.
    """
    if config.url:
        return config.url, []
    if isinstance(config.server, str | int):
        chosen = _chosen(api.base_urls, config.server)
        return _trusted(_usable(chosen.by_default, "the server that is chosen"), config), []
    usable = [one for one in api.base_urls if _is_absolute(one.by_default)]
    if not usable:
        raise ResponseInvalid("its document names no address of the API: write it into `url`")
    first = next((one for one in usable if one.by_default.startswith("https:")), usable[0])
    base = _trusted(first.by_default, config)
    others = [one for one in usable if one is not first]
    lines = []
    if others:
        named = "; ".join(_named(one, api.base_urls) for one in others[:_MOST_NAMED])
        more = f"; and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        lines.append(
            f"of the {len(usable)} servers of its document {address(base)} is used; there are also {named}{more}; "
            "choose with `server` or `url`"
        )
    if first.variables:
        variables = ", ".join(
            f"{name} = {one.default[:80]}" for name, one in list(first.variables.items())[:_MOST_NAMED]
        )
        lines.append(f"its address is that with the variables' defaults ({variables}); another is written into `url`")
    return base, lines


def _named(one: BaseUrl, among: tuple[BaseUrl, ...]) -> str:
    said = f" ({one.description[:80]})" if one.description else ""
    return f"{among.index(one)}: {address(one.by_default)[:200]}{said}"


def _chosen(among: tuple[BaseUrl, ...], wanted: str | int) -> BaseUrl:
    if isinstance(wanted, int) and wanted < len(among):
        return among[wanted]
    if isinstance(wanted, str):
        for one in among:
            if wanted.strip().lower() in (one.description.strip().lower(), one.url.lower(), one.by_default.lower()):
                return one
    there = "; ".join(_named(one, among) for one in among[:_MOST_NAMED])
    raise ResponseInvalid(f"its document has no such server as its `server` says; there are {there}")


def _own_address(operation: ApiOperation, base: str, config: OpenApiServer) -> str:
    """The address of an operation that has its own."""
    usable = [one.by_default for one in operation.base_urls if _is_absolute(one.by_default)]
    if not usable:
        path = next((one.by_default for one in operation.base_urls), "")
        parts = urlsplit(base)
        _usable(f"https://h/{path.strip('/')}", "its own address")
        # What the operator's own address has besides its path stays: a user, a key in the query.
        return parts._replace(path=f"{parts.path.rstrip('/')}/{path.strip('/')}".rstrip("/")).geturl()
    found = next((one for one in usable if one.startswith("https:")), usable[0])
    if config.url and origin(found) != origin(config.url):
        raise ResponseInvalid(f"its own address is {address(found)[:200]}, and `url` another")
    return _trusted(_usable(found, "its own address"), config)


def _is_absolute(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _usable(url: str, what: str) -> str:
    """
    Raises:
        ResponseInvalid: it is no address of an API.
    """
    try:
        parts = urlsplit(url)
        usable = _is_absolute(url) and bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        usable = False
    if not usable or any(one in url for one in ' "<>\\^`{}') or "@" in parts.netloc or parts.fragment:
        raise ResponseInvalid(f"{what} is no http:// or https:// address: write it into `url`")
    return url


def _is_inside(url: str) -> bool:
    """Whether the host is this machine or in a private network, by how it is written. A name may lead anywhere."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or not AddressRule.PUBLIC_ONLY.allows_host(host)


def _trusted(url: str, config: OpenApiServer) -> str:
    """
    Raises:
        ResponseInvalid: the document comes from elsewhere, and must not choose where credentials go.
    """
    url = _usable(url, "the address in its document")
    elsewhere = bool(config.document_url) and origin(url) != origin(config.document_url)
    if elsewhere and _is_inside(url) and not _is_inside(config.document_url):
        raise ResponseInvalid(
            f"its document says that the API is at {address(url)[:200]}, inside, where a document from outside does "
            "not lead: if that is right, write that address into `url`"
        )
    shows = bool(config.headers or config.credentials or config.oauth or config.assertion_audience)
    if shows and elsewhere:
        raise ResponseInvalid(
            f"its document says that the API is at {address(url)[:200]}, which is not where the document comes from: "
            "if credentials may go there, write that address into `url`"
        )
    return url
