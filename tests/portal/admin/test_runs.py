"""Runs of programs over the admin API: real programs at a real portal, watched as they go on, ended, and read after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudflare
import pytest

from codemode import CodeTool
from portal.admin.api.permissions import group_id
from portal.admin.tokens import PermissionGroup, TokenBody, TokenPolicy
from portal.app import Instance, Parts, serving
from portal.calls import Call, Gate
from portal.calls.gate import Denial
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.admin.test_logs import MCP, get, refused, words
from tests.portal.portals import MODERN, KeptEvents, client_of, opened
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

MIXED = """```js
const all = await Promise.all([1, 2, 3].map(() => codemode.up.hang({ text: "x" })))
let why = []
for (const call of [codemode.up.fail, codemode.up.progress])
  await call({ text: "x" }).catch((error) => why.push(error.kind ?? "error"))

await codemode.up.echo({ text: "y".repeat(5000), token: 1 })
return why
```"""
PROGRAM = MIXED.removeprefix("```js\n").removesuffix("\n```")


class Refuses:
    """An admission that denies one tool by a policy, and lets nobody else wait."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        return Denial("Not for programs", policy="no-progress") if call.name == self._tool else None


@dataclass
class Watched:
    api: Api
    instance: Instance
    upstream: Hosted
    mcp: str

    async def code(self, program: str, **options: Any) -> Any:
        async with client_of(f"{self.mcp}?codemode=search_and_execute", MODERN) as client:
            return await client.call_tool("code", {"code": program}, **options)

    @asynccontextmanager
    async def running(self, program: str) -> AsyncIterator[asyncio.Task[Any]]:
        """A block in which a program runs; it ends with the block at the latest."""
        task = asyncio.create_task(self.code(program))
        try:
            yield task
        finally:
            self.upstream.upstream.release.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stored(self) -> None:
        assert self.instance.shared.log is not None and self.instance.shared.kept is not None
        await self.instance.shared.log.stored()
        await self.instance.shared.kept.stored()

    async def run(self, run_id: str, **query: Any) -> Any:
        return (await get(self.api, f"/runs/{run_id}", **query))["result"]

    async def live(self, count: int = 1) -> list[Any]:
        """The runs under way, when there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(found := (await get(self.api, "/runs", live=True))["result"]) != count:
                await asyncio.sleep(0.005)
        return list(found)

    async def end(self, run_id: str) -> None:
        async with self.api.async_sdk() as sdk:
            await sdk.delete(f"/accounts/{self.api.account}{MCP}/runs/{run_id}", cast_to=object)


@asynccontextmanager
async def watched(
    folder: Path, code_tool: CodeTool, gate: Gate | None = None, runs: Any = None, **logs: Any
) -> AsyncIterator[Watched]:
    async with hosted() as upstream:
        settings = {"state": f"sqlite:///{folder}/state.db", "logs": logs, "runs": runs or {}}
        document = {"mcpServers": {"up": {"url": upstream.url}}, "portal": settings}
        (folder / "api").mkdir()
        async with opened(document, parts=Parts(code=code_tool, gate=gate)) as instance:
            await instance.servers.settled()
            shared = instance.shared
            more: Any = {"log": shared.log, "runs": shared.runs, "contents": shared.kept}
            async with admin_api(folder / "api", **more) as api, serving(instance) as url:
                yield Watched(api, instance, upstream, f"{url}/mcp")


async def may_read(api: Api) -> str:
    """A token that may read logs and nothing else."""
    groups = (PermissionGroup(id=group_id("Logs Read")),)
    policy = TokenPolicy(
        effect="allow", permission_groups=groups, resources={f"com.cloudflare.api.account.{api.account}": "*"}
    )
    return (await api.admin.tokens.create(TokenBody(name="reads", policies=(policy,)), "test")).value


async def test_a_run_is_shown_with_its_calls_their_lines_and_what_the_model_never_saw(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    gate = Gate(admissions=[Refuses("progress")])
    async with watched(tmp_path, code_tool, gate) as portal:
        async with portal.running(MIXED) as running:
            await portal.upstream.upstream.journal.wait("call hang", 3)
            portal.upstream.upstream.release.set()
            answer = (await running).structured_content
            assert answer["result"] == ["error", "denied"] and not any("line" in call for call in answer["calls"])
            await portal.stored()
            (listed,) = (await get(portal.api, "/runs"))["result"]
            shown = await portal.run(answer["executionId"])
    assert {**listed, "calls_made": 6} == {name: shown[name] for name in listed}
    assert (shown["id"], shown["outcome"], shown["live"]) == (answer["executionId"], "ok", False)
    assert shown["bytes_in"] == len(MIXED) and shown["program"] is None and shown["waiting"] == []
    calls = [(one["call"], one["tool"], one["outcome"], one["line"], one["policy"]) for one in shown["calls"]]
    assert calls == [
        (1, "hang", "ok", 1, ""),
        (2, "hang", "ok", 1, ""),
        (3, "hang", "ok", 1, ""),
        (4, "fail", "tool_error", 4, ""),
        (5, "progress", "denied", 4, "no-progress"),
        (6, "echo", "ok", 6, ""),
    ]
    assert shown["width"] == 3 and shown["calls"][4]["reason"] == "Not for programs"
    received = sum(one["bytes_out"] for one in shown["calls"])
    assert received > 5000 and shown["bytes_unseen"] == received - shown["bytes_out"]
    assert shown["tokens_saved"] == shown["bytes_unseen"] // 4
    starts = [one["start_ms"] for one in shown["calls"]]
    assert starts == sorted(starts) and 0 <= starts[0] and starts[-1] <= shown["duration_ms"]


async def test_a_run_is_watched_while_it_goes_on(tmp_path: Path, code_tool: CodeTool) -> None:
    async with watched(tmp_path, code_tool) as portal:
        program = "await codemode.up.echo({text: 'a'})\nawait Promise.all([\ncodemode.up.hang({text: 'b'}),"
        program += "\ncodemode.up.hang({text: 'c'})])"
        async with portal.running(program) as running:
            await portal.upstream.upstream.journal.wait("call hang", 2)
            (listed,) = await portal.live()
            assert listed["outcome"] == "running" and listed["calls_made"] == 3 and listed["log_id"] is None
            assert (await get(portal.api, "/runs", live=False))["result"] == []
            assert (await get(portal.api, "/runs"))["result_info"]["live"] == 1
            seen = await portal.run(listed["id"])
            assert seen["live"] and seen["bytes_unseen"] is None and seen["width"] == 2
            told = [(one["call"], one["tool"], one["outcome"], one["line"]) for one in seen["calls"]]
            assert told == [(1, "echo", "ok", 1), (2, "hang", "pending", 3), (3, "hang", "pending", 4)]
            assert seen["calls"][0]["bytes_out"] > 0 and seen["calls"][1]["duration_ms"] >= 0
            portal.upstream.upstream.release.set()
            await running
            # At once: its row may still be on its way.
            after = await portal.run(listed["id"])
            assert not after["live"] and after["outcome"] == "ok" and len(after["calls"]) == 3
            assert len(portal.instance.shared.runs) == 0


async def test_an_administrator_ends_a_run_and_its_agent_reads_who_did(tmp_path: Path, code_tool: CodeTool) -> None:
    async with watched(tmp_path, code_tool) as portal:
        events = KeptEvents()
        portal.api.admin.settings.events = events
        program = "await codemode.up.echo({text: 'a'}); try { await codemode.up.hang({text: 'b'}) } finally { "
        program += "await codemode.up.echo({text: 'c'}) }"
        async with portal.running(program) as running:
            await portal.upstream.upstream.journal.wait("call hang")
            (listed,) = await portal.live()
            await portal.end(listed["id"])
            result = await running
            await portal.upstream.upstream.journal.wait("cancelled hang")
            error = result.structured_content["error"]
            assert result.is_error and (error["kind"], error["name"]) == ("cancelled", "RunEnded")
            assert "an administrator of the portal ended this program; 1 of its calls had completed" in error["message"]
            assert ("change", "DELETE", f"{MCP}/runs/{listed['id']}", "ok") in events.said
            shown = await portal.run(listed["id"])
            assert (shown["outcome"], shown["reason"]) == ("cancelled", "cancelled")
            assert [(one["tool"], one["outcome"]) for one in shown["calls"]] == [("echo", "ok"), ("hang", "cancelled")]
            with pytest.raises(cloudflare.APIStatusError) as again:
                await portal.end(listed["id"])
            assert again.value.status_code == 404 and "it has ended, or another process runs it" in words(again.value)


async def test_what_a_run_waits_for_is_told_and_it_can_be_ended_while_it_is_paused(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    login, at_once = Login("echo"), {"patience": 0.001, "patienceWithProgress": 0.001, "durable": "off"}
    async with watched(tmp_path, code_tool, login.gate, at_once) as portal:
        paused = (await portal.code("return await codemode.up.echo({text: 'a'})")).structured_content
        assert paused["status"] == "paused"
        (listed,) = await portal.live()
        waits = {"tool": "up.echo", "text": "Log in to up", "kind": "login"}
        assert listed["waiting"] == [waits] and LINK not in str(listed)
        await portal.end(listed["id"])
        await portal.live(0)
        assert (await portal.run(listed["id"]))["outcome"] == "cancelled"


async def test_runs_are_paged_and_filtered(tmp_path: Path, code_tool: CodeTool) -> None:
    async with watched(tmp_path, code_tool) as portal:
        ids = []
        for number in range(7):
            program = "throw new Error('x')" if number % 3 == 0 else "await codemode.up.echo({text: 'a'})"
            ids.append((await portal.code(program)).structured_content["executionId"])
        await portal.stored()
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = await get(portal.api, "/runs", **query)
            seen += [one["id"] for one in page["result"]]
            if not page["result_info"]["more"]:
                break
            query["before"] = page["result_info"]["before"]
        assert seen == ids[::-1]

        async def found(**query: Any) -> list[str]:
            return [one["id"] for one in (await get(portal.api, "/runs", **query))["result"]][::-1]

        assert await found(outcome="error") == ids[::3]
        assert await found(portal_id="_") == ids and await found(portal_id="other") == []
        assert await found(identity="nobody") == [] and await found(until="2020-01-01T00:00:00Z") == []
        assert await found(since="2020-01-01T00:00:00Z") == ids and await found(live=True) == []
        assert (await refused(portal.api, "/runs", live=True, before=1)).status_code == 400
        assert (await refused(portal.api, "/runs", person="x")).status_code == 400
        assert (await refused(portal.api, "/runs/exec_unknown")).status_code == 404


async def test_a_program_is_shown_where_it_is_kept_to_who_may_and_that_is_a_row(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with watched(tmp_path, code_tool, contents={"programs": True}) as portal:
        events = KeptEvents()
        portal.api.admin.settings.events = events
        secret = 'const password = "hunter-2-of-somebody";\nreturn await codemode.up.hang({text: "x"})'
        async with portal.running(f"```js\n{secret}\n```") as running:
            await portal.upstream.upstream.journal.wait("call hang")
            (listed,) = await portal.live()
            assert (await portal.run(listed["id"], program=True))["program"] == secret
            portal.upstream.upstream.release.set()
            await running
            assert (await portal.run(listed["id"]))["program"] is None
            shown = await portal.run(listed["id"], program=True)
            assert shown["program"].startswith("const password = ") and "hunter-2" not in shown["program"]
            assert shown["program"].splitlines()[1] == secret.splitlines()[1] and shown["calls"][0]["line"] == 2
            assert events.said == [("change", "OPEN", f"{MCP}/runs/{listed['id']}", "ok")] * 2
            token = await may_read(portal.api)
            error = await refused(portal.api, f"/runs/{listed['id']}", token, program=True)
            assert error.status_code == 403 and "Logs Write" in words(error)
            assert await get(portal.api, f"/runs/{listed['id']}", token)


async def test_programs_are_not_kept_unless_the_operator_says_so(tmp_path: Path, code_tool: CodeTool) -> None:
    async with watched(tmp_path, code_tool, contents={"calls": [{"server": "up", "results": True}]}) as portal:
        ran = (await portal.code("return await codemode.up.echo({text: 'x'})")).structured_content
        await portal.stored()
        assert (await portal.run(ran["executionId"], program=True))["program"] is None
