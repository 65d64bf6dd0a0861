"""Every command where something is wrong, by the first example of its help: exit codes, one sentence, no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.cli.exits import Exit
from tests.forked import forked
from tests.portal.cli.command import SECONDS, as_process
from tests.portal.cli.command import in_process as codemode
from tests.portal.cli.tree import NODES, CommandNode, invocations
from tests.zygote import quick

UNTRIED = {
    "": "shows the help",
    "add": "its example fetches a package, and changes what the next one finds; test_add has its situations",
    "demo": "starts a portal and three servers, and reads no configuration",
    "bench-ui": "its example serves the example servers until it is interrupted",
    "typecheck": "reads no configuration, and what it prints depends on the machine",
}
NO_JSON = {
    "": "shows the help",
    "admin remove": "prints nothing on standard output",
    "bench-ui": "serves until it is interrupted",
    "demo": "is a tour for people",
    "login": "prints one address, and waits for the browser",
    "logout": "prints nothing on standard output",
    "serve": "serves until it is interrupted; its log is JSON lines",
    "stdio": "standard output is the protocol",
}
"""The commands without --json, and why."""

OTHERS_KEYS = {
    "admin list": "the objects of the admin API",
    "admin show": "the objects of the admin API",
    "approvals list": "the objects of the admin API",
    "approvals show": "the objects of the admin API",
    "call": "the result as the server gives it",
    "export": "the objects of the admin API",
    "logs": "the columns of the log",
    "logs show": "the columns of the log",
    "logs verify": "the columns of the log",
    "policy test": "the members of the admin API's policy tester",
    "runs list": "the objects of the admin API",
    "runs show": "the objects of the admin API",
}
"""The commands whose keys are those of something else, and of what."""

READ_NONE = {"connect": "lists the clients that are there"}
"""The commands that read no configuration although there is an option for one, and why."""
FINDS_BROKEN = {"doctor"}
"""The commands that look for what is wrong: a configuration that cannot be read is what they find, and no mistake."""

RUNNING = [node for node in NODES if node.runs]
TRIED = [node for node in RUNNING if node.name not in UNTRIED]
every = pytest.mark.parametrize("node", TRIED, ids=lambda node: node.name)
CODES = {*Exit, 5} - {Exit.INTERNAL}


def example(node: CommandNode) -> list[str]:
    """The first example of the command itself."""
    own = (words for line in node.examples for words in invocations(line))
    return next(words for words in own if tuple(words[: len(node.words)]) == node.words)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What a command says that fails; notes about files that are used come before it."""
    assert "Traceback" not in done.stderr and "fault in codemode" not in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("codemode: ", "Error: "))]
    assert len(said) == 1, done.stderr
    return said[0]


@every
def test_without_a_configuration_a_command_says_one_sentence(node: CommandNode, tmp_path: Path) -> None:
    done = codemode(tmp_path, *example(node))
    assert done.returncode in CODES
    if done.returncode == Exit.USAGE:
        assert done.stdout == "" and one_sentence(done)
    else:
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("document", ["{", '{"mcpServers": {"shop": {"comand": "x"}}, "portal": {"prot": 1}}'])
@every
def test_a_broken_configuration_is_2_wherever_it_is_read(node: CommandNode, document: str, tmp_path: Path) -> None:
    (tmp_path / "codemode.json").write_text(document)
    done = codemode(tmp_path, *example(node))
    assert done.returncode in CODES
    if node.name in FINDS_BROKEN:
        assert done.returncode == Exit.PROGRAM_FAILED and "codemode.json" in done.stdout
        findings = json.loads(codemode(tmp_path, *example(node), "--json").stdout)["findings"]
        (found,) = (one for one in findings if one["id"] == "config.valid")
        assert found["level"] == "trouble" and found["text"] and found["fix"]
    elif {"--config", "-c"} & node.options and node.name not in READ_NONE:
        assert done.returncode == Exit.USAGE and done.stdout == "" and one_sentence(done)


@every
def test_json_does_not_change_how_a_command_fails(node: CommandNode, tmp_path: Path) -> None:
    if "--json" not in node.options:
        assert node.name in NO_JSON, f"codemode {node.name}: --json, or a reason in NO_JSON"
        return
    words = [word for word in example(node) if word != "--json"]
    plain, as_json = (codemode(tmp_path, *words, *more) for more in ((), ("--json",)))
    assert as_json.returncode == plain.returncode
    if plain.returncode == Exit.USAGE:
        assert as_json.stdout == "" and one_sentence(as_json) == one_sentence(plain)


@pytest.fixture
def folder(tmp_path: Path, made_folder: Path) -> Path:
    """A folder of its own in which the examples work."""
    shutil.copytree(made_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory: pytest.TempPathFactory, shop: dict[str, Any]) -> Path:
    """A server, a database with a log, a program, a test, a log of a proxy."""
    tmp_path = tmp_path_factory.mktemp("made")
    portal = {"state": "sqlite:///state.db", "logs": {"database": "sqlite:///logs.db"}}
    document = {"mcpServers": {"shop": {**shop, "pin": True}}, "portal": portal}
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    (tmp_path / "report.js").write_text("async () => ({ a: 1 })")
    (tmp_path / "portal.yaml").write_text("servers: {}\n")
    (tmp_path / "access.log").write_text('10.0.0.1 - - [30/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "one.js").write_text("async () => 1")
    (tmp_path / "tests" / "one.test.yaml").write_text("result: 1\n")
    assert codemode(tmp_path, "api-token", "first", "--create").returncode == Exit.OK
    return tmp_path


@pytest.mark.parametrize("node", [node for node in TRIED if "--json" in node.options], ids=lambda node: node.name)
def test_json_alone_is_on_standard_output_with_keys_in_one_style(node: CommandNode, folder: Path) -> None:
    words = example(node)
    if "-o" in words:
        del words[words.index("-o") : words.index("-o") + 2]
    done = codemode(folder, *words, *({"--json"} - set(words)))
    assert "Traceback" not in done.stderr, done.stderr
    if not done.stdout:
        assert done.returncode != Exit.OK or node.name in {"logs"}, "there is nothing to read"
        return
    values = (
        [json.loads(line) for line in done.stdout.splitlines()] if node.name == "logs" else [json.loads(done.stdout)]
    )
    if node.name not in OTHERS_KEYS:
        for value in values:
            assert [
                key for key in (value if isinstance(value, dict) else {}) if not re.fullmatch("[a-z][A-Za-z0-9]*", key)
            ] == []


@every
def test_narrow_plain_and_foreign_terminals_change_no_exit_code(node: CommandNode, tmp_path: Path) -> None:
    wide = codemode(tmp_path, *example(node))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NO_COLOR": "1", "TERM": "dumb", "LANG": "C", "LC_ALL": "C"}.items():
            patch.setenv(name, value)
        narrow = codemode(tmp_path, *example(node), columns=40)
    assert narrow.returncode == wide.returncode
    assert "\x1b" not in narrow.stdout + narrow.stderr and "Traceback" not in narrow.stderr


WITH_SERVER = [
    node
    for node in NODES
    if any(one.metavar == "SERVER" and one.param_type_name == "argument" for one in node.parameters)
]


@pytest.mark.parametrize("node", WITH_SERVER, ids=lambda node: node.name)
def test_an_unknown_server_is_2_and_the_nearest_is_named(node: CommandNode, folder: Path) -> None:
    done = codemode(folder, *node.words, "shpo")
    assert done.returncode == Exit.USAGE and done.stdout == ""
    assert "shpo" in one_sentence(done)
    assert "Did you mean shop" in done.stderr or node.name == "logout"  # A login may be at a server that is gone.


UNREACHABLE = {
    ("tools",): Exit.UPSTREAM,
    ("tools", "--doc"): Exit.UPSTREAM,
    ("search", "orders"): Exit.UPSTREAM,
    ("search", "orders", "--server", "away"): Exit.UPSTREAM,
    ("describe", "away.list"): Exit.UPSTREAM,
    ("call", "away.list"): Exit.UPSTREAM,
    ("stubs",): Exit.UPSTREAM,
    ("pins",): Exit.UPSTREAM,
    ("pins", "approve", "away"): Exit.UPSTREAM,
    ("run", "calls.js"): Exit.PROGRAM_FAILED,
}


@pytest.mark.parametrize(
    ("words", "code"), UNREACHABLE.items(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_server_that_does_not_answer_is_3_and_is_named(words: tuple[str, ...], code: Exit, tmp_path: Path) -> None:
    document = {
        "mcpServers": {"away": {"command": "/nowhere/at-all", "pin": True}},
        "portal": {"pinned": "pinned.json"},
    }
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    (tmp_path / "calls.js").write_text("async () => await codemode.away.list()")
    done = codemode(tmp_path, *words)
    assert done.returncode == code
    assert "away" in done.stdout + done.stderr and "Traceback" not in done.stderr


HANGING = [
    ("tools",),
    ("search", "x"),
    ("describe", "slow.x"),
    ("call", "slow.x"),
    ("stubs",),
    ("run", "report.js"),
    ("pins",),
]


@pytest.mark.parametrize("words", HANGING, ids=" ".join)
def test_an_interrupt_is_130_and_says_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    document = {
        "mcpServers": {"slow": {"command": "sleep", "args": ["600"], "pin": True}},
        "portal": {"pinned": "pinned.json"},
    }
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    (tmp_path / "report.js").write_text("async () => 1")
    with forked(*words, folder=tmp_path, environment={"HOME": str(tmp_path)}) as command:
        assert "codemode.json" in command.stderr.readline()
        os.kill(command.pid, signal.SIGINT)
        assert command.wait() == Exit.INTERRUPTED
        assert "Traceback" not in command.stderr.read()


PRINTING = [
    ("tools",),
    ("tools", "--json"),
    ("tools", "--doc"),
    ("stubs",),
    ("describe", "shop.list_orders"),
    ("--help",),
]


def written_to(output: int, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        quick("portal.cli", *words),
        cwd=folder,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_when_nobody_reads_the_output_a_command_ends_quietly(words: tuple[str, ...], folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = written_to(write, folder, *words)
    finally:
        os.close(write)
    # The help is typer's to print, which ends with 1.
    assert done.returncode == (Exit.PROGRAM_FAILED if words == ("--help",) else Exit.OUTPUT_CLOSED)
    assert [line for line in done.stderr.splitlines() if not line.startswith("Using ")] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_an_output_without_room_is_2_and_one_sentence(words: tuple[str, ...], folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = written_to(full.fileno(), folder, *words)
    assert done.returncode == Exit.USAGE
    assert "output cannot be written" in one_sentence(done)


def test_a_command_without_any_stream_ends_as_usual(folder: Path) -> None:
    line = f"{sys.executable} -m portal.cli tools <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=folder, timeout=SECONDS, check=False).returncode == Exit.OK


def test_a_terminal_that_has_no_unicode_gets_what_it_can_show(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "report.js").write_text("async () => 'caf\\u00e9 \\u{1f600} \\ud800'")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = as_process(folder, "run", "report.js")
    assert shown.returncode == Exit.OK and "caf? ?" in shown.stdout
    exact = as_process(folder, "run", "report.js", "--quiet")
    assert json.loads(exact.stdout).startswith("caf\u00e9 \U0001f600 ")


def test_json_keeps_every_character_and_controls_no_terminal(folder: Path) -> None:
    (folder / "report.js").write_text("async () => '\\u001b[2J \\u009b \\u202e \\u007f \\u00e9'")
    done = codemode(folder, "run", "report.js", "--json")
    assert json.loads(done.stdout)["result"] == "\x1b[2J \x9b \u202e \x7f \u00e9"
    assert not set("\x1b\x9b\u202e\x7f") & set(done.stdout) and "\u00e9" in done.stdout
