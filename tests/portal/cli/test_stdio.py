"""`codemode stdio` as a client starts it: a process that writes nothing but the protocol, and ends with its client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from portal.cli.exits import Exit
from tests.patience import PATIENCE
from tests.portal.cli.command import SECONDS, as_process, as_quick_process, in_process
from tests.portal.stdio.piping import INITIALIZE, INITIALIZED
from tests.zygote import quick, quick_entry

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

ROOT = Path(__file__).parents[3]
SHIPPING = {"command": sys.executable, "args": ["-m", "portal.demo.shipping"], "cwd": str(ROOT)}
PROGRAM = "return (await codemode.shipping.list_shipments({limit: 1})).shipments.length"
COMMAND = [sys.executable, "-m", "portal.cli", "stdio"]


def quick_command() -> list[str]:
    """The same without its imports, where neither its start nor the processes that it starts are the subject."""
    return quick("portal.cli", "stdio")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def configured(folder: Path, servers: dict[str, Any] | None = None, **document: Any) -> Path:
    file = folder / "codemode.json"
    file.write_text(json.dumps({"mcpServers": {"shipping": SHIPPING} if servers is None else servers, **document}))
    return file


def environment(folder: Path) -> dict[str, str]:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    kept = {name: os.environ[name] for name in ("PATH", "CODEMODE_SEMANTIC") if name in os.environ}
    return {**kept, "HOME": str(folder), "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}


class Started:
    """A process of the command, and its pipes."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def say(self, *messages: Any) -> None:
        self.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def next(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def answer(self, id: object) -> Any:
        while (found := self.next()).get("id") != id or "method" in found:
            pass
        return found

    def begin(self) -> None:
        self.say(INITIALIZE, INITIALIZED)
        self.answer(0)

    def close(self) -> tuple[int, str]:
        """Close its input; its exit code and what it said."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said.decode()


@contextmanager
def started(folder: Path, *options: str, quickly: bool = True) -> Iterator[Started]:
    found = Started(folder, [*(quick_command() if quickly else COMMAND), *options])
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for one in children for below in descendants(one))]


def all_end(pids: list[int]) -> bool:
    """Whether all these processes have ended, within a second or a few on a slow machine."""
    until = time.monotonic() + PATIENCE
    left = pids
    while left and time.monotonic() < until:
        left = [pid for pid in left if _lives(pid)]
        time.sleep(0.02)
    return not left


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def called(id: object, name: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_the_python_sdk_runs_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, version: str
) -> None:
    # The SDK takes a server that has not answered after 10 s for one of 2025. On a busy machine imports take longer.
    monkeypatch.setattr("mcp.client.session.DISCOVER_TIMEOUT_SECONDS", PATIENCE)
    configured(tmp_path)
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], cwd=str(tmp_path), env=environment(tmp_path))
    async with asyncio.timeout(SECONDS), Client(server, mode=mode) as client:
        assert client.session.protocol_version == version
        assert [tool.name for tool in (await client.list_tools()).tools] == ["code"]
        found = await client.call_tool("code", {"code": PROGRAM})
        assert found.structured_content is not None and found.structured_content["result"] == 1


def test_a_prepared_list_of_messages_has_all_its_answers(tmp_path: Path) -> None:
    configured(tmp_path)
    messages = [INITIALIZE, INITIALIZED, called(1, "shipping_list_shipments", limit=1)]
    done = as_process(tmp_path, "stdio", "--mode", "tools", stdin="".join(json.dumps(one) + "\n" for one in messages))
    assert done.returncode == Exit.OK
    answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines()) if "method" not in one}
    assert len(json.loads(answers[1]["result"]["content"][0]["text"])["shipments"]) == 1


def test_a_slow_and_a_broken_server_delay_no_first_answer(tmp_path: Path) -> None:
    slow = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    configured(
        tmp_path,
        {
            "slow": slow,
            "gone": {"command": "no-such-program-anywhere"},
            "shipping": quick_entry("portal.demo.shipping"),
        },
    )
    with started(tmp_path) as process:
        process.begin()
        begun = time.monotonic()
        process.say({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, called(2, "code", code="return 1"))
        assert process.answer(2)["result"]["structuredContent"]["result"] == 1
        # Half of the time for which a server is waited for that connects: it was not waited for.
        assert time.monotonic() - begun < 15
        code, said = process.close()
    assert code == Exit.OK
    assert "codemode: gone: error, cannot be started: No such file or directory" in said


PRINTING = """
import os, sys
def chatter(*_):
    print("a print of ours")
    os.write(1, b"a library writes to descriptor 1\\n")
    sys.__stdout__.write("so does this\\n")
    sys.__stdout__.flush()
import portal.endpoint.tools as tools
listing = tools.ToolMethods._view
async def noisy(self, request):
    chatter()
    return await listing(self, request)
tools.ToolMethods._view = noisy
from portal.cli import main
main(sys.argv[1:])
"""


def test_what_is_printed_never_gets_between_the_messages(tmp_path: Path) -> None:
    configured(tmp_path, {"shipping": quick_entry("portal.demo.shipping")})
    file = tmp_path / "printing.py"
    file.write_text(textwrap.dedent(PRINTING))
    messages = [INITIALIZE, INITIALIZED, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]
    done = subprocess.run(
        [sys.executable, str(file), "stdio"],
        cwd=tmp_path,
        env=environment(tmp_path),
        input="".join(json.dumps(one) + "\n" for one in messages),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    for line in done.stdout.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
    for words in ("a print of ours", "a library writes to descriptor 1", "so does this"):
        assert words in done.stderr


def test_half_lines_and_letters_cut_in_two_are_put_together(tmp_path: Path) -> None:
    configured(tmp_path, {})
    with started(tmp_path) as process:
        line = json.dumps({**INITIALIZE, "id": "ä🎈"}, ensure_ascii=False).encode() + b"\n"
        for byte in line:
            process.write(bytes([byte]))
        assert process.answer("ä🎈")["result"]["serverInfo"]["name"] == "codemode-portal"
        process.write(b'{"jsonrpc":"2.0","id":9,"method":"ping"')
        assert process.close()[0] == Exit.OK


def test_a_message_of_any_size_ends_nothing(tmp_path: Path) -> None:
    configured(tmp_path, {})
    with started(tmp_path) as process:
        process.begin()
        for id, size in ((1, 5), (2, 20)):
            process.say(called(id, "code", code="x" * size * 1024 * 1024))
            assert "larger than" in (message := process.answer(id)["error"]["message"]) or "longer than" in message
        process.say({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        assert process.answer(3)["result"] == {}


@pytest.mark.parametrize("how", ["input", "SIGTERM", "SIGINT", "output"])
def test_it_ends_with_its_client_and_leaves_no_process(tmp_path: Path, how: str) -> None:
    # It takes no notice of the end of its input.
    stubborn = {"command": "/bin/sh", "args": ["-c", "trap '' TERM; while :; do sleep 1000; done"]}
    configured(tmp_path, {"shipping": SHIPPING, "stubborn": stubborn})
    with started(tmp_path, quickly=False) as process:
        process.begin()
        process.say(called(1, "code", code=PROGRAM))
        assert process.answer(1)["result"]["structuredContent"]["result"] == 1
        below = descendants(process.process.pid)
        assert len(below) >= 3
        if how == "output":
            assert process.process.stdout is not None
            process.process.stdout.close()
            process.process.stdout = None
            process.say({"jsonrpc": "2.0", "id": 2, "method": "ping"})
            assert process.process.wait(PATIENCE) == Exit.OK
        elif how == "input":
            begun = time.monotonic()
            assert process.close()[0] == Exit.OK
            assert time.monotonic() - begun < PATIENCE / 4
        else:
            process.process.send_signal(signal.Signals[how])
            assert process.process.wait(PATIENCE) == Exit.OK
        assert all_end(below)


def test_a_client_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    configured(tmp_path)
    client = textwrap.dedent(f"""
        import json, subprocess, sys
        found = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for message in ({INITIALIZE!r}, {called(1, "code", code=PROGRAM)!r}):
            found.stdin.write(json.dumps(message).encode() + b"\\n")
            found.stdin.flush()
            found.stdout.readline()
        print(found.pid, flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", client],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        portal = int(process.stdout.readline())
        below = [portal, *descendants(portal)]
        process.kill()
    assert all_end(below)


def test_a_changed_document_is_taken_up_and_the_client_is_told(tmp_path: Path) -> None:
    configured(tmp_path, {})
    with started(tmp_path, "--mode", "tools") as process:
        process.begin()
        configured(tmp_path, {"shipping": quick_entry("portal.demo.shipping")})
        while process.next().get("method") != "notifications/tools/list_changed":
            pass
        process.say({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert "shipping_track" in [tool["name"] for tool in process.answer(1)["result"]["tools"]]


def test_several_at_once_share_the_database_of_a_document(tmp_path: Path) -> None:
    shipping = {**quick_entry("portal.demo.shipping"), "pin": True}
    configured(tmp_path, {"shipping": shipping}, portal={"state": "sqlite:///state.db", "logs": {}})
    with started(tmp_path) as one, started(tmp_path) as two:
        for process in (one, two):
            process.begin()
        for process in (one, two):
            process.say(called(1, "code", code=PROGRAM))
            assert process.answer(1)["result"]["structuredContent"]["result"] == 1
        assert one.close()[0] == two.close()[0] == Exit.OK
    rows = in_process(tmp_path, "logs", "--json").stdout
    assert rows.count('"list_shipments"') == 2


def test_a_further_portal_shows_its_own_selection(tmp_path: Path) -> None:
    configured(tmp_path, portals={"docs": {"servers": []}})
    messages = [INITIALIZE, INITIALIZED, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]
    stdin = "".join(json.dumps(one) + "\n" for one in messages)
    done = as_quick_process(tmp_path, "stdio", "--portal", "docs", "--mode", "tools", stdin=stdin)
    answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines()) if "method" not in one}
    assert answers[0]["result"]["serverInfo"]["name"] == "docs"
    refused = in_process(tmp_path, "stdio", "--portal", "dogs")
    assert refused.returncode == Exit.USAGE
    assert "has no portal 'dogs'; its further portals are: docs." in refused.stderr


def test_the_portal_of_another_document_is_a_server_like_any_other(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file = configured(other, {"shipping": quick_entry("portal.demo.shipping")})
    words = [*COMMAND[1:], "--config", str(file), "--mode", "tools"]
    entry = {"command": COMMAND[0], "args": words, "env": {"PYTHONPATH": str(ROOT)}}
    # It is started twice over, imports and all: a busy machine takes longer than the 30 s that a program waits for it.
    configured(tmp_path, {"other": {**entry, "connectTimeout": PATIENCE}})
    with started(tmp_path, quickly=False) as process:
        process.begin()
        program = "return (await codemode.other.shipping_list_shipments({limit: 1})).shipments.length"
        process.say(called(1, "code", code=program))
        assert process.answer(1)["result"]["structuredContent"]["result"] == 1
        below = descendants(process.process.pid)
        assert process.close()[0] == Exit.OK
    assert all_end(below)


def test_where_people_sign_in_it_says_how_to_connect_instead(tmp_path: Path) -> None:
    configured(tmp_path, {}, portal={"state": "sqlite:///state.db", "identity": {"publicUrl": "https://t.example"}})
    refused = in_process(tmp_path, "stdio")
    assert refused.returncode == Exit.USAGE and refused.stdout == ""
    assert "connect to it with `codemode stdio --url https://t.example/mcp`." in refused.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "http://tools.example.com/mcp"], "can be read on the way: use https"),
        (["--url", "ftp://tools.example.com/mcp"], "takes the address of an MCP endpoint"),
        (["--url", "https://t.example/mcp", "--header", "Bearer xyz"], "--header takes a name and a value"),
        (["--url", "https://t.example/mcp", "--config", "x.json"], "--config and --portal are of one that runs here"),
        (["--header", "A: b"], "name it with --url"),
        (["--url", "https://t.example/mcp?codemode=off", "--mode", "code"], "leave one of them out"),
        (["--url", "https://t.example/mcp?codemode=maybe"], "is no value of 'codemode'"),
        (
            ["--url", "https://t.example/mcp", "--header", "Authorization: Bearer ${NOT_SET_ANYWHERE}"],
            "NOT_SET_ANYWHERE",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path, options: list[str], words: str) -> None:
    refused = in_process(tmp_path, "stdio", *options)
    assert refused.returncode == Exit.USAGE and refused.stdout == ""
    assert words in refused.stderr and "xyz" not in refused.stderr
