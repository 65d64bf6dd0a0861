"""The profiles of the configuration document, as definitions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from portal.config import DlpPatternSection, DlpSection
from portal.dlp import PREDEFINED, PatternDefinition, ProfileDefinition, predefined_definitions


def documented_definitions(
    section: DlpSection, stored: Iterable[ProfileDefinition] | None = None
) -> list[ProfileDefinition]:
    """All profiles there are: those that are `stored` (without a store the predefined ones), and those of the document,
    which take the place of stored ones of the same id."""
    found = {one.id: one for one in (predefined_definitions().values() if stored is None else stored)}
    for id, profile in section.profiles.items():
        names = found[id].names if id in PREDEFINED else ((profile.name,) if profile.name else ())
        found[id] = ProfileDefinition(
            id,
            names,
            profile.confidence,
            profile.allowed,
            patterns=tuple(_pattern(rule, written) for rule, written in profile.patterns.items()),
            words=tuple(profile.lists.items()),
            off=frozenset(profile.off),
            shared=frozenset((origin, rule) for origin, rules in profile.shared.items() for rule in rules),
        )
    return list(found.values())


def _pattern(rule: str, written: DlpPatternSection | str) -> PatternDefinition:
    if isinstance(written, str):
        return PatternDefinition(rule, written)
    return PatternDefinition(rule, written.pattern, luhn=written.luhn)
