"""The detector of an instance is of the profiles of its document and its store, and follows both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudflare import AsyncCloudflare

from portal import dlp
from portal.app import Instance, Parts, serving
from portal.config import Config, parse_config
from portal.dlp import DetectionUnavailable, LiveDetector, predefined_uuid
from portal.errors import ConfigError
from portal.state import plain
from tests.patience import PATIENCE
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
FINANCIAL = predefined_uuid("financial")
CARD = "4111 1111 1111 1111"
OWN: dict[str, Any] = {
    "name": "Tickets",
    "patterns": {"ticket": r"\bT-\d{5}\b", "account": {"pattern": r"K-\d+", "luhn": True}},
    "lists": {"customers": ["Ada Lovelace"]},
    "shared": {"financial": ["card"]},
}


def document(**profiles: Any) -> dict[str, Any]:
    return {"mcpServers": {}, "portal": {"dlp": {"profiles": profiles}}}


def config(**profiles: Any) -> Config:
    return parse_config(document(**profiles), env={})


@pytest.fixture
def parts(detection_rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return Parts(code=None, records=Kept(), detection_rules=detection_rules)


async def rules(detector: LiveDetector, value: object) -> list[str]:
    return [one.rule for one in (await detector.scanned(value)).findings]


async def test_profiles_of_the_document_are_searched_without_a_store(parts: Parts) -> None:
    async with opened(document(own=OWN, financial={"allowed": 1, "off": ["iban"]}), parts=parts) as instance:
        detector = instance.shared.detector
        assert detector.knows("own") and detector.profile("Tickets") == "own"
        detector.needs(["Tickets", FINANCIAL])
        found = await rules(detector, ["T-12345", "K-79927398713", "K-79927398714", "ada lovelace", CARD])
        assert found == ["ticket", "account", "customers", "card"]
        verdict = await detector.scanned([CARD, "DE89370400440532013000"])
        assert [one.profile for one in verdict.findings] == ["own"]
        assert [one.profile for one in verdict.allowed] == ["financial"]


QUIET = """
import asyncio, sys
from portal.app import Instance, Parts
from portal.config import parse_config
from portal.logs import Discard

async def main():
    async with Instance.open(parse_config(%r, env={}), Discard(), parts=Parts(code=None)):
        print([name for name in sys.modules if name in ("re2", "kingfisher_sdk.rules", "portal.dlp.detector")])

asyncio.run(main())
"""


def test_an_instance_whose_rules_need_no_profile_loads_no_engine_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    program = QUIET % document(own=OWN)
    environment = {**os.environ, "XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "[]" and not home.exists()


async def test_a_changed_document_is_taken_up(parts: Parts) -> None:
    async with opened(document(own=OWN), parts=parts) as instance:
        detector = instance.shared.detector
        detector.needs(["own", "financial"])
        assert await rules(detector, "T-12345") == ["ticket"]
        assert await instance.apply(config(own={"patterns": {"case": r"C-\d+"}})) == ()
        # The gateway has said what its rules need: nothing.
        detector.needs(["own", "financial"])
        await detector.settled(PATIENCE)
        assert await rules(detector, ["T-12345", "C-1"]) == ["case"]
        await instance.apply(config())
        await detector.settled(PATIENCE)
        assert not detector.knows("own") and detector.knows("financial")


async def test_a_pattern_that_cannot_be_compiled_costs_its_profile_alone(parts: Parts) -> None:
    async with opened(document(own=OWN, bad={"patterns": {"open": "("}}), parts=parts) as instance:
        detector = instance.shared.detector
        detector.needs(["own", "bad"])
        await detector.settled(PATIENCE)
        assert "the pattern 'open' cannot be used" in detector.why_not("bad")
        assert await rules(detector, "T-12345") == ["ticket"]


async def test_the_example_of_the_chapter_is_a_configuration(parts: Parts) -> None:
    chapter = Path(dlp.__file__).with_name("README.md").read_text(encoding="utf-8")
    written = json.loads(chapter.partition("```json\n")[2].partition("```")[0])
    async with opened({"mcpServers": {}, **written}, parts=parts) as instance:
        detector = instance.shared.detector
        detector.needs(["Our own", "financial"])
        await detector.settled(PATIENCE)
        assert detector.knows("own")
        found = await rules(detector, ["T-12345", "K-7992-7398-713", "47110815", "ada@example.com"])
        assert found == ["ticket", "account", "customers", "email"]


def test_the_document_knows_the_predefined_profiles() -> None:
    for id in dlp.PREDEFINED:
        assert id in config(**{id: {"allowed": 1}}).portal.dlp.profiles
        with pytest.raises(ConfigError, match="predefined"):
            config(**{id: {"lists": {"a": ["abcdefg"]}}})
        config(own={"shared": {id: ["any"]}})


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"financial": {"patterns": {"a": "abc"}}}, "portal.dlp"),
        ({"own": {"patterns": {"a": "abc"}, "off": ["card"]}}, "portal.dlp"),
        ({"own": {}}, "portal.dlp"),
        ({"own": {"patterns": {"Big": "abc"}}}, "portal.dlp"),
        ({"own": {"patterns": {"a": "abc"}, "confidence": "very high"}}, "portal.dlp.profiles.own.confidence"),
        ({"own": {"patterns": {"a": "abc"}, "allow": 1}}, "allow"),
        ({"own": {"shared": {"other": ["card"]}}}, "portal.dlp"),
    ],
)
def test_a_profile_of_the_document_that_says_nothing_usable_is_refused(said: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        config(**said)


def test_values_of_a_list_stand_in_no_error_and_no_text_of_the_configuration() -> None:
    secret = "Ada Lovelace of 12 Example Street"
    assert secret not in repr(config(own={"lists": {"customers": [secret]}}))
    with pytest.raises(ConfigError) as caught:
        config(own={"lists": {"customers": [secret, 7]}})
    assert secret not in str(caught.value)


@asynccontextmanager
async def served(state: str, parts: Parts, **profiles: Any) -> AsyncIterator[tuple[Instance, Any, dict[str, str]]]:
    """An instance with identity over this database, and `zero_trust.dlp` of the SDK for it."""
    written = {"mcpServers": {}, "portal": {"state": state, "identity": {}, "dlp": {"profiles": profiles}}}
    async with opened(written, lambda text: None, parts=parts) as instance, serving(instance) as url:
        assert instance.admin is not None
        token = (await instance.admin.tokens.create_with_all("test", "test")).value
        async with AsyncCloudflare(api_token=token, base_url=f"{url}/client/v4", max_retries=0) as sdk:
            yield instance, sdk.zero_trust.dlp, {"account_id": instance.admin.account_id}


async def test_stored_profiles_are_followed_and_the_same_after_a_restart(parts: Parts, tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with served(state, parts) as (instance, api, account):
        detector = instance.shared.detector
        made = await api.datasets.create(**account, name="Customers")
        await api.datasets.upload.edit(1, b"Ada Lovelace", **account, dataset_id=made.dataset.id)
        profile = await api.profiles.custom.create(
            **account,
            name="Own",
            entries=[{"name": "Ticket", "enabled": True, "pattern": {"regex": r"T-\d{5}"}}],
            shared_entries=[{"entry_id": made.dataset.id, "enabled": True}],
        )
        assert detector.knows("Own") and detector.profile("Own") == profile.id
        detector.needs(["Own"])
        first = (await detector.scanned(["T-12345", "Ada Lovelace"])).findings
        assert [one.rule for one in first] == ["ticket", "customers"]
        await api.profiles.custom.update(profile.id, **account, name="Own", entries=[])
        assert await rules(detector, ["T-12345", "Ada Lovelace"]) == ["customers"]
    async with served(state, parts) as (instance, api, account):
        detector = instance.shared.detector
        detector.needs([profile.id])
        again = (await detector.scanned(["T-12345", "Ada Lovelace"])).findings
        # The hashes too are those from before.
        assert [one.digest for one in again] == [first[1].digest]
        await api.profiles.custom.delete(profile.id, **account)
        assert not detector.knows("Own") and not detector.knows(profile.id)


async def test_a_stored_change_is_answered_when_the_detector_has_it(parts: Parts, tmp_path: Path) -> None:
    async with served(new_state(tmp_path), parts) as (instance, api, account):
        detector = instance.shared.detector
        detector.needs(["financial"])
        assert await rules(detector, CARD) == ["card"]
        for number in range(5):
            await api.profiles.predefined.update(FINANCIAL, **account, allowed_match_count=number % 2)
            assert bool(await detector.scanned(CARD)) is not bool(number % 2)


async def test_the_document_goes_before_the_store(parts: Parts, tmp_path: Path) -> None:
    state = new_state(tmp_path)
    async with served(state, parts) as (_, api, account):
        await api.profiles.predefined.update(FINANCIAL, **account, allowed_match_count=5)
    async with served(state, parts, financial={"allowed": 0}) as (instance, api, account):
        instance.shared.detector.needs([FINANCIAL])
        assert await rules(instance.shared.detector, CARD) == ["card"]
        with pytest.raises(Exception, match=r"portal\.dlp\.profiles\.financial"):
            await api.profiles.predefined.update(FINANCIAL, **account, allowed_match_count=1)


async def test_what_is_stored_and_cannot_be_read_lets_nothing_pass(parts: Parts, tmp_path: Path) -> None:
    async with served(new_state(tmp_path), parts) as (instance, api, account):
        await instance.shared.require_store().create(plain("dlp_profile"), "broken", {"entries": 7}, by="test")
        await api.profiles.predefined.update(FINANCIAL, **account, allowed_match_count=1)
        assert "cannot be read" in instance.shared.detector.why_not("broken")


async def test_bytes_are_taken_by_uploads_of_datasets_alone(parts: Parts, tmp_path: Path) -> None:
    async with served(new_state(tmp_path), parts) as (instance, api, account), httpx2.AsyncClient() as http:
        token = (await instance.admin.tokens.create_with_all("test", "test")).value  # type: ignore[union-attr]
        base = f"{api._client.base_url}accounts/{account['account_id']}"

        async def status(path: str) -> int:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
            return (await http.post(base + path, headers=headers, content=b"[" * 1000)).status_code

        assert await status("/dlp/datasets/none/upload/1") == 404
        others = ("/dlp/datasets", "/dlp/datasets/none/upload", "/access/policies", "/dlp/datasets/a/upload/1/more")
        assert [await status(path) for path in others] == [415] * 4


async def test_without_the_extra_a_rule_hears_how_to_install_it(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.dlp.expressions.util.find_spec", lambda name: None)
    async with opened(document(own=OWN), parts=parts) as instance:
        detector = instance.shared.detector
        assert "pip install 'codemode-portal[dlp]'" in detector.why_not("own")
        detector.needs(["own"])
        with pytest.raises(DetectionUnavailable):
            await detector.scanned("T-12345")


async def test_a_home_that_cannot_be_written_costs_only_the_sameness_of_hashes(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    async with opened(document(own=OWN), parts=parts) as instance:
        instance.shared.detector.needs(["own"])
        assert await rules(instance.shared.detector, ["T-12345", "Ada Lovelace"]) == ["ticket", "customers"]
