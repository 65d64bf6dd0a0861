"""The output types learned for each tool, and the choice of results to learn from. State only.

An entry belongs to a tool as it was described: a change of its description or input schema discards what was learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import orjson

from stubs import Schema, Seen

MOST_TOOLS = 2_000
MOST_KEPT = 2_000
"""Parts of one shape. A larger one loses its deepest levels."""
MOST_SHOWN = 250
CALM = 16
MOST_SKIPPED = 63
"""After `CALM` results without a change one is skipped, then two, up to so many in a row, until a change."""

_NOTHING = Seen()


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    tool: Mapping[str, object] | None = None
    shape: Seen = _NOTHING
    schema: Schema | None = None
    calm: int = 0
    skip: int = 0


class ShapesDocument(TypedDict):
    """The file of learned shapes: by server id and raw tool name, the fingerprint and the output schema."""

    version: int
    servers: dict[str, dict[str, object]]


class LearnedShapes:
    """Shapes by server id and raw tool name. Implements `portal.servers.snapshot.Outputs`.

    At most `MOST_TOOLS` tools: when there are as many, no other tool is added.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def of(self, server: str, tools: Iterable[Mapping[str, object]]) -> dict[str, Schema]:
        """The learned output schemas of a server's tools, by raw name."""
        found: dict[str, Schema] = {}
        for tool in tools:
            name = str(tool["name"])
            entry = self._entries.get((server, name))
            if entry is not None and _is_of(entry, tool) and entry.schema is not None:
                found[name] = entry.schema
        return found

    def wants(self, server: str, tool: Mapping[str, object]) -> bool:
        """Whether to learn from the present result of this tool. Counts those it skips."""
        entry = self._entries.get((server, str(tool["name"])))
        if entry is None:
            return len(self._entries) < MOST_TOOLS
        if entry.skip > 0 and _is_of(entry, tool):
            entry.skip -= 1
            return False
        return True

    def learn(self, server: str, tool: Mapping[str, object], shape: Seen) -> bool:
        """Add the shape of a result. Whether that changed the output schema."""
        entry = self._entries.get((server, str(tool["name"])))
        if entry is None or not _is_of(entry, tool):
            entry = self._entries[server, str(tool["name"])] = _Entry(fingerprint(tool), tool)
        known = (entry.shape | shape).within(MOST_KEPT)
        if known == entry.shape:
            entry.calm += 1
            entry.skip = min(max(0, entry.calm - CALM), MOST_SKIPPED)
            return False
        entry.calm = entry.skip = 0
        entry.shape = known
        before, entry.schema = entry.schema, _schema_of(known)
        return entry.schema != before

    def document(self) -> ShapesDocument:
        """Everything as plain JSON, for `merge`."""
        servers: dict[str, dict[str, object]] = {}
        for (server, tool), entry in self._entries.items():
            servers.setdefault(server, {})[tool] = {"of": entry.fingerprint, "output": entry.shape.schema()}
        return {"version": 1, "servers": servers}

    def merge(self, document: object) -> None:
        """Add what `document()` returned. Of two descriptions of one tool, the one added last replaces the other.

        Raises:
            ValueError: `document()` did not return this.
        """
        if not isinstance(document, Mapping) or document.get("version") != 1:
            raise ValueError("not a file of learned shapes of this version")
        for server, tools in _mapping(document.get("servers")).items():
            for tool, written in _mapping(tools).items():
                of, shape = _mapping(written).get("of"), Seen.read(_mapping(written).get("output"))
                if not isinstance(of, str):
                    raise ValueError("a tool without its fingerprint")
                entry = self._entries.get((server, tool))
                if entry is None and len(self._entries) >= MOST_TOOLS:
                    return
                if entry is None or entry.fingerprint != of:
                    entry = self._entries[server, tool] = _Entry(of)
                entry.shape = (entry.shape | shape).within(MOST_KEPT)
                entry.schema = _schema_of(entry.shape)


def fingerprint(tool: Mapping[str, object]) -> str:
    """A digest of a tool's description and input schema."""
    described = [tool.get("description"), tool.get("inputSchema")]
    try:
        text = orjson.dumps(described, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Lone surrogates and integers of more than 64 bits are not JSON for orjson. Here it only has to be stable.
        text = repr(described).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _is_of(entry: _Entry, tool: Mapping[str, object]) -> bool:
    """Whether an entry was learned from this tool as it is described now.

    The entry keeps the tool's object, which is the same from call to call, to save the digest.
    """
    if entry.tool is tool:
        return True
    if entry.fingerprint != fingerprint(tool):
        return False
    entry.tool = tool
    return True


def _schema_of(shape: Seen) -> Schema | None:
    return shape.within(MOST_SHOWN).output_schema()


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError("not a file of learned shapes")
    return value
