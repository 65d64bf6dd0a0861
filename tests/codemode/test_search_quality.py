"""People's words find the right tools: over a large real API, and over servers that run."""

from __future__ import annotations

import pytest

from codemode import Catalog, Meanings
from tests.corpus import cloudflare
from tests.corpus.intents import LARGE, REAL_SERVERS, Intent, intents, quality
from tests.corpus.real_servers import demo_servers, published_servers


@pytest.fixture(scope="module")
def large() -> Catalog:
    return Catalog.build([cloudflare.server()])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    published = await published_servers(tmp_path_factory.mktemp("published"))
    return Catalog.build([*published, *await demo_servers()])


def missing(catalog: Catalog, asked: list[Intent]) -> set[str]:
    """Right answers that the catalog does not have."""
    known = {entry["rawName"] for entry in catalog.tools()} | {
        f"{entry['server']}.{entry['rawName']}" for entry in catalog.tools()
    }
    return {name for intent in asked for name in intent.wanted} - known


def test_thousands_of_operations_are_searched_by_what_people_say(large: Catalog) -> None:
    assert len(large) == 2_747
    found = quality(large, intents(LARGE, "tuned"))
    assert found.hit_at_5 >= 0.92, found
    assert found.hit_at_1 >= 0.65 and found.mrr >= 0.75, found


def test_words_nobody_tuned_for_find_most_of_thousands_of_operations(large: Catalog) -> None:
    found = quality(large, intents(LARGE, "held_out"))
    assert found.hit_at_5 >= 0.85 and found.mrr >= 0.68, found


def test_operations_drawn_at_random_are_mostly_found_by_words_never_tuned_for(large: Catalog) -> None:
    found = quality(large, intents(LARGE, "fresh"))
    assert found.hit_at_5 >= 0.7 and found.mrr >= 0.5, found


@pytest.mark.deep  # the vectors take half a minute of one core, unless they are kept
@pytest.mark.timeout(900)
def test_requests_find_thousands_of_operations_by_meaning_as_well_as_by_words(large: Catalog) -> None:
    meanings = Meanings.installed(environment={})
    assert meanings is not None
    with meanings:
        meanings.prepared(large.parts)
        for part in ("tuned", "held_out", "fresh"):
            asked = intents(LARGE, part)
            by_words, found = quality(large, asked), quality(large, asked, meanings)
            assert found.hit_at_5 >= by_words.hit_at_5
            # One request more or less in the first place is chance.
            assert found.hit_at_1 >= by_words.hit_at_1 - 1 / len(asked) and found.mrr >= by_words.mrr - 1 / len(asked)


def test_the_right_answers_exist_and_are_many(large: Catalog) -> None:
    asked = [found for part in ("tuned", "held_out", "fresh") for found in intents(LARGE, part)]
    assert len({intent.words for intent in asked}) == len(asked) >= 100
    assert missing(large, asked) == set()


@pytest.mark.anyio
async def test_the_tools_of_the_demo_are_searched_by_what_people_say() -> None:
    servers = await demo_servers()
    ids = {server.id for server in servers}
    asked = [
        intent
        for part in (intents(REAL_SERVERS, "tuned"), intents(REAL_SERVERS, "held_out"))
        for intent in part
        if {path.split(".")[0] for path in intent.wanted} <= ids
    ]
    catalog = Catalog.build(servers)
    by_words = quality(catalog, asked)
    assert by_words.hit_at_5 >= 0.95
    meanings = Meanings.installed(environment={})
    assert meanings is not None
    with meanings:
        meanings.prepared(catalog.parts)
        found = quality(catalog, asked, meanings)
    assert found.hit_at_5 >= by_words.hit_at_5 and found.hit_at_1 >= by_words.hit_at_1


@pytest.mark.clients
@pytest.mark.timeout(600)
@pytest.mark.anyio
async def test_real_servers_together_are_searched_by_what_people_say(real: Catalog) -> None:
    tuned, held_out = intents(REAL_SERVERS, "tuned"), intents(REAL_SERVERS, "held_out")
    assert missing(real, [*tuned, *held_out]) == set()
    assert quality(real, [*tuned, *held_out]).hit_at_5 >= 0.95
    found = quality(real, held_out)
    assert found.hit_at_5 >= 0.85 and found.mrr >= 0.65, found


def test_no_intent_is_the_name_of_a_tool() -> None:
    for name in (LARGE, REAL_SERVERS):
        for intent in [*intents(name, "tuned"), *intents(name, "held_out")]:
            said = "_".join(intent.words.lower().split())
            assert not any(said == wanted.split(".")[-1].replace("-", "_") for wanted in intent.wanted)
