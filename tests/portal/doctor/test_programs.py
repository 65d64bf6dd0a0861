"""What `codemode doctor` finds about servers that are programs: real ones, that work and that do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.config import StdioServer
from portal.doctor import Diagnosis
from portal.doctor.programs import how_to_install, program_facts, program_findings
from portal.upstream import NO_PROCESS_LOGS, ProcessLogReader, ProcessLogs
from tests.portal.doctor.finding import checks, found
from tests.portal.upstreams.hosting import real_stdio_entry
from tests.portal.upstreams.watching import server_config

pytestmark = pytest.mark.anyio
SECONDS = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def looked_at(
    entry: dict[str, Any], *, logs: ProcessLogs = NO_PROCESS_LOGS, seconds: float = SECONDS, **environment: str
) -> list[Diagnosis]:
    server = server_config(entry)
    assert isinstance(server, StdioServer)
    facts = await program_facts(server, {"PATH": os.environ["PATH"], **environment}, logs, seconds)
    return list(program_findings(facts))


def python(text: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-c", text]}


async def test_a_program_that_works_is_started_and_its_tools_are_counted() -> None:
    findings = await looked_at(real_stdio_entry())
    assert not checks(findings)
    assert found(findings, "program.found").level == "ok"
    assert "tools" in found(findings, "program.answers").text


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("raise RuntimeError('set TICKETS_KEY first')", "RuntimeError: set TICKETS_KEY first"),
        ("import sys; print('usage: server KEY'); sys.exit(2)", "status 2 (usage: server KEY)"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
    ids=["missing module", "exception", "usage", "killed"],
)
async def test_a_program_that_ends_is_said_with_the_line_that_matters(program: str, words: str) -> None:
    one = found(await looked_at(python(program)), "program.answers")
    assert one.level == "trouble" and words in one.text
    assert one.fix == "codemode logs up"


async def test_a_program_that_does_not_answer_is_said_with_what_it_wrote() -> None:
    program = "import sys; print('Enter your key: ', end='', flush=True); list(sys.stdin)"
    one = found(await looked_at(python(program), seconds=1), "program.answers")
    assert one.text == "Did not answer within 1 s of connecting (it wrote: Enter your key:)."


async def test_what_an_examined_program_wrote_is_in_its_log(tmp_path: Path) -> None:
    async with ProcessLogs(tmp_path) as logs:
        await looked_at(python("raise RuntimeError('no key')"), logs=logs)
    assert "RuntimeError: no key" in [line.text for line in ProcessLogReader(tmp_path, "up").newest(100)]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("npx", "nodejs.org"),
        ("uvx", "install uv"),
        ("docker", "docs.docker.com"),
        ("python", "python3"),
        ("my-own-server", "install my-own-server"),
    ],
)
async def test_a_runtime_that_is_missing_is_named_with_how_to_install_it(
    tmp_path: Path, command: str, words: str
) -> None:
    one = found(await looked_at({"command": command}, PATH=str(tmp_path)), "program.found")
    assert one.level == "trouble" and f"{command} is not on the PATH" in one.text
    assert words in one.fix and words in how_to_install(command)


async def test_a_program_named_by_its_path_is_said_to_be_there_and_not_to_be_itself(tmp_path: Path) -> None:
    program = tmp_path / "own-server"
    program.write_text(f"#!{sys.executable}\nraise RuntimeError('found')\n")
    program.chmod(0o700)
    by_path = await looked_at({"command": str(program)})
    assert found(by_path, "program.found").text == f"{program} is there."
    by_name = await looked_at({"command": "own-server", "env": {"PATH": str(tmp_path)}})
    assert found(by_name, "program.found").text == f"own-server is {program}."


async def test_the_path_in_the_entry_of_a_server_counts(tmp_path: Path) -> None:
    program = tmp_path / "own-server"
    program.write_text(f"#!{sys.executable}\nraise RuntimeError('found')\n")
    program.chmod(0o700)
    findings = await looked_at({"command": "own-server", "env": {"PATH": str(tmp_path)}})
    assert found(findings, "program.found").level == "ok"
    assert "RuntimeError: found" in found(findings, "program.answers").text


async def test_a_command_line_in_command_and_a_file_that_may_not_be_started_are_told_apart(tmp_path: Path) -> None:
    assert "`args`" in found(await looked_at({"command": "npx -y server"}), "program.found").fix
    file = tmp_path / "server.sh"
    file.write_text("exit 0")
    assert f"chmod +x {file}" in found(await looked_at({"command": str(file)}), "program.found").fix


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    findings = await looked_at({**real_stdio_entry(), "cwd": str(tmp_path / "gone")})
    one = found(findings, "program.folder")
    assert one.level == "trouble" and f"mkdir -p {tmp_path}/gone" in one.fix
    assert "program.folder" not in checks(await looked_at({**real_stdio_entry(), "cwd": str(tmp_path)}))


async def test_a_program_of_node_is_told_to_use_the_proxy(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\nexit 1\n")
    node.chmod(0o700)
    entry, proxy = {"command": str(node)}, "http://proxy.example:3128"
    assert found(await looked_at(entry, HTTPS_PROXY=proxy), "program.proxy").level == "notice"
    told = await looked_at(entry, HTTPS_PROXY=proxy, NODE_USE_ENV_PROXY="1")
    without = await looked_at(entry)
    assert "program.proxy" not in {one.check for one in (*told, *without)}
