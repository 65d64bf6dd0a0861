"""Output types learned from results: opt-in, shapes only, published at a pace, stored in a file, dropped on change."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.calls.gate import Call, Denial, Gate
from portal.config.config import Config, parse_config
from portal.errors import CallDenied, ConfigError
from portal.gateway import Direction
from portal.learning.learning import Learning
from portal.learning.shapes import CALM_RESULTS, MAX_SKIPPED, LearnedShapes, fingerprint
from portal.servers.servers import Servers
from portal.servers.snapshot import Snapshot
from portal.upstream import CallContext
from stubs import Seen
from tests.patience import PATIENCE
from tests.portal.portals import GENERATIONS, Portal, client_of, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ISSUE = {"number": 7, "title": "hunter2", "labels": [{"name": "bug"}], "assignee": None}
AS_TEXT = json.dumps(ISSUE)
AS_TYPE = "{ number: number; title: string; labels: { name: string }[]; assignee: null }"
NO_PAUSE = (0.0, 0.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def learning_portal(upstream: Hosted, learning: Learning, **options: Any) -> AsyncIterator[Portal]:
    entry = {"url": upstream.url, "learnOutput": True}
    async with portal_over({"one": entry}, learning=learning, **options) as portal:
        yield portal


async def echo(portal: Portal, text: str = AS_TEXT) -> None:
    """Make the upstream's tool `echo` return this text."""
    await portal.caller.call(Call.tool("one", "echo", {"text": text}))


def offered(snapshot: Snapshot, tool: str = "echo") -> Any:
    (found,) = [each for each in snapshot.servers["one"].offer.tools if each.name == tool]
    return found


async def run(portal: Portal, mode: str, program: str) -> Any:
    async with client_of(portal.code, mode) as client:
        answer = await client.call_tool("code", {"code": program})
    assert not answer.is_error, answer
    return answer.structured_content["result"]


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_after_the_first_call_a_program_can_describe_what_comes_back(mode: str, code_tool: CodeTool) -> None:
    describe = 'return await codemode.describe("one.echo")'
    async with hosted() as upstream, learning_portal(upstream, Learning(), code_tool=code_tool) as portal:
        assert "Promise<unknown>" in await run(portal, mode, describe)
        assert await run(portal, mode, f"return await codemode.one.echo({{text: {json.dumps(AS_TEXT)}}})") == ISSUE
        declared = await run(portal, mode, describe)
        assert f"Promise<{AS_TYPE}>" in declared and "Inferred from results seen." in declared
        assert "hunter2" not in declared
        found = await run(portal, mode, 'return await codemode.search("the tool echo", {limit: 1})')
        assert found[0]["signature"].endswith(f"Promise</* inferred */ {AS_TYPE}>")
        async with client_of(portal.mcp, mode) as client:
            (listed,) = [tool for tool in (await client.list_tools()).tools if tool.name == "one_echo"]
        assert listed.output_schema is None


async def test_nothing_is_learned_of_a_server_that_did_not_ask_for_it() -> None:
    learning = Learning()
    async with hosted() as upstream, portal_over({"one": upstream}, learning=learning) as portal:
        await echo(portal)
        assert learning.shapes.document()["servers"] == {}
        assert offered(portal.servers.snapshot).output_schema is None


async def test_declared_types_stay_and_errors_are_not_looked_at() -> None:
    declared = {"name": "structured", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}
    async with hosted(Behaviour(more=[declared])) as upstream:
        learning = Learning()
        async with learning_portal(upstream, learning) as portal:
            await portal.caller.call(Call.tool("one", "fail"))
            await portal.caller.call(Call.prompt("one", "greet", {"who": "ada"}))
            assert learning.shapes.document()["servers"] == {}
            await echo(portal)
        document: Any = learning.shapes.document()
        assert list(document["servers"]["one"]) == ["echo"]


async def test_what_the_gate_keeps_back_or_changes_is_not_learned() -> None:
    class KeepsResults:
        async def screen(
            self, content: dict[str, Any], direction: Direction, call: Call, context: CallContext
        ) -> dict[str, Any] | Denial:
            if direction == "outgoing":
                return content
            if call.params["arguments"]["text"] == "secret":
                return Denial("not for you")
            return {"content": [{"type": "text", "text": '{"kept": 1}'}]}

    learning = Learning()
    async with (
        hosted() as upstream,
        learning_portal(upstream, learning, gate=Gate(screenings=[KeepsResults()])) as portal,
    ):
        with pytest.raises(CallDenied):
            await echo(portal, "secret")
        assert learning.shapes.document()["servers"] == {}
        await echo(portal)
        assert offered(portal.servers.snapshot).output_schema["properties"] == {"kept": {"type": "number"}}


async def test_a_snapshot_is_replaced_only_when_a_shape_has_changed() -> None:
    async with hosted() as upstream, learning_portal(upstream, Learning(pauses=NO_PAUSE)) as portal:
        versions: list[int] = []
        portal.servers.subscribe(lambda old, new: versions.append(new.version))
        before = portal.servers.snapshot
        await echo(portal, '{"a": 1}')
        first = portal.servers.snapshot
        assert len(versions) == 1 and first.catalog_id != before.catalog_id
        assert first.content_id == before.content_id  # What clients list is the same: nobody is told to list again.
        for text in ('{"a": 2}', '{"a": -3}', '{"a": 0}'):
            await echo(portal, text)
        assert len(versions) == 1
        await echo(portal, '{"a": null}')
        assert len(versions) == 2 and portal.servers.snapshot.catalog_id != first.catalog_id
        assert offered(first).output_schema["properties"] == {"a": {"type": "number"}}
        assert offered(portal.servers.snapshot).output_schema["properties"] == {"a": {"type": ["number", "null"]}}


async def test_news_in_quick_succession_are_published_together() -> None:
    async with hosted() as upstream, learning_portal(upstream, Learning(pauses=(3600.0, 3600.0))) as portal:
        await echo(portal, '{"a": 1}')
        version = portal.servers.snapshot.version
        for name in "bcd":
            await echo(portal, json.dumps({name: 1}))
        assert portal.servers.snapshot.version == version
    async with hosted() as upstream, learning_portal(upstream, Learning(pauses=(0.01, 0.01))) as portal:
        published = asyncio.Event()
        portal.servers.subscribe(
            lambda old, new: published.set() if len(offered(new).output_schema["properties"]) == 4 else None
        )
        for name in "abcd":
            await echo(portal, json.dumps({name: 1}))
        async with asyncio.timeout(PATIENCE):
            await published.wait()


async def test_a_large_result_is_looked_at_beside_the_call() -> None:
    learning = Learning(pauses=NO_PAUSE)
    async with hosted() as upstream, learning_portal(upstream, learning) as portal:
        await echo(portal, json.dumps({"rows": [{"id": n, "text": "x" * 50} for n in range(2_000)]}))
        await learning.settled()
        rows = offered(portal.servers.snapshot).output_schema["properties"]["rows"]
    assert rows["items"]["required"] == ["id", "text"] and learning.skipped == 0


async def test_what_was_learned_is_kept_in_a_file_over_restarts_and_holds_no_value(tmp_path: Path) -> None:
    file = tmp_path / "shapes.json"
    async with hosted() as upstream:
        async with learning_portal(upstream, Learning(file)) as portal:
            await echo(portal)
        written = file.read_text("utf-8")
        assert "hunter2" not in written and "7" not in json.dumps(
            json.loads(written)["servers"]["one"]["echo"]["output"]
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and [*tmp_path.iterdir()] == [file]
        async with learning_portal(upstream, Learning(file)) as portal:
            assert offered(portal.servers.snapshot).output_schema["properties"]["title"] == {"type": "string"}
            assert offered(portal.servers.snapshot).output_inferred


async def test_two_portals_over_one_file_add_to_each_other(tmp_path: Path) -> None:
    file = tmp_path / "shapes.json"
    async with hosted() as upstream:
        async with learning_portal(upstream, Learning(file)) as first:
            async with learning_portal(upstream, Learning(file)) as second:
                await echo(second, '{"b": 1}')
            await echo(first, '{"a": 1}')
    assert set(json.loads(file.read_text("utf-8"))["servers"]["one"]["echo"]["output"]["properties"]) == {"a", "b"}


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"version": 1, "servers": {"one": {"echo": 3}}}'])
async def test_a_file_that_cannot_be_used_is_said_and_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "shapes.json"
    file.write_text(content, "utf-8")
    with structlog.testing.capture_logs() as logs:
        async with hosted() as upstream, learning_portal(upstream, Learning(file)) as portal:
            await echo(portal)
    assert [(entry["log_level"], entry["file"]) for entry in logs if "learned" in entry["event"]] == [
        ("warning", str(file))
    ]
    assert "echo" in json.loads(file.read_text("utf-8"))["servers"]["one"]


async def test_a_file_that_cannot_be_written_is_said_and_calls_go_on(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            hosted() as upstream,
            learning_portal(upstream, Learning(tmp_path / "absent" / "shapes.json")) as portal,
        ):
            await echo(portal)
    assert [entry["reason"] for entry in logs if "kept" in entry["event"]][0] == "No such file or directory"


def tool(**changes: Any) -> dict[str, Any]:
    return {"name": "list", "description": "Lists.", "inputSchema": {"type": "object"}, **changes}


@pytest.mark.parametrize("change", [{"description": "Lists all."}, {"inputSchema": {"type": "object", "required": []}}])
def test_what_was_learned_is_dropped_when_the_tool_changes(change: Mapping[str, Any]) -> None:
    shapes = LearnedShapes()
    assert shapes.learn("one", tool(), Seen.of({"old": 1}))
    assert shapes.of("one", [tool()]) and not shapes.of("one", [tool(**change)]) and not shapes.of("two", [tool()])
    assert shapes.learn("one", tool(**change), Seen.of({"new": 1}))
    assert shapes.of("one", [tool(**change)])["list"]["properties"] == {"new": {"type": "number"}}  # type: ignore[index]
    assert not shapes.of("one", [tool()])
    assert fingerprint(tool()) == fingerprint(tool(annotations={"readOnlyHint": True}, title="List"))


def test_a_tool_without_news_is_looked_at_ever_less_until_there_are_news() -> None:
    shapes, described = LearnedShapes(), tool()
    looks = 0
    for _ in range(10_000):
        if shapes.wants("one", described):
            looks += 1
            shapes.learn("one", described, Seen.of({"a": 1}))
    assert CALM_RESULTS < looks < 10_000 / MAX_SKIPPED + 2 * MAX_SKIPPED
    while not shapes.wants("one", described):
        pass
    assert shapes.learn("one", described, Seen.of({"b": 1}))
    assert shapes.wants("one", described)


@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.dictionaries(st.sampled_from(
    ["version", "servers", "one", "list", "of", "output", "type", "items"]), inner, max_size=3)))  # fmt: skip
def test_any_document_is_taken_in_or_refused(document: Any) -> None:
    shapes = LearnedShapes()
    try:
        shapes.merge(document)
    except ValueError:
        return
    again = LearnedShapes()
    again.merge(shapes.document())
    assert again.document() == shapes.document()


def config_of(portal: Mapping[str, Any], server: Mapping[str, Any], folder: Path | None = None) -> Config:
    document = {"mcpServers": {"one": {"command": "x", **server}}, "portal": portal}
    return parse_config(document, file="f.json", env={"STATE": "/var/lib/portal"}, folder=folder)


def test_learning_is_off_unless_a_server_says_so_and_forgets_unless_a_file_is_named() -> None:
    config = config_of({}, {})
    assert config.servers["one"].learn_output is False and config.portal.learned_shapes is None
    assert config_of({}, {"learnOutput": True}).servers["one"].learn_output is True
    assert config_of({}, {"learn_output": True}).servers["one"].learn_output is True
    relative = config_of({"learnedShapes": "shapes.json"}, {}, Path("/etc/portal"))
    assert relative.portal.learned_shapes == Path("/etc/portal/shapes.json")
    assert config_of({"learnedShapes": "${STATE}/s.json"}, {}).portal.learned_shapes == Path("/var/lib/portal/s.json")


@pytest.mark.parametrize(
    ("portal", "server", "key"),
    [
        ({}, {"learnOutput": "sometimes"}, "mcpServers.one.learnOutput"),
        ({}, {"learnOutputs": True}, "mcpServers.one.learnOutputs"),
        ({"learnedShapes": 3}, {}, "portal.learnedShapes"),
        ({"learnedShapes": ""}, {}, "portal.learnedShapes"),
    ],
)
def test_a_mistake_in_either_setting_names_its_key(
    portal: Mapping[str, Any], server: Mapping[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(portal, server)
    assert key in str(caught.value) and "f.json" in str(caught.value)


async def test_a_server_offers_what_is_known_from_its_first_list_on() -> None:
    class Known:
        def of(self, server: str, tools: Any) -> Mapping[str, Any]:
            return {each["name"]: {"type": "string"} for each in tools if (server, each["name"]) == ("one", "echo")}

    async with hosted() as upstream:
        config = parse_config({"mcpServers": {"one": {"url": upstream.url, "learnOutput": True}}})
        async with Servers(config.servers, outputs=Known()) as servers:
            snapshot = await servers.settled()
            assert offered(snapshot).output_schema == {"type": "string"} and offered(snapshot).output_inferred
            assert offered(snapshot, "fail").output_schema is None
            servers.republish("nobody")
            assert servers.snapshot is snapshot
