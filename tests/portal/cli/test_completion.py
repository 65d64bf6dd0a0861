"""What shells complete: asked by real shells where they are installed, and by their protocols for all of them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from portal.cli.app import app
from portal.cli.completion import complete_outcome, complete_row_kind
from portal.cli.known_names import MOST_FILES, MOST_TOOLS, KnownNames, keep, keep_tools, recall, safe
from portal.errors import Outcome
from portal.logs import Kind
from tests.portal.cli.command import SECONDS
from tests.portal.cli.command import in_process as codemode
from tests.portal.cli.pseudo_terminal import Terminal
from tests.zygote import quick

BIN = Path(sys.executable).parent
SHELLS = ("bash", "zsh", "fish", "powershell")


@pytest.fixture
def folder(tmp_path: Path, shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose tools were listed once. The cache is its own too."""
    document = {"mcpServers": {"shop": shop, "my_desk": {"command": "/nowhere"}}, "portals": {"docs": {}}}
    (tmp_path / "codemode.json").write_text("// mine\n" + json.dumps(document))
    (tmp_path / "report.js").write_text("async () => 1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "HOME": str(folder), "PATH": path, "XDG_CONFIG_HOME": str(folder / ".config")}


def completed(folder: Path, shell: str, line: str) -> list[str]:
    """What the protocol of a shell answers to a line, by the first word of each answer."""
    words = line.split(" ")
    asked = {
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1],
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_CODEMODE_COMPLETE": f"complete_{shell}",
    }
    done = subprocess.run(
        quick("portal.cli"), cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
        env={**environment(folder), **asked},
    )  # fmt: skip
    assert done.stderr == ""
    text = done.stdout.strip()
    if shell == "zsh":
        if text == "_files":
            return []
        rows = text.removeprefix("_arguments '*: :((").removesuffix("))'").splitlines()
        return [row.split('"')[1].replace("\\\\:", ":") for row in rows]
    return [row.split("\t")[0].split(":::")[0].strip() for row in text.splitlines()]


LINES = {
    "codemode to": ["tools"],
    "codemode admin re": ["remove", "reset-password"],
    "codemode run --re": ["--record", "--replay"],
    "codemode tools ": ["shop", "my-desk"],
    "codemode pins approve my": ["my-desk"],
    "codemode policy test --portal d": ["docs"],
    "codemode admin list service": ["service-tokens"],
    "codemode admin invite a --role o": ["owner"],
    "codemode call shop.list_": ["shop.list_customers", "shop.list_orders"],
    "codemode call my": ["my-desk."],
    "codemode describe sh": ["shop", "shop.list_customers"],
    "codemode describe shop.top": ["shop.top_products"],
    "codemode stubs d": ["diff"],
    "codemode pins approve shop refund": ["refund_order"],
    "codemode logs --outcome de": ["denied"],
    "codemode logs --kind sig": ["sign_in"],
    "codemode typecheck in": ["install"],
    "codemode run rep": [],
}


@pytest.mark.parametrize(
    "shell", ["fish", *(pytest.param(one, marks=pytest.mark.deep) for one in SHELLS if one != "fish")]
)
def test_every_kind_of_word_is_completed_in_every_shell(shell: str, folder: Path) -> None:
    assert codemode(folder, "tools").stdout
    for line, expected in LINES.items():
        found = completed(folder, shell, line)
        assert found[: len(expected)] == expected and bool(found) == bool(expected), line


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("document", ["{", "[]", '{"mcpServers": 1}', None])
def test_what_cannot_be_read_completes_nothing_and_says_nothing(
    shell: str, document: str | None, tmp_path: Path
) -> None:
    if document is not None:
        (tmp_path / "codemode.json").write_text(document)
    assert completed(tmp_path, shell, "codemode tools ") == []


def test_bash_completes_by_what_it_is_given_to_install(folder: Path) -> None:
    codemode(folder, "tools")
    script = """
    eval "$(codemode --show-completion)"
    COMP_WORDS=(codemode call shop.list_); COMP_CWORD=2
    _codemode_completion codemode
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout.split() == ["shop.list_customers", "shop.list_orders"] and done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_by_what_it_is_given_to_install(folder: Path) -> None:
    codemode(folder, "tools")
    script = """
    codemode --install-completion
    source ~/.config/fish/completions/codemode.fish
    complete -C "codemode call shop.list_"
    complete -C "codemode run rep"
    """
    done = subprocess.run(
        ["fish", "-c", script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()][-3:] == [
        "shop.list_customers",
        "shop.list_orders",
        "report.js",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "arguments"), [("bash", ["--rcfile", ".bashrc", "-i"]), ("zsh", ["-i"]), ("fish", ["-i"])]
)
def test_a_person_types_and_presses_tab(shell: str, arguments: list[str], folder: Path) -> None:
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    codemode(folder, "tools")
    installed = subprocess.run(
        [program, "-c", "codemode --install-completion; true"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert f"{shell} completion installed" in installed.stdout
    for file in (".bashrc", ".zshrc"):
        with (folder / file).open("a") as settings:
            settings.write("\nPS1='ready> '\n")
    asked = {**environment(folder), "ZDOTDIR": str(folder), "fish_greeting": ""}
    terminal = Terminal(folder, *arguments, program=program, environment=asked, columns=200)
    try:
        if shell != "fish":
            terminal.until("ready> ")
        terminal.type("codemode describe shop.top_pro\t")
        if shell == "zsh":
            # It loads the script when it is first asked, and rings: the next answer is the first.
            terminal.until("\x07")
            terminal.type("\t")
        terminal.until("shop.top_products")
        assert "shop.top_products" in terminal.words
        terminal.type("\x15codemode run rep\t")
        terminal.until("report.js")
        assert "report.js" in terminal.words and "Loading" not in terminal.shown
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_the_script_of_a_shell_is_has_no_fault_of_syntax(shell: str, folder: Path) -> None:
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run(
        [program, "-c", "codemode --show-completion; true"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    ).stdout
    (folder / "script").write_text(script)
    assert "codemode" in script
    assert subprocess.run([program, "-n", "script"], cwd=folder, check=False, timeout=SECONDS).returncode == 0


def test_a_completion_loads_nothing_that_takes_long_once_names_are_known(folder: Path) -> None:
    codemode(folder, "tools")
    program = """
import os, sys
os.environ.update(COMP_WORDS="codemode call shop", COMP_CWORD="2", _CODEMODE_COMPLETE="complete_bash")
from portal.cli import main
try:
    main([])
finally:
    heavy = ("rich", "mcp", "wasmtime", "portal.config", "rapidfuzz", "uvicorn")
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        for _ in range(2)
    )
    assert "shop.list_orders" in first.stdout and first.stdout == second.stdout
    assert second.stderr.strip() == "[]"


# What is known


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(NAMES, max_size=20))
def test_only_words_that_no_shell_can_misread_are_offered(names: list[str]) -> None:
    for name in safe(names):
        assert name in names and not set(name) & set(" \t\n\r'\"`\\;&|<>(){}[]*?!#~^=%,$")
        assert not name.startswith("-")


def test_names_are_kept_for_their_owner_alone_and_only_names(tmp_path: Path) -> None:
    config, cache = tmp_path / "codemode.json", {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    known = KnownNames("1-2", ("shop",), ("docs",), {"shop": ("shop.a",)})
    keep(config, known, cache)
    assert recall(config, cache) == known and recall(tmp_path / "other.json", cache) == KnownNames()
    [file] = (tmp_path / "cache").rglob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for broken in (
        "",
        "[]",
        '{"stamp": 1}',
        '{"tools": {"a": 1}}',
        "[" * 100_000,
        '{"stamp":"","servers":[null],"portals":[],"tools":[]}',
    ):
        file.write_text(broken)
        recall(config, cache)
    file.write_text(
        json.dumps({"stamp": "", "servers": ["$(reboot)", "a b"], "portals": [], "tools": {"x": ["x.`y`"]}})
    )
    assert recall(config, cache) == KnownNames("", (), (), {"x": ()})


def test_servers_that_do_not_answer_keep_their_tools_and_there_is_a_bound(tmp_path: Path) -> None:
    config, cache = tmp_path / "codemode.json", {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    keep_tools(config, {"a": ["a.x"]}, cache)
    keep_tools(config, {"b": [f"b.t{number}" for number in range(2 * MOST_TOOLS)]}, cache)
    found = recall(config, cache).tools
    assert found["a"] == ("a.x",) and len(found["b"]) == MOST_TOOLS - 1
    for number in range(MOST_FILES + 5):
        keep(tmp_path / f"{number}.json", KnownNames(str(number)), cache)
    assert len(list((tmp_path / "cache").rglob("*.json"))) == MOST_FILES


def test_where_nothing_can_be_kept_commands_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    keep(folder / "codemode.json", KnownNames("x"), os.environ)
    assert recall(folder / "codemode.json", os.environ) == KnownNames()


def test_a_changed_configuration_is_read_again(folder: Path) -> None:
    assert completed(folder, "bash", "codemode tools ") == ["shop", "my-desk"]
    (folder / "codemode.json").write_text(json.dumps({"mcpServers": {"wiki": {"command": "x"}}}))
    os.utime(folder / "codemode.json", ns=(time.time_ns(), time.time_ns() + 1))
    assert completed(folder, "bash", "codemode tools ") == ["wiki"]


def test_the_words_that_are_completed_are_those_that_there_are() -> None:
    context = typer.Context(get_command(app))
    assert complete_row_kind(context, "") == list(get_args(Kind))
    assert complete_outcome(context, "") == list(get_args(Outcome))
