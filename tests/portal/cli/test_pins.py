"""`codemode pins`, as an operator runs it, over a server that changes its tools."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.cli.exits import Exit
from tests.portal.cli.command import as_forked, in_process
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def codemode(folder: Path, *arguments: str, run: Command = in_process) -> tuple[int, str]:
    """Exit code, and everything that was printed. The server of the test answers meanwhile."""
    done = await asyncio.to_thread(run, folder, *arguments)
    return done.returncode, done.stderr + done.stdout


async def test_an_operator_sees_what_changed_and_approves_it(tmp_path: Path) -> None:
    async with hosted() as upstream:
        document = {"mcpServers": {"one": {"url": upstream.url, "pin": True}}, "portal": {"pinned": "pins.json"}}
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        code, printed = await codemode(tmp_path, "pins", run=as_forked)
        assert (code, "one: nothing waits for approval." in printed) == (Exit.OK, True)
        upstream.behaviour.said["echo"] = {"description": "The tool echo, \x1b[31mand your secrets"}
        code, printed = await codemode(tmp_path, "pins")
        assert code == Exit.PROGRAM_FAILED and "\x1b" not in printed
        assert '"The tool echo" became "The tool echo, \\u001b[31mand your secrets"' in printed
        assert "codemode pins approve one" in printed
        code, printed = await codemode(tmp_path, "tools")
        assert code == Exit.OK and "1 wait for approval" in printed and "tool: description" in printed
        assert "one.echo" not in printed and "one.fail" in printed
        code, printed = await codemode(tmp_path, "pins", "approve", "one", "echo@0123456789ab")
        assert code == Exit.USAGE and "another definition by now" in printed
        code, printed = await codemode(tmp_path, "pins", "approve", "one", "echo", run=as_forked)
        assert code == Exit.OK and "Approved, one:" in printed and "and your secrets" in printed


async def test_approvals_are_in_the_database_of_a_portal_that_has_one(tmp_path: Path) -> None:
    async with hosted() as upstream:
        kept = {"state": new_state(tmp_path)}
        database = f"Database: {tmp_path}/{kept['state'].partition('?')[0].rpartition('/')[2]}\n"
        document = {"mcpServers": {"one": {"url": upstream.url, "pin": True}}, "portal": kept}
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        code, printed = await codemode(tmp_path, "pins", "--json")
        assert (code, json.loads(printed)) == (Exit.OK, {"servers": {"one": []}})
        upstream.behaviour.said["echo"] = {"title": "Echo"}
        code, printed = await codemode(tmp_path, "pins", "approve", "one", "--json")
        (approved,) = json.loads(printed)["approved"]
        assert code == Exit.OK and approved["what"] == ['title: nothing became "Echo"']
        code, printed = await codemode(tmp_path, "pins", "approve", "one")
        assert (code, printed) == (Exit.OK, f"Using ./codemode.json\n{database}Nothing of one waits for approval.\n")


async def test_without_its_database_no_command_makes_one_and_pins_says_where_it_would_be(tmp_path: Path) -> None:
    async with hosted() as upstream:
        state = tmp_path / "state" / "portal.db"
        document = {
            "mcpServers": {"one": {"url": upstream.url, "pin": True}},
            "portal": {"state": f"sqlite:///{state}"},
        }
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        for words in (("pins",), ("pins", "approve", "one")):
            code, printed = await codemode(tmp_path, *words)
            assert code == Exit.USAGE and f"There is no database at {state} yet" in printed
        code, printed = await codemode(tmp_path, "tools")
        assert code == Exit.OK and "one.echo" in printed
        assert not state.parent.exists()


async def test_approvals_that_cannot_be_read_stop_a_command(tmp_path: Path) -> None:
    document = {
        "mcpServers": {"one": {"url": "http://127.0.0.1:1/mcp", "pin": True}},
        "portal": {"pinned": "pins.json"},
    }
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    (tmp_path / "pins.json").write_text("{}")
    (tmp_path / "pins.json").chmod(0o600)
    code, printed = await codemode(tmp_path, "tools")
    assert code == Exit.USAGE and "these are no approvals" in printed
