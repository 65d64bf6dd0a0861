"""The pages of what DLP profiles look for: own patterns, tried before they are saved, and datasets of exact values."""

from __future__ import annotations

from starlette.routing import Route

from portal.admin import (
    ZERO_TRUST,
    MadeDataset,
    NewUpload,
    PatternJudged,
    ShownCustomProfile,
    ShownDataset,
    ShownEntry,
    ShownPatternEntry,
    ShownWordsEntry,
    not_found,
)
from portal.console.dlp import ABOVE, CUSTOM, HERE, LIST, PROFILES
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

ENTRIES, DATASETS = f"{LIST}/entries", f"{LIST}/datasets"
ENTRY = "/dlp/entries/{id}"
DATASET = "/dlp/datasets/{id}"
CHECKS = (("", "None"), ("luhn", "Luhn: the last digit is the check digit of the others"))
NAMES = {"pattern": "regex"}


class DlpEntryPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/dlp/profiles/{id}/patterns/new", HERE, self._new, changes=ZERO_TRUST),
            form("/dlp/profiles/{id}/patterns/new", HERE, self._add, self._new, NAMES),
            page("/dlp/entries/{id}", HERE, self._show),
            form("/dlp/entries/{id}", HERE, self._save, self._show, NAMES),
            *self._frame.confirmation("/dlp/entries/{id}/remove", HERE, self._remove, ZERO_TRUST),
            page("/dlp/datasets/new", HERE, self._new_dataset, changes=ZERO_TRUST),
            form("/dlp/datasets/new", HERE, self._add_dataset, self._new_dataset),
            page("/dlp/datasets/{id}", HERE, self._show_dataset),
            form("/dlp/datasets/{id}", HERE, self._save_dataset, self._show_dataset),
            form("/dlp/datasets/{id}/values", HERE, self._upload, self._show_dataset),
            *self._frame.confirmation("/dlp/datasets/{id}/remove", HERE, self._remove_dataset, ZERO_TRUST),
        ]

    # Patterns

    async def _new(self, visit: Visit) -> Answer:
        profile = await visit.api.show(ShownCustomProfile, CUSTOM, id=visit.id())
        here = f"{PROFILES}/{profile.id}"
        values = {"entry": None, "judged": None, "checks": CHECKS, "action_path": f"{here}/patterns/new", "back": here}
        return Shown("dlp_pattern.html", "Add a pattern", values, (*ABOVE, Crumb(profile.name, here)))

    async def _add(self, visit: Visit) -> Answer:
        if visit.sent("do") == "try":
            return await _tried(visit, await self._new(visit))
        body = {**_said(visit), "enabled": True, "profile_id": visit.id()}
        await visit.api.made(ShownPatternEntry, "POST", "/dlp/entries", body)
        return Went(f"{PROFILES}/{visit.id()}#entries", "saved")

    async def _show(self, visit: Visit) -> Answer:
        entry = await _entry(visit)
        if not isinstance(entry, ShownPatternEntry):
            raise not_found("pattern")
        back = f"{PROFILES}/{entry.profile_id}"
        values = {
            "entry": entry,
            "judged": None,
            "checks": CHECKS,
            "action_path": f"{ENTRIES}/{entry.id}",
            "back": back,
        }
        return Shown("dlp_pattern.html", entry.name, values, (*ABOVE, Crumb("Its profile", back)))

    async def _save(self, visit: Visit) -> Answer:
        if visit.sent("do") == "try":
            return await _tried(visit, await self._show(visit))
        entry = await _entry(visit)
        await visit.api.change("PUT", ENTRY, {"type": "custom", **_said(visit)}, id=entry.id)
        return Went(f"{PROFILES}/{entry.profile_id}#entries", "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        entry = await _entry(visit)
        profile = f"{PROFILES}/{entry.profile_id}"
        return Confirmation(
            f"Remove {entry.name}?",
            name=name_to_type(entry.name, entry.id),
            back=profile,
            consequences=("Its profile does not look for it any more.",),
            act=deletion(visit, ENTRY, profile, id=entry.id),
        )

    # Datasets

    async def _new_dataset(self, visit: Visit) -> Answer:
        return Shown("dlp_dataset_new.html", "Add a dataset", {}, ABOVE)

    async def _add_dataset(self, visit: Visit) -> Answer:
        body = {"name": visit.sent("name"), "description": visit.sent("description")}
        made = await visit.api.made(MadeDataset, "POST", "/dlp/datasets", body)
        return Went(f"{DATASETS}/{made.dataset.id}", "made")

    async def _show_dataset(self, visit: Visit) -> Answer:
        dataset = await visit.api.show(ShownDataset, DATASET, id=visit.id())
        return Shown("dlp_dataset.html", dataset.name, {"dataset": dataset}, ABOVE)

    async def _save_dataset(self, visit: Visit) -> Answer:
        body = {"name": visit.sent("name"), "description": visit.sent("description")}
        await visit.api.change("PUT", DATASET, body, id=visit.id())
        return Went(f"{DATASETS}/{visit.id()}", "saved")

    async def _upload(self, visit: Visit) -> Answer:
        """Put these values in the place of those that are there."""
        begun = await visit.api.made(NewUpload, "POST", f"{DATASET}/upload", id=visit.id())
        content = "\n".join(visit.lines("values")).encode()
        path = f"{DATASET}/upload/{{version}}"
        await visit.api.change("POST", path, {"content": content}, id=visit.id(), version=str(begun.version))
        return Went(f"{DATASETS}/{visit.id()}", "uploaded")

    async def _remove_dataset(self, visit: Visit) -> Confirmation:
        dataset = await visit.api.show(ShownDataset, DATASET, id=visit.id())
        return Confirmation(
            f"Remove the dataset {dataset.name}?",
            name=name_to_type(dataset.name, dataset.id),
            back=f"{DATASETS}/{dataset.id}",
            consequences=(f"The hashes of its {dataset.num_cells:,} values go with it.",),
            act=deletion(visit, DATASET, LIST, id=dataset.id),
        )


async def _entry(visit: Visit) -> ShownPatternEntry | ShownWordsEntry:
    """The entry of an own profile that the URL names.

    Raises:
        AdminError: it is none, or of another kind.
    """
    entry = (await visit.api.show(ShownEntry, ENTRY, id=visit.id())).root
    if not isinstance(entry, ShownPatternEntry | ShownWordsEntry):
        raise not_found("entry of an own profile")
    return entry


def _pattern(visit: Visit) -> dict[str, object]:
    # White space may be what a pattern begins or ends with.
    regex = visit.fields.get("regex", "").replace("\r\n", "\n")
    return {"regex": regex, "validation": visit.sent("validation") or None}


def _said(visit: Visit) -> dict[str, object]:
    return {
        "name": visit.sent("name"),
        "enabled": visit.ticked("enabled"),
        "description": visit.sent("description"),
        "pattern": _pattern(visit),
    }


async def _tried(visit: Visit, form: Answer) -> Answer:
    """The form as it was sent, with what its pattern finds in the sample."""
    sample = visit.fields.get("sample", "").replace("\r\n", "\n")
    path = "/dlp/patterns/validate"
    judged = await visit.api.made(PatternJudged, "POST", path, {**_pattern(visit), "sample": sample})
    assert isinstance(form, Shown)
    return Shown(form.template, form.title, {**form.values, "judged": judged}, form.crumbs, refill=True)
