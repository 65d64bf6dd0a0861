"""The commands as a person runs them: their output, on which stream, and their exit codes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from codemode import Catalog
from portal.cli.app import app
from portal.cli.commands.admin import PATHS
from portal.cli.commands.catalog import _found
from portal.cli.completion import KINDS
from portal.cli.exits import Exit
from portal.cli.help import commands_by_group
from portal.demo.company import build_company
from stubs import Server, Tool
from tests.portal.cli.command import SECONDS, as_forked, as_process, as_quick_process
from tests.portal.cli.command import in_process as codemode
from tests.portal.cli.tree import NODES

SHOP = {"command": sys.executable, "args": ["-m", "portal.demo.shop"]}


@pytest.fixture
def folder(tmp_path: Path, shop: dict[str, Any]) -> Path:
    """A folder with a configuration over one server."""
    write_config(tmp_path, {"shop": shop})
    return tmp_path


def write_config(folder: Path, servers: dict[str, Any], **portal: Any) -> Path:
    file = folder / "codemode.json"
    file.write_text(json.dumps({"mcpServers": servers, "portal": portal}))
    return file


def test_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    text = as_process(tmp_path, "--help").stdout
    for word in ("serve", "run", "tools", "call", "search", "describe", "demo", "--version", "Exit codes", "--config"):
        assert word in text


@pytest.mark.parametrize("command", ["serve", "run", "tools", "call", "search", "describe", "demo"])
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = codemode(tmp_path, command, "--help")
    assert done.returncode == Exit.OK
    assert "Usage: codemode" in done.stdout


def every_command() -> list[tuple[str, ...]]:
    """The words of each command, groups included."""

    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        below = getattr(command, "commands", {})
        return [words, *(found for name, one in below.items() for found in walk(one, (*words, name)))]

    return walk(get_command(app), ())


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_speaks_to_a_person_and_not_of_types(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = codemode(tmp_path, *words, "--help")
    assert done.returncode == Exit.OK
    options = done.stdout.partition("Options:")[2].partition("\n\n")[0]
    assert [word for word in ("<str>", "<int", "<path>", "<list", "list[", "<=") if word in done.stdout] == []
    usage = done.stdout.splitlines()[0]
    assert not set("{}") & set(usage) and "[[" not in usage
    assert "--help" in options


def test_a_command_is_read_without_the_others_and_is_the_same() -> None:
    whole = CliRunner(env={"COLUMNS": "120"})
    for node in NODES:
        alone = app.with_only([*node.words, "--json"])
        if node.is_group:
            # What may be meant by a word that is no command is looked for among all.
            assert alone is app.with_only([*node.words, "unknown"]) is None
            continue
        assert alone is not None
        helps = [whole.invoke(one, [*node.words, "--help"], prog_name="codemode").stdout for one in (app, alone)]
        assert helps[0] == helps[1] != ""
        assert [*commands_by_group(get_command(alone)).values()].count([node.words[-1]]) == 1


def test_a_shell_completes_commands_options_kinds_servers_and_portals(tmp_path: Path) -> None:
    document = {"mcpServers": {"shop": {"command": "x"}, "my_desk": {"command": "x"}}, "portals": {"docs": {}}}
    (tmp_path / "codemode.json").write_text("// mine\n" + json.dumps(document))

    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_CODEMODE_COMPLETE": "complete_bash"}
        command = [sys.executable, "-m", "portal.cli"]
        environment = {**os.environ, **words, "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=SECONDS)
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("codemode de") == ["describe", "demo"]
    assert "--replay" in completed("codemode run --re")
    assert completed("codemode tools ") == ["shop", "my-desk"]
    assert completed("codemode pins approve my") == ["my-desk"]
    assert completed("codemode policy test --portal d") == ["docs"]
    assert completed("codemode admin list service") == ["service-tokens"]
    (tmp_path / "codemode.json").write_text("{")
    assert completed("codemode tools ") == []


def test_the_kinds_that_are_completed_are_those_that_there_are() -> None:
    assert tuple(PATHS) == KINDS


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    done = codemode(tmp_path, "--version")
    assert done.stdout.startswith("codemode ")


@pytest.mark.parametrize("arguments", [("run",), ("nonsense",), ("search", "x", "--limit", "0"), ("run", "missing.js")])
def test_wrong_usage_is_2_and_one_sentence_on_standard_error(folder: Path, arguments: tuple[str, ...]) -> None:
    done = codemode(folder, *arguments)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert done.stderr and "Traceback" not in done.stderr


def test_no_configuration_is_2_and_says_what_to_write(tmp_path: Path) -> None:
    done = codemode(tmp_path, "tools")
    assert done.returncode == Exit.USAGE
    assert "No configuration found" in done.stderr and "mcpServers" in done.stderr


def test_a_wrong_configuration_is_2_and_names_the_key(tmp_path: Path) -> None:
    write_config(tmp_path, {"shop": {"comand": "x"}})
    done = codemode(tmp_path, "tools")
    assert done.returncode == Exit.USAGE
    assert "mcpServers.shop" in done.stderr


def test_tools_lists_servers_with_state_and_their_tools(folder: Path) -> None:
    write_config(folder, {"shop": SHOP})
    done = as_quick_process(folder, "tools")
    assert done.returncode == Exit.OK
    for word in ("shop", "ready", "stdio", "shop.list_orders", "List orders, oldest first"):
        assert word in done.stdout
    assert "codemode.json" in done.stderr


@pytest.mark.parametrize(
    ("semantic", "said"),
    [("on", "Search goes by words and by meaning."), ("off", "Search goes by words; CODEMODE_SEMANTIC is off.")],
)
def test_tools_says_whether_search_goes_by_meaning(
    folder: Path, shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch, semantic: str, said: str
) -> None:
    monkeypatch.setenv("CODEMODE_SEMANTIC", semantic)
    write_config(folder, {"shop": shop})
    assert said in codemode(folder, "tools").stdout


def test_search_finds_tools_of_which_no_word_was_said(
    folder: Path, shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(folder, {"shop": shop})
    words = ("search", "shoppers", "--json")
    assert json.loads(codemode(folder, *words).stdout) == []
    monkeypatch.setenv("CODEMODE_SEMANTIC", "on")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    found = json.loads(as_quick_process(folder, *words).stdout)
    assert found[0]["path"] == "shop.list_customers"


def test_one_dead_server_is_named_with_its_reason_and_the_others_still_listed(
    folder: Path, shop: dict[str, Any]
) -> None:
    write_config(folder, {"shop": shop, "gone": {"command": "no-such-program-anywhere"}})
    done = codemode(folder, "tools")
    assert done.returncode == Exit.UPSTREAM
    assert "no-such-program-anywhere" in done.stdout and "shop.list_orders" in done.stdout
    assert codemode(folder, "call", "shop.get_customer", "customer_id=C001").returncode == Exit.OK
    dead = codemode(folder, "call", "gone.anything")
    assert dead.returncode == Exit.UPSTREAM and "gone" in dead.stderr


ODD_SERVER = """
import json, sys
TOOLS = [{"name": "kept", "inputSchema": {"type": "object"}}, {"name": "schema_is_text", "inputSchema": "object"}]
RESULTS = {
    "initialize": {
        "protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "o", "version": "1"}
    },
    "tools/list": {"tools": TOOLS},
}
for line in sys.stdin:
    request = json.loads(line)
    result = RESULTS.get(request["method"])
    answer = {"result": result} if result else {"error": {"code": -32601, "message": "unknown method"}}
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}), flush=True)
"""


def test_tools_says_what_is_left_out_of_a_servers_list(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD_SERVER)
    write_config(tmp_path, {"odd": {"command": sys.executable, "args": [str(tmp_path / "odd.py")]}})
    done = codemode(tmp_path, "tools")
    assert done.returncode == Exit.OK
    assert "odd lists 1 item that cannot be used" in done.stdout
    assert "tools/list: `schema_is_text` is malformed (`inputSchema`)" in done.stdout
    [server] = json.loads(codemode(tmp_path, "tools", "--json").stdout)["servers"]
    assert server["skipped"] == ["tools/list: `schema_is_text` is malformed (`inputSchema`)"]


def test_tools_as_json_carry_paths_and_schemas(folder: Path) -> None:
    [server] = json.loads(codemode(folder, "tools", "shop", "--json").stdout)["servers"]
    assert (server["id"], server["state"], len(server["tools"])) == ("shop", "ready", 11)
    assert {"path", "rawName", "inputSchema"} <= set(server["tools"][0])


@pytest.mark.parametrize("name", ["search", "then"])
def test_a_server_named_like_a_function_of_codemode_is_listed_described_and_called(
    tmp_path: Path, shop: dict[str, Any], name: str
) -> None:
    write_config(tmp_path, {name: shop})
    listed = codemode(tmp_path, "tools", name)
    assert listed.returncode == Exit.OK and f"{name}_.list_orders" in listed.stdout
    assert "list_orders(" in codemode(tmp_path, "describe", name).stdout
    assert codemode(tmp_path, "call", f"{name}.get_customer", "customer_id=C001").returncode == Exit.OK


@pytest.mark.parametrize("name", "search tools describe emit run step then toString constructor".split())
def test_a_server_may_be_called_like_a_function_of_codemode(tmp_path: Path, shop: dict[str, Any], name: str) -> None:
    write_config(tmp_path, {name: shop})
    done = codemode(tmp_path, "tools")
    assert done.returncode == Exit.OK and f"{name}_.list_orders" in done.stdout
    [server] = json.loads(codemode(tmp_path, "tools", name, "--json").stdout)["servers"]
    assert (server["id"], len(server["tools"])) == (name, 11)


def test_a_portal_among_its_own_servers_is_left_out_and_named(tmp_path: Path, shop: dict[str, Any]) -> None:
    write_config(tmp_path, {"shop": shop, "codemode": {"url": "http://127.0.0.1:8787/mcp"}})
    done = codemode(tmp_path, "tools", "--json")
    assert [server["id"] for server in json.loads(done.stdout)["servers"]] == ["shop"]
    assert "mcpServers.codemode is left out: it is this portal itself." in done.stderr


def test_a_server_that_cannot_be_used_is_left_out_and_named(tmp_path: Path, shop: dict[str, Any]) -> None:
    write_config(tmp_path, {"live": {"type": "ws", "url": "wss://a.example"}, "shop": shop})
    line = "mcpServers.live is left out: its `type` is `ws`, which the portal does not serve"
    listed = codemode(tmp_path, "tools")
    assert listed.returncode == Exit.OK and "shop.list_orders" in listed.stdout and line in listed.stderr
    [why] = json.loads(codemode(tmp_path, "tools", "--json").stdout)["leftOut"]
    assert why.startswith(line)
    named = codemode(tmp_path, "tools", "live")
    assert named.returncode == Exit.USAGE and f"codemode: {line}" in named.stderr


def test_a_server_that_is_disabled_is_said_to_be(tmp_path: Path, shop: dict[str, Any]) -> None:
    """It was said not to be in the configuration."""
    write_config(tmp_path, {"shop": shop, "off": {**shop, "disabled": True}})
    named = codemode(tmp_path, "tools", "off")
    assert named.returncode == Exit.USAGE and "mcpServers.off is disabled in the configuration" in named.stderr


def test_what_is_passed_over_is_one_line(tmp_path: Path, shop: dict[str, Any]) -> None:
    (tmp_path / ".vscode").mkdir()
    document = {"servers": {"shop": {**shop, "headersHelper": "x"}}, "inputs": []}
    (tmp_path / ".vscode" / "mcp.json").write_text("// mine\n" + json.dumps(document))
    done = codemode(tmp_path, "tools")
    assert done.returncode == Exit.OK and "shop.list_orders" in done.stdout
    assert "`servers.shop.headersHelper`" in done.stderr and ".vscode/mcp.json" in done.stderr


def test_search_finds_a_tool_by_what_it_does(folder: Path) -> None:
    assert "shop.revenue_by_month" in as_forked(folder, "search", "monthly revenue", "--limit", "3").stdout
    found = json.loads(codemode(folder, "search", "monthly revenue", "--json").stdout)
    assert found[0]["path"] == "shop.revenue_by_month"


def test_describe_prints_typescript(folder: Path) -> None:
    done = as_forked(folder, "describe", "shop.list_orders")
    assert "declare const codemode" in done.stdout and "list_orders(" in done.stdout
    wrong = codemode(folder, "describe", "shop.list_order")
    assert wrong.returncode == Exit.USAGE and "list_orders" in wrong.stderr


def test_call_reads_words_by_the_tools_schema(folder: Path) -> None:
    done = as_quick_process(folder, "call", "shop.list_orders", "status=returned", "limit=2", "--json")
    content = json.loads(done.stdout)["structuredContent"]
    assert len(content["orders"]) == 2
    assert codemode(folder, "call", "shop.get_customer", '{"customer_id": "C001"}').returncode == Exit.OK


def test_an_argument_that_the_tool_does_not_name_is_said_with_the_nearest(folder: Path) -> None:
    done = codemode(folder, "call", "shop.list_orders", "limt=3", "--json")
    assert done.returncode == Exit.OK and "argument limt. Did you mean limit?" in done.stderr


def test_arguments_that_do_not_fit_are_not_sent(folder: Path) -> None:
    done = codemode(folder, "call", "shop.list_orders", "limit=many")
    assert done.returncode == Exit.USAGE and done.stdout == ""
    assert "was not called, because its arguments do not fit: " in done.stderr and "limit" in done.stderr
    assert done.stderr.count("codemode: ") == 1


def test_a_tool_that_answers_with_an_error_is_1(folder: Path) -> None:
    done = codemode(folder, "call", "shop.get_customer", "customer_id=C999")
    assert done.returncode == Exit.PROGRAM_FAILED
    assert "There is no customer C999" in done.stderr


def test_a_wrong_tool_name_is_2_and_names_the_nearest(folder: Path) -> None:
    done = codemode(folder, "call", "shop.get_custmer", "customer_id=C001")
    assert done.returncode == Exit.USAGE
    assert "get_customer" in done.stderr


PROGRAM = """const page: { total: number } = await codemode.shop.list_customers({ tier: "gold" });
console.log("counted");
return page.total;
"""


def test_run_shows_program_calls_logs_result(folder: Path) -> None:
    (folder / "count.ts").write_text(PROGRAM)
    done = as_process(folder, "run", "count.ts")
    gold = sum(customer.tier == "gold" for customer in build_company().customers)
    assert done.returncode == Exit.OK, done.stderr
    for part in ("count.ts", "shop.list_customers", "counted", f" {gold}\n", "completed in"):
        assert part in done.stdout


def test_run_reads_standard_input_and_prints_the_answer_as_json(folder: Path) -> None:
    done = codemode(folder, "run", "-", "--json", stdin="[1, 2].map((n) => n * 2)")
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["result"], answer["calls"]) == ("completed", [2, 4], [])


def test_quiet_prints_only_the_result(folder: Path) -> None:
    assert codemode(folder, "run", "-", "-q", stdin="return { a: 1 }").stdout == '{"a": 1}\n'


def test_a_failed_program_is_1_with_its_own_line(folder: Path) -> None:
    (folder / "bad.js").write_text("const a = 1;\nthrow new TypeError('no good');\n")
    done = codemode(folder, "run", "bad.js")
    assert done.returncode == Exit.PROGRAM_FAILED
    for part in ("exception at line 2", "TypeError: no good", "failed in"):
        assert part in done.stdout
    quiet = codemode(folder, "run", "bad.js", "--quiet")
    assert quiet.stdout == "" and "no good" in quiet.stderr


def test_a_program_without_its_input_learns_how_to_give_it(folder: Path) -> None:
    (folder / "mocks.json").write_text('{"mocks": {}}')
    mocked = ("run", "-", "--mock", "mocks.json")
    failed = codemode(folder, *mocked, stdin="return input.limit")
    assert failed.returncode == Exit.PROGRAM_FAILED and "--input JSON" in failed.stderr
    assert "--input JSON" in json.loads(codemode(folder, *mocked, "--json", stdin="return input.a").stdout)["notes"][0]
    given = codemode(folder, *mocked, "-q", "--input", '{"limit": 3}', stdin="return input.limit")
    assert (given.stdout, given.stderr) == ("3\n", "")
    assert "--input" not in codemode(folder, *mocked, stdin="return other.limit").stderr


def test_a_configured_limit_ends_a_program(folder: Path) -> None:
    write_config(folder, {}, limits={"cpuTime": 0.2})
    done = codemode(folder, "run", "-", "--json", stdin="for (;;) {}")
    assert done.returncode == Exit.PROGRAM_FAILED
    assert json.loads(done.stdout)["error"]["kind"] == "cpu_time"


COLLECTING = """
import gc

def shop__look(arguments):
    return {"collects": gc.isenabled(), "searches what was imported": gc.get_freeze_count() == 0}
"""


def test_a_command_searches_for_garbage_but_not_among_what_it_imported(folder: Path) -> None:
    (folder / "mocks.py").write_text(COLLECTING)
    (folder / "look.js").write_text("return await codemode.shop.look({});")
    done = as_forked(folder, "run", "look.js", "--mock", "mocks.py", "-q")
    assert json.loads(done.stdout) == {"collects": True, "searches what was imported": False}, done.stderr


def test_an_interrupt_is_130_without_a_traceback(folder: Path) -> None:
    program = folder / "program.js"
    os.mkfifo(program)
    command = [sys.executable, "-m", "portal.cli", "run", str(program)]
    # A suite that was started in the background ignores the interrupt, and what it starts would inherit that.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=heeding) as process:
        assert process.stderr is not None
        with program.open("w"):  # waits until the command reads its program
            process.send_signal(signal.SIGINT)
        # Only now that its program has ended can a signal that came just before the read be noticed. One that came
        # while the command still opened its program makes it open that again, and wait for somebody who writes.
        while process.poll() is None:
            with suppress(OSError):
                os.close(os.open(program, os.O_WRONLY | os.O_NONBLOCK))
            time.sleep(0.01)
        error = process.stderr.read()
        assert process.wait(SECONDS) == Exit.INTERRUPTED
    assert error == ""


@pytest.mark.anyio
async def test_an_interrupt_ends_a_search_that_makes_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEMODE_SEMANTIC", "on")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    catalog = Catalog.build([Server("large", tools=tuple(Tool(f"tool_{number}") for number in range(50_000)))])

    def are_made() -> bool:
        return any(thread.name == "meanings" for thread in threading.enumerate())

    searching = asyncio.create_task(_found(catalog, "a tool", 1, None, Console(file=io.StringIO())))
    while not are_made():
        await asyncio.sleep(0)
        assert not searching.done()
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert not are_made()
