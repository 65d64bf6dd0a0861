"""Profiles of detection: `dlp/profiles`, those of an administrator below `custom`, ours below `predefined`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import conflict, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ZERO_TRUST
from portal.admin.api.revisions import Mark, Reader, Revised, whole
from portal.admin.dlp_bounds import MAX_PROFILES, require_room
from portal.admin.dlp_own_entries import check_pattern, dataset_entry, hashed, shown_entry, slugs
from portal.admin.dlp_rules import RuleEntries, RuleSource, predefined_of
from portal.admin.dlp_shapes import (
    DlpEntryBody,
    DlpProfileBody,
    EntrySwitch,
    PredefinedBody,
    SharedEntryBody,
    ShownCustomProfile,
    ShownDatasetEntry,
    ShownPredefinedProfile,
    ShownProfile,
    ShownRuleEntry,
)
from portal.dlp import PREDEFINED, ExactList, predefined_uuid
from portal.objects import (
    DATASET,
    DLP_PROFILE,
    PREDEFINED_DLP,
    DatasetDocument,
    DlpEntry,
    DlpProfileDocument,
    PredefinedDlpDocument,
    SharedDlpEntry,
)
from portal.profiles import holder_of, remove_values, write_values
from portal.state import Clock, Store, Stored, Transaction

Datasets = Mapping[str, Stored[DatasetDocument]]
ProfileUses = Callable[[Transaction, Collection[str]], Awaitable[str | None]]
"""Who uses a profile by one of these: its id or its name. A phrase for people, such as `the rule "No cards"`, or None.
It is asked inside the transaction that would take the profile, or that name, away."""


async def no_uses(transaction: Transaction, names: Collection[str]) -> str | None:
    """Nothing uses profiles."""
    return None


class DlpProfileOperations:
    """`uses` says whether something needs a profile that is to be removed or renamed."""

    def __init__(
        self, store: Store, rules: RuleSource, settings: AdminSettings, clock: Clock, uses: ProfileUses = no_uses
    ) -> None:
        self._store = store
        self._rules = rules
        self._settings = settings
        self._clock = clock
        self._uses = uses

    def operations(self) -> list[Operation]:
        path, area = "/dlp/profiles", ZERO_TRUST
        own, ours = f"{path}/custom", f"{path}/predefined/{{id}}"
        shown, mine, predefined = ShownCustomProfile, whole(self._store, DLP_PROFILE, "profile"), self._predefined
        return [
            Operation("GET", path, "List profiles", self._list, ShownProfile, area, listed=True, whole=True),
            Operation("GET", f"{path}/{{id}}", "Show a profile", self._get, ShownProfile, area, of=self._either),
            Operation("POST", own, "Make a profile", self._create, shown, area, DlpProfileBody),
            Operation("GET", f"{own}/{{id}}", "Show a profile of one's own", self._get_custom, shown, area, of=mine),
            Operation("PUT", f"{own}/{{id}}", "Change a profile", self._update, shown, area, DlpProfileBody, of=mine),
            Operation("DELETE", f"{own}/{{id}}", "Remove a profile", self._delete, Removed, area, of=mine),
            Operation(
                "GET",
                f"{ours}/config",
                "Show a predefined profile",
                self._ours,
                ShownPredefinedProfile,
                area,
                of=predefined,
            ),
            Operation(
                "PUT",
                f"{ours}/config",
                "Change a predefined profile",
                self._change_ours,
                ShownPredefinedProfile,
                area,
                PredefinedBody,
                of=predefined,
            ),
            Operation(
                "DELETE",
                ours,
                "Make a predefined profile as it was at first",
                self._reset,
                Removed,
                area,
                of=predefined,
            ),
        ]

    @property
    def _predefined(self) -> Revised:
        return whole(self._store, PREDEFINED_DLP, "profile", _predefined_id, always=True)

    @property
    def _either(self) -> Revised:
        """A predefined profile, or one of an administrator."""
        mine, predefined = whole(self._store, DLP_PROFILE, "profile"), self._predefined

        async def mark(reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> Mark | None:
            of = mine if _predefined_id(path) is None else predefined
            return await of.mark(reader, path, body)

        return Revised("profile", self._store, mark)

    # Reading

    async def _list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        rules = await self._rules.entries()
        search = request.paging.search.lower()
        found: list[BaseModel] = []
        predefined = await self._store.scan(PREDEFINED_DLP)
        stored = {one.id: one.document for one in predefined.stored}
        for id, name in PREDEFINED.items():
            if search in name.lower():
                found.append(shown_predefined(id, stored.get(predefined_uuid(id)), rules))
        scan, datasets = await self._store.scan(DLP_PROFILE), await self._datasets()
        found += [shown_custom(one, rules, datasets) for one in scan.stored if search in one.document.name.lower()]
        return ListAnswer(found, [*predefined.broken, *scan.broken])

    async def _get(self, request: ApiRequest) -> BaseModel:
        if predefined_of(request.path["id"]) is not None:
            return await self._ours(request)
        return await self._get_custom(request)

    async def _get_custom(self, request: ApiRequest) -> ShownCustomProfile:
        stored = await self._store.get(DLP_PROFILE, request.path["id"])
        if stored is None:
            raise not_found("profile")
        return shown_custom(stored, await self._rules.entries(), await self._datasets())

    async def _ours(self, request: ApiRequest) -> ShownPredefinedProfile:
        if (id := predefined_of(request.path["id"])) is None:
            raise not_found("predefined profile")
        stored = await self._store.get(PREDEFINED_DLP, predefined_uuid(id))
        return shown_predefined(id, stored.document if stored is not None else None, await self._rules.entries())

    async def _datasets(self) -> Datasets:
        return {one.id: one for one in (await self._store.scan(DATASET)).stored}

    # Profiles of one's own

    async def _create(self, request: ApiRequest) -> ShownCustomProfile:
        body, rules = request.read(DlpProfileBody), await self._rules.entries()
        lists = await self._checked(body)
        async with self._store.transaction() as transaction:
            scan = await transaction.scan(DLP_PROFILE)
            if len(scan.stored) + len(scan.broken) >= MAX_PROFILES:
                raise in_use(f"there are already {MAX_PROFILES} profiles, the most allowed")
            datasets = {one.id: one for one in (await transaction.scan(DATASET)).stored}
            document, kept = self._document(body, None, rules, datasets, lists)
            await _require_own_name(transaction, body.name, "")
            created = await transaction.create(DLP_PROFILE, str(uuid.uuid4()), document, by=request.by)
            await self._keep(transaction, kept, request.by)
        return shown_custom(created, rules, datasets)

    async def _update(self, request: ApiRequest) -> ShownCustomProfile:
        body, rules = request.read(DlpProfileBody), await self._rules.entries()
        lists = await self._checked(body)
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(DLP_PROFILE, request.path["id"])
            if existing is None:
                raise not_found("profile")
            before = existing.document if isinstance(existing, Stored) else None
            scan = await transaction.scan(DATASET)
            datasets = {one.id: one for one in scan.stored}
            unreadable = frozenset(one.id for one in scan.broken)
            document, kept = self._document(body, before, rules, datasets, lists, unreadable)
            await _require_own_name(transaction, body.name, existing.id)
            if before is not None and before.name != body.name:
                await self._require_unused(transaction, [before.name], "by this name")
            replaced = await transaction.replace(DLP_PROFILE, existing.id, document, by=request.by)
            await drop_words(transaction, before, document, request.by)
            await self._keep(transaction, kept, request.by)
        return shown_custom(replaced, rules, datasets)

    async def _delete(self, request: ApiRequest) -> Removed:
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(DLP_PROFILE, request.path["id"])
            if existing is None:
                raise not_found("profile")
            before = existing.document if isinstance(existing, Stored) else None
            names = [existing.id, *([before.name] if before is not None else [])]
            await self._require_unused(transaction, names)
            await transaction.delete(DLP_PROFILE, existing.id, by=request.by)
            await drop_words(transaction, before, None, request.by)
        return Removed(id=existing.id)

    async def _checked(self, body: DlpProfileBody) -> dict[int, ExactList]:
        """The words of each entry that has some, hashed, by its place; its patterns compile.

        Raises:
            AdminError: a pattern or a word cannot be used.
        """
        entries = body.entries or ()
        names = slugs(entry.name for entry in entries)
        await asyncio.to_thread(_check_patterns, entries, names)
        return {
            place: await hashed(self._store, rule, entry.words, f"/entries/{place}/words")
            for place, (entry, rule) in enumerate(zip(entries, names, strict=True))
            if entry.words is not None
        }

    def _document(
        self,
        body: DlpProfileBody,
        before: DlpProfileDocument | None,
        rules: RuleEntries,
        datasets: Datasets,
        lists: Mapping[int, ExactList],
        unreadable: frozenset[str] = frozenset(),
    ) -> tuple[DlpProfileDocument, dict[str, ExactList]]:
        """The profile to store, and its new words by their holders. A dataset that is `unreadable` is not shown, so
        that a body without it does not take it out of the profile.

        Raises:
            AdminError: an entry is not there.
        """
        own = before.entries if before is not None else ()
        kept: dict[str, ExactList] = {}
        if body.entries is not None:
            own = merged(body.entries, own, lists, self._clock())
            kept = {holder_of(own[place].id, own[place].version): words for place, words in lists.items()}
        shared = before.shared_entries if before is not None else ()
        if body.shared_entries is not None:
            hidden = tuple(one for one in shared if one.id in unreadable)
            sent = [_shared(entry, place, rules, datasets) for place, entry in enumerate(body.shared_entries)]
            shared = (*sent, *hidden)
        if len({one.id for one in shared}) < len(shared):
            raise invalid("an entry is shared twice", "/shared_entries")
        allowed = body.allowed_match_count
        if allowed is None:
            allowed = before.allowed_match_count if before is not None else 0
        document = DlpProfileDocument(
            name=body.name,
            description=body.description,
            allowed_match_count=allowed,
            confidence_threshold=body.confidence_threshold,
            entries=own,
            shared_entries=shared,
        )
        return document, kept

    async def _keep(self, transaction: Transaction, words: Mapping[str, ExactList], by: str) -> None:
        for holder, values in words.items():
            await write_values(transaction, holder, values.packed(), by=by)
        await require_room(transaction)

    async def _require_unused(self, transaction: Transaction, names: Sequence[str], how: str = "") -> None:
        if (user := await self._uses(transaction, names)) is not None:
            raise in_use(f"{user} uses this profile{' ' + how if how else ''}")

    # Predefined profiles

    async def _change_ours(self, request: ApiRequest) -> ShownPredefinedProfile:
        body, rules = request.read(PredefinedBody), await self._rules.entries()
        if (id := predefined_of(request.path["id"])) is None:
            raise not_found("predefined profile")
        require_undocumented(self._settings, id)
        async with request.transaction(self._store) as transaction:
            document = changed(await _before(transaction, id), body, id, rules)
            await put_predefined(transaction, id, document, request.by)
        return shown_predefined(id, document, rules)

    async def _reset(self, request: ApiRequest) -> Removed:
        if (id := predefined_of(request.path["id"])) is None:
            raise not_found("predefined profile")
        require_undocumented(self._settings, id)
        async with request.transaction(self._store) as transaction:
            if await transaction.find(PREDEFINED_DLP, predefined_uuid(id)) is not None:
                await transaction.delete(PREDEFINED_DLP, predefined_uuid(id), by=request.by)
        return Removed(id=predefined_uuid(id))


def _predefined_id(path: Mapping[str, str]) -> str | None:
    """The id under which a predefined profile is stored, None if the path names none."""
    id = predefined_of(path["id"])
    return None if id is None else predefined_uuid(id)


def require_undocumented(settings: AdminSettings, id: str) -> None:
    """
    Raises:
        AdminError: the configuration document decides about this profile.
    """
    if id in settings.documented_profiles:
        raise conflict(f"the configuration sets the profile {id!r} (portal.dlp.profiles.{id}); change it there")


def shown_custom(stored: Stored[DlpProfileDocument], rules: RuleEntries, datasets: Datasets) -> ShownCustomProfile:
    """A profile of one's own. A shared entry that is not there any more is left out."""
    document = stored.document
    shared: list[ShownRuleEntry | ShownDatasetEntry] = []
    for one in document.shared_entries:
        if (rule := rules.by_id.get(one.id)) is not None:
            shared.append(rule.shown(enabled=one.enabled))
        elif (dataset := datasets.get(one.id)) is not None:
            shared.append(dataset_entry(dataset, enabled=one.enabled))
    return ShownCustomProfile(
        id=stored.id,
        name=document.name,
        description=document.description,
        allowed_match_count=document.allowed_match_count,
        confidence_threshold=document.confidence_threshold,
        entries=tuple(shown_entry(entry, stored.id) for entry in document.entries),
        shared_entries=tuple(shared),
        created_at=stored.created_at,
        updated_at=stored.modified_at,
    )


def shown_predefined(id: str, document: PredefinedDlpDocument | None, rules: RuleEntries) -> ShownPredefinedProfile:
    """One of ours, with what is stored of it."""
    document = document or PredefinedDlpDocument()
    off = frozenset(document.off)
    entries = tuple(one.shown(enabled=one.rule.rule not in off) for one in rules.by_profile[id])
    return ShownPredefinedProfile(
        id=predefined_uuid(id),
        name=PREDEFINED[id],
        allowed_match_count=document.allowed_match_count,
        confidence_threshold=document.confidence_threshold,
        enabled_entries=tuple(one.id for one in entries if one.enabled),
        entries=entries,
    )


def changed(before: PredefinedDlpDocument, body: PredefinedBody, id: str, rules: RuleEntries) -> PredefinedDlpDocument:
    """What is stored of a predefined profile after this change.

    Raises:
        AdminError: an entry is not one of the profile.
    """
    known = {one.id: one.rule.rule for one in rules.by_profile[id]}
    switches: Iterable[EntrySwitch] = body.entries or ()
    off = set(before.off)
    if body.enabled_entries is not None:
        on = set(body.enabled_entries)
        _require_known(on, known, "/enabled_entries")
        off = {rule for entry, rule in known.items() if entry not in on}
    _require_known({one.id for one in switches}, known, "/entries")
    for one in switches:
        (off.discard if one.enabled else off.add)(known[one.id])
    allowed = body.allowed_match_count
    return PredefinedDlpDocument(
        allowed_match_count=before.allowed_match_count if allowed is None else allowed,
        confidence_threshold=body.confidence_threshold or before.confidence_threshold,
        off=tuple(sorted(off)),
    )


async def _before(transaction: Transaction, id: str) -> PredefinedDlpDocument:
    """What is stored of it. What cannot be read is as if nothing were: every rule is on."""
    found = await transaction.find(PREDEFINED_DLP, predefined_uuid(id))
    return found.document if isinstance(found, Stored) else PredefinedDlpDocument()


async def put_predefined(transaction: Transaction, id: str, document: PredefinedDlpDocument, by: str) -> None:
    """Store it, whether it was there or not."""
    uuid_ = predefined_uuid(id)
    if await transaction.find(PREDEFINED_DLP, uuid_) is None:
        await transaction.create(PREDEFINED_DLP, uuid_, document, by=by)
    else:
        await transaction.replace(PREDEFINED_DLP, uuid_, document, by=by)


async def switch_rule(transaction: Transaction, id: str, rule: str, *, enabled: bool, by: str) -> None:
    """Switch one rule of a predefined profile on or off."""
    before = await _before(transaction, id)
    off = set(before.off) - {rule} if enabled else {*before.off, rule}
    await put_predefined(transaction, id, before.model_copy(update={"off": tuple(sorted(off))}), by)


def merged(
    wanted: Sequence[DlpEntryBody], before: Sequence[DlpEntry], lists: Mapping[int, ExactList], now: datetime
) -> tuple[DlpEntry, ...]:
    """The entries of a profile after a change. Those that are not wanted go.

    Raises:
        AdminError: one that is to be changed is not there, or is named twice, or has no words.
    """
    known = {entry.id: entry for entry in before}
    found: list[DlpEntry] = []
    for place, (entry, rule) in enumerate(zip(wanted, slugs(entry.name for entry in wanted), strict=True)):
        former = known.pop(entry.entry_id, None) if entry.entry_id is not None else None
        if entry.entry_id is not None and former is None:
            raise invalid("there is no such entry in this profile, or it is named twice", f"/entries/{place}/entry_id")
        words = lists.get(place)
        if entry.pattern is None and words is None and (former is None or former.type != "word_list"):
            raise invalid("has neither a pattern nor words", f"/entries/{place}")
        version = (former.version if former is not None else 0) + (words is not None)
        cells = former.cells if former is not None else 0
        is_pattern = entry.pattern is not None
        found.append(
            DlpEntry(
                id=former.id if former is not None else str(uuid.uuid4()),
                type="custom" if is_pattern else "word_list",
                name=entry.name,
                rule=rule,
                enabled=entry.enabled,
                description=entry.description,
                regex=entry.pattern.regex if entry.pattern is not None else "",
                validation=entry.pattern.validation if entry.pattern is not None else None,
                version=version,
                cells=0 if is_pattern else len(words.values) if words is not None else cells,
                created_at=former.created_at if former is not None else now,
                updated_at=now,
            )
        )
    return tuple(found)


async def drop_words(
    transaction: Transaction, before: DlpProfileDocument | None, after: DlpProfileDocument | None, by: str
) -> None:
    """Forget the words that a profile had before a change and has no more."""
    left = {(one.id, one.version) for one in after.entries if one.cells} if after is not None else set()
    for entry in before.entries if before is not None else ():
        if entry.cells and (entry.id, entry.version) not in left:
            await remove_values(transaction, holder_of(entry.id, entry.version), entry.cells, by=by)


def _check_patterns(entries: Iterable[DlpEntryBody], names: Iterable[str]) -> None:
    for place, (entry, rule) in enumerate(zip(entries, names, strict=True)):
        if entry.pattern is not None:
            check_pattern(rule, entry.pattern, f"/entries/{place}")


def _shared(entry: SharedEntryBody, place: int, rules: RuleEntries, datasets: Datasets) -> SharedDlpEntry:
    if (rule := rules.by_id.get(entry.entry_id)) is not None:
        return SharedDlpEntry(
            id=rule.id, type="predefined", enabled=entry.enabled, profile=rule.profile, rule=rule.rule.rule
        )
    if entry.entry_id in datasets:
        return SharedDlpEntry(id=entry.entry_id, type="exact_data", enabled=entry.enabled)
    raise invalid(
        "is neither a predefined entry nor a dataset; the entries of other profiles cannot be shared",
        f"/shared_entries/{place}/entry_id",
    )


def _require_known(ids: set[str], known: Mapping[str, str], pointer: str) -> None:
    if not ids <= set(known):
        raise invalid("has an entry that the profile does not have", pointer)


async def _require_own_name(transaction: Transaction, name: str, id: str) -> None:
    """Require that no other profile has this name: rules may name profiles by it.

    Raises:
        AdminError: one has.
    """
    scan = await transaction.scan(DLP_PROFILE)
    others = {one.document.name for one in scan.stored if one.id != id}
    others |= {str(one.members.get("name")) for one in scan.broken if one.id != id}
    if name in others or name in PREDEFINED.values() or predefined_of(name) is not None:
        raise conflict("another profile has this name already")
