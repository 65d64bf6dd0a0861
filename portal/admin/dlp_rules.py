"""The rules of the predefined profiles of detection as entries, by their ids and by profile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from portal.admin.api.errors import AdminError, invalid
from portal.admin.dlp_shapes import EntryVariant, ShownRuleEntry
from portal.dlp import (
    PREDEFINED,
    PREDEFINED_BY_UUID,
    DetectionUnavailable,
    PredefinedRule,
    predefined_rules,
    predefined_uuid,
)


class RuleEntry(NamedTuple):
    """A rule of a predefined profile as an entry."""

    profile: str
    rule: PredefinedRule

    @property
    def id(self) -> str:
        return predefined_uuid(self.profile, self.rule.rule)

    def shown(self, *, enabled: bool) -> ShownRuleEntry:
        return ShownRuleEntry(
            id=self.id,
            name=self.rule.title,
            enabled=enabled,
            profile_id=predefined_uuid(self.profile),
            variant=EntryVariant(description=self.rule.rule),
        )


@dataclass(frozen=True, slots=True)
class RuleEntries:
    """All rules of the predefined profiles, by their ids and by profile."""

    by_id: Mapping[str, RuleEntry]
    by_profile: Mapping[str, Sequence[RuleEntry]]

    @staticmethod
    def of(rules: Mapping[str, Sequence[PredefinedRule]]) -> RuleEntries:
        by_profile = {profile: [RuleEntry(profile, rule) for rule in some] for profile, some in rules.items()}
        return RuleEntries({one.id: one for some in by_profile.values() for one in some}, by_profile)


class RuleSource:
    """The rules of the predefined profiles, read in a thread when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: RuleEntries | None = None
        self._reading = asyncio.Lock()

    async def entries(self) -> RuleEntries:
        """
        Raises:
            AdminError: detection is not installed, or cannot be used.
        """
        async with self._reading:
            if self._read is None:
                try:
                    self._read = RuleEntries.of(await asyncio.to_thread(predefined_rules, self._folder))
                except DetectionUnavailable as error:
                    raise unavailable(error) from None
        return self._read


def unavailable(error: DetectionUnavailable) -> AdminError:
    """Detection that is not installed is the operator's to mend: trying again does not help."""
    return invalid(str(error))


def predefined_of(uuid: str) -> str | None:
    """The predefined profile of this UUID, or of this id."""
    return uuid if uuid in PREDEFINED else PREDEFINED_BY_UUID.get(uuid)
