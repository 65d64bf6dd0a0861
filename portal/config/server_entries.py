"""Where a document has its servers, and how its client spells the entry of one: for writing what `clients` reads. Pure.

The documents of these clients are written as their documentation has them; `portal.config.clients` has the addresses.
Every other document gets the common form: `command`, `args`, `env` and `cwd`, or `url`, `headers` and `type`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from portal.config.clients import SERVER_SECTIONS, TRANSPORTS, looks_like_server
from portal.config.config import server_id

Spelling = Literal["common", "claude", "vs_code", "windsurf", "gemini", "codex", "zed", "opencode"]
Transport = Literal["http", "sse"]

_OPENCODE_FILES = ("opencode.json", "opencode.jsonc")
_BY_SECTION: Mapping[str, Spelling] = {"servers": "vs_code", "mcp_servers": "codex", "context_servers": "zed"}
_WHOLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_BEARER = re.compile(r"Bearer \$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_REFERENCE = re.compile(r"(?<!\$)\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_SWITCHES = (("enabled", True), ("disabled", False), ("isActive", True))
_ADDRESSES = ("url", "serverUrl", "serverURL", "httpUrl", "baseUrl")


@dataclass(frozen=True, slots=True)
class NewProgram:
    """A server to be started. `${NAME}` in its words stays as it is."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = ""


@dataclass(frozen=True, slots=True)
class NewAddress:
    """A server to be reached by URL. Without a `transport` the URL tells."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    transport: Transport | None = None


@dataclass(frozen=True, slots=True)
class NewApi:
    """An API: the file or the URL of its OpenAPI document, its base address if that is not the document's, and values
    for its security schemes."""

    openapi: str
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """The section of a document in which its servers are, by its path, with what is in it."""

    path: tuple[str, ...]
    spelling: Spelling
    entries: Mapping[str, object]

    @property
    def key(self) -> str:
        return ".".join(self.path)

    def named(self, name: str) -> str | None:
        """The name as the document writes it, from that or from the server's id; None if there is no such server."""
        if name in self.entries:
            return name
        return next((one for one in self.entries if server_id(one) == server_id(name)), None)

    def nearest(self, name: str) -> str | None:
        """The name that was probably meant."""
        return next(iter(difflib.get_close_matches(name, list(self.entries), n=1)), None)


def server_place(document: Mapping[str, object], file: Path) -> ServerPlace:
    """Where this document has its servers; where those of its client are, if it has none yet."""
    for section in SERVER_SECTIONS:
        if section in document:
            return _place((section,), document[section], file)
    inside = document.get("mcp")
    if isinstance(inside, dict):
        if "servers" in inside:
            return _place(("mcp", "servers"), inside["servers"], file)
        if any(map(looks_like_server, inside.values())) or _is_opencode(document, file):
            return _place(("mcp",), inside, file)
    if _is_opencode(document, file):
        return _place(("mcp",), {}, file)
    folder = file.absolute().parent.name
    if folder == ".vscode":
        return _place(("servers",), {}, file)
    if file.suffix == ".toml":
        return _place(("mcp_servers",), {}, file)
    return _place(("context_servers" if folder in ("zed", ".zed") else "mcpServers",), {}, file)


def new_entry(server: NewProgram | NewAddress | NewApi, place: ServerPlace) -> dict[str, object]:
    """The entry of a new server, as the client of the document spells it. No other client has APIs."""
    match server:
        case NewProgram():
            entry = _program(server, place)
        case NewAddress():
            entry = _address(server, place)
        case NewApi():
            given = {"openapi": server.openapi, "url": server.url}
            entry = {**given, "headers": dict(server.headers), "credentials": dict(server.credentials)}
    return {name: value for name, value in entry.items() if value not in ("", [], {}, None)}


def enabling(entry: Mapping[str, object], *, enabled: bool) -> tuple[str, bool] | None:
    """The member that turns a server on or off, in the spelling that its entry has; None if nothing has to change."""
    for name, means_on in _SWITCHES:
        if entry.get(name) is not None:
            value = enabled is means_on
            return None if entry[name] is value else (name, value)
    return None if enabled else ("enabled", False)


def _place(path: tuple[str, ...], section: object, file: Path) -> ServerPlace:
    entries = section if isinstance(section, dict) else {}
    return ServerPlace(path, _spelling(path, entries, file), entries)


def _spelling(path: tuple[str, ...], entries: Mapping[str, object], file: Path) -> Spelling:
    if path == ("mcp",):
        return "opencode"
    if path[-1] in _BY_SECTION:
        return _BY_SECTION[path[-1]]
    keys = {key for entry in entries.values() if isinstance(entry, dict) for key in entry}
    folder = file.absolute().parent.name
    if file.name == "mcp_config.json" or {"serverUrl", "serverURL"} & keys:
        return "windsurf"
    if folder == ".gemini" or "httpUrl" in keys:
        return "gemini"
    return "claude" if file.name in (".mcp.json", ".claude.json") else "common"


def _is_opencode(document: Mapping[str, object], file: Path) -> bool:
    return file.name in _OPENCODE_FILES or "opencode.ai" in str(document.get("$schema", ""))


def _program(server: NewProgram, place: ServerPlace) -> dict[str, object]:
    env = dict(server.env)
    if place.spelling == "opencode":
        return {
            "type": "local",
            "command": [server.command, *server.args],
            "environment": _with_braces(env),
            "cwd": server.cwd,
            "enabled": True,
        }
    common: dict[str, object] = {"command": server.command, "args": list(server.args), "env": env, "cwd": server.cwd}
    if place.spelling == "vs_code":
        return {"type": "stdio", **common}
    if place.spelling == "codex":
        # Codex does not expand references; it hands on variables by their names.
        passed = [name for name, value in env.items() if (found := _WHOLE.fullmatch(value)) and found[1] == name]
        return {**common, "env": {key: env[key] for key in env if key not in passed}, "env_vars": passed}
    return common


def _address(server: NewAddress, place: ServerPlace) -> dict[str, object]:
    headers, transport = dict(server.headers), server.transport or _transport_of(server.url)
    if place.spelling == "opencode":
        return {"type": "remote", "url": server.url, "headers": _with_braces(headers), "enabled": True}
    if place.spelling == "codex":
        return _codex_address(server, headers)
    if place.spelling == "gemini":
        return {"url" if transport == "sse" else "httpUrl": server.url, "headers": headers}
    remote = [one for one in place.entries.values() if isinstance(one, dict) and any(key in one for key in _ADDRESSES)]
    if place.spelling == "windsurf":
        key = next((key for one in remote for key in ("serverUrl", "serverURL") if key in one), "serverUrl")
        return {key: server.url, "headers": headers}
    typed = any("type" in one for one in remote) or place.spelling in ("claude", "vs_code")
    kind = _written_transport(remote, transport) if server.transport or typed else ""
    if place.spelling == "zed":
        kind = server.transport or ""
    return {"type": kind, "url": server.url, "headers": headers}


def _codex_address(server: NewAddress, headers: Mapping[str, str]) -> dict[str, object]:
    """Codex does not expand references: it reads the variables that it is told the names of."""
    entry: dict[str, object] = {"url": server.url}
    written, named = dict(headers), dict[str, str]()
    for name, value in headers.items():
        if name.lower() == "authorization" and (found := _BEARER.fullmatch(value)):
            entry["bearer_token_env_var"] = found[1]
            del written[name]
        elif found := _WHOLE.fullmatch(value):
            named[name] = found[1]
            del written[name]
    return {**entry, "http_headers": written, "env_http_headers": named, "type": server.transport or ""}


def _written_transport(remote: list[dict[str, object]], transport: Transport) -> str:
    """The transport in the word that the document has for it."""
    words = (one["type"] for one in remote if isinstance(one.get("type"), str))
    return next((str(word) for word in words if TRANSPORTS.get(str(word).lower()) == transport), transport)


def _transport_of(url: str) -> Transport:
    """The transport that a URL tells: servers of the older one mostly have it as the last word of their paths."""
    return "sse" if urlsplit(url).path.rstrip("/").endswith("/sse") else "http"


def _with_braces(values: Mapping[str, str]) -> dict[str, str]:
    return {name: _REFERENCE.sub(r"{env:\1}", value) for name, value in values.items()}
