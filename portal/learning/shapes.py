"""The learned output type of each tool, and the choice of results to learn from. State only.

An entry belongs to one description and input schema of a tool. A change of either discards the learned type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import orjson

from stubs import Schema, Seen

MAX_TOOLS = 2_000
MAX_KEPT_PARTS = 2_000
"""Parts of one shape. A larger one loses its deepest levels."""
MAX_SHOWN_PARTS = 250
CALM_RESULTS = 16
MAX_SKIPPED = 63
"""Results that may be skipped in a row. Skipping starts after `CALM_RESULTS` results without a change, and grows."""

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
    """Shapes by server id and raw tool name. Implements `portal.servers.snapshot.LearnedOutputs`.

    There are at most `MAX_TOOLS` tools. Beyond that no tool is added.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def of(self, server: str, tools: Iterable[Mapping[str, object]]) -> dict[str, Schema]:
        """The learned output schemas of a server's tools, by raw name."""
        schemas: dict[str, Schema] = {}
        for tool in tools:
            name = str(tool["name"])
            entry = self._entries.get((server, name))
            if entry is not None and _describes(entry, tool) and entry.schema is not None:
                schemas[name] = entry.schema
        return schemas

    def wants(self, server: str, tool: Mapping[str, object]) -> bool:
        """Whether to learn from the next result of this tool. Counts the results that are skipped."""
        entry = self._entries.get((server, str(tool["name"])))
        if entry is None:
            return len(self._entries) < MAX_TOOLS
        if entry.skip > 0 and _describes(entry, tool):
            entry.skip -= 1
            return False
        return True

    def learn(self, server: str, tool: Mapping[str, object], shape: Seen) -> bool:
        """Whether the shape of a result changed the output schema. The shape is added to the tool's entry."""
        key = server, str(tool["name"])
        entry = self._entries.get(key)
        if entry is None or not _describes(entry, tool):
            entry = self._entries[key] = _Entry(fingerprint(tool), tool)
        known = (entry.shape | shape).within(MAX_KEPT_PARTS)
        if known == entry.shape:
            entry.calm += 1
            entry.skip = min(max(0, entry.calm - CALM_RESULTS), MAX_SKIPPED)
            return False
        entry.calm = entry.skip = 0
        entry.shape = known
        before, entry.schema = entry.schema, _schema_of(known)
        return entry.schema != before

    def document(self) -> ShapesDocument:
        """All learned shapes as plain JSON, for `merge`."""
        servers: dict[str, dict[str, object]] = {}
        for (server, tool), entry in self._entries.items():
            servers.setdefault(server, {})[tool] = {"of": entry.fingerprint, "output": entry.shape.schema()}
        return {"version": 1, "servers": servers}

    def merge(self, document: object) -> None:
        """Add the shapes that `document()` returned. A tool's shape of another description is replaced.

        Raises:
            ValueError: `document` does not have that form.
        """
        if not isinstance(document, Mapping) or document.get("version") != 1:
            raise ValueError("not a file of learned shapes of this version")
        for server, tools in _mapping(document.get("servers")).items():
            for tool, written in _mapping(tools).items():
                of, shape = _mapping(written).get("of"), Seen.read(_mapping(written).get("output"))
                if not isinstance(of, str):
                    raise ValueError("a tool without its fingerprint")
                entry = self._entries.get((server, tool))
                if entry is None and len(self._entries) >= MAX_TOOLS:
                    return
                if entry is None or entry.fingerprint != of:
                    entry = self._entries[server, tool] = _Entry(of)
                entry.shape = (entry.shape | shape).within(MAX_KEPT_PARTS)
                entry.schema = _schema_of(entry.shape)


def fingerprint(tool: Mapping[str, object]) -> str:
    """A digest of a tool's description and input schema."""
    described = [tool.get("description"), tool.get("inputSchema")]
    try:
        text = orjson.dumps(described, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # orjson refuses lone surrogates and integers of more than 64 bits. The text only has to be stable.
        text = repr(described).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _describes(entry: _Entry, tool: Mapping[str, object]) -> bool:
    """Whether an entry was learned from a tool with this description.

    The entry refers to the tool's object, which is the same from call to call: that saves the digest.
    """
    if entry.tool is tool:
        return True
    if entry.fingerprint != fingerprint(tool):
        return False
    entry.tool = tool
    return True


def _schema_of(shape: Seen) -> Schema | None:
    return shape.within(MAX_SHOWN_PARTS).output_schema()


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError("not a file of learned shapes")
    return value
