"""What an administrator says a profile is: plain values, compared, and made into a profile when one is needed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from portal.dlp.findings import Confidence
from portal.dlp.names import PREDEFINED, RuleOf

_NAMESPACE = uuid.UUID("6ad1a2c6-64e3-5cf0-8f4d-0f7c1a5a3f0e")


def predefined_uuid(profile: str, rule: str = "") -> str:
    """The id of a predefined profile, or of one of its rules, where ids are UUIDs. It never changes."""
    return str(uuid.uuid5(_NAMESPACE, f"{profile}/{rule}" if rule else profile))


PREDEFINED_BY_UUID: Mapping[str, str] = {predefined_uuid(id): id for id in PREDEFINED}


@dataclass(frozen=True, slots=True)
class PatternDefinition:
    """A pattern as it is written; see `Pattern`."""

    rule: str
    pattern: str
    luhn: bool = False


@dataclass(frozen=True, slots=True)
class ProfileDefinition:
    """A profile before its patterns are compiled. `id` is what findings have; `names` are what rules may say besides.

    `words` are lists by their rules with values that are not hashed yet, `lists` those with values that were packed
    (`ExactList.packed`). With a `problem`, a sentence, it cannot be
    used. A profile that has nothing to look for is known, and finds nothing.
    """

    id: str
    names: tuple[str, ...] = ()
    confidence: Confidence = "medium"
    allowed: int = 0
    patterns: tuple[PatternDefinition, ...] = ()
    words: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    lists: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    off: frozenset[str] = frozenset()
    shared: frozenset[RuleOf] = frozenset()
    problem: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for."""
        return self.id not in PREDEFINED and not (self.patterns or self.words or self.lists or self.shared)


def predefined_definitions() -> dict[str, ProfileDefinition]:
    """The predefined profiles as they are when nobody has changed them, by their ids."""
    return {id: ProfileDefinition(id, names=(predefined_uuid(id), name)) for id, name in PREDEFINED.items()}


def by_reference(definitions: Iterable[ProfileDefinition]) -> tuple[Mapping[str, ProfileDefinition], frozenset[str]]:
    """The definitions by all that rules may call them, and the names that several have, which lead to none.

    An id goes before a name of another profile.
    """
    several: set[str] = set()
    ids: dict[str, ProfileDefinition] = {}
    named: dict[str, ProfileDefinition] = {}
    for one in definitions:
        ids[one.id] = one
        for name in one.names:
            if named.setdefault(name, one) is not one:
                several.add(name)
    known = {name: one for name, one in named.items() if name not in several} | ids
    return known, frozenset(several - set(ids))
