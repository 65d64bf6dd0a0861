"""Every spelling with which a program may reach a tool, and the tool it means.

The first spelling is `codemode.<server>.<tool>` in identifiers. The others are aliases: `codemode["my-server"]`,
`codemode.fix["my-tool"]`, `codemode.fix_my_tool`, `codemode["fix_my-tool"]`, and a raw name alone. An alias never hides
a first spelling or a function of `codemode` itself. An alias that could mean two tools means none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from stubs.identifiers import CODEMODE_FUNCTIONS, PROTOCOL_PROPERTIES, distinct, identifier
from stubs.tools import Server

LONGEST_SPELLING = 1_000


class ToolKey(NamedTuple):
    """A tool: the configured id of its server and its raw name."""

    server: str
    tool: str


@dataclass(frozen=True, slots=True)
class Names:
    """The identifiers of a set of servers and their tools, from `assign_names`. Immutable.

    A program's `codemode` object is built from four mappings:
    `servers`: property of `codemode` (identifier or raw id) -> server id;
    `tools`: server id -> property of that server's object (identifier or raw name) -> raw tool name;
    `shortcuts`: property of `codemode` that is a tool (flat spelling or raw name) -> tool;
    `paths`: `server.tool` in identifiers -> tool.
    `ambiguous`: shortcuts that could mean several tools, for the error message.
    """

    servers: Mapping[str, str]
    tools: Mapping[str, Mapping[str, str]]
    shortcuts: Mapping[str, ToolKey]
    paths: Mapping[str, ToolKey]
    ambiguous: Mapping[str, tuple[ToolKey, ...]]
    _server_identifiers: Mapping[str, str]
    _tool_identifiers: Mapping[ToolKey, str]
    _flat: Mapping[ToolKey, str]

    def server(self, server_id: str) -> str:
        """The identifier of a server. Raises KeyError for an unknown id."""
        return self._server_identifiers[server_id]

    def tool(self, server_id: str, raw_name: str) -> str:
        """The identifier of a tool within its server. Raises KeyError for an unknown tool."""
        return self._tool_identifiers[ToolKey(server_id, raw_name)]

    def path(self, server_id: str, raw_name: str) -> str:
        """`server.tool` in identifiers, without `codemode.`. Raises KeyError for an unknown tool."""
        return f"{self.server(server_id)}.{self.tool(server_id, raw_name)}"

    def flat(self, server_id: str, raw_name: str) -> str | None:
        """The flat spelling of a tool, `server_tool`, or None when it means something else, or several tools.

        Raises KeyError for an unknown tool.
        """
        key = ToolKey(server_id, raw_name)
        return self._flat[key] if self.shortcuts.get(self._flat[key]) == key else None

    def resolve(self, spelling: str) -> tuple[ToolKey, ...]:
        """The tools that a spelling can mean: none, one, or several for an ambiguous alias.

        Takes every spelling of this module, with or without `codemode.` in front, and with a dot where a program needs
        brackets (`fix.my-tool`).
        """
        spelling = spelling.removeprefix("codemode.")
        if tool_key := self.paths.get(spelling) or self.shortcuts.get(spelling):
            return (tool_key,)
        for server, tool in _splits(spelling):
            server_id = self.servers.get(server)
            if server_id is not None and tool in self.tools[server_id]:
                return (ToolKey(server_id, self.tools[server_id][tool]),)
        return self.ambiguous.get(spelling, ())


def assign_names(servers: Iterable[Server]) -> Names:
    """Name servers and tools. Deterministic, and independent of the order of servers and tools.

    A tool that its server lists twice is one tool. Raises ValueError when two servers have the same id.
    """
    tool_names: dict[str, tuple[str, ...]] = {}
    for server in servers:
        if server.id in tool_names:
            raise ValueError(f"two servers have the id {server.id!r}; give one of them another")
        tool_names[server.id] = tuple(dict.fromkeys(tool.name for tool in server.tools))
    keys = [ToolKey(server_id, tool) for server_id in sorted(tool_names) for tool in sorted(tool_names[server_id])]
    server_identifiers = distinct(tool_names, CODEMODE_FUNCTIONS, fallback="server")
    within = {server_id: distinct(tools, fallback="tool") for server_id, tools in tool_names.items()}
    tool_identifiers = {key: within[key.server][key.tool] for key in keys}
    nested = {key: f"{server_identifiers[key.server]}_{tool_identifiers[key]}" for key in keys}
    flat = nested | _flat_identifiers(tool_names)
    top = _TopLevel(server_identifiers)
    top.add((flat[key], key) for key in keys)
    top.add((nested[key], key) for key in keys)
    top.add((_raw_flat(key), key) for key in keys)
    top.add((key.tool, key) for key in keys)
    return Names(
        servers=MappingProxyType(top.servers),
        tools=MappingProxyType({server_id: MappingProxyType(_members(names)) for server_id, names in within.items()}),
        shortcuts=MappingProxyType(top.shortcuts),
        paths=MappingProxyType({f"{server_identifiers[key.server]}.{tool_identifiers[key]}": key for key in keys}),
        ambiguous=MappingProxyType(top.ambiguous),
        _server_identifiers=MappingProxyType(server_identifiers),
        _tool_identifiers=MappingProxyType(tool_identifiers),
        _flat=MappingProxyType(flat),
    )


class _TopLevel:
    """Collects the properties of `codemode`, the strongest claims first. No later claim changes a property."""

    def __init__(self, server_identifiers: Mapping[str, str]) -> None:
        self.servers = {name: server_id for server_id, name in sorted(server_identifiers.items())}
        for server_id in sorted(server_identifiers):
            if server_id not in CODEMODE_FUNCTIONS and server_id not in PROTOCOL_PROPERTIES:
                self.servers.setdefault(server_id, server_id)
        self.shortcuts: dict[str, ToolKey] = {}
        self.ambiguous: dict[str, tuple[ToolKey, ...]] = {}

    def add(self, claims: Iterable[tuple[str, ToolKey]]) -> None:
        """Add shortcuts of equal rank. One that several tools claim means none of them."""
        by_spelling: dict[str, dict[ToolKey, None]] = {}
        for spelling, key in claims:
            by_spelling.setdefault(spelling, {})[key] = None
        for spelling, claimants in by_spelling.items():
            if spelling in CODEMODE_FUNCTIONS or spelling in PROTOCOL_PROPERTIES:
                continue
            if spelling in self.servers or spelling in self.shortcuts or spelling in self.ambiguous:
                continue
            if len(claimants) == 1:
                self.shortcuts[spelling] = next(iter(claimants))
            else:
                self.ambiguous[spelling] = tuple(claimants)


def _flat_identifiers(tools: Mapping[str, Iterable[str]]) -> dict[ToolKey, str]:
    """The flat spellings. Each is the identifier of the whole: `fix` and `3d` give `fix_3d`, where the first spelling
    is `fix._3d`.

    Tools without an identifier of their own are left out.
    """
    flat: dict[ToolKey, str] = {}
    for server_id, raw_names in tools.items():
        raw = {_raw_flat(ToolKey(server_id, name)): name for name in raw_names if identifier(name)}
        identifiers = distinct(raw, CODEMODE_FUNCTIONS, fallback="tool")
        flat.update({ToolKey(server_id, raw[spelling]): name for spelling, name in identifiers.items()})
    return flat


def _members(identifiers: Mapping[str, str]) -> dict[str, str]:
    """The properties of a server's object: every identifier, and the raw names that hide none."""
    members = {name: raw for raw, name in sorted(identifiers.items())}
    for raw in sorted(identifiers):
        if raw not in PROTOCOL_PROPERTIES:
            members.setdefault(raw, raw)
    return members


def _splits(spelling: str) -> Iterable[tuple[str, str]]:
    """Every way to read a dotted spelling as server and tool. Raw names may contain dots."""
    for position in (index for index, character in enumerate(spelling[:LONGEST_SPELLING]) if character == "."):
        yield spelling[:position], spelling[position + 1 :]


def _raw_flat(key: ToolKey) -> str:
    return f"{key.server}_{key.tool}"
