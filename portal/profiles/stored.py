"""The profiles that the store has, as definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from portal.dlp import PREDEFINED, PREDEFINED_BY_UUID, PatternDefinition, ProfileDefinition, predefined_definitions
from portal.objects import (
    DATASET,
    DLP_PROFILE,
    PREDEFINED_DLP,
    DatasetDocument,
    DlpProfileDocument,
    PredefinedDlpDocument,
)
from portal.profiles.values import holder_of, read_values

if TYPE_CHECKING:
    from portal.state import Broken, Store, Stored

PROFILE_KINDS = frozenset({DLP_PROFILE.name, PREDEFINED_DLP.name, DATASET.name})
"""The kinds of stored objects that profiles depend on."""


class StoredProfiles:
    """Reads the profiles of a store. The values of lists are read once: those of one upload never change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._values: dict[str, bytes] = {}

    async def read(self) -> list[ProfileDefinition]:
        """All of them, and the predefined ones. One that cannot be read has a problem and costs only itself.

        Raises:
            StateUnavailable: the store does not answer.
        """
        profiles = await self._store.scan(DLP_PROFILE)
        predefined = await self._store.scan(PREDEFINED_DLP)
        datasets = {one.id: one.document for one in (await self._store.scan(DATASET)).stored}
        known: dict[str, bytes] = {}
        found = [await self._definition(one, datasets, known) for one in profiles.stored]
        found += [_unreadable(one) for one in profiles.broken]
        # Values that no profile uses any more are forgotten.
        self._values = known
        return [*_predefined(predefined.stored, predefined.broken), *found]

    async def _definition(
        self, stored: Stored[DlpProfileDocument], datasets: Mapping[str, DatasetDocument], known: dict[str, bytes]
    ) -> ProfileDefinition:
        document = stored.document
        lists: list[tuple[str, bytes]] = []
        wanted = [
            (one.rule, holder_of(one.id, one.version), one.cells)
            for one in document.entries
            if one.enabled and one.type == "word_list"
        ]
        problem = ""
        for shared in document.shared_entries:
            if shared.enabled and shared.type == "exact_data":
                if (dataset := datasets.get(shared.id)) is not None:
                    wanted.append((dataset.rule, holder_of(shared.id, dataset.uploaded), dataset.cells))
                else:
                    problem = f"the profile {document.name[:64]!r} uses a dataset that is not there or cannot be read"
        for rule, holder, cells in wanted:
            packed = self._values.get(holder) or await read_values(self._store, holder, cells)
            if packed is None:
                problem = (
                    f"the values of {rule!r} in the profile {document.name[:64]!r} cannot be read; upload them again"
                )
            elif packed:
                known[holder] = packed
                lists.append((rule, packed))
        return ProfileDefinition(
            stored.id,
            names=(document.name,),
            confidence=document.confidence_threshold or "medium",
            allowed=document.allowed_match_count,
            patterns=tuple(
                PatternDefinition(one.rule, one.regex, luhn=one.validation == "luhn")
                for one in document.entries
                if one.enabled and one.type == "custom"
            ),
            lists=tuple(lists),
            shared=frozenset(
                (one.profile, one.rule) for one in document.shared_entries if one.enabled and one.type == "predefined"
            ),
            problem=problem,
        )


def _unreadable(broken: Broken) -> ProfileDefinition:
    name = broken.members.get("name")
    return ProfileDefinition(
        broken.id,
        names=(name,) if isinstance(name, str) else (),
        problem=f"the stored profile {broken.id!r} cannot be read; replace or delete it",
    )


def _predefined(
    stored: Iterable[Stored[PredefinedDlpDocument]], broken: Iterable[Broken]
) -> Iterable[ProfileDefinition]:
    """The predefined profiles, with what is stored of them. What cannot be read is no permission."""
    found = predefined_definitions()
    for one in stored:
        if (id := PREDEFINED_BY_UUID.get(one.id)) is not None:
            found[id] = ProfileDefinition(
                id,
                found[id].names,
                one.document.confidence_threshold or "medium",
                one.document.allowed_match_count,
                off=frozenset(one.document.off),
            )
    for unreadable in broken:
        if (id := PREDEFINED_BY_UUID.get(unreadable.id)) is not None:
            problem = f"the stored settings of the profile {PREDEFINED[id]!r} cannot be read; replace or delete them"
            found[id] = ProfileDefinition(id, found[id].names, problem=problem)
    return found.values()
