"""Every spelling that a program may use for a tool, and the tool it means.

The first spelling is `codemode.<server>.<tool>` in identifiers. The others are aliases: `codemode["my-server"]`,
`codemode.fix["my-tool"]`, `codemode.fix_my_tool`, `codemode["fix_my-tool"]`, a raw name alone, and a path as one key,
`codemode["fix.my_tool"]`. An alias never hides a first spelling or a function of `codemode` itself. An alias that could
mean two tools means none. An alias that is spelled as a tool of another server means no tool of this one, whether or
not that server has such a tool, or is there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

from stubs.identifiers import CODEMODE_FUNCTIONS, PROTOCOL_PROPERTIES, distinct, identifier
from stubs.tools import Server

LONGEST_SPELLING = 1_000


class ToolKey(NamedTuple):
    """A tool: the configured id of its server and its raw name."""

    server: str
    tool: str


class ServerNames:
    """The names of one server's tools, which depend on no other server. Immutable.

    `identifiers`: raw name -> identifier; `members`: property of the server's object (identifier or raw name) -> raw
    name; `flat`: raw name -> flat spelling, for tools whose name has an identifier; `positions`: raw name -> its place
    in the server's list, without duplicates; `heads`: what is before a `_` in a name alone -> these names.
    """

    __slots__ = ("flat", "heads", "id", "identifiers", "irregular", "members", "of_flat", "positions")

    def __init__(self, server_id: str, tools: Iterable[str]) -> None:
        raw_names = tuple(dict.fromkeys(tools))
        self.id = server_id
        self.positions: Mapping[str, int] = {name: place for place, name in enumerate(raw_names)}
        identifiers = distinct(raw_names, fallback="tool")
        self.identifiers: Mapping[str, str] = {name: identifiers[name] for name in raw_names}
        self.members: Mapping[str, str] = MappingProxyType(_members(identifiers))
        self.flat: Mapping[str, str] = _flat_identifiers(server_id, raw_names)
        self.of_flat: Mapping[str, str] = {spelling: name for name, spelling in self.flat.items()}
        prefix = identifier(server_id, CODEMODE_FUNCTIONS)
        self.irregular = tuple(
            name for name, own in self.identifiers.items() if name != own or self.flat.get(name) != f"{prefix}_{own}"
        )
        """The raw names that are not identifiers, or whose flat spelling is not that of server and tool."""
        self.heads: Mapping[str, Sequence[str]] = _by_head(self.members)

    def is_identifier(self, spelling: str) -> bool:
        """Whether this is the identifier of a tool, and not only its raw name."""
        raw = self.members.get(spelling)
        return raw is not None and self.identifiers[raw] == spelling


Part = tuple[ServerNames, bytes | None]
"""A server's names, and a byte for each tool: 1 if it is in the set, 0 if not. None: all are."""


class Names:
    """The identifiers of a set of servers and their tools, from `assign_names`. Immutable.

    A program's `codemode` object is built from
    `servers`: property of `codemode` (identifier or raw id) -> server id;
    `tools`: server id -> property of that server's object (identifier or raw name) -> raw tool name;
    `shortcut`: property of `codemode` that is a tool (flat spelling or raw name) -> that tool.

    A server may be in the set with a part of its tools. The others are unknown then, but they keep their identifiers:
    so a tool has one path in every set.
    """

    def __init__(self, parts: Iterable[Part], others: Collection[str] = ()) -> None:
        """`others` are the ids of servers that are not in the set, and could be."""
        self._others = frozenset(others)
        self._parts: dict[str, Part] = {}
        for names, visible in parts:
            if names.id in self._parts:
                raise ValueError(f"two servers have the id {names.id!r}; give one of them another")
            self._parts[names.id] = (names, visible)
        self._identifiers = distinct(self._parts, CODEMODE_FUNCTIONS, fallback="server")
        self._of_identifier = {name: server_id for server_id, name in self._identifiers.items()}
        self.servers: Mapping[str, str] = MappingProxyType(_top_level_servers(self._identifiers))
        self.tools: Mapping[str, Mapping[str, str]] = MappingProxyType(
            {
                server_id: names.members if visible is None else _VisibleMembers(names, visible)
                for server_id, (names, visible) in self._parts.items()
            }
        )

    def server(self, server_id: str) -> str:
        """The identifier of a server. Raises KeyError for an unknown id."""
        return self._identifiers[server_id]

    def tool(self, server_id: str, raw_name: str) -> str:
        """The identifier of a tool within its server. Raises KeyError for an unknown tool."""
        names, visible = self._parts[server_id]
        if visible is not None and not visible[names.positions[raw_name]]:
            raise KeyError(raw_name)
        return names.identifiers[raw_name]

    def path(self, server_id: str, raw_name: str) -> str:
        """`server.tool` in identifiers, without `codemode.`. Raises KeyError for an unknown tool."""
        return f"{self.server(server_id)}.{self.tool(server_id, raw_name)}"

    def of_path(self, path: str) -> ToolKey | None:
        """The tool at a path, or None."""
        server, _, tool = path.partition(".")
        server_id = self._of_identifier.get(server)
        if server_id is None:
            return None
        raw = self.tools[server_id].get(tool)
        return ToolKey(server_id, raw) if raw is not None and self._parts[server_id][0].is_identifier(tool) else None

    def flat(self, server_id: str, raw_name: str) -> str | None:
        """The flat spelling of a tool, `server_tool`, or None when it means something else, or several tools.

        Raises KeyError for an unknown tool.
        """
        key = ToolKey(server_id, raw_name)
        spelling = self._flat(key, self.tool(server_id, raw_name))
        return spelling if self.shortcut(spelling) == (key,) else None

    def server_id(self, name: str) -> str | None:
        """The id of the server with this identifier or id; None when there is none.

        The id of a server counts also where a property of `codemode` with that name is something else, such as the
        function `search`.
        """
        return self.servers.get(name) or (name if name in self._parts else None)

    def shortcut(self, spelling: str) -> tuple[ToolKey, ...]:
        """The tools that a property of `codemode` can mean: none, one, or several.

        A path overrides a flat spelling, that a raw name, and that any other spelling with a dot. Servers and
        `codemode`'s own functions override all.
        """
        if spelling in CODEMODE_FUNCTIONS or spelling in PROTOCOL_PROPERTIES or spelling in self.servers:
            return ()
        if key := self.of_path(spelling):
            return (key,)
        if spelling in self._spelled_as_others:
            return ()
        all_claims = (self._flat_claims, self._nested_claims, self._raw_flat_claims, self._raw_claims)
        keys = next((keys for claims in all_claims if (keys := tuple(claims(spelling)))), ())
        if len(keys) != 1:
            for server, tool in _splits(spelling):
                server_id = self.server_id(server)
                if server_id is not None and tool in self.tools[server_id]:
                    return (ToolKey(server_id, self.tools[server_id][tool]),)
        return keys

    def resolve(self, spelling: str) -> tuple[ToolKey, ...]:
        """The tools that a spelling can mean: none, one, or several for an ambiguous alias.

        Takes every spelling of this module, with or without `codemode.` in front. With a dot it may have raw names
        (`fix.my-tool`).
        """
        without = spelling.removeprefix("codemode.")
        # A server may have the id `codemode`.
        return self.shortcut(spelling) or (self.shortcut(without) if without != spelling else ())

    @cached_property
    def paths(self) -> Mapping[str, ToolKey]:
        """`server.tool` in identifiers -> tool, for all of them."""
        keys = self._keys()
        return MappingProxyType({self.path(*key): key for key in keys})

    @cached_property
    def shortcuts(self) -> Mapping[str, ToolKey]:
        """Every shortcut that means one tool."""
        return MappingProxyType({spelling: keys[0] for spelling, keys in self._shortcuts.items() if len(keys) == 1})

    @cached_property
    def ambiguous(self) -> Mapping[str, tuple[ToolKey, ...]]:
        """Every shortcut that could mean several tools, and therefore means none."""
        return MappingProxyType({spelling: keys for spelling, keys in self._shortcuts.items() if len(keys) > 1})

    @cached_property
    def barred(self) -> frozenset[str]:
        """The shortcuts that are spelled as tools of another server than the one that has them."""
        owners: dict[str, set[str]] = {}
        for server_id in (*self._parts, *self._others):
            for spelling in (server_id, identifier(server_id, CODEMODE_FUNCTIONS)):
                owners.setdefault(spelling, set()).add(server_id)
        found: set[str] = set(self._spelled_as_others)
        for names, _ in self._parts.values():
            for head in owners.keys() & names.heads.keys():
                if owners[head] - {names.id}:
                    found.update(names.heads[head])
        return frozenset(found)

    @cached_property
    def _spelled_as_others(self) -> frozenset[str]:
        """The flat spellings that are also those of a server that is not in the set: `git_hub_x`, of the tool `hub_x`
        of `git`, where there is also `git-hub`, and of the tool `x` of `git-hub`, where there is also `git`."""
        found: set[str] = set()
        for other in self._others:
            spelled = identifier(other, CODEMODE_FUNCTIONS)
            for names, _ in self._parts.values():
                # A server without an identifier of its own has flat spellings that begin as its id does.
                heads = {f"{self._identifiers[names.id]}_", f"{names.id}_", identifier(f"{names.id}_")}
                if not any(spelled.startswith(ours) or ours.startswith(f"{spelled}_") for ours in heads):
                    continue
                for raw, own in names.identifiers.items():
                    key = ToolKey(names.id, raw)
                    every = (self._flat(key, own), f"{self._identifiers[names.id]}_{own}", _raw_flat(key))
                    found.update(spelling for spelling in every if spelling.startswith(f"{spelled}_"))
        return frozenset(found)

    @cached_property
    def uncertain(self) -> frozenset[str]:
        """Shortcuts that the simple rule may resolve wrongly.

        The rule takes the shortest prefix that is a server and the rest as its tool, or otherwise the tools with that
        name. It is right for all other shortcuts.
        """
        servers = self.servers
        if any(name[:at] in servers for name in servers for at, letter in enumerate(name) if letter == "_"):
            return frozenset(self._shortcuts) | self.barred  # `a_b_c` may be `c` of the server `a_b` or `b_c` of `a`
        uncertain: set[str] = set()
        everywhere: set[str] = set()
        irregular: set[str] = set()
        shared: set[str] = set()
        for server_id, (names, _) in self._parts.items():
            server = self._identifiers[server_id]
            usual = server == identifier(server_id, CODEMODE_FUNCTIONS) and servers.get(server_id) == server_id
            for raw in names.irregular if usual else names.positions:
                own = names.identifiers[raw]
                uncertain.update(
                    (raw, own, f"{server}_{own}", f"{server}_{raw}", f"{server_id}_{own}", f"{server_id}_{raw}")
                )
                if flat := names.flat.get(raw):
                    uncertain.add(flat)
                irregular.add(own)
            shared |= everywhere & names.members.keys()
            everywhere |= names.members.keys()
        # One name can be the identifier of a tool here and the raw name of another there.
        return frozenset(uncertain | (shared & irregular) | self.barred)

    @cached_property
    def _shortcuts(self) -> dict[str, tuple[ToolKey, ...]]:
        spellings: dict[str, None] = {}
        for key in self._keys():
            own = self.tool(*key)
            nested = f"{self.server(key.server)}_{own}"
            spellings.update(dict.fromkeys((self._flat(key, own), nested, _raw_flat(key), key.tool)))
        meanings = ((spelling, self.shortcut(spelling)) for spelling in spellings)
        return {spelling: keys for spelling, keys in meanings if keys}

    def _keys(self) -> Iterator[ToolKey]:
        for server_id in sorted(self._parts):
            names, visible = self._parts[server_id]
            for raw in sorted(names.positions):
                if visible is None or visible[names.positions[raw]]:
                    yield ToolKey(server_id, raw)

    def _flat(self, key: ToolKey, own: str) -> str:
        return self._parts[key.server][0].flat.get(key.tool) or f"{self._identifiers[key.server]}_{own}"

    def _flat_claims(self, spelling: str) -> Iterator[ToolKey]:
        found = [(names.id, raw) for names in self._ordered if (raw := names.of_flat.get(spelling)) is not None]
        claims = [ToolKey(*one) for one in found if self._has(*one)]
        # A tool without its own flat spelling has that of server and tool.
        for server_id, raw in self._nested(spelling).items():
            if raw not in self._parts[server_id][0].flat:
                claims.append(ToolKey(server_id, raw))
        return iter(sorted(claims, key=itemgetter(0)))

    def _nested_claims(self, spelling: str) -> Iterator[ToolKey]:
        return (ToolKey(*found) for found in sorted(self._nested(spelling).items()))

    def _raw_flat_claims(self, spelling: str) -> Iterator[ToolKey]:
        found = [
            (server_id, raw)
            for server_id, raw in _flat_splits(spelling)
            if server_id in self._parts and self._has(server_id, raw)
        ]
        return (ToolKey(*one) for one in sorted(found))

    def _raw_claims(self, spelling: str) -> Iterator[ToolKey]:
        found = [names.id for names in self._ordered if spelling in names.positions]
        if spelling in self.barred:
            return iter(())
        return (ToolKey(server_id, spelling) for server_id in found if self._has(server_id, spelling))

    def _nested(self, spelling: str) -> dict[str, str]:
        """The tool of each server for which this is `server_tool` in identifiers."""
        found: dict[str, str] = {}
        for server, own in _flat_splits(spelling):
            server_id = self._of_identifier.get(server)
            if server_id is not None and self._parts[server_id][0].is_identifier(own):
                raw = self.tools[server_id].get(own)
                if raw is not None:
                    found[server_id] = raw
        return found

    @cached_property
    def _ordered(self) -> tuple[ServerNames, ...]:
        """The names of the servers, in the order of their ids."""
        return tuple(self._parts[server_id][0] for server_id in sorted(self._parts))

    def _has(self, server_id: str, raw: str) -> bool:
        names, visible = self._parts[server_id]
        place = names.positions.get(raw)
        return place is not None and (visible is None or bool(visible[place]))


class _VisibleMembers(Mapping[str, str]):
    """The members of a server's object that lead to a tool in the set."""

    def __init__(self, names: ServerNames, visible: bytes) -> None:
        self._names = names
        self._visible = visible

    def __getitem__(self, spelling: str) -> str:
        raw = self._names.members[spelling]
        if not self._visible[self._names.positions[raw]]:
            raise KeyError(spelling)
        return raw

    def __iter__(self) -> Iterator[str]:
        places, visible = self._names.positions, self._visible
        return (spelling for spelling, raw in self._names.members.items() if visible[places[raw]])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def assign_names(servers: Iterable[Server]) -> Names:
    """Name servers and tools. Deterministic, and independent of the order of servers and tools.

    A tool that its server lists twice is one tool. Raises ValueError when two servers have the same id.
    """
    return Names((ServerNames(server.id, (tool.name for tool in server.tools)), None) for server in servers)


def _top_level_servers(identifiers: Mapping[str, str]) -> dict[str, str]:
    """The properties of `codemode` that are servers: the identifiers, and the raw ids that hide none."""
    servers = {name: server_id for server_id, name in sorted(identifiers.items())}
    for server_id in sorted(identifiers):
        if server_id not in CODEMODE_FUNCTIONS and server_id not in PROTOCOL_PROPERTIES:
            servers.setdefault(server_id, server_id)
    return servers


def _flat_identifiers(server_id: str, tools: Iterable[str]) -> dict[str, str]:
    """The flat spellings. Each is the identifier of the whole name: `fix` and `3d` give `fix_3d`, where the first
    spelling is `fix._3d`.

    Tools without an identifier are left out.
    """
    raw = {_raw_flat(ToolKey(server_id, name)): name for name in tools if identifier(name)}
    identifiers = distinct(raw, CODEMODE_FUNCTIONS, fallback="tool")
    return {raw[spelling]: name for spelling, name in identifiers.items()}


def _by_head(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is before each `_` of them."""
    heads: dict[str, list[str]] = {}
    for name in names:
        at = name.find("_", 1)
        while 0 < at < LONGEST_SPELLING:
            heads.setdefault(name[:at], []).append(name)
            at = name.find("_", at + 1)
    return heads


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


def _flat_splits(spelling: str) -> Iterable[tuple[str, str]]:
    """Every way to read a flat spelling as server and tool. There may be a thousand servers, so none is tried."""
    for position in (index for index, character in enumerate(spelling) if character == "_"):
        yield spelling[:position], spelling[position + 1 :]


def _raw_flat(key: ToolKey) -> str:
    return f"{key.server}_{key.tool}"
