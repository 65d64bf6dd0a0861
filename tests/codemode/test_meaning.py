"""Tools are found by what they mean, with the real model; where it is not installed or broken, by their words."""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from codemode import Catalog, CatalogServer, CodeTool, Meanings, MeaningUnavailable
from codemode.meaning import model
from codemode.meaning.meanings import MOST_SENTENCES, sentences, text_of
from codemode.meaning.vectors import VectorStore, key_of
from sandbox import Engine, InProcessExecutor
from stubs import Server, Tool
from tests.codemode.bench import Recorder

ON: Mapping[str, str] = {}
KITCHEN = Server(
    "kitchen",
    tools=(
        Tool("open_ticket", description="Files a defect report."),
        Tool("send_mail", description="Delivers an electronic letter to an address."),
        Tool("convert_currency", description="Converts an amount of money at the rate of the day."),
        Tool("get_forecast", description="Tells whether it rains tomorrow."),
    ),
)
MEANT = (
    ("there is a bug in the app", "kitchen.open_ticket"),
    ("write to my colleague", "kitchen.send_mail"),
    ("how many euros are 20 dollars", "kitchen.convert_currency"),
    ("do I need an umbrella", "kitchen.get_forecast"),
)


@pytest.fixture(scope="module")
def loaded() -> model.Model:
    return model.load()


@pytest.fixture
def meanings(tmp_path: Path) -> Iterator[Meanings]:
    made = Meanings.installed(tmp_path / "cache", ON)
    assert made is not None
    with made:
        yield made


def test_the_model_tells_nobody_that_it_is_used_and_leaves_nothing_in_the_home_directory(tmp_path: Path) -> None:
    # Where tests run on a server of their own, the runtime is silent by itself.
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    program = "from codemode.meaning import model; print(len(model.load().vectors(['a'])))"
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n" and list(tmp_path.rglob("*")) == []


def first(catalog: Catalog, query: str, meanings: Meanings | None) -> str | None:
    results = catalog.search(query, 1, likeness=meanings)
    return results[0]["path"] if results else None


def test_requests_without_a_word_of_the_tool_find_it(meanings: Meanings) -> None:
    catalog = Catalog.build([KITCHEN])
    meanings.prepared(catalog.parts)
    assert [first(catalog, query, meanings) for query, _ in MEANT] == [wanted for _, wanted in MEANT]
    assert [first(catalog, query, None) for query, _ in MEANT] != [wanted for _, wanted in MEANT]


def test_words_that_name_a_tool_win_over_likeness(meanings: Meanings) -> None:
    catalog = Catalog.build([KITCHEN])
    meanings.prepared(catalog.parts)
    for tool in KITCHEN.tools:
        assert first(catalog, tool.name.replace("_", " "), meanings) == f"kitchen.{tool.name}"


def test_a_search_goes_by_words_until_all_vectors_are_there(meanings: Meanings) -> None:
    catalog, query = Catalog.build([KITCHEN]), MEANT[0][0]
    assert meanings.similarities([query], [(catalog.parts[0], None)]) is None
    by_words = catalog.search(query)
    other = Catalog.build([KITCHEN])
    assert other.search(query, likeness=meanings) == by_words
    # The search has begun to make them.
    meanings.prepared(other.parts)
    assert first(other, query, meanings) == MEANT[0][1]


def test_tools_that_a_caller_may_not_use_are_never_found(meanings: Meanings) -> None:
    server = CatalogServer(KITCHEN)
    part = Catalog.of([(server, server.visible(["send_mail", "get_forecast"]))])
    meanings.prepared([server])
    for query, _ in MEANT:
        found = {result["path"] for result in part.search(query, likeness=meanings)}
        assert found <= {"kitchen.send_mail", "kitchen.get_forecast"}


def test_filters_hold_for_tools_found_by_meaning(meanings: Meanings) -> None:
    reading = Server("weather", tools=(Tool("rain", description="Rain.", annotations={"readOnlyHint": True}),))
    catalog = Catalog.build([KITCHEN, reading])
    meanings.prepared(catalog.parts)
    query = "do I need an umbrella"
    assert {one["path"] for one in catalog.search(query, server="weather", likeness=meanings)} == {"weather.rain"}
    assert {one["path"] for one in catalog.search(query, read_only=True, likeness=meanings)} == {"weather.rain"}


def test_several_needs_are_one_batch_and_each_has_its_own_tools(meanings: Meanings) -> None:
    catalog = Catalog.build([KITCHEN])
    meanings.prepared(catalog.parts)
    found = catalog.search_all([query for query, _ in MEANT], 1, likeness=meanings)
    assert [one[0]["path"] for one in found] == [wanted for _, wanted in MEANT]


def test_nonsense_finds_nothing(meanings: Meanings) -> None:
    catalog = Catalog.build([KITCHEN])
    meanings.prepared(catalog.parts)
    assert catalog.search("!!! ???", likeness=meanings) == []
    assert catalog.search("zxqv wwkj", likeness=meanings) == []


def test_an_empty_server_and_an_empty_catalog_have_nothing_to_find(meanings: Meanings) -> None:
    for servers in ([], [Server("none")], [Server("none"), KITCHEN]):
        catalog = Catalog.build(servers)
        meanings.prepared(catalog.parts)
        assert (first(catalog, MEANT[3][0], meanings) == MEANT[3][1]) == (KITCHEN in servers)


@pytest.mark.parametrize("text", ["\ud800 lone", "日本語の天気", "x" * 50_000, "\x00", " "])
def test_any_text_of_a_tool_or_a_request_has_a_meaning(meanings: Meanings, text: str) -> None:
    catalog = Catalog.build([Server("odd", tools=(Tool("a", description=text), Tool(text or "b")))])
    meanings.prepared(catalog.parts)
    assert meanings.similarities([text], [(catalog.parts[0], None)]) is not None
    catalog.search(f"weather {text}", likeness=meanings)


def test_a_text_has_one_vector_whatever_stands_beside_it(loaded: model.Model) -> None:
    texts = ["list open issues", "A much longer text about the weather in the north of the country tomorrow."]
    both, alone = loaded.vectors(texts), [loaded.vectors([text])[0] for text in texts]
    assert all((one == other).all() for one, other in zip(both, alone, strict=True))


def test_vectors_are_kept_for_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = model.Model.vectors

    def counted(self: model.Model, texts: list[str]) -> object:
        asked.extend(texts)
        return original(self, texts)

    for _ in range(2):
        made = Meanings.installed(tmp_path, ON)
        assert made is not None
        with made, monkeypatch.context() as patch:
            patch.setattr(model.Model, "vectors", counted)
            catalog = Catalog.build([KITCHEN])
            made.prepared(catalog.parts)
            assert first(catalog, MEANT[2][0], made) == MEANT[2][1]
    of_tools = [text_of(KITCHEN, tool) for tool in KITCHEN.tools]
    assert [asked.count(text) for text in of_tools] == [1] * len(of_tools)
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o077 == 0 or tmp_path.stat().st_uid == os.getuid()


def test_a_closed_one_makes_no_vectors_and_searches_go_by_words(tmp_path: Path) -> None:
    made = Meanings.installed(tmp_path, ON)
    assert made is not None
    made.close()
    catalog = Catalog.build([KITCHEN])
    made.prepared(catalog.parts)
    assert catalog.search("send mail", 1, likeness=made)[0]["path"] == "kitchen.send_mail"
    assert not any(thread.name.startswith("meanings") for thread in threading.enumerate())


def test_who_waits_for_vectors_goes_on_when_it_is_closed(tmp_path: Path) -> None:
    made = Meanings.installed(tmp_path, ON)
    assert made is not None
    server = CatalogServer(Server("large", tools=tuple(Tool(f"tool_{number}") for number in range(3_000))))
    waiting = threading.Thread(target=made.prepared, args=([server],), daemon=True)
    waiting.start()
    while not any(thread.name == "meanings" for thread in threading.enumerate()):
        waiting.join(0.01)
    made.close()
    waiting.join(30)
    assert not waiting.is_alive()


def test_a_process_that_forgets_to_close_ends_before_all_vectors_are_made(tmp_path: Path) -> None:
    program = (
        "import sys, threading; from pathlib import Path; from codemode import CatalogServer, Meanings\n"
        "from stubs import Server, Tool\n"
        "made = Meanings.installed(Path(sys.argv[1]), {})\n"
        "server = CatalogServer(Server('large', tools=tuple(Tool(f'tool_{n}') for n in range(20_000))))\n"
        "made.prepare([server])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    store = VectorStore(tmp_path)
    texts = [text_of(Server("large"), Tool(f"tool_{number}")) for number in range(20_000)]
    assert len(store.get([key_of(model.NAME, text) for text in texts])) < 2_000
    store.close()


def test_a_search_imports_nothing_before_the_vectors_are_there(tmp_path: Path) -> None:
    """Where two threads import numpy for the first time at once, the import fails in one of them."""
    program = (
        "import sys; from pathlib import Path; from codemode import CatalogServer, Meanings\n"
        "from stubs import Server, Tool\n"
        "made = Meanings.installed(Path(sys.argv[1]), {})\n"
        "made.close()\n"
        "assert made.similarities(['a'], [(CatalogServer(Server('s', tools=(Tool('a'),))), None)]) is None\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def test_a_server_that_is_gone_gets_no_vectors(meanings: Meanings) -> None:
    large = CatalogServer(Server("large", tools=tuple(Tool(f"tool_{number}") for number in range(300))))
    gone, stays = CatalogServer(KITCHEN), CatalogServer(KITCHEN)
    known = weakref.ref(gone)
    meanings.prepare([large, gone, stays])
    del gone
    gc.collect()
    assert known() is None
    meanings.prepared([stays])
    assert meanings.similarities(["rain"], [(stays, None)]) is not None


@pytest.mark.parametrize(
    "damaged",
    [np.full(model.SIZE, number, np.float16).tobytes() for number in (np.nan, np.inf, 0, 60_000)]
    + ["x" * 2 * model.SIZE, 5, b"short"],
    ids=["no number", "infinite", "zero", "large", "text", "number", "short"],
)
def test_a_damaged_vector_is_made_again(tmp_path: Path, damaged: object) -> None:
    store = VectorStore(tmp_path)
    store.close()
    with sqlite3.connect(tmp_path / "vectors.sqlite") as database:
        keys = [key_of(model.NAME, text_of(KITCHEN, tool)) for tool in KITCHEN.tools]
        database.executemany("INSERT INTO vectors (key, vector) VALUES (?, ?)", [(key, damaged) for key in keys])
    made = Meanings.installed(tmp_path, ON)
    assert made is not None
    with made:
        catalog = Catalog.build([KITCHEN])
        made.prepared(catalog.parts)
        assert [first(catalog, query, made) for query, _ in MEANT] == [wanted for _, wanted in MEANT]


def test_vectors_are_made_while_another_process_holds_the_file(tmp_path: Path) -> None:
    made = Meanings.installed(tmp_path, ON)
    assert made is not None
    with made:
        made.prepared([CatalogServer(KITCHEN)])
        other = sqlite3.connect(tmp_path / "vectors.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        catalog = Catalog.build([Server("other", tools=KITCHEN.tools)])
        made.prepared(catalog.parts)
        assert first(catalog, MEANT[3][0], made) == "other.get_forecast"
        other.close()


def test_a_search_leaves_the_other_cores_alone(meanings: Meanings) -> None:
    # All have the same words, so that one vector is made.
    large = CatalogServer(Server("large", tools=tuple(Tool("tool" + "_" * number) for number in range(1_000))))
    meanings.prepared([large])
    before, before_here = time.process_time(), time.thread_time()
    for _ in range(50):
        assert meanings.similarities(["rain"], [(large, None)]) is not None
    here = time.thread_time() - before_here
    assert time.process_time() - before < 1.5 * here


def test_it_is_off_where_the_operator_says_so(tmp_path: Path) -> None:
    assert Meanings.installed(tmp_path, {"CODEMODE_SEMANTIC": "off"}) is None
    assert Meanings.absence({"CODEMODE_SEMANTIC": "off"}) == "CODEMODE_SEMANTIC is off"
    assert Meanings.absence(ON) is None
    assert not list(tmp_path.iterdir())


def test_a_changed_file_of_the_model_is_refused_and_search_goes_by_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package, name, _ = model._TOKENIZER
    monkeypatch.setattr(model, "_TOKENIZER", (package, name, "0" * 64))
    with pytest.raises(MeaningUnavailable, match=r"its SHA-256 is\s+another.*semantic"):
        model.load()
    made = Meanings.installed(tmp_path, ON)
    assert made is not None
    with made, caplog.at_level(logging.ERROR):
        catalog = Catalog.build([KITCHEN, Server("other", tools=KITCHEN.tools)])
        made.prepared(catalog.parts)
        assert catalog.search("send mail", 1, likeness=made)[0]["path"] == "kitchen.send_mail"
    assert caplog.text.count("SHA-256") == 1


def test_another_model_is_refused_by_its_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = model._KNOWN
    monkeypatch.setattr(model, "_KNOWN", (text, tuple(number + 0.02 for number in expected)))
    with pytest.raises(MeaningUnavailable, match="does not work on this machine"):
        model.load()


def test_where_it_is_not_installed_the_message_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_LIBRARIES", ("no_such_library",))
    assert "pip install" in str(Meanings.absence(ON))
    with pytest.raises(MeaningUnavailable, match=r"pip install 'codemode-portal\[semantic\]'"):
        model.load()


def test_sentences_that_say_something_are_told_apart() -> None:
    assert sentences("find trains") == ["find trains"]
    assert sentences("Thanks. Find the trains from Porto. How long do they take?") == [
        "Find the trains from Porto.",
        "How long do they take?",
    ]
    assert len(sentences("Find me one more train. " * 40)) == MOST_SENTENCES


def test_the_store_keeps_the_newest_and_survives_a_broken_file(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, most=3)
    keys = [key_of("m", str(number)) for number in range(5)]
    for key in keys:
        store.put({key: b"v"})
    assert set(store.get(keys)) == set(keys[2:])
    store.close()
    assert store.get(keys) == {}
    (tmp_path / "vectors.sqlite").write_bytes(b"no database" * 100)
    broken = VectorStore(tmp_path)
    broken.put({keys[0]: b"v"})
    assert broken.get(keys) == {keys[0]: b"v"}
    broken.close()


@pytest.mark.anyio
async def test_a_program_searches_by_meaning(meanings: Meanings) -> None:
    catalog = Catalog.build([KITCHEN])
    meanings.prepared(catalog.parts)
    with Engine() as engine:
        async with InProcessExecutor(engine) as executor:
            tool = CodeTool(executor, meanings=meanings)
            code = f"const [a] = await codemode.search({MEANT[3][0]!r}); return a.path"
            answer = await tool.run({"code": code}, catalog, Recorder({}))
    assert answer["structuredContent"]["result"] == MEANT[3][1]
