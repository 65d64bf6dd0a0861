"""The learned output type of each tool, and the choice of results to learn from. State only.

An entry belongs to one description and input schema of a tool. A change of either discards the learned type. Of what is
known that part is shown, and stored, which enough people have seen (`witnesses`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import orjson

from portal.learning.witnesses import OPERATOR, Witnesses
from stubs import Schema, Seen

MAX_TOOLS = 2_000
MAX_KEPT_PARTS = 2_000
"""Parts of one shape. A larger one loses its deepest levels."""
MAX_SHOWN_PARTS = 250
CALM_RESULTS = 16
MAX_SKIPPED = 63
"""Results that may be skipped in a row. Skipping starts after `CALM_RESULTS` results without a change, and grows."""

_NOTHING = Seen()
_NOBODY = Witnesses()


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    tool: Mapping[str, object] | None = None
    shape: Seen = _NOTHING
    witnesses: Witnesses = _NOBODY
    schema: Schema | None = None
    calm: int = 0
    skip: int = 0


class ShapesDocument(TypedDict):
    """The file of learned shapes: by server id and raw tool name, the fingerprint and the output schema.

    `people`: it has only what enough people have seen. Otherwise it has all that one operator has.
    """

    version: int
    people: bool
    servers: dict[str, dict[str, object]]


class LearnedShapes:
    """Shapes by server id and raw tool name. Implements `portal.servers.snapshot.LearnedOutputs`.

    There are at most `MAX_TOOLS` tools. Beyond that no tool is added.
    """

    def __init__(self, *, people: bool = False) -> None:
        """`people` says that people sign in: the operator is one of them then."""
        self._people = people
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

    def wants(self, server: str, tool: Mapping[str, object], person: str = OPERATOR) -> bool:
        """Whether to learn from the next result of this tool, which is this person's. Counts the results that are
        skipped."""
        entry = self._entries.get((server, str(tool["name"])))
        if entry is None:
            return len(self._entries) < MAX_TOOLS
        people = entry.witnesses.people
        if people is not None and person not in people:
            return True
        if entry.skip > 0 and _describes(entry, tool):
            entry.skip -= 1
            return False
        return True

    def learn(self, server: str, tool: Mapping[str, object], shape: Seen, person: str = OPERATOR) -> bool:
        """Whether the shape of a result of this person changed the output schema. The shape is added to the tool's
        entry."""
        key = server, str(tool["name"])
        entry = self._entries.get(key)
        if entry is None or not _describes(entry, tool):
            entry = self._entries[key] = _Entry(fingerprint(tool), tool)
        known = (entry.shape | shape).within(MAX_KEPT_PARTS)
        witnesses = entry.witnesses
        if not witnesses.has(shape, person):
            witnesses = (witnesses | Witnesses.of(shape, self._alone(person))).within(known)
        if known == entry.shape and witnesses == entry.witnesses:
            entry.calm += 1
            entry.skip = min(max(0, entry.calm - CALM_RESULTS), MAX_SKIPPED)
            return False
        entry.calm = entry.skip = 0
        entry.shape, entry.witnesses = known, witnesses
        before, entry.schema = entry.schema, _schema_of(witnesses.shown(known))
        return entry.schema != before

    def document(self) -> ShapesDocument:
        """The shapes as plain JSON, for `merge`: what is shown of them, and no key that is not."""
        servers: dict[str, dict[str, object]] = {}
        for (server, tool), entry in self._entries.items():
            servers.setdefault(server, {})[tool] = {
                "of": entry.fingerprint,
                "output": entry.witnesses.shown(entry.shape).schema(),
            }
        return {"version": 2, "people": self._people, "servers": servers}

    def merge(self, document: object) -> bool:
        """Add the shapes that `document()` returned, in this version or an earlier one. A tool's shape of another
        description is replaced. The result is whether `document()` would have the same kind of shapes.

        Where people sign in, shapes of an operator, or of a version that did not say whose they are, are those of one
        person.

        Raises:
            ValueError: `document` does not have that form.
        """
        if not isinstance(document, Mapping) or document.get("version") not in (1, 2):
            raise ValueError("not a file of learned shapes of this version")
        of_people = document.get("version") == 2 and document.get("people") is True
        people = None if of_people or not self._people else frozenset({OPERATOR})
        for server, tools in _mapping(document.get("servers")).items():
            for tool, written in _mapping(tools).items():
                of, shape = _mapping(written).get("of"), Seen.read(_mapping(written).get("output"))
                if not isinstance(of, str):
                    raise ValueError("a tool without its fingerprint")
                entry = self._entries.get((server, tool))
                if entry is None and len(self._entries) >= MAX_TOOLS:
                    return of_people or not self._people
                if entry is None or entry.fingerprint != of:
                    entry = self._entries[server, tool] = _Entry(of)
                known = (entry.shape | shape).within(MAX_KEPT_PARTS)
                entry.witnesses = (entry.witnesses | Witnesses.of(shape, people)).within(known)
                entry.shape = known
                entry.schema = _schema_of(entry.witnesses.shown(known))
        return of_people or not self._people

    def _alone(self, person: str) -> frozenset[str] | None:
        """This person alone; None if that is enough."""
        return None if person == OPERATOR and not self._people else frozenset({person})


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
