"""What the operations on profiles, entries and datasets of detection share: rules as entries, names, and bounds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from portal.admin.api.errors import AdminError, in_use, invalid
from portal.admin.dlp_shapes import (
    DlpPatternBody,
    EntryVariant,
    ShownDatasetEntry,
    ShownPattern,
    ShownPatternEntry,
    ShownRuleEntry,
    ShownWordsEntry,
    WordCount,
)
from portal.dlp import (
    PREDEFINED,
    PREDEFINED_BY_UUID,
    DetectionUnavailable,
    ExactList,
    Pattern,
    PredefinedRule,
    RuleRefused,
    lists_key,
    predefined_rules,
    predefined_uuid,
)
from portal.objects import DATASET, DLP_PROFILE, DatasetDocument, DlpEntry, DlpProfileDocument
from portal.profiles import detection_key
from portal.state import Scan, Store, Stored, Transaction

MAX_PROFILES = 200
MAX_PATTERNS = 1_000
MAX_CELLS = 200_000
"""Values of all datasets and word lists together."""
MAX_DATASETS = 200

ProfileUses = Callable[[Transaction, Collection[str]], Awaitable[str | None]]
"""Who uses a profile by one of these: its id or its name. A phrase for people, such as `the rule "No cards"`, or None.
It is asked inside the transaction that would take the profile, or that name, away."""

_NO_WORD = re.compile(r"[^a-z0-9]+")
_LONGEST_SLUG = 56


async def no_uses(transaction: Transaction, names: Collection[str]) -> str | None:
    """Nothing uses profiles."""
    return None


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


def slugs(names: Iterable[str]) -> list[str]:
    """The names that findings have for entries of these names: each its own, in the characters that a rule may have."""
    made: list[str] = []
    for name in names:
        slug = _NO_WORD.sub("-", name.lower()).strip("-")[:_LONGEST_SLUG].strip("-") or "entry"
        number, one = 1, slug
        while one in made:
            number += 1
            one = f"{slug}-{number}"
        made.append(one)
    return made


def check_pattern(rule: str, pattern: DlpPatternBody, pointer: str) -> None:
    """
    Raises:
        AdminError: it cannot be used; the message says why. Or detection is not installed.
    """
    try:
        Pattern(rule, pattern.regex, luhn=pattern.validation == "luhn")
    except RuleRefused as error:
        raise invalid(str(error), f"{pointer}/pattern/regex") from None
    except DetectionUnavailable as error:
        raise unavailable(error) from None


async def hashed(store: Store, rule: str, values: Iterable[str], pointer: str = "") -> ExactList:
    """The values as a list of keyed hashes, made in a thread.

    Raises:
        AdminError: one of them cannot be found in texts; the message has its number and not the value.
    """
    key = lists_key(await detection_key(store))
    try:
        return await asyncio.to_thread(ExactList.of, rule, values, key)
    except RuleRefused as error:
        raise invalid(str(error), pointer) from None


async def require_room(transaction: Transaction) -> None:
    """Require that all profiles and datasets together are within the bounds.

    Raises:
        AdminError: they are not.
    """
    patterns, cells = used(await transaction.scan(DLP_PROFILE), await transaction.scan(DATASET))
    if patterns > MAX_PATTERNS:
        raise in_use(f"all profiles together have at most {MAX_PATTERNS} patterns")
    if cells > MAX_CELLS:
        raise in_use(f"all datasets and word lists together have at most {MAX_CELLS} values")


def used(profiles: Scan[DlpProfileDocument], datasets: Scan[DatasetDocument]) -> tuple[int, int]:
    """How many patterns there are, and how many values of datasets and word lists."""
    entries = [entry for profile in profiles.stored for entry in profile.document.entries]
    cells = sum(entry.cells for entry in entries) + sum(one.document.cells for one in datasets.stored)
    return sum(entry.type == "custom" for entry in entries), cells


def shown_entry(entry: DlpEntry, profile: str) -> ShownPatternEntry | ShownWordsEntry:
    """An entry of its own profile."""
    if entry.type == "word_list":
        return ShownWordsEntry(
            id=entry.id,
            name=entry.name,
            enabled=entry.enabled,
            word_list=WordCount(count=entry.cells),
            description=entry.description,
            profile_id=profile,
            created_at=entry.created_at,
            updated_at=entry.updated_at,
        )
    return ShownPatternEntry(
        id=entry.id,
        name=entry.name,
        enabled=entry.enabled,
        pattern=ShownPattern(regex=entry.regex, validation=entry.validation),
        description=entry.description,
        profile_id=profile,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
    )


def dataset_entry(stored: Stored[DatasetDocument], *, enabled: bool) -> ShownDatasetEntry:
    """A dataset as an entry."""
    return ShownDatasetEntry(
        id=stored.id,
        name=stored.document.name,
        enabled=enabled,
        description=stored.document.description,
        created_at=stored.created_at,
        updated_at=stored.modified_at,
    )
