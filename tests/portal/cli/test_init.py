"""`codemode init`: from a machine with clients, or without anything, to a portal that they are connected to."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from portal.cli.asking import numbers_in
from portal.cli.exits import Exit
from portal.clients import CLIENTS, Machine
from portal.config import load_config
from tests.clients.serving import Served
from tests.forked import forked
from tests.portal.cli.command import in_process
from tests.portal.clients.machines import machine_in, three_clients, written

URL = "http://127.0.0.1:8787/mcp?codemode=search_and_execute"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without anything of the one that runs the tests."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", *(name for one in CLIENTS for name, _ in one.overrides)):
        monkeypatch.delenv(variable, raising=False)
    return machine_in(tmp_path)


def run(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    return in_process(machine.folder, *words, home=machine.home, columns=160)


def ours(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((machine.folder / "codemode.json").read_text())
    return found


def test_with_nothing_there_is_an_example_to_begin_with(machine: Machine) -> None:
    done = run(machine, "init", "--yes")
    assert done.returncode == Exit.OK, done.stderr
    assert list(ours(machine)["mcpServers"]) == ["shop"]
    assert "Next: codemode serve" in done.stderr
    assert list(load_config(machine.folder / "codemode.json", {}).servers) == ["shop"]


def test_all_servers_are_taken_over_and_all_clients_are_connected(machine: Machine) -> None:
    files = three_clients(machine)
    done = run(machine, "init", "--yes")
    assert done.returncode == Exit.OK, done.stderr
    assert len(ours(machine)["mcpServers"]) == 7
    for file in files.values():
        assert URL in file.path.read_text()
    # They keep their servers.
    assert "files-server" in files["cursor"].path.read_text()
    assert "Next: codemode serve" in done.stderr
    for id in files:
        assert run(machine, "connect", id, "--undo", "--yes").returncode == Exit.OK


def test_running_it_again_changes_nothing(machine: Machine) -> None:
    files = three_clients(machine)
    assert run(machine, "init", "--yes").returncode == Exit.OK
    before = [file.path.read_bytes() for file in files.values()] + [(machine.folder / "codemode.json").read_bytes()]
    again = run(machine, "init", "--yes")
    assert again.returncode == Exit.OK and again.stdout == ""
    assert "Nothing to write" in again.stderr
    after = [file.path.read_bytes() for file in files.values()] + [(machine.folder / "codemode.json").read_bytes()]
    assert after == before


def test_clients_keep_only_the_portal_where_that_is_asked_for(machine: Machine) -> None:
    files = three_clients(machine)
    before = {id: file.path.read_bytes() for id, file in files.items()}
    assert run(machine, "init", "--yes", "--move").returncode == Exit.OK
    assert "files-server" not in files["cursor"].path.read_text()
    for id in files:
        assert run(machine, "connect", id, "--undo", "--yes").returncode == Exit.OK
    assert {id: file.path.read_bytes() for id, file in files.items()} == before
    # What was taken over is the portal's own now.
    assert len(ours(machine)["mcpServers"]) == 7


def test_clients_that_start_the_portal_need_nothing_that_runs(machine: Machine) -> None:
    written(machine, "claude-desktop", "{}")
    done = run(machine, "init", "--yes")
    assert "Nothing has to run: these clients start the portal themselves." in done.stderr
    assert "codemode serve" not in done.stderr


def test_without_a_terminal_it_wants_to_be_told(machine: Machine) -> None:
    three_clients(machine)
    done = run(machine, "init")
    assert done.returncode == Exit.USAGE and "--yes" in done.stderr
    assert list(machine.folder.iterdir()) == []


def test_for_a_program_it_says_what_was_done(machine: Machine) -> None:
    three_clients(machine)
    found = json.loads(run(machine, "init", "--yes", "--json").stdout)
    assert found["written"] is True and len(found["added"]) == 7
    assert [one["client"] for one in found["connected"]] == ["claude-code", "cursor", "codex"]


def test_a_client_that_cannot_be_read_does_not_stop_the_others(machine: Machine) -> None:
    three_clients(machine)
    broken = written(machine, "gemini", "{oops")
    done = run(machine, "init", "--yes")
    assert done.returncode == Exit.OK and "is not JSON" in done.stderr
    assert broken.path.read_text() == "{oops" and len(ours(machine)["mcpServers"]) == 7


def at_a_terminal(machine: Machine, *words: str, answers: str) -> tuple[int, str]:
    """The command at a terminal of its own, with what is typed; its exit code, and all that was on the screen."""
    leader, follower = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "portal.cli", *words],
        cwd=machine.folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "HOME": str(machine.home), "TERM": "dumb", "COLUMNS": "160"},
        close_fds=True,
        start_new_session=True,
    )
    os.close(follower)
    os.write(leader, answers.encode())
    seen = b"".join(_read(leader))
    os.close(leader)
    return command.wait(), seen.decode(errors="replace").replace("\r\n", "\n")


def _read(leader: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            # The command has ended, and its side of the terminal is closed.
            return
        if not part:
            return
        yield part


def test_a_person_chooses_servers_and_clients(machine: Machine) -> None:
    files = three_clients(machine)
    code, seen = at_a_terminal(machine, "init", answers="9\n1-2,5\n2\ny\ny\n")
    assert code == Exit.OK, seen
    assert "Write all, none, or numbers from 1 to 8." in seen
    # Enough to tell servers of one name from each other, and no secret.
    assert "npx files-server" in seen and "https://mcp.example.com" in seen and "hunter2" not in seen
    assert list(ours(machine)["mcpServers"]) == ["github", "files", "files-cursor"]
    cursor = files["cursor"].path.read_text()
    # What was not chosen stays with its client, what was the portal has.
    assert "notes" in cursor and "files-server" not in cursor and URL in cursor
    assert URL not in files["codex"].path.read_text()


def test_a_person_who_says_no_gets_nothing_written(machine: Machine) -> None:
    file = three_clients(machine)["cursor"]
    before = file.path.read_bytes()
    code, seen = at_a_terminal(machine, "connect", "cursor", answers="n\n")
    assert code == Exit.OK and "Nothing was written." in seen
    assert file.path.read_bytes() == before


def test_the_end_of_what_is_typed_ends_the_command(machine: Machine) -> None:
    file = three_clients(machine)["cursor"]
    before = file.path.read_bytes()
    code, seen = at_a_terminal(machine, "connect", "cursor", answers="\x04")
    assert code == Exit.INTERRUPTED and "Traceback" not in seen
    assert file.path.read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("all", [0, 1, 2]),
        ("none", []),
        ("", []),
        ("1,3", [0, 2]),
        ("3 1-2", [0, 1, 2]),
        ("4", None),
        ("0", None),
        ("2-1", None),
        ("x", None),
        ("1-", None),
        ("\u0661", None),
        ("9" * 5000, None),
    ],
)
def test_an_answer_is_numbers_all_or_none(answer: str, numbers: list[int] | None) -> None:
    assert numbers_in(answer, 3) == numbers


@pytest.mark.timeout(180)
def test_the_servers_that_moved_are_served_to_a_client_of_the_portal(machine: Machine, shop: dict[str, Any]) -> None:
    """Three clients with eight servers: three that run, one of them in two clients, and four that cannot be reached."""

    def demo(name: str) -> dict[str, Any]:
        return {"command": sys.executable, "args": ["-m", f"portal.demo.{name}"]}

    shipping = f'[mcp_servers.shipping]\ncommand = "{sys.executable}"\nargs = ["-m", "portal.demo.shipping"]\n'
    claude = {
        "shop": {"type": "http", **shop},
        "orders": {"type": "stdio", **demo("shop")},
        "old": {"command": "old"},
    }
    cursor = {"store": shop, "off": {"command": "off", "disabled": True}, "secret": {"command": "${NOT_SET_ANYWHERE}"}}
    written(machine, "claude-code", json.dumps({"mcpServers": claude}))
    written(machine, "cursor", "// mine\n" + json.dumps({"mcpServers": cursor}, indent=1))
    written(machine, "codex", "# mine\n" + shipping + '[mcp_servers.gone]\ncommand = "no-such-program"\n')
    for id in ("claude-code", "cursor", "codex"):
        done = run(machine, "connect", id, "--move", "--yes")
        assert done.returncode == Exit.OK, done.stderr
    config = machine.folder / "codemode.json"
    with forked("serve", "--config", str(config), "--port", "0", folder=machine.folder) as process:
        served = Served(process)
        try:
            states = served.event("servers settled")["states"]
            assert {id for id, state in states.items() if state == "ready"} == {"shop", "orders", "shipping"}
            assert asyncio.run(servers_that_answer(served.url)) == {"shop", "orders", "shipping"}
        finally:
            served.stop()


async def servers_that_answer(url: str) -> set[str]:
    """The servers of the portal whose tools a client of the MCP SDK lists; a tool of one of them is called."""
    async with Client(url) as client:
        names = {tool.name.partition("_")[0] for tool in (await client.list_tools()).tools}
        result = await client.call_tool("shop_list_orders", {"limit": 1})
        assert not result.is_error
    return names
