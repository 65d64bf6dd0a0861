"""The pages of DLP profiles: which there are, what each looks for, and which rules ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.routing import Route

from portal.admin import (
    ZERO_TRUST,
    ConfiguredProfile,
    ConfiguredRule,
    DlpLimits,
    ShownCustomProfile,
    ShownDataset,
    ShownDatasetEntry,
    ShownPatternEntry,
    ShownPredefinedProfile,
    ShownProfile,
    ShownRule,
    ShownRuleEntry,
    ShownWordsEntry,
    invalid,
)
from portal.console.configured import configured
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.overrides import paged
from portal.console.rule_words import CONFIGURED
from portal.console.visit import Answer, Crumb, Shown, Visit, Went
from portal.dlp import PREDEFINED_BY_UUID
from portal.gateway import profiles_asked

HERE, LIST = "dlp", "/admin/dlp"
PROFILES = f"{LIST}/profiles"
API = "/dlp/profiles"
ITEM, CUSTOM, OURS = f"{API}/{{id}}", f"{API}/custom/{{id}}", f"{API}/predefined/{{id}}"
ABOVE = (Crumb("DLP profiles", LIST),)
THRESHOLDS = (("low", "Low: also what is doubtful"), ("medium", "Medium"), ("high", "High: what is certain"))
PER_PAGE = 25
AnyProfile = ShownCustomProfile | ShownPredefinedProfile
AnyProfileEntry = ShownPatternEntry | ShownWordsEntry | ShownRuleEntry | ShownDatasetEntry


@dataclass(frozen=True, slots=True)
class AskingRule:
    """A gateway rule that may ask for profiles, and the path of its page."""

    name: str
    traffic: str
    path: str


class DlpPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/dlp", HERE, self._list),
            page("/dlp/profiles/new", HERE, self._new, changes=ZERO_TRUST),
            form("/dlp/profiles/new", HERE, self._add, self._new),
            page("/dlp/profiles/{id}", HERE, self._show),
            form("/dlp/profiles/{id}", HERE, self._save, self._show),
            form("/dlp/profiles/{id}/switch", HERE, self._switch, self._show),
            form("/dlp/profiles/{id}/share", HERE, self._share, self._show),
            form("/dlp/profiles/{id}/reset", HERE, self._reset, self._show),
            page("/dlp/profiles/{id}/words", HERE, self._words, changes=ZERO_TRUST),
            form("/dlp/profiles/{id}/words", HERE, self._add_words, self._words, {"entries": "words"}),
            *self._frame.confirmation("/dlp/profiles/{id}/remove", HERE, self._remove, ZERO_TRUST),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownProfile, API, visit.page_query(PER_PAGE))
        rules, documented = await _asking(visit), await configured(visit, "dlp-profiles", visit.query("search"))
        values = {
            "found": found,
            "configured": documented,
            "overruled": {one.entry.profile for one in documented if isinstance(one.entry, ConfiguredProfile)},
            "predefined": PREDEFINED_BY_UUID,
            "uses": {one.root.id: rules_of(rules, one.root) for one in found.items},
            "entries": entries_of,
            "datasets": await visit.api.list(ShownDataset, "/dlp/datasets"),
            "limits": await visit.api.show(DlpLimits, "/dlp/limits"),
            "search": visit.query("search"),
        }
        return Shown("dlp.html", "DLP profiles", values)

    async def _new(self, visit: Visit) -> Answer:
        return Shown("dlp_profile_new.html", "Add a DLP profile", {"thresholds": THRESHOLDS}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        made = await visit.api.made(ShownCustomProfile, "POST", f"{API}/custom", _said(visit, own=True))
        return Went(f"{PROFILES}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        profile = await _profile(visit)
        search = visit.query("search")
        entries = [one for one in entries_of(profile) if search.lower() in one.name.lower()]
        shown, info = paged(entries, visit.query("page"), PER_PAGE)
        own = isinstance(profile, ShownCustomProfile)
        values = {
            "profile": profile,
            "own": own,
            "entries": shown,
            "info": info,
            "has_entries": bool(entries_of(profile)),
            "search": search,
            "thresholds": THRESHOLDS,
            "uses": rules_of(await _asking(visit), profile),
            "datasets": await self._shareable(visit, profile) if own else [],
        }
        return Shown("dlp_profile.html", profile.name, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        profile = await _profile(visit)
        own = isinstance(profile, ShownCustomProfile)
        path = CUSTOM if own else f"{OURS}/config"
        await visit.api.change("PUT", path, _said(visit, own=own), id=profile.id)
        return Went(f"{PROFILES}/{profile.id}", "saved")

    async def _switch(self, visit: Visit) -> Answer:
        """Switch one entry on or off."""
        profile, id, enabled = await _profile(visit), visit.sent("entry"), visit.sent("enabled") == "yes"
        if isinstance(profile, ShownPredefinedProfile):
            await visit.api.change("PUT", "/dlp/entries/predefined/{id}", {"enabled": enabled}, id=id)
        elif any(one.id == id for one in profile.entries):
            entry = next(one for one in profile.entries if one.id == id)
            await visit.api.change("PUT", "/dlp/entries/{id}", {"type": entry.type, "enabled": enabled}, id=id)
        else:
            shared = [(one.id, enabled if one.id == id else one.enabled) for one in profile.shared_entries]
            await _put_shared(visit, profile, shared)
        # Back to the entries among which it was.
        place = urlencode({"search": visit.query("search"), "page": visit.query("page", "1")})
        return Went(f"{PROFILES}/{profile.id}?{place}#entries", "entry-on" if enabled else "entry-off")

    async def _share(self, visit: Visit) -> Answer:
        """Take a dataset or an entry of a predefined profile into an own profile, or out of it."""
        profile, id = await _own(visit), visit.sent("dataset")
        shared = [(one.id, one.enabled) for one in profile.shared_entries if one.id != id]
        if visit.sent("do") != "remove":
            shared.append((id, True))
        await _put_shared(visit, profile, shared)
        return Went(f"{PROFILES}/{profile.id}#entries", "saved")

    async def _reset(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", OURS, id=visit.id())
        return Went(f"{PROFILES}/{visit.id()}", "as-at-first")

    async def _words(self, visit: Visit) -> Answer:
        profile = await _own(visit)
        above = (*ABOVE, Crumb(profile.name, f"{PROFILES}/{profile.id}"))
        return Shown("dlp_words.html", "Add a list of words", {"profile": profile}, above)

    async def _add_words(self, visit: Visit) -> Answer:
        """Add a list of words. The entries that are there stay: without its words, a list of words keeps them."""
        profile = await _own(visit)
        words = {"name": visit.sent("name"), "enabled": True, "words": visit.lines("words")}
        if not words["words"]:
            raise invalid("must have a word", "/words")
        body = {**_kept(profile), "entries": [*map(_entry, profile.entries), words]}
        await visit.api.change("PUT", CUSTOM, body, id=profile.id)
        return Went(f"{PROFILES}/{profile.id}#entries", "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        profile = await _own(visit)
        return Confirmation(
            f"Remove the profile {profile.name}?",
            name=name_to_type(profile.name, profile.id),
            back=f"{PROFILES}/{profile.id}",
            consequences=("Its patterns and lists of words go with it. Datasets stay.",),
            act=deletion(visit, CUSTOM, LIST, id=profile.id),
        )

    async def _shareable(self, visit: Visit, profile: AnyProfile) -> Sequence[ShownDataset]:
        """The datasets that the profile does not have yet."""
        taken = {one.id for one in entries_of(profile)}
        found = await visit.api.list(ShownDataset, "/dlp/datasets")
        return [one for one in found.items if one.id not in taken]


async def _profile(visit: Visit) -> AnyProfile:
    return (await visit.api.show(ShownProfile, ITEM, id=visit.id())).root


async def _own(visit: Visit) -> ShownCustomProfile:
    return await visit.api.show(ShownCustomProfile, CUSTOM, id=visit.id())


def entries_of(profile: AnyProfile) -> Sequence[AnyProfileEntry]:
    """All that a profile looks for."""
    if isinstance(profile, ShownPredefinedProfile):
        return profile.entries
    return (*profile.entries, *profile.shared_entries)


def rules_of(rules: Iterable[AskingRule], profile: AnyProfile) -> list[AskingRule]:
    """The rules that ask for a profile, by any of its names."""
    names = {profile.id, profile.name, PREDEFINED_BY_UUID.get(profile.id, profile.id)}
    return [rule for rule in rules if not names.isdisjoint(profiles_asked(rule.traffic))]


async def _asking(visit: Visit) -> list[AskingRule]:
    """All gateway rules in their order, those of the document first."""
    documented = (await visit.api.list(ConfiguredRule, f"{CONFIGURED}/gateway-rules")).items
    stored = (await visit.api.list(ShownRule, "/gateway/rules")).items
    found = [AskingRule(one.name, one.traffic, f"/admin/configured/gateway-rules/{one.id}") for one in documented]
    return [*found, *(AskingRule(one.name, one.traffic, f"/admin/gateway/{quote(one.id, safe='')}") for one in stored)]


def _said(visit: Visit, *, own: bool) -> dict[str, object]:
    said: dict[str, object] = {
        "allowed_match_count": visit.sent("allowed_match_count") or 0,
        "confidence_threshold": visit.sent("confidence_threshold"),
    }
    if own:
        said |= {"name": visit.sent("name"), "description": visit.sent("description")}
    return said


def _kept(profile: ShownCustomProfile) -> dict[str, object]:
    """The members of an own profile that a body must have so that they stay."""
    return {
        "name": profile.name,
        "description": profile.description,
        "confidence_threshold": profile.confidence_threshold,
    }


def _entry(entry: ShownPatternEntry | ShownWordsEntry) -> dict[str, object]:
    """An entry as a body has it so that it stays as it is."""
    kept: dict[str, object] = {"entry_id": entry.id, "name": entry.name, "enabled": entry.enabled}
    if entry.description is not None:
        kept["description"] = entry.description
    if isinstance(entry, ShownPatternEntry):
        kept["pattern"] = entry.pattern.model_dump(mode="json", exclude_none=True)
    return kept


async def _put_shared(visit: Visit, profile: ShownCustomProfile, shared: Sequence[tuple[str, bool]]) -> None:
    entries = [{"entry_id": id, "enabled": enabled} for id, enabled in shared]
    await visit.api.change("PUT", CUSTOM, {**_kept(profile), "shared_entries": entries}, id=profile.id)
