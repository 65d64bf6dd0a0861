"""A mistake says the nearest right thing: commands, options, servers, tools, kinds, portals, words, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.cli.exits import Exit
from portal.cli.nearest import MOST_NAMES, meant, nearest, nearest_file, unknown_command
from portal.cli.sections import WORDS
from tests.portal.cli.command import in_process as codemode
from tests.portal.cli.tree import NODES

TREE: dict[str, list[str]] = {node.name: list(node.command.commands) for node in NODES if node.is_group}


def test_two_wrong_letters_in_a_word_of_five_still_find_it() -> None:
    assert nearest("goast", ["shop", "ghost", "github"]) == ["ghost"]


@pytest.fixture
def folder(tmp_path: Path, shop: dict[str, Any]) -> Path:
    document = {
        "mcpServers": {"shop": shop},
        "portals": {"support": {"servers": ["shop"]}},
        "portal": {"logs": {"database": "sqlite:///logs.db"}},
    }
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    (tmp_path / "report.js").write_text("async () => 1")
    (tmp_path / "policies.yaml").write_text("{}")
    (tmp_path / "tests").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "meant_is"),
    [
        ("tool", "`codemode tools`"),
        ("serch x", "`codemode search`"),
        ("rnu report.js", "`codemode run`"),
        ("admin lst", "`codemode admin list`"),
        ("logs verfy", "`codemode logs verify`"),
        ("admin rotate", "`codemode keys rotate`"),
        ("invite ada@example.com", "`codemode admin invite`"),
        ("approve", "`codemode pins approve`"),
        ("logs list", "`codemode logs`"),
        ("pins ls", "`codemode pins`"),
        ("admin delete servers x", "`codemode admin remove`"),
        ("tools --jsn", "--json"),
        ("run x.js --recrod y", "--record"),
        ("logs --falied", "--failed"),
        ("tools shpo", "shop"),
        ("stubs shpo", "shop"),
        ("call shop.list_ordres", "shop.list_orders"),
        ("describe shop.list_ordres", "shop.list_orders"),
        ("search x --server shpo", "shop"),
        ("admin list polices --state sqlite:///a.db", "policies"),
        ("admin invite ada@example.com --role ownr", "owner"),
        ("policy test --identity a@b.c --portal suport", "support"),
        ("tools --doc --portal suport", "support"),
        ("logs --outcome denyed", "denied"),
        ("logs --kind toll", "tool"),
        ("run reprot.js", "report.js"),
        ("run report.js --mock mokcs.json", "There is no file mokcs.json."),
        ("run ./reprot.js", "report.js"),
        ("test tsets", "tests"),
        ("scan reprot.js", "report.js"),
        ("plan polices.yaml", "policies.yaml"),
        ("apply polices.yaml", "policies.yaml"),
        ("policy test polices.yaml --identity a@b.c", "policies.yaml"),
        ("tools --config codemod.json", "codemode.json"),
        ("stubs codemod.json", "codemode.json"),
        ("typecheck instal", "`codemode typecheck install`"),
    ],
)
def test_a_mistake_says_the_nearest_right_thing(written: str, meant_is: str, folder: Path) -> None:
    done = codemode(folder, *written.split())
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert meant_is in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "word",
    ["list", "ls", "start", "up", "install", "validate", "upstream", "status", "auth", "exec", "link"],
)
def test_words_of_other_tools_lead_to_ours(word: str) -> None:
    said = unknown_command(word, (), {**TREE, "": [*TREE[""], "add", "connect", "doctor"]})
    assert WORDS[word][0] in said and said.count("`") >= 2
    assert unknown_command(word.upper(), (), TREE).count("\n") == 0


def test_a_word_that_is_like_nothing_leads_to_the_help() -> None:
    assert unknown_command("zzzzzzzz", (), TREE) == "There is no command 'zzzzzzzz'. `codemode --help` lists them."
    assert "`codemode admin --help`" in unknown_command("zzzzzzzz", ("admin",), TREE)
    assert len(unknown_command("x" * 100_000, (), TREE)) < 400


@given(st.text(max_size=300), st.lists(st.text(max_size=300), max_size=20))
def test_what_is_nearest_is_among_what_there_is(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert set(found) <= set(known) and len(found) <= 3 and len(set(found)) == len(found)
    assert "\n" not in meant("x", ["shop"])


def test_a_word_that_is_there_is_the_nearest_and_case_does_not_matter() -> None:
    assert nearest("Shop", ["desk", "shop", "shopping"])[0] == "shop"
    assert nearest("sh", ["shipping", "shop"]) == ["shop", "shipping"]
    assert meant("x", []) == "There are none."
    assert meant("zzz", [f"server-{number}" for number in range(50)]).endswith("and 30 more.")


def test_many_names_take_no_time() -> None:
    names = (f"{number}-tool" for number in range(10 * MOST_NAMES))
    assert nearest("tool", names) is not None
    assert next(names) == f"{MOST_NAMES}-tool"


def test_a_folder_in_the_path_may_be_the_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "report.js").write_text("")
    monkeypatch.chdir(tmp_path)
    assert nearest_file(Path("programms/report.js")) == Path("programs/report.js")
    assert nearest_file(Path("programs/reprot.js")) == Path("programs/report.js")
    assert nearest_file(tmp_path / "programms" / "report.js") == tmp_path / "programs" / "report.js"
    assert nearest_file(Path("nothing-like-it")) is None
    assert nearest_file(Path("x\0y")) is None
