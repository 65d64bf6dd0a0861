"""Arguments and results that an operator lets a portal keep, and what the commands make of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from codemode import CodeTool
from portal.app import Parts, serving
from portal.calls import Call, Gate
from portal.calls.gate import Denial
from portal.cli.exits import Exit
from portal.config import parse_config
from portal.errors import ConfigError
from portal.state import KeyRing
from portal.upstream import CallContext
from tests.portal.app.test_log import place_of, stored
from tests.portal.cli.command import in_process
from tests.portal.portals import MODERN, client_of, opened
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
MARKER, SECRET = "a-marker-of-somebody-31c8", "a-secret-of-somebody-5f0c"
ECHO = {"server": "up", "tools": ["echo"], "arguments": True, "results": True}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def document(folder: Path, upstream: Hosted | None, **logs: Any) -> dict[str, Any]:
    servers = {} if upstream is None else {"up": {"url": upstream.url}}
    return {"mcpServers": servers, "portal": {"state": f"sqlite:///{folder}/state.db", "logs": logs}}


def command(folder: Path, config: Mapping[str, Any], *arguments: str) -> Any:
    (folder / "codemode.json").write_text(json.dumps(config))
    return in_process(folder, *arguments)


async def ids_of(folder: Path, config: Mapping[str, Any], *filters: str) -> list[str]:
    done = await asyncio.to_thread(command, folder, config, "logs", "--json", *filters)
    return [str(json.loads(line)["id"]) for line in done.stdout.splitlines()]


async def show(folder: Path, config: Mapping[str, Any], id: str) -> dict[str, Any]:
    done = await asyncio.to_thread(command, folder, config, "logs", "show", id, "--json")
    assert done.returncode == Exit.OK, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


async def call_echo(config: dict[str, Any], *texts: str, gate: Gate | None = None) -> None:
    async with opened(config, parts=Parts(code=None, gate=gate)) as instance:
        await instance.servers.settled()
        async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
            for text in texts:
                await client.call_tool("up_echo", {"text": text})
        assert instance.shared.kept is not None
        await instance.shared.kept.stored()


def nowhere(text: str, folder: Path) -> None:
    for file in folder.rglob("*"):
        assert not file.is_file() or text.encode() not in file.read_bytes(), file


async def test_contents_are_shown_to_who_has_the_key_and_that_is_a_row(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"calls": [ECHO]})
        await call_echo(config, MARKER)
        nowhere(MARKER, tmp_path)
        (id,) = await ids_of(tmp_path, config, "--kind", "tool")
        shown = await show(tmp_path, config, id)
        assert shown["arguments"] == {"text": MARKER} and MARKER in json.dumps(shown["result"])
        assert shown["name"] == "echo" and shown["id"] == int(id)
        nowhere(MARKER, tmp_path)
    (opened_row,) = await stored_kind(config, "change")
    assert (opened_row.method, opened_row.name, opened_row.identity) == ("OPEN", f"logs/{id}", "codemode logs show")


async def stored_kind(config: dict[str, Any], kind: str) -> list[Any]:
    return [row for row in await stored(place_of(config)) if row.kind == kind]


async def test_a_program_is_kept_masked_and_bounded_and_the_command_prints_it(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = f"const secret = '{SECRET}'\nconst cards = '{MARKER}'\nreturn await codemode.up.echo({{text: 'x'}})"
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"programs": True, "maxBytes": 1024})
        async with opened(config, parts=Parts(code=code_tool)) as instance:
            await instance.servers.settled()
            mcp = "mcp?codemode=search_and_execute"
            async with serving(instance) as url, client_of(f"{url}/{mcp}", MODERN) as client:
                await client.call_tool("code", {"code": f"Here it is:\n```js\n{program}\n```"})
                await client.call_tool("code", {"code": f"return 1 // {'x' * 5000}"})
            assert instance.shared.kept is not None
            await instance.shared.kept.stored()
        short, long = sorted(await ids_of(tmp_path, config, "--kind", "run"))
        shown = await show(tmp_path, config, short)
        assert shown["program"] == program.replace(f"'{SECRET}'", "[masked]")
        cut = (await show(tmp_path, config, long))["program"]
        assert cut.startswith("return 1 // xxx") and cut.endswith("[cut]") and len(cut) < 1100
        done = await asyncio.to_thread(command, tmp_path, config, "logs", "show", short)
        assert f"program: {shown['program']}" in done.stdout
        (call,) = await ids_of(tmp_path, config, "--kind", "tool")
        of_call = await show(tmp_path, config, call)
        assert of_call["line"] == 3 and "program" not in of_call and "arguments" not in of_call
        nowhere(MARKER, tmp_path)


class Stops:
    """What the gateway says of programs: one with the word may not run, and nobody keeps one with the secret."""

    async def screen_program(self, program: str, context: CallContext) -> Denial | None:
        return Denial("It has a word in it.", "words") if "stop" in program else None

    async def screen(
        self, content: dict[str, Any], direction: str, call: Call, context: CallContext
    ) -> dict[str, Any] | Denial:
        return content

    async def hides(self, text: str) -> bool:
        return SECRET in text


async def test_a_program_that_a_screening_stops_or_would_find_something_in_is_not_kept(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"programs": True})
        config["portal"]["runs"] = {"record": "on"}
        gate = Gate(screenings=[Stops()], programs=[Stops()])
        async with opened(config, parts=Parts(code=code_tool, gate=gate)) as instance:
            await instance.servers.settled()
            mcp = "mcp?codemode=search_and_execute"
            async with serving(instance) as url, client_of(f"{url}/{mcp}", MODERN) as client:
                ran = []
                spoken = f"return await codemode.up.echo({{text: '{SECRET[:5]}' + '{SECRET[5:]}'}})"
                for program in (f"return 'stop {MARKER}'", f"return '{SECRET}'", "return 7", spoken):
                    answer = await client.call_tool("code", {"code": program})
                    ran.append(answer.structured_content["executionId"])
            assert instance.shared.kept is not None
            await instance.shared.kept.stored()
        replays = [await asyncio.to_thread(command, tmp_path, config, "replay", run) for run in ran]
        assert [one.returncode for one in replays] == [Exit.USAGE, Exit.USAGE, Exit.OK, Exit.USAGE]
        assert "it ended before its program began" in replays[0].stderr
        # Also where it is only in what a tool got and gave.
        assert all("data loss prevention" in " ".join(replays[at].stderr.split()) for at in (1, 3))
        found = [await show(tmp_path, config, id) for id in sorted(await ids_of(tmp_path, config, "--kind", "run"))]
        assert [one.get("program") for one in found] == [None, None, "return 7", spoken]
        nowhere(SECRET, tmp_path)


async def test_without_the_setting_or_for_another_tool_nothing_is_kept(tmp_path: Path) -> None:
    async with hosted() as upstream:
        other = {**ECHO, "tools": ["read*"]}
        for logs in ({}, {"contents": {"calls": [other]}}):
            config = document(tmp_path, upstream, **logs)
            await call_echo(config, MARKER)
        for id in await ids_of(tmp_path, config, "--kind", "tool"):
            shown = await show(tmp_path, config, id)
            assert "arguments" not in shown and "result" not in shown
        nowhere(MARKER, tmp_path)


async def test_a_rotation_of_the_keys_takes_them_along(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"calls": [ECHO]})
        await call_echo(config, MARKER)
        (id,) = await ids_of(tmp_path, config, "--kind", "tool")
        before = KeyRing.open(tmp_path / "state.key").kids
        done = await asyncio.to_thread(command, tmp_path, config, "keys", "rotate", "--forget")
        assert done.returncode == Exit.OK, done.stderr
        assert not set(before) & set(KeyRing.open(tmp_path / "state.key").kids)
        assert (await show(tmp_path, config, id))["arguments"] == {"text": MARKER}


async def test_without_the_key_they_do_not_open_and_no_key_is_made(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"calls": [ECHO]})
        await call_echo(config, MARKER)
        (id,) = await ids_of(tmp_path, config, "--kind", "tool")
    (tmp_path / "state.key").rename(tmp_path / "elsewhere")
    shown = await show(tmp_path, config, id)
    assert "arguments" not in shown and not (tmp_path / "state.key").exists()
    KeyRing.open(tmp_path / "state.key")
    done = await asyncio.to_thread(command, tmp_path, config, "logs", "show", id)
    assert done.returncode != Exit.OK and "cannot be opened" in done.stderr


class Redacts:
    """A screening that takes secrets out of what goes out, and stops what has a word in it."""

    async def screen(
        self, content: dict[str, Any], direction: str, call: Call, context: CallContext
    ) -> dict[str, Any] | Denial:
        if "stop" in json.dumps(content):
            return Denial("It has a word in it.", "words")
        if direction == "outgoing":
            return json.loads(json.dumps(content).replace(SECRET, "redacted"))  # type: ignore[no-any-return]
        return content


async def test_what_a_screening_takes_out_or_stops_is_kept_nowhere(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream, contents={"calls": [ECHO]})
        gate = Gate(screenings=[Redacts()])
        await call_echo(config, f"{SECRET} and so on", gate=gate)
        with pytest.raises(BaseExceptionGroup):
            await call_echo(config, f"stop {MARKER}", gate=gate)
        stopped, kept = sorted(await ids_of(tmp_path, config, "--kind", "tool"), reverse=True)
        assert (await show(tmp_path, config, kept))["arguments"] == {"text": "redacted and so on"}
        assert "arguments" not in await show(tmp_path, config, stopped)
        nowhere(SECRET, tmp_path)
        nowhere(MARKER, tmp_path)


async def test_the_setting_is_taken_up_while_the_portal_runs(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(tmp_path, upstream)
        async with opened(config, parts=Parts(code=None)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
                await client.call_tool("up_echo", {"text": "before"})
                config["portal"]["logs"] = {"contents": {"calls": [ECHO], "mask": ["text"]}}
                assert await instance.apply(parse_config(config, env={})) == ()
                await client.call_tool("up_echo", {"text": "after"})
        before, after = sorted(await ids_of(tmp_path, config, "--kind", "tool"))
        assert "arguments" not in await show(tmp_path, config, before)
        assert (await show(tmp_path, config, after))["arguments"] == {"text": "[masked]"}


@pytest.mark.parametrize(
    ("portal", "words"),
    [
        ({"logs": {"database": "sqlite:///logs.db", "contents": {"calls": [ECHO]}}}, "needs a database of the portal"),
        ({"state": "sqlite:///s.db", "logs": {"keepDays": 3, "contents": {"calls": [ECHO]}}}, "at most as long"),
        ({"state": "sqlite:///s.db", "logs": {"contents": {"calls": []}}}, "keeps nothing"),
        ({"state": "sqlite:///s.db", "logs": {"contents": {"programs": False}}}, "keeps nothing"),
        ({"state": "sqlite:///s.db", "logs": {"contents": {"calls": [{"server": "up"}]}}}, "keeps nothing"),
        ({"state": "sqlite:///s.db", "logs": {"contents": {"calls": [ECHO], "masks": ["a"]}}}, "masks"),
    ],
)
def test_a_setting_that_cannot_hold_is_refused(portal: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"mcpServers": {}, "portal": portal}, env={})


async def test_what_apply_changes_is_a_row_of_the_log_of_the_portal(tmp_path: Path) -> None:
    config = document(tmp_path, None)
    config["portal"]["identity"] = {}
    async with opened(config, parts=Parts(code=None)) as instance:
        group = {"include": [{"email": {"email": "a-value@example.com"}}]}
        (tmp_path / "objects.yaml").write_text(yaml.safe_dump({"groups": {"Staff": group}}))
        done = await asyncio.to_thread(command, tmp_path, config, "apply", "objects.yaml", "--yes")
        assert done.returncode == Exit.OK, done.stderr
        assert instance.shared.log is not None
    (row,) = await stored_kind(config, "change")
    assert (row.method, row.identity, row.outcome) == ("POST", "codemode apply", "ok")
    assert row.name.startswith("/access/groups/")
