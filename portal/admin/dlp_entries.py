"""Entries of profiles of detection one by one, trials of patterns, and how much is used: `dlp/entries`,
`dlp/patterns/validate`, `dlp/limits`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ZERO_TRUST
from portal.admin.api.revisions import NOTHING, Mark, Reader, Revised, mark_of
from portal.admin.dlp_bounds import MAX_CELLS, MAX_PATTERNS, require_room, used
from portal.admin.dlp_own_entries import check_pattern, dataset_entry, shown_entry, slugs
from portal.admin.dlp_profiles import drop_words, require_undocumented, switch_rule
from portal.admin.dlp_rules import RuleEntry, RuleSource, unavailable
from portal.admin.dlp_shapes import (
    MAX_MATCHES,
    MAX_OWN_ENTRIES,
    DlpLimits,
    EntryChange,
    EntryOn,
    OwnEntryBody,
    PatternJudged,
    PatternTrial,
    PredefinedEntryBody,
    ShownEntry,
    ShownPatternEntry,
    ShownRuleEntry,
)
from portal.dlp import DetectionUnavailable, Pattern, RuleRefused, predefined_uuid
from portal.objects import DATASET, DLP_PROFILE, PREDEFINED_DLP, DlpEntry, DlpProfileDocument
from portal.state import Clock, Store, Stored, Transaction


class DlpEntryOperations:
    """A dataset is an entry too: it is changed below `dlp/datasets`."""

    def __init__(self, store: Store, rules: RuleSource, settings: AdminSettings, clock: Clock) -> None:
        self._store = store
        self._rules = rules
        self._settings = settings
        self._clock = clock

    def operations(self) -> list[Operation]:
        path, area = "/dlp/entries", ZERO_TRUST
        ours = f"{path}/predefined"
        own, rule, of = ShownPatternEntry, ShownRuleEntry, Revised("entry", self._store, self._mark, in_part=True)
        return [
            Operation("GET", path, "List entries", self._list, ShownEntry, area, listed=True, whole=True),
            Operation("POST", path, "Add a pattern to a profile", self._create, own, area, OwnEntryBody),
            Operation("GET", f"{path}/{{id}}", "Show an entry", self._get, ShownEntry, area, of=of),
            Operation("PUT", f"{path}/{{id}}", "Change an entry", self._update, ShownEntry, area, EntryChange, of=of),
            Operation("DELETE", f"{path}/{{id}}", "Remove an entry", self._delete, Removed, area, of=of),
            Operation(
                "PUT", f"{path}/custom/{{id}}", "Change a pattern", self._update_own, own, area, OwnEntryBody, of=of
            ),
            Operation("POST", ours, "Switch a predefined entry", self._switch_new, rule, area, PredefinedEntryBody),
            Operation("PUT", f"{ours}/{{id}}", "Switch a predefined entry", self._switch, rule, area, EntryOn, of=of),
            Operation(
                "DELETE", f"{ours}/{{id}}", "Switch a predefined entry off", self._switch_off, Removed, area, of=of
            ),
            Operation(
                "POST",
                "/dlp/patterns/validate",
                "Try a pattern",
                self._try,
                PatternJudged,
                area,
                PatternTrial,
                reading=True,
            ),
            Operation("GET", "/dlp/limits", "Show how much is used", self._limits, DlpLimits, area),
        ]

    async def _mark(self, reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> Mark | None:
        """The state of one entry: others of its profile may change meanwhile."""
        id = path["id"]
        for profile in (await reader.scan(DLP_PROFILE)).stored:
            for entry in profile.document.entries:
                if entry.id == id:
                    return mark_of(profile, (f"entries/{id}", entry))
        if (dataset := await reader.find(DATASET, id)) is not None:
            return mark_of(dataset)
        if (one := (await self._rules.entries()).by_id.get(id)) is None:
            return None
        uuid_, rule = _key(one)
        found = await reader.find(PREDEFINED_DLP, uuid_)
        whole = Mark(f"{PREDEFINED_DLP.name}/{uuid_}", NOTHING, NOTHING) if found is None else mark_of(found)
        is_off = isinstance(found, Stored) and rule in found.document.off
        return replace(whole, part=f"rules/{rule}", revision="off" if is_off else "on")

    # Reading

    async def _list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        rules, search = await self._rules.entries(), request.paging.search.lower()
        off = await self._off()
        found: list[BaseModel] = [
            one.shown(enabled=_key(one) not in off) for one in rules.by_id.values() if search in one.rule.title.lower()
        ]
        scan = await self._store.scan(DLP_PROFILE)
        for profile in scan.stored:
            found += [
                shown_entry(entry, profile.id) for entry in profile.document.entries if search in entry.name.lower()
            ]
        datasets = await self._store.scan(DATASET)
        found += [dataset_entry(one, enabled=True) for one in datasets.stored if search in one.document.name.lower()]
        return ListAnswer(found, [*scan.broken, *datasets.broken])

    async def _get(self, request: ApiRequest) -> BaseModel:
        id = request.path["id"]
        for profile in (await self._store.scan(DLP_PROFILE)).stored:
            for entry in profile.document.entries:
                if entry.id == id:
                    return shown_entry(entry, profile.id)
        if (dataset := await self._store.get(DATASET, id)) is not None:
            return dataset_entry(dataset, enabled=True)
        return await self._rule(id)

    async def _rule(self, id: str) -> ShownRuleEntry:
        one = await self._known(id)
        return one.shown(enabled=_key(one) not in await self._off())

    async def _known(self, id: str) -> RuleEntry:
        if (one := (await self._rules.entries()).by_id.get(id)) is None:
            raise not_found("entry")
        return one

    async def _off(self) -> set[tuple[str, str]]:
        """The rules that are off, with the UUIDs of their profiles."""
        stored = (await self._store.scan(PREDEFINED_DLP)).stored
        return {(one.id, rule) for one in stored for rule in one.document.off}

    # Patterns

    async def _create(self, request: ApiRequest) -> BaseModel:
        body = request.read(OwnEntryBody)
        if body.profile_id is None:
            raise invalid("is missing: an entry belongs to a profile", "/profile_id")
        await asyncio.to_thread(check_pattern, slugs([body.name])[0], body.pattern, "")
        async with self._store.transaction() as transaction:
            profile = await transaction.get(DLP_PROFILE, body.profile_id)
            if profile is None:
                raise not_found("profile")
            if len(profile.document.entries) >= MAX_OWN_ENTRIES:
                raise in_use(f"a profile has at most {MAX_OWN_ENTRIES} entries")
            now = self._clock()
            made = _written(
                DlpEntry(id=str(uuid.uuid4()), type="custom", name=body.name, rule="", created_at=now, updated_at=now),
                body,
            )
            await self._put(transaction, profile, (*profile.document.entries, made), request.by)
        return shown_entry(made, profile.id)

    async def _update_own(self, request: ApiRequest) -> BaseModel:
        return await self._change(request, request.read(OwnEntryBody))

    async def _update(self, request: ApiRequest) -> BaseModel:
        body = request.read(EntryChange)
        if body.type == "predefined" or request.path["id"] in await self._ids_of_rules(body):
            if body.enabled is not None:
                await self._turn(request.path["id"], request, enabled=body.enabled)
            return await self._rule(request.path["id"])
        return await self._change(request, body)

    async def _ids_of_rules(self, body: EntryChange) -> frozenset[str]:
        """Ids that are not an administrator's entries. A client that changes `enabled` alone may not say the type."""
        return frozenset((await self._rules.entries()).by_id) if body.pattern is None else frozenset()

    async def _change(self, request: ApiRequest, body: OwnEntryBody | EntryChange) -> BaseModel:
        id = request.path["id"]
        if body.pattern is not None:
            await asyncio.to_thread(check_pattern, slugs([body.name or "entry"])[0], body.pattern, "")
        async with request.transaction(self._store) as transaction:
            profile, entry = await _holder(transaction, id)
            if entry.type == "word_list" and body.pattern is not None:
                raise invalid("is a list of words, which has no pattern", "/pattern")
            changed = _written(entry.model_copy(update={"updated_at": self._clock()}), body)
            entries = tuple(changed if one.id == id else one for one in profile.document.entries)
            await self._put(transaction, profile, entries, request.by)
        return shown_entry(changed, profile.id)

    async def _delete(self, request: ApiRequest) -> Removed:
        id = request.path["id"]
        async with request.transaction(self._store) as transaction:
            profile, _ = await _holder(transaction, id)
            left = tuple(one for one in profile.document.entries if one.id != id)
            await self._put(transaction, profile, left, request.by)
        return Removed(id=id)

    async def _put(
        self, transaction: Transaction, profile: Stored[DlpProfileDocument], entries: tuple[DlpEntry, ...], by: str
    ) -> None:
        rules = slugs(entry.name for entry in entries)
        named = tuple(entry.model_copy(update={"rule": rule}) for entry, rule in zip(entries, rules, strict=True))
        document = profile.document.model_copy(update={"entries": named})
        await transaction.replace(DLP_PROFILE, profile.id, document, by=by)
        await drop_words(transaction, profile.document, document, by)
        await require_room(transaction)

    # Predefined entries

    async def _switch_new(self, request: ApiRequest) -> BaseModel:
        body = request.read(PredefinedEntryBody)
        await self._turn(body.entry_id, request, enabled=body.enabled)
        return await self._rule(body.entry_id)

    async def _switch(self, request: ApiRequest) -> BaseModel:
        await self._turn(request.path["id"], request, enabled=request.read(EntryOn).enabled)
        return await self._rule(request.path["id"])

    async def _switch_off(self, request: ApiRequest) -> Removed:
        await self._turn(request.path["id"], request, enabled=False)
        return Removed(id=request.path["id"])

    async def _turn(self, id: str, request: ApiRequest, *, enabled: bool) -> None:
        one = await self._known(id)
        require_undocumented(self._settings, one.profile)
        async with request.transaction(self._store) as transaction:
            await switch_rule(transaction, one.profile, one.rule.rule, enabled=enabled, by=request.by)

    # Trials and limits

    async def _try(self, request: ApiRequest) -> PatternJudged:
        trial = request.read(PatternTrial)
        try:
            return await asyncio.to_thread(_judged, trial)
        except RuleRefused as error:
            return PatternJudged(valid=False, reason=str(error))
        except DetectionUnavailable as error:
            raise unavailable(error) from None

    async def _limits(self, request: ApiRequest) -> DlpLimits:
        patterns, cells = used(await self._store.scan(DLP_PROFILE), await self._store.scan(DATASET))
        return DlpLimits(
            max_custom_regex_entries=MAX_PATTERNS,
            max_dataset_cells=MAX_CELLS,
            used_custom_regex_entries=patterns,
            used_dataset_cells=cells,
        )


def _judged(trial: PatternTrial) -> PatternJudged:
    """A pattern that compiles, with what it finds in the sample.

    Raises:
        RuleRefused: it cannot be used.
    """
    pattern = Pattern("pattern", trial.regex, luhn=trial.validation == "luhn")
    if trial.sample is None:
        return PatternJudged(valid=True)
    sample = trial.sample.encode("utf-8", "replace")
    found, _ = pattern.matches("trial", sample)
    texts = tuple(sample[one.start : one.end].decode("utf-8", "replace") for one in found[:MAX_MATCHES])
    return PatternJudged(valid=True, matches=texts)


def _key(entry: RuleEntry) -> tuple[str, str]:
    return predefined_uuid(entry.profile), entry.rule.rule


def _written(entry: DlpEntry, body: OwnEntryBody | EntryChange) -> DlpEntry:
    """The entry with what a request says of it; what it leaves out stays."""
    said: dict[str, object] = {
        name: value for name in ("name", "enabled", "description") if (value := getattr(body, name)) is not None
    }
    if body.pattern is not None:
        said |= {"regex": body.pattern.regex, "validation": body.pattern.validation}
    return entry.model_copy(update=said)


async def _holder(transaction: Transaction, id: str) -> tuple[Stored[DlpProfileDocument], DlpEntry]:
    """The profile that has this entry, and the entry.

    Raises:
        AdminError: none has.
    """
    for profile in (await transaction.scan(DLP_PROFILE)).stored:
        for entry in profile.document.entries:
            if entry.id == id:
                return profile, entry
    raise not_found("entry")
