"""Every spelling under which a program may reach a tool, and what each one means.

`codemode.<server>.<tool>` in identifiers is the spelling; the others (`codemode["my-server"]`,
`codemode.fix["my-tool"]`, `codemode.fix_my_tool`, `codemode["fix_my-tool"]`, and a bare raw name) are aliases and
never hide one of the first kind, nor a function of `codemode` itself. An alias that would mean two tools means none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from stubs.identifiers import CODEMODE_FUNCTIONS, PROTOCOL_PROPERTIES, distinct, identifier
from stubs.tools import Server

LONGEST_SPELLING = 1_000


class ToolKey(NamedTuple):
    """Which tool a spelling means: the configured id of the server and the raw name of the tool."""

    server: str
    tool: str


@dataclass(frozen=True, slots=True)
class Names:
    """The identifiers of a set of servers and their tools. Made by `assign_names`; never changes.

    The four mappings are what a program's `codemode` object is built from:
    `servers`: property of `codemode` (identifier or raw id) -> server id;
    `tools`: server id -> property of that server's object (identifier or raw name) -> raw tool name;
    `shortcuts`: property of `codemode` that is one tool (flat or bare spelling) -> tool;
    `paths`: `server.tool` in identifiers -> tool.
    `ambiguous` holds the shortcuts that would mean several tools, for the error that explains them.
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
        """The identifier of a server. Raises KeyError for an id that was not named."""
        return self._server_identifiers[server_id]

    def tool(self, server_id: str, raw_name: str) -> str:
        """The identifier of a tool within its server. Raises KeyError for a tool that was not named."""
        return self._tool_identifiers[ToolKey(server_id, raw_name)]

    def path(self, server_id: str, raw_name: str) -> str:
        """`server.tool` in identifiers, without `codemode.`. Raises KeyError for a tool that was not named."""
        return f"{self.server(server_id)}.{self.tool(server_id, raw_name)}"

    def flat(self, server_id: str, raw_name: str) -> str | None:
        """The tool's one-word spelling, `server_tool`, or None where that would mean something else as well.

        Raises KeyError for a tool that was not named.
        """
        key = ToolKey(server_id, raw_name)
        return self._flat[key] if self.shortcuts.get(self._flat[key]) == key else None

    def resolve(self, spelling: str) -> tuple[ToolKey, ...]:
        """The tools a written spelling can mean: none, one, or several when an alias is ambiguous.

        Takes every spelling of this module with or without `codemode.` in front, dotted where a program would use
        brackets (`fix.my-tool`).
        """
        spelling = spelling.removeprefix("codemode.")
        if found := self.paths.get(spelling) or self.shortcuts.get(spelling):
            return (found,)
        for server, tool in _splits(spelling):
            server_id = self.servers.get(server)
            if server_id is not None and tool in self.tools[server_id]:
                return (ToolKey(server_id, self.tools[server_id][tool]),)
        return self.ambiguous.get(spelling, ())


def assign_names(servers: Iterable[Server]) -> Names:
    """Name servers and tools. Deterministic, and independent of the order of servers and tools.

    A tool listed twice by its server is one tool. Raises ValueError when two servers have the same id.
    """
    listed: dict[str, tuple[str, ...]] = {}
    for server in servers:
        if server.id in listed:
            raise ValueError(f"two servers have the id {server.id!r}; give one of them another")
        listed[server.id] = tuple(dict.fromkeys(tool.name for tool in server.tools))
    keys = [ToolKey(server_id, tool) for server_id in sorted(listed) for tool in sorted(listed[server_id])]
    server_identifiers = distinct(listed, CODEMODE_FUNCTIONS, fallback="server")
    within = {server_id: distinct(tools, fallback="tool") for server_id, tools in listed.items()}
    tool_identifiers = {key: within[key.server][key.tool] for key in keys}
    nested = {key: f"{server_identifiers[key.server]}_{tool_identifiers[key]}" for key in keys}
    flat = nested | _flat_identifiers(listed)
    top = _TopLevel(server_identifiers)
    top.add((flat[key], key) for key in keys)
    top.add((nested[key], key) for key in keys)
    top.add((_joined(key), key) for key in keys)
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
    """Collects the properties of `codemode`, stronger claims first; a property once given never changes its meaning."""

    def __init__(self, server_identifiers: Mapping[str, str]) -> None:
        self.servers = {name: server_id for server_id, name in sorted(server_identifiers.items())}
        for server_id in sorted(server_identifiers):
            if server_id not in CODEMODE_FUNCTIONS and server_id not in PROTOCOL_PROPERTIES:
                self.servers.setdefault(server_id, server_id)
        self.shortcuts: dict[str, ToolKey] = {}
        self.ambiguous: dict[str, tuple[ToolKey, ...]] = {}

    def add(self, claims: Iterable[tuple[str, ToolKey]]) -> None:
        """Add shortcuts of equal standing: each goes to its tool, or to nobody when several want it."""
        wanted: dict[str, dict[ToolKey, None]] = {}
        for spelling, key in claims:
            wanted.setdefault(spelling, {})[key] = None
        for spelling, claimants in wanted.items():
            if spelling in CODEMODE_FUNCTIONS or spelling in PROTOCOL_PROPERTIES:
                continue
            if spelling in self.servers or spelling in self.shortcuts or spelling in self.ambiguous:
                continue
            if len(claimants) == 1:
                self.shortcuts[spelling] = next(iter(claimants))
            else:
                self.ambiguous[spelling] = tuple(claimants)


def _flat_identifiers(tools: Mapping[str, Iterable[str]]) -> dict[ToolKey, str]:
    """The spelling sanitises the whole, so `fix` and `3d` give `fix_3d` where the nested spelling is `fix._3d`.

    Tools of whose name nothing can be kept are left out.
    """
    flat: dict[ToolKey, str] = {}
    for server_id, raw_names in tools.items():
        joined = {_joined(ToolKey(server_id, name)): name for name in raw_names if identifier(name)}
        named = distinct(joined, CODEMODE_FUNCTIONS, fallback="tool")
        flat.update({ToolKey(server_id, joined[spelling]): name for spelling, name in named.items()})
    return flat


def _members(identifiers: Mapping[str, str]) -> dict[str, str]:
    """What a server's object answers to: every identifier, and raw names where they hide nothing."""
    members = {name: raw for raw, name in sorted(identifiers.items())}
    for raw in sorted(identifiers):
        if raw not in PROTOCOL_PROPERTIES:
            members.setdefault(raw, raw)
    return members


def _splits(spelling: str) -> Iterable[tuple[str, str]]:
    """Every way to read a dotted spelling as server and tool: raw names may have dots themselves."""
    for position in (index for index, character in enumerate(spelling[:LONGEST_SPELLING]) if character == "."):
        yield spelling[:position], spelling[position + 1 :]


def _joined(key: ToolKey) -> str:
    return f"{key.server}_{key.tool}"
