"""Servers that are child processes: their start, their messages, their end, and that no process stays behind."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.config import StdioServer, parse_config
from portal.errors import OutcomeUnknown, ResponseTooLarge, UpstreamError
from portal.upstream import NO_PROCESS_LOGS
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.last_words import LastWords
from portal.upstream.transports.stdio import LineReader, StdioPipe
from portal.upstream.transports.wire import id_of_answer
from tests.portal.upstreams.hosting import real_stdio_entry, stdio_entry
from tests.portal.upstreams.watching import ready, watched

pytestmark = pytest.mark.anyio

# A server in a few lines, for what the SDK's would never do. `{act}` runs for each call.
SCRIPT = """
import json, os, subprocess, sys, time
def send(message): sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        send({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
              "serverInfo": {"name": "script", "version": "1"}}})
    elif method == "tools/list":
        send({"jsonrpc": "2.0", "id": id, "result": {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]}})
    elif method == "tools/call":
        text = message["params"]["arguments"]["text"]
        exec(text)
    elif id is not None and method:
        DISCOVER
"""
REFUSE = 'send({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})'
ANSWER = 'send({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "fine"}]}})'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Running:
    """A process of the system, by a handle that can never mean another one."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)

    def ended(self) -> bool:
        """Whether the process ends within ten seconds."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        try:
            return bool(poll.poll(10_000))
        finally:
            os.close(self._handle)


UNENDED = """
import json, sys
results = {
    "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "n"}},
    "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "fine"}]},
}
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        found = results.get(message["method"])
        found = {"result": found} if found else {"error": {"code": -32601, "message": "Method not found"}}
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], **found})
        sys.stdout.buffer.write(b"BEFORE" + answer.encode() + b"AFTER")
        sys.stdout.flush()
"""


def script(discover: str = REFUSE) -> dict[str, object]:
    return {"command": sys.executable, "args": ["-c", SCRIPT.replace("DISCOVER", discover)]}


async def test_the_process_gets_its_arguments_environment_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_SECRET", "not for children")
    entry = real_stdio_entry()
    async with ready({**entry, "env": {**entry["env"], "GIVEN": "value"}, "cwd": str(tmp_path)}) as up:
        assert await up.text("environment", "GIVEN") == f"value {tmp_path}"
        assert await up.text("environment", "PORTAL_SECRET") == f" {tmp_path}"
        assert await up.text("environment", "PATH") != f" {tmp_path}"


async def test_a_process_that_dies_fails_its_calls_and_is_started_again() -> None:
    async with ready(stdio_entry()) as up:
        first = await up.text("pid")
        with pytest.raises(OutcomeUnknown) as caught:
            await up.call("die", "a broken heart")
        assert "exited with status 3" in caught.value.message
        assert "dying of a broken heart" in caught.value.message
        assert await up.text("pid") != first


async def test_a_process_killed_while_idle_is_started_again_before_anybody_calls() -> None:
    async with ready(stdio_entry()) as up:
        os.kill(int(await up.text("pid")), 9)
        connection = await up.until(lambda connection: connection.state == "stale")
        assert "ended by SIGKILL" in (connection.reason or "")
        await up.until(lambda connection: connection.state == "ready")


async def test_a_secret_in_the_last_words_of_a_process_is_not_shown() -> None:
    shell = {"command": "sh", "args": ["-c", "echo token is $TOKEN >&2; exit 4"], "env": {"TOKEN": "hunter2-hunter2"}}
    async with watched(shell) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert connection.reason == "the process exited with status 4 (token is [redacted])"


INHERITED = {
    "HTTPS_PROXY": "http://proxy.example:3128",
    "https_proxy": "http://proxy.example:3128",
    "No_Proxy": "localhost",
    "ALL_PROXY": "socks5://proxy.example",
    "SSL_CERT_FILE": "/etc/company.pem",
    "NODE_EXTRA_CA_CERTS": "/etc/company.pem",
    "REQUESTS_CA_BUNDLE": "/etc/company.pem",
    "LANG": "de_DE.UTF-8",
    "LC_TIME": "de_DE.UTF-8",
    "TZ": "Europe/Berlin",
}


async def test_the_process_gets_proxies_certificates_and_language_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = {"LC_API_KEY": "x", "CODEMODE_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "SSLKEYLOGFILE": "x"}
    for name, value in {**INHERITED, **secrets, "LC_ALL": "() { :; }"}.items():
        monkeypatch.setenv(name, value)
    entry = real_stdio_entry()
    async with ready({**entry, "env": {**entry["env"], "TZ": "UTC"}}) as up:
        for name, value in {**INHERITED, "TZ": "UTC"}.items():
            assert (await up.text("environment", name)).split(" ")[0] == value, name
        for name in (*secrets, "LC_ALL"):
            assert (await up.text("environment", name)).split(" ")[0] == "", name


def shell(text: str) -> dict[str, object]:
    return {"command": "sh", "args": ["-c", text]}


async def reason_of(entry: Mapping[str, object], **settings: Any) -> str:
    async with watched(entry, **settings) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        return connection.reason or ""


async def test_what_a_process_wrote_instead_of_a_message_is_in_the_reason() -> None:
    said = await reason_of(shell("echo usage: server KEY; printf 'no key given'; exit 2"))
    assert said == "the process exited with status 2 (usage: server KEY | no key given)"
    logged = await reason_of(shell("""echo '{"level": "error", "msg": "no key"}'; exit 2"""))
    assert logged == 'the process exited with status 2 ({"level": "error", "msg": "no key"})'


@pytest.mark.parametrize(("before", "after"), [("", ""), (r"\n", ""), ("", r"\r"), (r"Content-Length: 99\r\n\r\n", "")])
async def test_a_message_needs_no_newline_behind_it(before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each of its five messages is waited for that long; no message of it pauses inside.
    monkeypatch.setattr("portal.upstream.transports.stdio._UNENDED_SECONDS", 0.1)
    program = UNENDED.replace("BEFORE", before).replace("AFTER", after)
    async with ready({"command": sys.executable, "args": ["-c", program]}) as up:
        assert await up.text("echo") == "fine"
        assert await up.text("echo") == "fine"


async def test_a_message_that_pauses_behind_an_object_in_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.transports.stdio._UNENDED_SECONDS", 0)
    stream = asyncio.StreamReader()
    line = asyncio.create_task(LineReader(stream, 1000).next())
    for part in (b'{"jsonrpc":"2.0","id":1,"result":{"a":{}', b',"b":{}', b"}}"):
        stream.feed_data(part)
        for _ in range(10):
            await asyncio.sleep(0)
    assert await line == b'{"jsonrpc":"2.0","id":1,"result":{"a":{},"b":{}}}'


async def test_a_question_that_a_process_leaves_open_is_in_the_reason() -> None:
    said = await reason_of(shell("printf 'Enter your API key: '; sleep 1000"), connectTimeout=1)
    assert said == "did not answer within 1 s of connecting (it wrote: Enter your API key:)"


async def test_what_a_process_wrote_while_it_did_not_answer_is_in_the_reason() -> None:
    said = await reason_of(shell("echo Enter your password:; echo on a terminal >&2; sleep 1000"), connectTimeout=1)
    assert said.startswith("did not answer within 1 s of connecting (it wrote: ")
    assert "Enter your password:" in said and "on a terminal" in said


PYTHON_TRACE = """import sys
def deep(n): return deep(n - 1) if n else {}["the key that is missing"]
deep(30)
"""
NODE_TRACE = r"""node:internal/modules/cjs/loader:1228
  throw err;
  ^

Error: Cannot find module '/srv/server.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15)
    at Module._load (node:internal/modules/cjs/loader:1051:27)
    at Function.executeUserEntryPoint [as runMain] (node:internal/modules/run_main:174:12)
    at node:internal/main/run_main_module:28:49 {
  code: 'MODULE_NOT_FOUND',
  requireStack: []
}

Node.js v20.20.2
"""


async def test_the_end_of_a_process_s_words_is_shown_with_the_error_and_without_its_frames() -> None:
    python = await reason_of({"command": sys.executable, "args": ["-c", PYTHON_TRACE]})
    assert python.endswith("KeyError: 'the key that is missing')")
    assert "File" not in python
    node = await reason_of({"command": sys.executable, "args": ["-c", f"import sys; sys.exit({NODE_TRACE!r})"]})
    assert "Error: Cannot find module '/srv/server.js'" in node
    assert "at Module" not in node
    long = await reason_of(
        shell("for n in $(seq 200); do echo line $n is of no use >&2; done; echo the error >&2; exit 1")
    )
    assert long.startswith("the process exited with status 1 (…")
    assert long.endswith("line 200 is of no use | the error)")
    assert len(long) < 300, "as long as a reason may be in /healthz"


async def test_a_secret_is_not_shown_wherever_the_words_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-p%40ssword@proxy.example")
    told = 'echo "$FILL$TOKEN" "$HTTPS_PROXY" "proxy-p@ssword" >&2; exit 4'
    for fill in range(130, 220, 6):
        secret = {"TOKEN": "hunter2-hunter2-hunter2", "FILL": "x" * fill}
        said = await reason_of({**shell(told), "env": secret})
        assert "hunter2" not in said and "ssword" not in said


@pytest.mark.parametrize("command", ["/no/such/program", "no-such-program-anywhere", "nul\0byte"])
async def test_a_program_that_is_not_there_is_said_to_be(command: str) -> None:
    async with watched({"command": command}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert (connection.reason or "").startswith("cannot be started:")


async def test_a_command_line_in_command_is_told_to_be_one() -> None:
    async with watched({"command": "no-such-program -y some-package"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "each of its arguments into `args`" in (connection.reason or "")


async def test_a_folder_that_is_not_there_is_told_from_a_program_that_is_not(tmp_path: Path) -> None:
    """The system says of both that there is no such file."""
    async with watched({"command": sys.executable, "cwd": str(tmp_path / "gone")}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        reason = connection.reason or ""
        assert "its folder is not there" in reason and "correct its `cwd`" in reason and sys.executable not in reason


async def test_a_server_that_exits_on_an_unknown_first_message_is_served_by_the_handshake() -> None:
    async with ready(script(discover="sys.exit(7)")) as up:
        assert up.connection.protocol == "2025-06-18"
        assert up.connection.negotiated.generation == "legacy"
        assert await up.text("act", ANSWER) == "fine"


async def test_a_server_that_ignores_an_unknown_first_message_is_served_by_the_handshake() -> None:
    async with ready(script(discover="pass"), connectTimeout=2) as up:
        assert up.connection.protocol == "2025-06-18"


async def test_lines_that_are_no_messages_are_passed_over() -> None:
    noise = ["", "hello from a library", "{", "[]", "null", '{"id": 99, "result": {}}', '{"result": {}}', "\x00\xff"]
    act = f'[sys.stdout.write(line + "\\n") for line in {noise!r}]; {ANSWER}'
    async with ready(script()) as up:
        assert await up.text("act", act) == "fine"


@pytest.mark.parametrize("order", ["first", "last"])
async def test_a_result_over_the_limit_fails_its_call_and_keeps_the_link(order: str) -> None:
    big = '{"content": [{"type": "text", "text": "x" * 3_000_000}]}'
    message = f'{{"jsonrpc": "2.0", "id": id, "result": {big}}}'
    if order == "last":
        message = f'{{"result": {big}, "jsonrpc": "2.0", "id": id}}'
    async with ready(script(), maxResultBytes=1_000_000) as up:
        with pytest.raises(ResponseTooLarge):
            await up.call("act", f"send({message})")
        assert await up.text("act", ANSWER) == "fine"


async def test_a_line_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.negotiate.PAGE_BYTES", 1_000_000)
    async with ready(script(), maxResultBytes=1_000_000, timeout=30) as up:
        endless = "[sys.stdout.write('x' * 1_000_000) for _ in range(50)]; sys.stdout.write(chr(10)); " + ANSWER
        with pytest.raises(UpstreamError, match="answers no call and has more than"):
            await up.call("act", endless)
        await up.until(lambda connection: connection.state == "ready")


async def test_closing_ends_the_process_and_whatever_it_started() -> None:
    async with ready(script()) as up:
        start = "child = subprocess.Popen(['sleep', '1000'])"
        tell = ANSWER.replace('"fine"', "str([os.getpid(), child.pid])")
        ids = await up.text("act", f"{start}; {tell}")
        processes = [Running(int(pid)) for pid in ids.strip("[]").split(", ")]
    assert all(process.ended() for process in processes)


async def test_a_process_that_ignores_the_end_of_its_input_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.upstream.transports.stdio._EXIT_SECONDS", 0.1)
    monkeypatch.setattr("portal.upstream.transports.stdio._TERM_SECONDS", 0.1)
    async with ready(script()) as up:
        stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        tell = ANSWER.replace('"fine"', "str(os.getpid())")
        pid = await up.text("act", f"{stubborn}; {tell}")
        process = Running(int(pid))
        hanging = asyncio.create_task(up.call("act", "time.sleep(1000)"))
        await up.connection.notify("notifications/roots/list_changed", {})
    with pytest.raises(UpstreamError):
        await hanging
    assert process.ended()


@given(lines=st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), cut=st.integers(1, 40))
@example(lines=[b"\t"], cut=40)
@example(lines=[b"\t", b"a" * 30], cut=40)
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], cut: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    loop = asyncio.new_event_loop()
    reader = LineReader(asyncio.StreamReader(loop=loop), 20)
    loop.close()
    for start in range(0, len(data), cut):
        reader.feed(data[start : start + cut])
    expected = [line if len(line) <= 20 else TooLarge(line[:512], line[-512:]) for line in lines]
    assert list(reader._ready) == [line for line in expected if isinstance(line, TooLarge) or line.strip()]


@given(st.integers(0, 10**17), st.sampled_from(["first", "last", "last-version"]), st.booleans())
def test_the_id_of_a_discarded_answer_is_found_at_either_end(number: int, where: str, spaced: bool) -> None:
    colon = ": " if spaced else ":"
    version, answer = f'"jsonrpc"{colon}"2.0"', f'"result"{colon}' + '{"text":"' + "x" * 2000 + '"}'
    ours = f'"id"{colon}{number}'
    line = {
        "first": f"{{{version},{ours},{answer}}}",
        "last": f"{{{answer},{version},{ours}}}",
        "last-version": f"{{{answer},{ours},{version}}}",
    }[where].encode()
    assert id_of_answer(line[:512], line[-512:]) == number


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


async def test_a_process_is_killed_when_its_closing_is_cut_off() -> None:
    document = {"mcpServers": {"s": {"command": sys.executable, "args": ["-c", STUBBORN]}}}
    config = parse_config(document, env={}).servers["s"]
    assert isinstance(config, StdioServer)
    pipe = await StdioPipe.open(config, 1000, LastWords(), NO_PROCESS_LOGS.of("s"))
    assert await pipe.receive() == b"ready"
    closing = asyncio.create_task(pipe.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await pipe._process.wait()
    assert "SIGKILL" in pipe.end_reason()
