"""`codemode run`, `stubs` and `test` as a developer runs them: their output, their files, their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from portal.cli.app import app
from portal.cli.exits import Exit

SECONDS = 250
PROGRAM = """const found = await codemode.shop.find({ word: "late" });
console.log("found", found.length);
found
"""
MOCKS = {"mocks": {"shop.find": {"result": ["a", "b"], "delay": 1250}}}
TOOLS = {"servers": [{"id": "shop", "tools": [{"name": "find", "inputSchema": {"type": "object"}}, {"name": "buy"}]}]}


class Done:
    """The end of a command."""

    def __init__(self, result: Any) -> None:
        self.code: int = result.exit_code
        self.out: str = result.stdout
        self.err: str = result.stderr


Command = Callable[..., Done]


@pytest.fixture
def codemode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in a folder with a program, mocks and saved tools."""
    (tmp_path / "p.js").write_text(PROGRAM)
    (tmp_path / "mocks.json").write_text(json.dumps(MOCKS))
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str, stdin: str | None = None) -> Done:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Done(result)

    return run


# run


def test_a_run_against_mocks_shows_what_happened_in_the_programs_own_time(codemode: Command) -> None:
    done = codemode("run", "p.js", "--mock", "mocks.json")
    assert done.code == Exit.OK
    for part in (
        "p.js",
        "1 call in 1.25 s",
        "shop.find",
        "█",
        "found 2",
        "completed in 1.25 s",
        "really took",
        "tokens: ",
    ):
        assert part in done.out


def test_json_has_everything_for_a_program_to_read(codemode: Command) -> None:
    found = json.loads(codemode("run", "p.js", "--mock", "mocks.json", "--json").out)
    assert (found["status"], found["result"], found["elapsedMs"]) == ("completed", ["a", "b"], 1250)
    assert found["tokens"]["program"] > 0 and found["tokens"]["toolResults"] > 0


def test_a_failed_run_shows_the_place_and_ends_with_1(codemode: Command) -> None:
    done = codemode("run", "-", "--mock", "mocks.json", stdin="const a = 1;\na.b.c")
    assert done.code == Exit.PROGRAM_FAILED
    assert "line 2" in done.out and "2 | a.b.c" in done.out


def test_a_tool_that_asks_its_user_is_told_that_nobody_can_be_asked_here(codemode: Command) -> None:
    root = Path(__file__).parents[3]
    server = {"command": sys.executable, "args": ["-m", "tests.portal.upstreams.server", "stdio"], "cwd": str(root)}
    Path("servers.json").write_text(json.dumps({"mcpServers": {"one": server}}))
    program = "return await codemode.one.ask({text: 'your name?'})"
    done = codemode("run", "-", "--config", "servers.json", "--json", stdin=program)
    assert done.code == Exit.PROGRAM_FAILED
    message = json.loads(done.out)["error"]["message"]
    assert "there is nobody to answer: no client" in message and "one" in message


def test_input_mocks_and_saved_tools_go_together(codemode: Command) -> None:
    program = "const all = await codemode.tools(); [all.map((one) => one.path), input.a]"
    arguments = ("run", "-", "-q", "--mock", "mocks.json", "--tools", "tools.json", "--input", '{"a": 1}')
    assert json.loads(codemode(*arguments, stdin=program).out) == [["shop.find", "shop.buy"], 1]


def test_a_run_is_recorded_and_replayed_from_its_folder_alone(codemode: Command) -> None:
    done = codemode("run", "p.js", "--mock", "mocks.json", "--record", "kept")
    assert done.code == Exit.OK and "Recorded in kept/recording.json" in done.out
    Path("mocks.json").unlink()
    again = codemode("run", "--replay", "kept")
    assert again.code == Exit.OK and "came to what was recorded" in again.out and "1.25 s" in again.out
    Path("p.js").write_text(PROGRAM.replace("late", "lost"))
    other = codemode("run", "p.js", "--replay", "kept")
    assert other.code == Exit.PROGRAM_FAILED
    assert 'recorded: {"word": "late"}' in other.out and 'now:      {"word": "lost"}' in other.out
    Path("p.js").write_text(PROGRAM + "; 7")
    told = json.loads(codemode("run", "p.js", "--replay", "kept", "--json").out)
    assert told["replay"] == {"diverged": False, "same": False} and told["result"] == 7


def test_a_plan_lists_what_a_program_would_do_and_calls_only_what_reads(codemode: Command) -> None:
    tools = [{"name": "find", "annotations": {"readOnlyHint": True}}, {"name": "buy"}]
    Path("tools.json").write_text(json.dumps({"servers": [{"id": "shop", "tools": tools}]}))
    program = "for (const word of await codemode.shop.find({word: input})) await codemode.shop.buy({word}); 1"
    arguments = ("run", "-", "--plan", "--mock", "mocks.json", "--tools", "tools.json", "--input", '"late"')
    done = codemode(*arguments, stdin=program)
    assert done.code == Exit.OK and '2. shop.buy, line 1 {"word": "a"}' in done.out and "The plan is exact" in done.out
    plan = json.loads(codemode(*arguments, "--json", stdin=program).out)
    assert [entry["arguments"] for entry in plan["entries"]] == [{"word": "a"}, {"word": "b"}] and plan["whole"]
    failed = codemode(*arguments, stdin="throw new Error('no')")
    assert failed.code == Exit.PROGRAM_FAILED and "The program fails: no" in failed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "Name a program"),
        (("run", "p.js", "--plan", "--record", "a"), "--plan runs nothing"),
        (("run", "p.js", "--mock", "none.json"), "There is no file none.json"),
        (("run", "p.js", "--mock", "p.js"), "export default"),
        (("run", "p.js", "--mock", "mocks.json", "--replay", "x"), "Either --mock or --replay"),
        (("run", "p.js", "--record", "a", "--replay", "x"), "Either --record or --replay"),
        (("run", "p.js", "--tools", "tools.json"), "goes with --mock"),
        (("run", "p.js", "--mock", "mocks.json", "--input", "{"), "--input is JSON"),
        (("run", "p.js", "--replay", "none"), "There is no recording none"),
        (("run", "-", "--mock", "mocks.json", "--watch"), "--watch needs a file"),
        (("stubs", "none.json"), "There is no file none.json"),
        (("stubs", "a", "b"), "Name one server"),
        (("stubs", "diff"), "takes OLD and NEW"),
        (("stubs", "diff", "tools.json", "mocks.json"), "holds no tools"),
        (("test", "none"), "There is no file or folder none"),
        (("test", "-k", "("), "-k lacks a word"),
    ],
)
def test_a_mistake_of_usage_is_2_and_one_sentence(codemode: Command, arguments: tuple[str, ...], said: str) -> None:
    done = codemode(*arguments)
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert said in done.err and "Traceback" not in done.err


def test_watching_runs_again_on_a_change_and_an_interrupt_ends_it_cleanly(codemode: Command, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portal.cli", "run", "p.js", "--mock", "mocks.json", "--watch", "-q"]
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeding,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        try:
            assert process.stdout.readline() == '["a", "b"]\n'
            while "Waiting for a change" not in process.stderr.readline():
                pass
            (tmp_path / "mocks.json").write_text('{"mocks": {"shop.find": {}}}')
            while "needs one of result" not in process.stderr.readline():
                pass
            (tmp_path / "mocks.json").write_text('{"mocks": {"shop.find": {"result": [1]}}}')
            assert process.stdout.readline() == "[1]\n"
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(SECONDS) == Exit.INTERRUPTED
        finally:
            process.kill()
    assert "Traceback" not in rest


# stubs


def test_stubs_of_saved_tools_are_declarations_for_an_editor(codemode: Command) -> None:
    done = codemode("stubs", "tools.json")
    assert done.code == Exit.OK
    for part in ("declare const codemode", "find(", "search(query", "declare var console", "declare const input"):
        assert part in done.out


def test_what_stubs_saves_is_what_it_reads(codemode: Command) -> None:
    assert (
        codemode("stubs", "tools.json", "--json", "-o", "again.json").err == "Wrote again.json: 2 tools of 1 servers.\n"
    )
    done = codemode("stubs", "diff", "tools.json", "again.json")
    assert (done.code, done.out) == (Exit.OK, "Nothing changed.\n")


def test_diff_says_in_words_what_breaks_and_ends_with_1(codemode: Command) -> None:
    new = {"servers": [{"id": "shop", "tools": [{"name": "find", "inputSchema": {"type": "object", "required": ["x"],
           "properties": {"x": {"type": "string"}}}}]}]}  # fmt: skip
    Path("new.json").write_text(json.dumps(new))
    done = codemode("stubs", "diff", "tools.json", "new.json")
    assert done.code == Exit.PROGRAM_FAILED
    for part in ("Breaking (2)", "shop.find: parameter `x` was added and is required", "shop.buy: was removed"):
        assert part in done.out
    assert done.out.endswith("2 changes break programs.\n")
    told = json.loads(codemode("stubs", "diff", "tools.json", "new.json", "--json").out)
    assert told["breaking"] == 2 and {one["kind"] for one in told["changes"]} == {"input-added", "tool-removed"}
    harmless = codemode("stubs", "diff", "new.json", "new.json")
    assert harmless.code == Exit.OK


def test_a_server_that_does_not_answer_is_3_and_no_change(codemode: Command) -> None:
    Path("codemode.json").write_text(json.dumps({"mcpServers": {"shop": {"command": "no-such-program-anywhere"}}}))
    done = codemode("stubs", "diff", "tools.json")
    assert (done.code, done.out) == (Exit.UPSTREAM, "")
    assert "shop is not available, nothing is compared" in done.err
    declared = codemode("stubs")
    assert declared.code == Exit.UPSTREAM and "Not available when this was made: shop" in declared.out


# test


def write_test(expect: str) -> None:
    Path("p.test.yaml").write_text(f"mocks: mocks.json\n{expect}\n")


def test_a_suite_that_passes_is_dots_and_a_count(codemode: Command) -> None:
    write_test("cases: { one: { expect: { result: [a, b] } }, two: {}, three: { skip: later } }")
    done = codemode("test")
    assert done.code == Exit.OK
    assert "collected 3 tests\np.test.yaml ..s\n" in done.out
    assert "2 passed, 1 skipped in " in done.out and "FAILURES" not in done.out
    assert "p.test.yaml::one PASSED" in codemode("test", "-v", "-k", "one").out


def test_a_failure_shows_difference_source_and_calls(codemode: Command) -> None:
    write_test("expect: { result: [a], calls: [{ tool: shop.find, arguments: { word: lost } }] }")
    done = codemode("test", ".", "--junit", "out/junit.xml")
    assert done.code == Exit.PROGRAM_FAILED
    for part in ("p.test.yaml F", "FAILURES", '+   "b"', '-       "word": "lost"', '+       "word": "late"',
                 "1 const found", "1 call in 1.25 s", "FAILED p.test.yaml - result and calls not as expected",
                 "1 failed in "):  # fmt: skip
        assert part in done.out
    root = ElementTree.parse("out/junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("1", "1")


def test_an_error_is_shown_in_its_source(codemode: Command) -> None:
    Path("p.js").write_text(PROGRAM + "null.x;\n")
    write_test("expect: { logs: [found 2] }")
    done = codemode("test")
    assert done.code == Exit.PROGRAM_FAILED
    assert "❱ 4 null.x;" in done.out and "exception at line 4" in done.out


def test_x_stops_at_the_first_and_update_makes_them_pass(codemode: Command) -> None:
    write_test(
        "# by hand\ncases: { a: { expect: { result: 1 } }, b: { expect: { calls: 9 } }, c: { expect: { error: x } } }"
    )
    stopped = codemode("test", "-x")
    assert stopped.code == Exit.PROGRAM_FAILED and "1 failed in" in stopped.out
    done = codemode("test", "--update")
    assert done.code == Exit.OK and "3 updated" in done.out
    assert "# by hand" in Path("p.test.yaml").read_text()
    assert "3 passed" in codemode("test").out


def test_nothing_to_run_is_5_as_with_pytest(codemode: Command) -> None:
    done = codemode("test")
    assert done.code == 5 and "no tests ran" in done.out
    write_test("")
    assert codemode("test", "-k", "nothing").code == 5
