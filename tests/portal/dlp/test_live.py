"""The detector of an instance: what it is put together of, when, and what a scan does that it cannot answer yet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from portal.dlp import (
    DetectionUnavailable,
    LiveDetector,
    PatternDefinition,
    ProfileDefinition,
    building,
    live,
    predefined_definitions,
    predefined_uuid,
)
from portal.dlp.build import Build
from portal.errors import PortalError
from tests.patience import PATIENCE
from tests.portal.dlp.conftest import KEY

pytestmark = pytest.mark.anyio
Building = Callable[..., Build]
real: Building = live._built
TICKET = ProfileDefinition("own", names=("Tickets",), patterns=(PatternDefinition("ticket", r"\bT-\d{5}\b"),))
BAD = ProfileDefinition("bad", names=("Bad",), patterns=(PatternDefinition("open", "("),))
CARD = "4111 1111 1111 1111"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def key() -> bytes:
    return KEY


@pytest.fixture
async def detector(rules: Path) -> AsyncIterator[LiveDetector]:
    made = LiveDetector(key=key, folder=rules, patience=PATIENCE)
    yield made
    await made.aclose()


def offered(detector: LiveDetector, *definitions: ProfileDefinition) -> None:
    detector.offers([*predefined_definitions().values(), *definitions])


class Held:
    """Building that waits until it is let go, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.chosen: list[tuple[str, ...]] = []
        self.at_once = self.most = 0
        monkeypatch.setattr(live, "_built", self.built)

    def built(self, chosen: tuple[ProfileDefinition, ...], *more: Any) -> Build:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.chosen.append(tuple(one.id for one in chosen))
        assert self.go.wait(PATIENCE)
        self.at_once -= 1
        return real(chosen, *more)


async def test_nothing_is_put_together_before_a_rule_needs_it(
    detector: LiveDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_built", lambda *_: pytest.fail("a detector is put together"))
    offered(detector, TICKET)
    detector.needs([])
    await detector.settled(PATIENCE)
    assert not await detector.scanned(CARD)
    assert detector.knows("own") and detector.knows("financial")


@pytest.mark.parametrize("name", ["financial", "Financial Information", predefined_uuid("financial")])
async def test_a_rule_names_a_profile_by_id_by_uuid_or_by_name(detector: LiveDetector, name: str) -> None:
    detector.needs([name])
    verdict = await detector.scanned([CARD, "T-12345"])
    assert [one.profile for one in verdict.findings] == [detector.profile(name)] == ["financial"]


async def test_only_profiles_that_are_needed_are_searched(detector: LiveDetector) -> None:
    offered(detector, TICKET)
    detector.needs(["Tickets"])
    assert [one.rule for one in (await detector.scanned([CARD, "T-12345"])).findings] == ["ticket"]


async def test_a_name_of_two_profiles_leads_to_none(detector: LiveDetector) -> None:
    offered(detector, TICKET, ProfileDefinition("other", names=("Tickets",), patterns=TICKET.patterns))
    assert "several profiles have the name 'Tickets'" in detector.why_not("Tickets")
    assert detector.knows("own") and detector.knows("other") and detector.profile("Tickets") is None


async def test_an_id_goes_before_the_name_of_another_profile(detector: LiveDetector) -> None:
    offered(detector, TICKET, ProfileDefinition("other", names=("own",), patterns=TICKET.patterns))
    assert detector.profile("own") == "own"


async def test_a_profile_that_cannot_be_compiled_costs_only_itself(detector: LiveDetector) -> None:
    offered(detector, TICKET, BAD)
    detector.needs(["own", "bad"])
    await detector.settled(PATIENCE)
    assert not detector.knows("bad")
    assert detector.why_not("Bad").startswith("the profile 'bad' cannot be used: the pattern 'open' cannot be used")
    assert [one.profile for one in (await detector.scanned("T-12345")).findings] == ["own"]


async def test_a_profile_that_shares_a_rule_that_is_none_costs_only_itself(detector: LiveDetector) -> None:
    offered(detector, TICKET, ProfileDefinition("other", shared=frozenset({("financial", "cart")})))
    detector.needs(["own", "other"])
    await detector.settled(PATIENCE)
    assert "shares 'cart', which is no rule of 'financial'" in detector.why_not("other")
    assert await detector.scanned("T-12345")


async def test_a_scan_that_began_before_a_profile_was_refused_lets_nothing_pass(
    detector: LiveDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    offered(detector, BAD)
    detector.needs(["bad"])
    assert detector.knows("bad")
    scan = asyncio.create_task(detector.scanned("anything"))
    held.go.set()
    with pytest.raises(DetectionUnavailable, match="'bad' cannot be used"):
        await scan


async def test_a_profile_that_was_mended_is_known_again(detector: LiveDetector) -> None:
    offered(detector, BAD)
    detector.needs(["bad"])
    await detector.settled(PATIENCE)
    offered(detector, ProfileDefinition("bad", patterns=TICKET.patterns))
    await detector.settled(PATIENCE)
    assert detector.knows("bad") and await detector.scanned("T-12345")


async def test_a_profile_with_a_problem_is_not_known_and_not_searched(detector: LiveDetector) -> None:
    offered(detector, ProfileDefinition("own", problem="the stored profile cannot be read"))
    detector.needs(["own"])
    assert (detector.knows("own"), detector.why_not("own")) == (False, "the stored profile cannot be read")
    assert not await detector.scanned("T-12345")


async def test_a_profile_with_nothing_in_it_is_known_and_finds_nothing(detector: LiveDetector) -> None:
    offered(detector, ProfileDefinition("empty"))
    detector.needs(["empty"])
    assert detector.knows("empty") and not await detector.scanned([CARD, "T-12345"])


async def test_the_former_detector_answers_until_the_next_is_ready_and_a_new_profile_waits(
    detector: LiveDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector.needs(["financial"])
    assert await detector.scanned(CARD)
    held = Held(monkeypatch)
    changed = predefined_definitions()["financial"]
    detector.offers([ProfileDefinition("financial", changed.names, allowed=1)])
    assert await detector.scanned(CARD)
    offered(detector, TICKET)
    detector.needs(["financial", "own"])
    scan = asyncio.create_task(detector.scanned("T-12345"))
    await asyncio.sleep(0)
    assert not scan.done()
    held.go.set()
    assert [one.profile for one in (await scan).findings] == ["own"]


async def test_one_is_put_together_at_a_time_and_the_latest_wins(
    detector: LiveDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    for number in range(20):
        offered(detector, ProfileDefinition(f"own-{number}", patterns=TICKET.patterns))
        detector.needs([f"own-{number}"])
    scan = asyncio.create_task(detector.scanned("T-12345"))
    while not held.chosen:
        await asyncio.sleep(0)
    held.go.set()
    assert [one.profile for one in (await scan).findings] == ["own-19"]
    await detector.settled(PATIENCE)
    assert (held.most, held.chosen[-1]) == (1, ("own-19",))
    assert len(held.chosen) <= 2


async def test_who_has_no_patience_left_hears_that_detection_is_not_ready(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    detector = LiveDetector(key=key, folder=rules, patience=0.01)
    detector.needs(["financial"])
    with pytest.raises(DetectionUnavailable, match="not ready yet"):
        await detector.scanned(CARD)
    held.go.set()
    await detector.settled(PATIENCE)
    assert await detector.scanned(CARD)
    await detector.aclose()


async def test_what_failed_lets_nothing_pass_and_is_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "rules"
    place.write_text("no folder")
    detector = LiveDetector(key=key, folder=place, retry=0)
    detector.needs(["credentials"])
    with pytest.raises(DetectionUnavailable, match="cannot keep the rules"):
        await detector.scanned("anything")
    with pytest.raises(DetectionUnavailable, match="cannot keep the rules"):
        await detector.redacted("anything")
    # What needs no compiled rules is not kept from working by it.
    detector.needs(["financial"])
    assert await detector.scanned(CARD)
    await detector.aclose()


async def test_a_fault_of_building_closes_the_way(detector: LiveDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> object:
        raise MemoryError

    monkeypatch.setattr(building, "Detector", fault)
    detector.needs(["financial"])
    with pytest.raises(DetectionUnavailable, match="could not be put together"):
        await detector.scanned(CARD)


async def test_without_the_extra_no_profile_is_known(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.dlp.expressions.util.find_spec", lambda name: None)
    detector = LiveDetector(key=key, folder=rules)
    assert "pip install 'codemode-portal[dlp]'" in detector.why_not("credentials")
    detector.needs(["credentials"])
    with pytest.raises(DetectionUnavailable, match="not installed"):
        await detector.scanned("anything")
    await detector.aclose()


async def test_a_scan_ends_with_the_detector_that_it_began_with(detector: LiveDetector) -> None:
    detector.needs(["financial"])
    await detector.scanned("warm")
    large = [CARD, *("word " * 100 for _ in range(2000))]
    scan = asyncio.create_task(detector.scanned(large))
    await asyncio.sleep(0)
    detector.needs([])
    assert not await detector.scanned(CARD)
    assert len((await scan).findings) == 1


async def test_redaction_takes_out_what_is_found(detector: LiveDetector) -> None:
    detector.needs(["financial"])
    clean, verdict = await detector.redacted({"card": CARD, "filler": "x" * 40_000})
    assert clean == {"card": "[redacted:card]", "filler": "x" * 40_000} and len(verdict.findings) == 1


async def test_nothing_is_put_together_any_more_once_it_is_closed(
    detector: LiveDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await detector.aclose()
    monkeypatch.setattr(live, "_built", lambda *_: pytest.fail("a detector is put together"))
    detector.needs(["financial"])
    with pytest.raises(DetectionUnavailable):
        await detector.scanned(CARD)


async def test_a_key_that_cannot_be_had_closes_the_way_and_is_asked_for_again(rules: Path) -> None:
    answers: list[object] = [PortalError("the database does not answer"), KEY]

    async def key() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, PortalError):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    detector = LiveDetector(key=key, folder=rules, retry=0)
    detector.needs(["financial"])
    await detector.settled(PATIENCE)
    assert len(answers) == 1
    assert await detector.scanned(CARD)
    detector.needs(["financial", "national"])
    assert await detector.scanned(CARD) and answers == []
    await detector.aclose()
