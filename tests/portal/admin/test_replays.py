"""Recorded runs of a real portal, replayed over the admin API and on the command line: equal, different, impossible."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudflare
import pytest

from codemode import CodeTool
from portal.app import Instance, Parts, serving
from portal.cli.exits import Exit
from portal.config import parse_config
from portal.errors import ConfigError
from portal.logs.schema import calls, recordings
from portal.shares import Shares
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.admin.test_logs import MCP, words
from tests.portal.admin.test_runs import may_read
from tests.portal.cli.command import in_process
from tests.portal.portals import MODERN, KeptEvents, client_of, opened
from tests.portal.runs.login import Login
from tests.portal.runs.recordings import change_recording, stored_recording
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
SECRET = "planted-with-an-upstream-77f1"
PROGRAM = f"""
const found = await codemode.up.echo({{ text: "{SECRET}" }});
console.log("echoed", found);
const all = await Promise.all([1, 2, 3].map((n) => codemode.up.echo({{ text: "n" + n }})));
return [all.length, Math.random(), Date.now(), found]
"""


@dataclass
class Recorder:
    api: Api
    instance: Instance
    upstream: Hosted
    mcp: str
    folder: Path

    async def code(self, program: str) -> str:
        """The id of a run that has ended, with its recording stored."""
        async with client_of(f"{self.mcp}?codemode=search_and_execute", MODERN) as client:
            answer = await client.call_tool("code", {"code": program})
        shared = self.instance.shared
        assert shared.log is not None and shared.kept is not None
        await shared.log.stored()
        await shared.kept.stored()
        return str(answer.structured_content["executionId"])

    async def replay(self, run_id: str, token: str = "") -> Any:
        async with replace(self.api, token=token or self.api.token).async_sdk() as sdk:
            found: Any = await sdk.post(f"/accounts/{self.api.account}{MCP}/runs/{run_id}/replay", cast_to=object)
            return found["result"]

    async def refusal(self, run_id: str, token: str = "") -> cloudflare.APIStatusError:
        with pytest.raises(cloudflare.APIStatusError) as caught:
            await self.replay(run_id, token)
        return caught.value

    @property
    def calls(self) -> int:
        """How many calls the upstream has had."""
        return sum(entry.startswith("call ") for entry in self.upstream.upstream.journal.entries)

    async def command(self, *arguments: str) -> Any:
        return await asyncio.to_thread(in_process, self.folder, "replay", *arguments)


@asynccontextmanager
async def recording(
    folder: Path, code_tool: CodeTool, login: Login | None = None, **runs: Any
) -> AsyncIterator[Recorder]:
    async with hosted() as upstream:
        settings = {"state": f"sqlite:///{folder}/state.db", "logs": {}, "runs": {"record": "on", **runs}}
        document = {"mcpServers": {"up": {"url": upstream.url}}, "portal": settings}
        (folder / "codemode.json").write_text(json.dumps(document))
        (folder / "api").mkdir()
        gate = None if login is None else login.gate
        async with opened(document, parts=Parts(code=code_tool, gate=gate)) as instance:
            await instance.servers.settled()
            shared = instance.shared
            more: Any = {"log": shared.log, "runs": shared.runs, "contents": shared.kept, "programs": code_tool}
            async with admin_api(folder / "api", **more) as api, serving(instance) as url:
                yield Recorder(api, instance, upstream, f"{url}/mcp", folder)


async def test_a_recorded_run_is_replayed_without_its_servers_beside_the_portal_and_without_it(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with recording(tmp_path, code_tool) as portal:
        events = KeptEvents()
        portal.api.admin.settings.events = events
        run = await portal.code(PROGRAM)
        assert portal.calls == 4
        replayed = await portal.replay(run)
        assert (replayed["equal"], replayed["calls"], replayed["logs"], replayed["ended"]) == (True, 4, 1, "result")
        assert replayed["difference"] is None and replayed["same_build"]
        (row,) = [one for one in events.rows if "replay" in one.name]
        assert (row.kind, row.outcome) == ("change", "ok") and run in row.name
        beside = await portal.command(run)
        assert (beside.returncode, beside.stdout) == (
            Exit.OK,
            f"Equal: {run} again has 4 calls, 1 line logged, and a result.\n",
        )
        await change_recording(portal.instance, run, value="something else")
        changed = await portal.replay(run)
        assert not changed["equal"] and changed["difference"]["what"] == "result"
        assert changed["difference"]["then"] == '"something else"' and SECRET in changed["difference"]["now"]
        token = await may_read(portal.api)
        assert (await portal.refusal(run, token)).status_code == 403
        assert (await portal.refusal("exec_none")).status_code == 404
        assert portal.calls == 4
    without = await portal.command(run)
    assert without.returncode == Exit.PROGRAM_FAILED
    assert without.stdout.startswith('Different at its result: it returned something else.\n- "something else"\n+ [3,')
    as_json = await portal.command(run, "--json")
    assert json.loads(as_json.stdout)["difference"]["what"] == "result"
    none = await portal.command("exec_none")
    assert none.returncode == Exit.USAGE and "The log has no run 'exec_none'" in none.stderr
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


async def test_a_run_that_is_not_recorded_says_so_and_how_it_is_switched_on(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with recording(tmp_path, code_tool, record="off") as portal:
        run = await portal.code("return 1")
        error = await portal.refusal(run)
        assert error.status_code == 409 and '"record": "on"' in words(error)
        done = await portal.command(run)
        assert done.returncode == Exit.USAGE and "This run was not recorded. With" in done.stderr


async def test_a_recording_that_is_not_there_was_lost_or_is_gone_by_age_or_was_never_made(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with recording(tmp_path, code_tool) as portal:
        run = await portal.code("return 1")
        log = portal.instance.shared.log
        assert log is not None

        async def said_of(**values: Any) -> str:
            of_run = calls.update().where(calls.c.run == run, calls.c.kind == "run").values(**values)
            await log.database.write(lambda connection: connection.execute(of_run).close())
            refused = await portal.refusal(run)
            assert refused.status_code == 409
            done = await portal.command(run)
            assert done.returncode == Exit.USAGE
            found = words(refused)
            assert found.rstrip(".") in " ".join(done.stderr.split())
            return found

        # As where the log's database did not take it.
        await log.database.write(lambda connection: connection.execute(recordings.delete()).close())
        minute_ago, ago = (int((time.time() - seconds) * 1_000_000) for seconds in (60, 9 * 86_400))
        assert "was recorded, and its recording was lost before it was stored" in await said_of(at=minute_ago)
        assert "was recorded, and its recording is gone by now: recordings are kept for 7 days" in await said_of(at=ago)
        # A row of an earlier version does not say whether its run was recorded.
        assert "was not recorded, or its recording is gone by now" in await said_of(recording=None)
        assert "was not recorded, or its recording was lost" in await said_of(at=minute_ago)


async def test_a_run_that_was_parked_and_went_on_in_another_process_is_one_recording(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    login, program = Login("echo"), f"console.log('begun'); const a = await codemode.up.echo({{text: '{SECRET}'}});"
    program += "console.log('gone on'); return [a, (await codemode.up.echo({text: 'b'})), Math.random()]"
    async with hosted() as upstream:
        runs = {"record": "on", "durable": "on_park", "patience": 0.001}
        settings = {"state": f"sqlite:///{tmp_path}/state.db", "logs": {}, "runs": runs}
        document = {"mcpServers": {"up": {"url": upstream.url}}, "portal": settings}
        parts = Parts(code=code_tool, gate=login.gate)
        async with opened(document, parts=parts) as first, serving(first) as url:
            await first.servers.settled()
            async with client_of(f"{url}/mcp?codemode=search_and_execute", MODERN) as client:
                paused = (await client.call_tool("code", {"code": program})).structured_content
        assert paused["status"] == "paused"
        login.done.set()
        async with opened(document, parts=parts) as second:
            store, run_id = second.shared.require_store(), paused["executionId"]
            await store.runs.ready_all("", "login")
            ended = asyncio.Event()
            store.subscribe(lambda _: ended.set())
            async with asyncio.timeout(PATIENCE):
                while (found := await store.runs.get(run_id)) is not None and found.state != "completed":
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await ended.wait()
            _, recording = await stored_recording(second, run_id)
    replayed = await code_tool.repeat(recording)
    assert (replayed.calls, replayed.logs, replayed.ended, replayed.difference) == (2, 2, "result", None)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


async def test_a_run_that_ends_while_it_is_parked_says_so_where_its_recording_is_asked_for(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    login = Login("echo")
    async with recording(tmp_path, code_tool, login=login, durable="on_park", patience=0.001) as portal:
        run = await portal.code("return await codemode.up.echo({text: 'x'})")
        parked = portal.instance.shared.parked
        assert parked is not None and await parked.end(run, "somebody ended it")
        shared = portal.instance.shared
        assert shared.log is not None and shared.kept is not None
        await shared.log.stored()
        await shared.kept.stored()
        error = await portal.refusal(run)
        assert error.status_code == 409 and "it was parked when it ended" in words(error)


async def test_a_run_whose_client_left_says_so_where_its_recording_is_asked_for(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    login = Login("echo")
    async with recording(tmp_path, code_tool, login=login, durable="off", patience=60) as portal:
        work = asyncio.create_task(portal.code("return await codemode.up.echo({text: 'x'})"))
        runs = portal.instance.shared.runs
        async with asyncio.timeout(PATIENCE):
            while not runs.all() or not runs.all()[0].waiting:
                await asyncio.sleep(0.01)
            run = runs.all()[0].row.run
            work.cancel()
            await asyncio.wait({work})
            while runs.all():
                await asyncio.sleep(0.01)
        error = await portal.refusal(run)
        assert error.status_code == 409 and "its client left before it ended" in words(error)


async def test_a_recording_for_which_there_was_no_room_says_so(tmp_path: Path, code_tool: CodeTool) -> None:
    async with recording(tmp_path, code_tool) as portal:
        kept = portal.instance.shared.kept
        assert kept is not None
        kept._room = Shares(1000, 500)
        run = await portal.code(f"return '{'x' * 600}'")
        error = await portal.refusal(run)
        assert error.status_code == 409 and "there was no room to keep it" in words(error)
        assert kept.dropped == 1


async def test_a_run_is_replayed_on_the_command_line_as_soon_as_its_client_has_its_answer(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with recording(tmp_path, code_tool) as portal:
        async with client_of(f"{portal.mcp}?codemode=search_and_execute", MODERN) as client:
            answer = await client.call_tool("code", {"code": "return 1"})
            done = await portal.command(answer.structured_content["executionId"])
        assert done.returncode == Exit.OK, done.stderr


def test_recordings_need_a_place() -> None:
    with pytest.raises(ConfigError, match="portal.runs.record"):
        parse_config({"mcpServers": {}, "portal": {"runs": {"record": "on"}}}, file="codemode.json")
