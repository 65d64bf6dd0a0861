"""Profiles of detection, written and read by Cloudflare's SDK: entries, datasets, patterns, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import cloudflare
import httpx2
import pytest
from anyio.from_thread import BlockingPortal

from portal.admin import dlp_bounds
from portal.admin.api.permissions import ZERO_TRUST, group_id
from portal.admin.dlp_shapes import MAX_SAMPLE
from portal.dlp import Detector, PatternDefinition, ProfileDefinition, lists_key, predefined_uuid
from portal.dlp import made as made_profile
from portal.objects import DLP_PROFILE, DLP_VALUES, PREDEFINED_DLP
from portal.profiles import StoredProfiles, detection_key
from portal.state import Transaction, plain
from tests.portal.admin.conftest import Api, admin_api

CREDENTIALS, FINANCIAL = predefined_uuid("credentials"), predefined_uuid("financial")
CARD = predefined_uuid("financial", "card")
TICKET: dict[str, Any] = {"name": "Ticket", "enabled": True, "pattern": {"regex": r"\bT-\d{5}\b"}}
NAMES = ["Ada Lovelace", "4711-0815", "Grace Hopper"]


def dlp(api: Api) -> Any:
    return api.sdk().zero_trust.dlp


def account(api: Api) -> dict[str, str]:
    return {"account_id": api.account}


def definitions(api: Api, loop: BlockingPortal) -> dict[str, ProfileDefinition]:
    """The profiles as a portal over this store has them, by id."""
    return {one.id: one for one in loop.call(StoredProfiles(api.store).read)}


def refusal(call: Callable[[], object], error: type[cloudflare.APIStatusError]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def made(api: Api, **members: Any) -> Any:
    return dlp(api).profiles.custom.create(**account(api), **({"name": "Own"} | members))


def test_the_predefined_profiles_are_there_with_all_their_entries_on(shared: Api) -> None:
    found = {one.name: one for one in dlp(shared).profiles.list(**account(shared))}
    assert {
        "Credentials and Secrets",
        "Financial Information",
        "National identifiers",
        "Personal: e-mail, IP, phone",
    } <= set(found)
    credentials = found["Credentials and Secrets"]
    assert (credentials.id, credentials.type, credentials.allowed_match_count) == (CREDENTIALS, "predefined", 0)
    assert len(credentials.entries) > 400 and all(entry.enabled for entry in credentials.entries)
    assert dlp(shared).profiles.get(CREDENTIALS, **account(shared)).name == "Credentials and Secrets"
    config = dlp(shared).profiles.predefined.get(FINANCIAL, **account(shared))
    assert CARD in config.enabled_entries and len(config.enabled_entries) == len(config.entries) == 2
    # More than a page of the other lists has: clients of this one ask for no second page.
    assert len(list(dlp(shared).entries.list(**account(shared)))) > 450


def test_a_predefined_profile_is_changed_and_made_as_it_was(api: Api, loop: BlockingPortal) -> None:
    predefined = dlp(api).profiles.predefined
    iban = predefined_uuid("financial", "iban")
    changed = predefined.update(
        FINANCIAL, **account(api), enabled_entries=[iban], allowed_match_count=3, confidence_threshold="high"
    )
    assert (changed.enabled_entries, changed.allowed_match_count, changed.confidence_threshold) == ([iban], 3, "high")
    assert definitions(api, loop)["financial"] == ProfileDefinition(
        "financial", (FINANCIAL, "Financial Information"), "high", 3, off=frozenset({"card"})
    )
    # What is left out stays, and `entries` changes those that it names.
    again = predefined.update(FINANCIAL, **account(api), entries=[{"id": CARD, "enabled": True}])
    assert (set(again.enabled_entries), again.allowed_match_count) == ({iban, CARD}, 3)
    predefined.delete(FINANCIAL, **account(api))
    assert definitions(api, loop)["financial"].allowed == 0
    unknown = refusal(
        lambda: predefined.update(FINANCIAL, **account(api), enabled_entries=["other"]), cloudflare.BadRequestError
    )
    assert "an entry that the profile does not have" in unknown


def test_a_predefined_entry_is_switched_by_itself(api: Api, loop: BlockingPortal) -> None:
    entries = dlp(api).entries
    assert entries.predefined.update(CARD, **account(api), enabled=False).enabled is False
    assert definitions(api, loop)["financial"].off == {"card"}
    assert entries.get(CARD, **account(api)).enabled is False
    assert entries.update(CARD, **account(api), type="predefined", enabled=True).enabled is True
    entries.predefined.delete(CARD, **account(api))
    assert definitions(api, loop)["financial"].off == {"card"}
    assert entries.predefined.create(**account(api), entry_id=CARD, enabled=True).enabled is True
    assert definitions(api, loop)["financial"].off == frozenset()


def test_a_profile_of_patterns_is_made_changed_and_removed(api: Api, loop: BlockingPortal) -> None:
    custom = dlp(api).profiles.custom
    profile = made(
        api,
        description="Ours",
        allowed_match_count=2,
        confidence_threshold="low",
        ocr_enabled=False,
        entries=[TICKET, {**TICKET, "pattern": {"regex": r"K-[\d-]+", "validation": "luhn"}}],
    )
    assert (profile.type, profile.name, profile.description, profile.allowed_match_count) == (
        "custom",
        "Own",
        "Ours",
        2,
    )
    assert [(one.type, one.name, one.pattern.regex) for one in profile.entries] == [
        ("custom", "Ticket", r"\bT-\d{5}\b"),
        ("custom", "Ticket", r"K-[\d-]+"),
    ]
    assert definitions(api, loop)[profile.id] == ProfileDefinition(
        profile.id,
        ("Own",),
        "low",
        2,
        patterns=(
            PatternDefinition("ticket", r"\bT-\d{5}\b"),
            PatternDefinition("ticket-2", r"K-[\d-]+", luhn=True),
        ),
    )
    # Entries that are left out stay; a list of them replaces all.
    renamed = custom.update(profile.id, **account(api), name="Renamed")
    assert [one.id for one in renamed.entries] == [one.id for one in profile.entries]
    first = profile.entries[0]
    changed = custom.update(
        profile.id,
        **account(api),
        name="Renamed",
        entries=[{"entry_id": first.id, "name": "Case", "enabled": False, "pattern": {"regex": r"C-\d+"}}],
    )
    assert [(one.id, one.name, one.enabled, one.created_at) for one in changed.entries] == [
        (first.id, "Case", False, first.created_at)
    ]
    assert definitions(api, loop)[profile.id].is_empty
    assert custom.get(profile.id, **account(api)).name == dlp(api).profiles.get(profile.id, **account(api)).name
    custom.delete(profile.id, **account(api))
    assert refusal(lambda: custom.get(profile.id, **account(api)), cloudflare.NotFoundError)


@pytest.mark.parametrize("regex", ["(", "a*", "(?=x)y", r"(a)\1", "[", "x{1000}{1000}", "a)|(b"])
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(shared: Api, regex: str) -> None:
    words = refusal(
        lambda: made(shared, entries=[TICKET, {**TICKET, "pattern": {"regex": regex}}]), cloudflare.BadRequestError
    )
    assert "the pattern 'ticket-2'" in words and "/entries/1/pattern/regex" in words
    judged = dlp(shared).patterns.validate(**account(shared), regex=regex)
    assert judged.valid is False and "the pattern 'pattern'" in judged.reason
    assert dlp(shared).patterns.validate(**account(shared), regex=r"T-\d{5}", max_match_bytes=None).valid is True


@pytest.mark.parametrize(
    ("trial", "matches"),
    [
        ({"sample": "T-12345, T-1 und ä T-54321"}, ["T-12345", "T-54321"]),
        ({"sample": "nothing"}, []),
        ({"sample": "T-" + "1" * 5 + "\n" + "T-00000 " * 40}, ["T-11111", *["T-00000"] * 19]),
        ({"sample": "T-00018 T-00019", "validation": "luhn"}, ["T-00018"]),
        ({}, None),
    ],
    ids=["found", "nothing found", "the first twenty", "with a check digit", "without a sample"],
)
def test_a_pattern_is_tried_in_a_text(shared: Api, trial: dict[str, Any], matches: list[str] | None) -> None:
    answer = shared.http.post(
        shared.at("/dlp/patterns/validate"), headers=shared.headers(), json={"regex": r"T-\d{5}", **trial}
    )
    judged = answer.json()["result"]
    assert judged["valid"] is True and judged.get("matches") == matches


def test_a_text_to_try_a_pattern_in_is_bounded(shared: Api) -> None:
    body = {"regex": "a", "sample": "a" * (MAX_SAMPLE + 1)}
    answer = shared.http.post(shared.at("/dlp/patterns/validate"), headers=shared.headers(), json=body)
    assert answer.status_code == 400 and answer.json()["errors"][0]["source"]["pointer"] == "/sample"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"ocr_enabled": True}, "must be false: text in images is not read"),
        ({"ai_context_enabled": True}, "must be false: nothing of a value is given to a model"),
        ({"context_awareness": {"enabled": True, "skip": {"files": True}}}, "must not be enabled"),
        ({"sensitivity_levels": [{"group_id": "a", "level_id": "b"}]}, "must be empty"),
        ({"confidence_threshold": "very_high"}, "confidence_threshold"),
        ({"allowed_match_count": -1}, "allowed_match_count"),
        ({"entries": [{"name": "None", "enabled": True}]}, "neither a pattern nor words"),
        ({"entries": [{"name": "Both", "enabled": True, "words": ["a b c d e"], **TICKET}]}, "a pattern and words"),
        ({"entries": [{**TICKET, "entry_id": "other"}]}, "no such entry in this profile"),
        ({"shared_entries": [{"entry_id": "other", "enabled": True}]}, "neither a predefined entry nor a dataset"),
        ({"shared_entries": [{"entry_id": CARD, "enabled": True}] * 2}, "shared twice"),
        ({"entries": [{"name": "Short", "enabled": True, "words": ["long enough", "abc"]}]}, "value 2 of the list"),
    ],
)
def test_what_a_portal_does_not_do_is_refused_and_never_stored(
    shared: Api, members: dict[str, Any], reason: str
) -> None:
    words = refusal(lambda: made(shared, **members), cloudflare.BadRequestError)
    assert reason in words
    assert [one.name for one in dlp(shared).profiles.list(**account(shared)) if one.type == "custom"] == []


def test_a_profile_shares_predefined_rules(api: Api, loop: BlockingPortal) -> None:
    off = predefined_uuid("personal", "email")
    profile = made(
        api, shared_entries=[{"entry_id": CARD, "enabled": True}, {"entry_id": off, "enabled": False}], entries=[]
    )
    assert [(one.id, one.type, one.enabled) for one in profile.shared_entries] == [
        (CARD, "predefined", True),
        (off, "predefined", False),
    ]
    assert definitions(api, loop)[profile.id].shared == {("financial", "card")}


def found(api: Api, loop: BlockingPortal, profile: str, value: object, rules: Path) -> list[str]:
    """The rules that the profile finds in a value."""
    key = loop.call(detection_key, api.store)
    definition = made_profile(definitions(api, loop)[profile], lists_key(key))
    return [one.rule for one in Detector([definition], key=key, folder=rules).scan(value).findings]


def stored_bytes(api: Api, loop: BlockingPortal) -> bytes:
    """All that the store has of profiles and datasets."""

    async def texts() -> str:
        kinds = ("dlp_profile", "dlp_dataset", "dlp_values", "dlp_predefined")
        objects = [one.document for kind in kinds for one in await api.store.list(plain(kind))]
        return repr(objects) + repr(await api.store.audit(limit=1000))

    return loop.call(texts).encode()


def test_words_are_found_and_neither_stored_nor_shown(api: Api, loop: BlockingPortal, detection_rules: Path) -> None:
    profile = made(api, entries=[{"name": "Customers", "enabled": True, "words": NAMES}])
    assert [(one.type, one.word_list) for one in profile.entries] == [("word_list", {"count": 3})]
    assert found(api, loop, profile.id, ["to ada  LOVELACE", "47110815"], detection_rules) == ["customers"] * 2
    raw = api.http.get(api.at("/dlp/profiles"), headers=api.headers()).content
    for name in NAMES:
        assert name.encode() not in raw + stored_bytes(api, loop)
    # They stay under another name, and go with new words.
    entry = profile.entries[0]
    custom = dlp(api).profiles.custom
    kept = {"entry_id": entry.id, "name": "People", "enabled": True}
    custom.update(profile.id, **account(api), name="Own", entries=[kept])
    assert found(api, loop, profile.id, "Ada Lovelace", detection_rules) == ["people"]
    custom.update(profile.id, **account(api), name="Own", entries=[{**kept, "words": ["Alan Turing"]}])
    assert found(api, loop, profile.id, ["Ada Lovelace", "Alan Turing"], detection_rules) == ["people"]
    assert len(loop.call(api.store.list, DLP_VALUES)) == 1
    custom.delete(profile.id, **account(api))
    assert loop.call(api.store.list, DLP_VALUES) == []


def test_a_dataset_is_uploaded_shared_uploaded_again_and_removed(
    api: Api, loop: BlockingPortal, detection_rules: Path
) -> None:
    datasets = dlp(api).datasets
    created = datasets.create(**account(api), name="Customers", description="All", secret=False)
    id = created.dataset.id
    assert (created.version, created.dataset.status, created.dataset.num_cells) == (1, "empty", 0)
    profile = made(api, shared_entries=[{"entry_id": id, "enabled": True}])
    assert [(one.type, one.name) for one in profile.shared_entries] == [("exact_data", "Customers")]
    text = "\ufeff" + "\r\n".join(NAMES) + "\n\n"
    uploaded = datasets.upload.edit(1, text.encode(), **account(api), dataset_id=id)
    assert (uploaded.status, uploaded.num_cells, uploaded.uploads[0].version) == ("complete", 3, 1)
    assert found(api, loop, profile.id, "grace-hopper", detection_rules) == ["customers"]
    assert all(name.encode() not in stored_bytes(api, loop) for name in NAMES)
    again = datasets.upload.create(id, **account(api))
    assert again.version == 2
    assert found(api, loop, profile.id, "Grace Hopper", detection_rules) == ["customers"]
    datasets.upload.edit(2, b"Alan Turing", **account(api), dataset_id=id)
    assert found(api, loop, profile.id, ["Grace Hopper", "Alan Turing"], detection_rules) == ["customers"]
    renamed = datasets.update(id, **account(api), name="People")
    assert (renamed.name, renamed.description, renamed.num_cells) == ("People", "All", 1)
    assert [one.name for one in datasets.list(**account(api))] == [datasets.get(id, **account(api)).name] == ["People"]
    assert dlp(api).entries.get(id, **account(api)).type == "exact_data"
    in_use = refusal(lambda: datasets.delete(id, **account(api)), cloudflare.ConflictError)
    assert "the profile 'Own' uses this dataset" in in_use
    dlp(api).profiles.custom.delete(profile.id, **account(api))
    datasets.delete(id, **account(api))
    assert loop.call(api.store.list, DLP_VALUES) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not text in UTF-8"),
        (b"\n \n", "no value"),
        (b"Ada Lovelace\nabc", "value 2 of the list"),
        (b"x" * 300, "value 1 of the list"),
    ],
)
def test_an_upload_that_cannot_be_used_changes_nothing(api: Api, content: bytes, reason: str) -> None:
    datasets = dlp(api).datasets
    id = datasets.create(**account(api), name="Customers").dataset.id
    words = refusal(lambda: datasets.upload.edit(1, content, **account(api), dataset_id=id), cloudflare.BadRequestError)
    assert reason in words and "Lovelace" not in words
    assert datasets.get(id, **account(api)).status == "empty"


@pytest.mark.parametrize("version", [0, 2, 99])
def test_only_the_version_that_was_begun_last_is_uploaded_and_once(api: Api, version: int) -> None:
    datasets = dlp(api).datasets
    id = datasets.create(**account(api), name="Customers").dataset.id
    upload = datasets.upload
    words = refusal(
        lambda: upload.edit(version, b"Ada Lovelace", **account(api), dataset_id=id), cloudflare.ConflictError
    )
    assert "begun last" in words
    upload.edit(1, b"Ada Lovelace", **account(api), dataset_id=id)
    refusal(lambda: upload.edit(1, b"Ada Lovelace", **account(api), dataset_id=id), cloudflare.ConflictError)


@pytest.mark.parametrize("members", [{"secret": True}, {"case_sensitive": True}, {"encoding_version": 2}])
def test_a_dataset_of_another_kind_is_refused(shared: Api, members: dict[str, Any]) -> None:
    refusal(lambda: dlp(shared).datasets.create(**account(shared), name="Other", **members), cloudflare.BadRequestError)


def test_more_values_than_the_bound_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlp_bounds, "MAX_CELLS", 2)
    id = dlp(api).datasets.create(**account(api), name="Customers").dataset.id
    upload = dlp(api).datasets.upload
    refusal(lambda: upload.edit(1, "\n".join(NAMES).encode(), **account(api), dataset_id=id), cloudflare.ConflictError)
    assert dlp(api).datasets.get(id, **account(api)).num_cells == 0
    limits = dlp(api).limits.list(**account(api))
    assert (limits.used_dataset_cells, limits.used_custom_regex_entries) == (0, 0)


def test_many_values_are_kept_in_several_objects(api: Api, loop: BlockingPortal, detection_rules: Path) -> None:
    id = dlp(api).datasets.create(**account(api), name="Customers").dataset.id
    lines = "\n".join(f"customer number {number:07}" for number in range(45_000))
    assert dlp(api).datasets.upload.edit(1, lines.encode(), **account(api), dataset_id=id).num_cells == 45_000
    assert len(loop.call(api.store.list, DLP_VALUES)) == 3
    profile = made(api, shared_entries=[{"entry_id": id, "enabled": True}])
    assert found(api, loop, profile.id, "Customer Number 0044999", detection_rules) == ["customers"]
    # Without a part of them the profile is of no use, and says so.
    loop.call(lambda: api.store.delete(DLP_VALUES, f"{id}.1.1", by="test"))
    assert "cannot be read; upload them again" in definitions(api, loop)[profile.id].problem


def test_an_upload_is_no_json(api: Api) -> None:
    id = dlp(api).datasets.create(**account(api), name="Customers").dataset.id
    text = b"[" * 200 + b"abcdefgh"
    assert dlp(api).datasets.upload.edit(1, text, **account(api), dataset_id=id).num_cells == 1


def test_an_entry_is_added_changed_and_removed_by_itself(api: Api, loop: BlockingPortal) -> None:
    profile, entries = made(api), dlp(api).entries
    added = entries.create(**account(api), **TICKET, profile_id=profile.id)
    other = entries.custom.create(**account(api), **TICKET, profile_id=profile.id)
    assert (added.type, added.profile_id, other.name) == ("custom", profile.id, "Ticket")
    changed = entries.custom.update(other.id, **account(api), name="Case", enabled=True, pattern={"regex": r"C-\d+"})
    assert (changed.id, changed.name, changed.pattern.regex) == (other.id, "Case", r"C-\d+")
    off = entries.update(
        added.id, **account(api), type="custom", enabled=False, **{k: TICKET[k] for k in ("name", "pattern")}
    )
    assert off.enabled is False
    assert [one.rule for one in definitions(api, loop)[profile.id].patterns] == ["case"]
    assert {one.name for one in entries.list(**account(api)) if one.type == "custom"} == {"Ticket", "Case"}
    entries.delete(other.id, **account(api))
    refusal(lambda: entries.get(other.id, **account(api)), cloudflare.NotFoundError)
    assert dlp(api).limits.list(**account(api)).used_custom_regex_entries == 1
    bad = {**TICKET, "pattern": {"regex": "("}}
    refusal(lambda: entries.create(**account(api), **bad, profile_id=profile.id), cloudflare.BadRequestError)
    refusal(lambda: entries.create(**account(api), **TICKET), cloudflare.BadRequestError)
    refusal(lambda: entries.create(**account(api), **TICKET, profile_id="none"), cloudflare.NotFoundError)


def test_a_name_is_that_of_one_profile(api: Api) -> None:
    made(api)
    for name in ("Own", "Financial Information", "financial", FINANCIAL):
        assert "this name already" in refusal(partial(made, api, name=name), cloudflare.ConflictError)


def test_a_profile_in_use_is_neither_removed_nor_renamed(
    loop: BlockingPortal, tmp_path: Path, detection_rules: Path
) -> None:
    asked: list[Collection[str]] = []

    async def uses(transaction: Transaction, names: Collection[str]) -> str | None:
        asked.append(names)
        return "the rule 'No tickets'" if "Own" in names else None

    with loop.wrap_async_context_manager(admin_api(tmp_path, rules=detection_rules, profile_uses=uses)) as api:
        custom, profile = dlp(api).profiles.custom, made(api)
        custom.update(profile.id, **account(api), name="Own", entries=[TICKET])
        assert asked == []
        for change in (
            lambda: custom.delete(profile.id, **account(api)),
            lambda: custom.update(profile.id, **account(api), name="Other"),
        ):
            assert "the rule 'No tickets' uses this profile" in refusal(change, cloudflare.ConflictError)
        assert asked == [[profile.id, "Own"], ["Own"]]
        assert custom.get(profile.id, **account(api)).name == "Own"


def test_what_the_document_sets_is_not_changed_here(api: Api) -> None:
    api.admin.settings.documented_profiles = frozenset({"financial"})
    predefined = dlp(api).profiles.predefined
    for change in (
        lambda: predefined.update(FINANCIAL, **account(api), allowed_match_count=1),
        lambda: predefined.delete(FINANCIAL, **account(api)),
        lambda: dlp(api).entries.predefined.update(CARD, **account(api), enabled=False),
    ):
        assert "portal.dlp.profiles.financial" in refusal(change, cloudflare.ConflictError)
    predefined.update(CREDENTIALS, **account(api), allowed_match_count=1)


def test_a_stored_profile_that_cannot_be_read_costs_only_itself(api: Api, loop: BlockingPortal) -> None:
    profile = made(api, entries=[TICKET])
    broken = {"name": "Broken", "entries": 7}
    loop.call(lambda: api.store.create(plain(DLP_PROFILE.name), "broken", broken, by="test"))
    loop.call(lambda: api.store.create(plain(PREDEFINED_DLP.name), FINANCIAL, {"off": 7}, by="test"))
    known = definitions(api, loop)
    assert "cannot be read" in known["broken"].problem and "cannot be read" in known["financial"].problem
    assert known[profile.id].problem == "" and known["broken"].names == ("Broken",)
    assert profile.id in {one.id for one in dlp(api).profiles.list(**account(api))}
    # It is replaced or removed as if it were whole.
    dlp(api).profiles.custom.update("broken", **account(api), name="Mended", entries=[TICKET])
    dlp(api).profiles.predefined.update(FINANCIAL, **account(api), allowed_match_count=1)
    assert {one.problem for one in definitions(api, loop).values()} == {""}


def test_two_who_change_a_profile_at_once_lose_nothing(api: Api, loop: BlockingPortal) -> None:
    profile = made(api)

    async def both() -> None:
        async with api.async_sdk() as sdk:
            create = sdk.zero_trust.dlp.entries.create
            one = {**account(api), **TICKET, "profile_id": profile.id}
            await asyncio.gather(*(create(**one) for _ in range(8)))

    loop.call(both)
    assert len(dlp(api).profiles.custom.get(profile.id, **account(api)).entries) == 8
    assert len(definitions(api, loop)[profile.id].patterns) == 8


def test_without_the_extra_every_list_says_how_to_install_it(
    loop: BlockingPortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.dlp.expressions.util.find_spec", lambda name: None)
    with loop.wrap_async_context_manager(admin_api(tmp_path, rules=tmp_path / "rules")) as api:
        for call in (
            lambda: list(dlp(api).profiles.list(**account(api))),
            lambda: list(dlp(api).entries.list(**account(api))),
            lambda: made(api, entries=[TICKET]),
            lambda: dlp(api).patterns.validate(**account(api), regex="abc"),
        ):
            assert "pip install 'codemode-portal[dlp]'" in refusal(call, cloudflare.BadRequestError)


def test_who_may_only_read_changes_nothing(api: Api) -> None:
    headers = api.headers()
    token = api.http.post(
        api.at("/tokens"),
        headers=headers,
        json={
            "name": "reader",
            "policies": [
                {
                    "effect": "allow",
                    "permission_groups": [{"id": zero_trust_read()}],
                    "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
                }
            ],
        },
    ).json()["result"]["value"]
    reader: Any = api.sdk(token).zero_trust.dlp
    assert list(reader.profiles.list(**account(api)))
    assert reader.patterns.validate(**account(api), regex="abc").valid
    with pytest.raises(cloudflare.PermissionDeniedError):
        reader.profiles.custom.create(**account(api), name="Own")
    with pytest.raises(cloudflare.PermissionDeniedError):
        reader.datasets.upload.edit(1, b"Ada Lovelace", **account(api), dataset_id="any")


def zero_trust_read() -> str:
    return group_id(ZERO_TRUST.read)


def test_an_upload_has_a_bound(api: Api) -> None:
    id = dlp(api).datasets.create(**account(api), name="Customers").dataset.id
    headers = {**api.headers(), "Content-Type": "application/octet-stream"}
    answer = api.http.post(
        api.at(f"/dlp/datasets/{id}/upload/1"), headers=headers, content=b"x" * (4 * 1024 * 1024 + 1)
    )
    assert isinstance(answer, httpx2.Response) and answer.status_code == 413
