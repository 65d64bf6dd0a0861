"""Entries that administrators make: their names in findings, their patterns and values, and how they are shown."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from portal.admin.api.errors import invalid
from portal.admin.dlp_rules import unavailable
from portal.admin.dlp_shapes import (
    DlpPatternBody,
    ShownDatasetEntry,
    ShownPattern,
    ShownPatternEntry,
    ShownWordsEntry,
    WordCount,
)
from portal.dlp import DetectionUnavailable, ExactList, Pattern, RuleRefused, lists_key
from portal.objects import DatasetDocument, DlpEntry
from portal.profiles import detection_key
from portal.state import Store, Stored

_NO_WORD = re.compile(r"[^a-z0-9]+")
_LONGEST_SLUG = 56


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
