"""Output types learned of tools that declare none: what is known of each, and which results are worth a look.

State only. An entry belongs to a tool as it was described: when its description or input changes, what was learned of
it is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from stubs import Schema, Seen

MOST_TOOLS = 2_000
MOST_KEPT = 2_000
"""Parts of one shape; past them its deepest levels go."""
MOST_SHOWN = 250
CALM = 16
MOST_SKIPPED = 63
"""After `CALM` looks without news every second result is looked at, then ever fewer, until news come."""

_NOTHING = Seen()


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    tool: Mapping[str, Any] | None = None
    shape: Seen = _NOTHING
    schema: Schema | None = None
    calm: int = 0
    skip: int = 0


class LearnedShapes:
    """What was learned, by server id and raw name of the tool. Implements `snapshot.Outputs`."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def of(self, server: str, tools: Iterable[Mapping[str, Any]]) -> dict[str, Schema]:
        """The output schemas of those of a server's tools of which something is known."""
        found: dict[str, Schema] = {}
        for tool in tools:
            entry = self._entries.get((server, tool["name"]))
            if entry is not None and _is_of(entry, tool) and entry.schema is not None:
                found[tool["name"]] = entry.schema
        return found

    def worth_a_look(self, server: str, tool: Mapping[str, Any]) -> bool:
        """Whether to look at the result just given by this tool. Counts the results that are passed over."""
        entry = self._entries.get((server, tool["name"]))
        if entry is None:
            return len(self._entries) < MOST_TOOLS
        if entry.skip > 0 and _is_of(entry, tool):
            entry.skip -= 1
            return False
        return True

    def saw(self, server: str, tool: Mapping[str, Any], shape: Seen) -> bool:
        """Take in what a result looked like. Whether there is something new to show."""
        entry = self._entries.get((server, tool["name"]))
        if entry is None or not _is_of(entry, tool):
            entry = self._entries[server, tool["name"]] = _Entry(fingerprint(tool), tool)
        known = (entry.shape | shape).within(MOST_KEPT)
        if known == entry.shape:
            entry.calm += 1
            entry.skip = min(max(0, entry.calm - CALM), MOST_SKIPPED)
            return False
        entry.calm = entry.skip = 0
        entry.shape = known
        before, entry.schema = entry.schema, _shown(known)
        return entry.schema != before

    def document(self) -> dict[str, Any]:
        """Everything as plain JSON, for `merge`."""
        servers: dict[str, dict[str, Any]] = {}
        for (server, tool), entry in self._entries.items():
            servers.setdefault(server, {})[tool] = {"of": entry.fingerprint, "output": entry.shape.schema()}
        return {"version": 1, "servers": servers}

    def merge(self, document: Any) -> None:
        """Take in what `document` wrote; of a tool that changed, what is taken in last counts.

        Raises:
            ValueError: it did not write this.
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
                entry.schema = _shown(entry.shape)


def fingerprint(tool: Mapping[str, Any]) -> str:
    """Identifies what a tool says of itself to its callers."""
    said = [tool.get("description"), tool.get("inputSchema")]
    try:
        text = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # Lone surrogates, integers past 64 bits: as long as it stays the same it is the same.
        text = repr(said).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _is_of(entry: _Entry, tool: Mapping[str, Any]) -> bool:
    """Whether what is known was learned of this very tool; remembers the object, the same one from call to call."""
    if entry.tool is tool:
        return True
    if entry.fingerprint != fingerprint(tool):
        return False
    entry.tool = tool
    return True


def _shown(shape: Seen) -> Schema | None:
    return shape.within(MOST_SHOWN).output_schema()


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not a file of learned shapes")
    return value
