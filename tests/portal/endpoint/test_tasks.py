"""Requests that take longer than their client waits become tasks, for clients that declare the extension."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.endpoint import tasks as tasks_module
from portal.endpoint.task_ids import TaskIds, TaskName
from portal.runs import Owner
from portal.state import KeyRing
from tests.node_tools import install, needs, node
from tests.patience import PATIENCE
from tests.portal.endpoint.conformance import portal_with_tasks
from tests.portal.endpoint.tasking import TASKS, Refused, TaskClient, task_client
from tests.portal.portals import LEGACY, Portal, client_of, portal_over
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
TWO = "const a = await codemode.one.structured({text: 'x'}); return [a, await codemode.one.echo({text: 'y'})]"
URLS: Mapping[str, Any] = {"elicitation": {"url": {}, "form": {}}}
HELPER = ("@modelcontextprotocol/ext-tasks@0.2.2", "@modelcontextprotocol/client@2.4.0")
OWNER = Owner("oidc:ann", "token:agent")


@pytest.fixture
def login() -> Login:
    return Login("echo")


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted(Behaviour()) as one:
        yield one


@asynccontextmanager
async def serving(upstream: Hosted, login: Login, code_tool: Any, folder: Path, **runs: Any) -> AsyncIterator[Portal]:
    settings: dict[str, Any] = {
        "runs": {"patience": 0.001, "patienceWithProgress": 0.001, "durable": "on_park", **runs},
        "state": f"sqlite:///{folder / 'state.db'}",
    }
    async with portal_over({"one": upstream}, code_tool=code_tool, gate=login.gate, **settings) as portal:
        yield portal


async def logged_in(portal: Portal, login: Login) -> None:
    store = portal.instance.shared.store
    assert store is not None
    login.done.set()
    await store.runs.ready_all("", "login")


async def refused(work: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value


# Ids


@given(work=st.from_regex(r"(exec|call)_[0-9a-f]{24}", fullmatch=True), owner=st.sampled_from([OWNER, Owner("", "")]))
def test_an_id_opens_for_its_owner_at_its_portal_and_for_nobody_else(work: str, owner: Owner) -> None:
    keys, name = KeyRing.in_memory(), TaskName(work, datetime(2026, 7, 28, 1, 2, 3, 4, UTC))
    id = TaskIds("p", keys).seal(name, owner)
    assert work not in id and len(id) < 256 and id != TaskIds("p", keys).seal(name, owner)
    assert TaskIds("p", keys).open(id, owner) == name
    for portal, other in (("q", owner), ("p", Owner("oidc:bob", owner.client)), ("p", Owner(owner.person, "name:x"))):
        assert TaskIds(portal, keys).open(id, other) is None
    assert TaskIds("p", KeyRing.in_memory()).open(id, owner) is None


@given(st.text(max_size=600) | st.binary(max_size=300).map(lambda data: data.hex()))
def test_what_is_no_id_opens_for_nobody(text: str) -> None:
    assert TaskIds("p").open(text, OWNER) is None


# Programs


async def test_a_program_that_waits_is_a_task_and_its_result_is_that_of_its_request(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(upstream, login, code_tool, tmp_path) as portal,
        task_client(portal.code, capabilities=URLS) as client,
    ):
        created = await client.run(TWO)
        assert created["resultType"] == "task" and created["status"] in ("working", "input_required")
        assert not created.keys() & {"inputRequests", "requestState", "content", "result"}
        assert 0 < created["ttlMs"] <= 86_400_000 + 60_000 and created["pollIntervalMs"] >= 1000
        task = await client.until(created["taskId"], "input_required")
        ((key, asked),) = task["inputRequests"].items()
        assert (asked["method"], asked["params"]["mode"], asked["params"]["url"]) == ("elicitation/create", "url", LINK)
        # The answer says that the page was shown, and nothing else.
        ack = await client.request(
            "tasks/update", taskId=created["taskId"], inputResponses={key: {"action": "accept"}, "other": {}}
        )
        assert ack.keys() <= {"resultType", "_meta"} and ack["resultType"] == "complete"
        task = await client.get(created["taskId"])
        assert task["status"] == "working" and LINK in task["statusMessage"]
        await logged_in(portal, login)
        task = await client.until(created["taskId"], "completed")
        assert task["result"]["structuredContent"]["result"] == [{"text": "x"}, "y"]
        assert task["createdAt"] == created["createdAt"] < task["lastUpdatedAt"]
        await client.request("tasks/cancel", taskId=created["taskId"])
        assert (await client.get(created["taskId"]))["status"] == "completed"


async def test_a_program_that_is_parked_before_its_client_loses_patience_is_a_stored_task(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(upstream, login, code_tool, tmp_path, patience=0.7) as portal,
        task_client(portal.code, capabilities={"elicitation": {}}) as client,
    ):
        id = (await client.run(TWO))["taskId"]
        task = await client.until(id, "input_required")
        ((_, asked),) = task["inputRequests"].items()
        # This client shows forms, and has not said that it opens pages.
        assert "mode" not in asked["params"] and LINK in asked["params"]["message"]
        await client.request("tasks/cancel", taskId=id)
        assert (await client.until(id, "cancelled"))["statusMessage"] == "the task was cancelled with tasks/cancel"


async def test_a_task_is_its_callers_and_is_asked_for_by_clients_that_declare_the_extension(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(upstream, login, code_tool, tmp_path) as portal, task_client(portal.code) as client:
        id = (await client.run(TWO))["taskId"]
        given: dict[str, dict[str, Any]] = {"tasks/get": {}, "tasks/update": {"inputResponses": {}}, "tasks/cancel": {}}
        for method, more in given.items():
            other = TaskClient(client.http, client.url, name="other")
            unknown = await refused(other.request(method, taskId=id, **more))
            made_up = await refused(client.request(method, taskId="exec_0123456789abcdef01234567", **more))
            assert unknown.code == made_up.code == -32602 and str(unknown) == str(made_up)
            silent = TaskClient(client.http, client.url, tasks=False)
            error = await refused(silent.request(method, taskId=id, **more))
            assert (error.status, error.code) == (400, -32021)
            assert error.data == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
            bent = TaskClient(client.http, client.url, headers={"Mcp-Name": "another"})
            assert (await refused(bent.request(method, taskId=id, **more))).code == -32020
        assert (await client.get(id))["status"] == "working"
        await client.request("tasks/cancel", taskId=id)
        await client.until(id, "cancelled")
        for gone in ("tasks/result", "tasks/list"):
            assert (await refused(client.request(gone, taskId=id))).code == -32601


async def test_without_the_extension_nothing_is_new(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(upstream, login, code_tool, tmp_path) as portal:
        async with task_client(portal.code, tasks=False) as client:
            answer = await client.run(TWO)
            assert (answer["resultType"], answer["structuredContent"]["status"]) == ("complete", "paused")
            assert (await client.request("server/discover"))["capabilities"]["extensions"] == {TASKS: {}}
        async with client_of(portal.code, LEGACY) as session:
            assert session.server_capabilities.extensions is None
            assert (await session.call_tool("code", {"code": TWO})).structured_content["status"] == "paused"


# What lives in this process


async def test_a_call_that_takes_long_is_a_task_that_can_be_cancelled(
    login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with serving(upstream, login, None, tmp_path) as portal, task_client(portal.mcp) as client:
        first, second = [(await client.call("one_hang", arguments={"text": ""})) for _ in range(2)]
        assert first["resultType"] == "task" and (await client.get(first["taskId"]))["status"] == "working"
        await client.request("tasks/cancel", taskId=first["taskId"])
        assert (await client.until(first["taskId"], "cancelled")).keys().isdisjoint({"result", "error"})
        upstream.upstream.release.set()
        task = await client.until(second["taskId"], "completed")
        assert task["result"]["content"] == [{"type": "text", "text": "released"}]


async def test_where_there_is_no_room_for_a_task_its_client_waits_as_ever(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "MOST_LIVE", 0)
    async with (
        serving(upstream, login, code_tool, tmp_path, durable="off") as portal,
        task_client(portal.code) as client,
        task_client(portal.mcp) as plain,
    ):
        hanging = asyncio.create_task(plain.call("one_hang", arguments={"text": ""}))
        await upstream.upstream.journal.wait("call hang")
        upstream.upstream.release.set()
        assert (await hanging)["content"][0]["text"] == "released"
        assert (await client.run("return 1"))["structuredContent"]["result"] == 1


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_task_asks_what_its_server_asks(legacy: bool, login: Login, tmp_path: Path) -> None:
    async with (
        hosted(Behaviour(legacy=legacy)) as upstream,
        serving(upstream, login, None, tmp_path) as portal,
        task_client(portal.mcp, capabilities={"elicitation": {}}) as client,
    ):
        found = await client.call("one_ask", arguments={"text": "Your name?"})
        if found["resultType"] == "input_required":
            # It was quicker than the client's patience. The next round is one of the request.
            assert "taskId" not in found and found["inputRequests"]
            return
        task = await client.until(found["taskId"], "input_required")
        ((key, asked),) = task["inputRequests"].items()
        assert asked["params"]["message"] == "Your name?"
        await client.request(
            "tasks/update", taskId=found["taskId"], inputResponses={key: {"action": "accept", "content": {}}}
        )
        task = await client.until(found["taskId"], "completed")
        assert task["result"]["content"][0]["text"].startswith("accept")


async def test_a_task_that_a_server_makes_is_one_of_the_portal_for_a_client_that_declares_them() -> None:
    async with portal_with_tasks() as url, task_client(url, capabilities={"elicitation": {}}) as client:
        created, asking = await asyncio.gather(client.call("failing_job"), client.call("multi_input"))
        assert created["taskId"] != "job"
        task = await client.until(created["taskId"], "completed")
        assert task["result"]["isError"] is True
        silent = TaskClient(client.http, client.url, tasks=False)
        assert (await refused(silent.call("failing_job"))).code == -32021
        asked = await client.until(asking["taskId"], "input_required")
        first, second = asked["inputRequests"]
        for key, left in ((first, {second}), (second, set())):
            answers = {key: {"action": "accept", "content": {}}}
            await client.request("tasks/update", taskId=asking["taskId"], inputResponses=answers)
            assert set((await client.get(asking["taskId"])).get("inputRequests", ())) == left
        await client.until(asking["taskId"], "completed")


async def test_a_stream_is_told_of_the_tasks_that_it_names(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    async with (
        serving(upstream, login, code_tool, tmp_path) as portal,
        task_client(portal.code) as client,
        task_client(portal.mcp) as plain,
    ):
        stored = (await client.run(TWO))["taskId"]
        live = (await plain.call("one_hang", arguments={"text": ""}))["taskId"]
        async with client.listening(stored, live, "exec_0123456789abcdef01234567") as messages:
            acknowledged = await anext(messages)
            assert acknowledged["params"]["notifications"] == {"taskIds": [stored, live]}
            upstream.upstream.release.set()
            await logged_in(portal, login)
            told: dict[str, list[dict[str, Any]]] = {stored: [], live: []}
            async with asyncio.timeout(PATIENCE):
                while not all(one and one[-1]["status"] == "completed" for one in told.values()):
                    message = await anext(messages)
                    assert message["method"] == "notifications/tasks"
                    meta = message["params"].pop("_meta")
                    assert meta["io.modelcontextprotocol/subscriptionId"] == 1
                    told[message["params"]["taskId"]].append(message["params"])
        assert told[stored][0]["status"] == "working"
        assert told[stored][-1]["result"]["structuredContent"]["result"] == [{"text": "x"}, "y"]
        assert told[live][-1].items() <= (await plain.get(live)).items()
        silent = TaskClient(client.http, client.url, tasks=False)
        error = await refused(silent.request("subscriptions/listen", notifications={"taskIds": [stored]}))
        assert error.code == -32021


async def test_a_stream_is_told_of_a_task_that_waits_anew_while_the_last_state_is_sent(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    login.tools, tell = ("echo", "structured"), tasks_module._TaskStream.tell
    async with (
        serving(upstream, login, code_tool, tmp_path, patience=0.7) as portal,
        task_client(portal.code, capabilities=URLS) as client,
    ):
        id = (await client.run("await codemode.one.echo({text: 'x'}); await codemode.one.structured({text: 'y'})"))[
            "taskId"
        ]
        asked = (await client.until(id, "input_required"))["inputRequests"]

        async def slowly(stream: Any, task: Mapping[str, Any]) -> None:
            await tell(stream, task)
            if "echo" in login.tools and task["status"] == "input_required":
                login.tools = ("structured",)
                store = portal.instance.shared.store
                assert store is not None
                await store.runs.ready_all("", "login")
                while (await client.get(id)).get("inputRequests") in (None, asked):
                    await asyncio.sleep(0.02)

        monkeypatch.setattr(tasks_module._TaskStream, "tell", slowly)
        async with client.listening(id) as messages, asyncio.timeout(PATIENCE):
            await anext(messages)
            assert (await anext(messages))["params"]["inputRequests"] == asked
            assert (await anext(messages))["params"]["inputRequests"] != asked
        await client.request("tasks/cancel", taskId=id)


@pytest.mark.deep
async def test_the_official_helper_for_clients_runs_a_program_that_waits(
    code_tool: CodeTool, login: Login, tmp_path: Path, upstream: Hosted
) -> None:
    folder = await asyncio.to_thread(needs, install, *HELPER)
    program = await asyncio.to_thread(needs, node)
    # Beside the packages, where Node finds them.
    script = folder / "tasking.mjs"
    await asyncio.to_thread(script.write_bytes, Path(__file__).with_name("tasking.mjs").read_bytes())
    async with serving(upstream, login, code_tool, tmp_path, patience=0.7) as portal:
        process = await asyncio.create_subprocess_exec(
            *(str(program), str(script), json.dumps({"url": portal.code, "program": TWO})),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                assert json.loads(await process.stdout.readline()) == {"asked": LINK}
                await logged_in(portal, login)
                found = json.loads(await process.stdout.readline())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    assert found["result"] == [{"text": "x"}, "y"]
    assert found["seen"] == ["tools/list", "tools/call", "tasks/get", "tasks/update"]
