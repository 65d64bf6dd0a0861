"""The document as parsed: where its references lead, and what of it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from portal.openapi.operation import Gap

MOST_HOPS = 32
"""The most references that lead to one another."""
MOST_HOPS_OF_SCHEMA = 8
"""The same where only the kind of a schema is looked at."""
MOST_GAPS = 200
MOST_QUOTED = 120
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
MISSING = object()


class OpenApiDocument:
    """An OpenAPI document. References lead to other places of it and are never followed to other documents.

    `old`: its version is 3.0, whose schemas are not quite JSON Schema.
    """

    def __init__(self, root: Mapping[str, object], *, old: bool) -> None:
        self.root = root
        self.old = old
        self.gaps: list[Gap] = []
        self.gaps_not_kept = 0
        self._targets: dict[str, object] = {}
        self._said: set[tuple[str, str]] = set()

    def gap(self, where: Iterable[str] | str, why: str, *, operation: bool = False) -> None:
        """Note a part that is left out, once."""
        place = where if isinstance(where, str) else pointer(where)
        if len(self.gaps) >= MOST_GAPS:
            self.gaps_not_kept += 1
        elif (place, why) not in self._said:
            self._said.add((place, why))
            self.gaps.append(Gap(place, why, operation))

    def target(self, reference: str, within: object = None) -> object:
        """What a reference leads to, `MISSING` if that is nothing in this document. `within`: a part of the document
        with references of its own, such as a schema that was pasted into it with its definitions."""
        found = self._targets.get(reference)
        if found is None:
            found = self._targets[reference] = _pointed(self.root, reference)
        if found is MISSING and within is not None:
            return _pointed(within, reference)
        return found

    def schema(self, value: object) -> Mapping[str, object] | None:
        """A schema, or the one that its references lead to; None if there is none, or it is too far."""
        for _ in range(MOST_HOPS_OF_SCHEMA + 1):
            if not isinstance(value, dict):
                return None
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            value = self.target(reference)
        return None

    def follow(self, value: object, where: Iterable[str]) -> Mapping[str, object] | None:
        """The object that stands somewhere, or the one that a reference there leads to. None, and said, if there is
        none. Members beside a reference are left out."""
        for _ in range(MOST_HOPS):
            if not isinstance(value, dict):
                self.gap(where, f"must be an object, found {described(value)}")
                return None
            reference = value.get("$ref")
            if reference is None:
                return value
            if not isinstance(reference, str):
                self.gap(where, f"has a $ref that is {described(reference)}, not text")
                return None
            value = self.target(reference)
            if value is MISSING:
                self.gap(where, nowhere(reference))
                return None
        self.gap(where, "is a reference that leads to references only")
        return None


def nowhere(reference: str) -> str:
    """Why a reference has no target here."""
    quoted = reference if len(reference) <= MOST_QUOTED else f"{reference[:MOST_QUOTED]}..."
    if not reference.startswith("#"):
        return f"refers to {quoted}, which is outside this document and is not fetched; bundle the document first"
    return f"refers to {quoted}, which is not in this document"


def pointer(parts: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901), shortened where a part is very long."""
    return "".join(f"/{part[:MOST_QUOTED].replace('~', '~0').replace('/', '~1')}" for part in parts)


def described(value: object) -> str:
    """What kind of thing was found, never the thing itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "something else"


def text(value: object) -> str:
    """The text, "" if it is none."""
    return value if isinstance(value, str) else ""


def shortened(words: str, most: int) -> str:
    """The text, cut at the end of a word if it is too long."""
    words = words.strip()
    if len(words) <= most:
        return words
    return f"{words[:most].rsplit(None, 1)[0]} ..."


def members(value: object) -> Mapping[str, object]:
    """The members of an object, none of what is not one."""
    return value if isinstance(value, dict) else {}


def _pointed(root: object, reference: str) -> object:
    if not reference.startswith("#"):
        return MISSING
    fragment = unquote(reference[1:]) if "%" in reference else reference[1:]
    if fragment and not fragment.startswith("/"):
        return MISSING
    part = root
    for token in fragment.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~") if "~" in token else token
        if isinstance(part, dict):
            part = part.get(token, MISSING)
        elif isinstance(part, list) and _INDEX.fullmatch(token) and int(token) < len(part):
            part = part[int(token)]
        else:
            return MISSING
        if part is MISSING:
            return MISSING
    return MISSING if part is None else part
