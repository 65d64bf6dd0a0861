"""The one function all calls go through: what it asks the gate, what it returns, and what it writes down."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codemode import CallOutcome, ToolCall, ToolDenied, ToolFailed, ToolReturned
from portal.calls.caller import OPEN, Caller
from portal.calls.gate import Call, Denial, Gate
from portal.config.config import parse_config
from portal.errors import CallDenied, RpcError, ServerUnknown, UpstreamTimeout, UpstreamUnavailable
from portal.gateway import Direction
from portal.identity import Identity
from portal.logs import LogRow, RecordLog
from portal.pins import Pinning
from portal.pins.file_approvals import FileApprovals
from portal.servers.servers import Servers
from portal.state import CallEffect
from portal.upstream import CallContext, DownstreamClient
from tests.patience import PATIENCE
from tests.portal.portals import Kept
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
CONTEXT = CallContext(run_id="run-1", identity="ada@example.com")
SECRET = "hunter2-hunter2"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def calling(
    gate: Gate = OPEN, behaviour: Behaviour | None = None, **settings: Any
) -> AsyncIterator[tuple[Caller, Kept, Hosted, Servers]]:
    async with hosted(behaviour) as host:
        entries = {"up": {"url": host.url, **settings}, "dead": {"url": "http://127.0.0.1:1/"}}
        async with Servers(parse_config({"mcpServers": entries}, env={}).servers) as servers:
            await servers.settled()
            kept = Kept()
            yield Caller(servers, kept, gate=gate), kept, host, servers


async def test_every_kind_of_call_returns_the_raw_result_and_is_recorded() -> None:
    completion = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "a"}}
    async with calling() as (caller, kept, _, _):
        result = await caller.call(Call.tool("up", "structured", {"text": "x"}), CONTEXT)
        assert result["structuredContent"] == {"text": "x"}
        result = await caller.call(Call.prompt("up", "greet", {"who": "you"}), CONTEXT)
        assert "you" in result["messages"][0]["content"]["text"]
        result = await caller.call(Call.resource("up", "test://one"), CONTEXT)
        assert result["contents"][0]["text"] == "the text of test://one"
        asked = Call(server="up", method="completion/complete", name="greet", params=completion)
        assert (await caller.call(asked, CONTEXT))["completion"]["values"] == ["a!"]
        assert [(record.kind, record.name, record.outcome) for record in kept.records] == [
            ("tool", "structured", "ok"),
            ("prompt", "greet", "ok"),
            ("resource", "test://one", "ok"),
            ("completion", "greet", "ok"),
        ]
        assert all(record.run == "run-1" and record.identity == "ada@example.com" for record in kept.records)
        assert all(record.upstream_protocol == "2026-07-28" and record.us > 0 for record in kept.records)
        assert kept.last.time.endswith("Z")


async def test_every_way_to_fail_is_raised_and_recorded_as_what_it_is() -> None:
    async with calling(timeout=0.2) as (caller, kept, host, _):
        assert (await caller.call(Call.tool("up", "fail")))["isError"] is True
        assert (kept.last.outcome, kept.last.error_code) == ("tool_error", None)
        with pytest.raises(RpcError):
            await caller.call(Call.tool("up", "nothing"))
        assert (kept.last.outcome, kept.last.error_code) == ("error", -32602)
        with pytest.raises(ServerUnknown):
            await caller.call(Call.tool("nobody", "x"))
        assert (kept.last.outcome, kept.last.server) == ("error", "nobody")
        with pytest.raises(UpstreamUnavailable):
            await caller.call(Call.tool("dead", "x"))
        assert kept.last.error_code == -32010
        with pytest.raises(UpstreamTimeout):
            await caller.call(Call.tool("up", "hang"))
        assert (kept.last.outcome, kept.last.error_code) == ("timeout", -32001)
        running = asyncio.create_task(caller.call(Call.tool("up", "hang")))
        await host.upstream.journal.wait("call hang", times=2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert [record.outcome for record in kept.records[3:]] == ["unavailable", "timeout", "cancelled"]


async def test_calls_of_one_network_of_strangers_drop_no_record_of_somebody_else() -> None:
    held, entered = threading.Event(), threading.Event()
    lines = list[dict[str, Any]]()

    class Sink:
        def write(self, line: bytes) -> None:
            entered.set()
            held.wait(PATIENCE)
            lines.append(json.loads(line))

    async with Servers({}) as servers, RecordLog(Sink(), capacity=8) as log:
        caller = Caller(servers, log)
        try:
            for number in range(20):
                # Of an IPv6 network one customer has each address.
                stranger = Identity(ip=f"2001:db8::{number + 1:x}")
                with pytest.raises(ServerUnknown):
                    await caller.call(Call.tool("nobody", "flood"), CallContext(principal=stranger))
                await asyncio.to_thread(entered.wait, PATIENCE)
            for other in (Identity(ip="2001:db8:0:1::1"), Identity(id="bob", ip="2001:db8::1")):
                with pytest.raises(ServerUnknown):
                    await caller.call(Call.tool("nobody", "modest"), CallContext(principal=other, identity=other.key))
        finally:
            held.set()
    written = [line for line in lines if line["event"] == "call" and line["name"] != "flood"]
    assert [line["identity"] for line in written] == ["", "bob"]
    assert log.dropped == 15


class Bearer:
    """Credentials: one header, or whatever headers a test gives."""

    def __init__(self, **headers: str) -> None:
        self._headers = headers or {"authorization": f"Bearer {SECRET}"}

    async def headers(self, call: Call, context: CallContext) -> Mapping[str, str]:
        return self._headers


class Step:
    """Admission, screening and credentials in one, which write down when they are asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        self._log.append(f"{self._name} admits {call.name} for {context.identity}")
        return None

    async def screen(
        self, content: dict[str, Any], direction: Direction, call: Call, context: CallContext
    ) -> dict[str, Any] | Denial:
        self._log.append(f"{self._name} screens {direction}")
        if direction == "incoming":
            return {**content, "screened": [*content.get("screened", []), self._name]}
        return {**content, "arguments": {"text": content["arguments"]["text"] + self._name}}

    async def headers(self, call: Call, context: CallContext) -> Mapping[str, str]:
        self._log.append(f"{self._name} gives headers for {call.params['arguments']['text']}")
        return {}


class RecordsInto(Kept):
    """Writes that there was a record into the same list as the steps."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self._log = log

    def write(self, row: LogRow, holder: str = "") -> None:
        self._log.append(f"record {row.outcome}")


class Denies:
    """Denies at one step."""

    def __init__(self, step: str) -> None:
        self._step = step

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        return Denial("not on a Friday", policy="calm-fridays") if self._step == "admission" else None

    async def screen(
        self, content: dict[str, Any], direction: Direction, call: Call, context: CallContext
    ) -> dict[str, Any] | Denial:
        return Denial("not on a Friday", policy="calm-fridays") if self._step == direction else content


async def test_no_argument_result_or_credential_is_in_a_record() -> None:
    async with calling(Gate(credentials=[Bearer()])) as (caller, kept, host, _):
        await caller.call(Call.tool("up", "echo", {"text": SECRET}), CONTEXT)
        with pytest.raises(RpcError):
            await caller.call(Call.tool("up", "nothing", {"text": SECRET}), CONTEXT)
        assert host.upstream.seen_headers[-1]["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in repr(kept.records)


async def test_the_steps_of_the_gate_are_asked_once_in_order_on_every_path() -> None:
    asked: list[str] = []
    steps = [Step("a", asked), Step("b", asked)]
    expected = [
        "a admits echo for ada@example.com",
        "b admits echo for ada@example.com",
        "a screens outgoing",
        "b screens outgoing",
        "a gives headers for xab",
        "b gives headers for xab",
        "tools/call",
        "call echo",
        "b screens incoming",
        "a screens incoming",
        "record ok",
    ]
    async with calling() as (_, _, host, servers):
        host.upstream.journal.entries = asked
        caller = Caller(servers, RecordsInto(asked), gate=Gate(admissions=steps, screenings=steps, credentials=steps))
        result = await caller.call(Call.tool("up", "echo", {"text": "x"}), CONTEXT)
        assert (result["content"][0]["text"], result["screened"], asked) == ("xab", ["b", "a"], expected)
        asked.clear()
        with caller.run(CONTEXT) as run:
            outcome = await run.call_tool(ToolCall("run-1", 1, "up", "echo", {"text": "x"}))
        assert isinstance(outcome, ToolReturned)
        assert (outcome.result["content"][0]["text"], asked) == ("xab", expected)
        asked.clear()
        with pytest.raises(ServerUnknown):
            await caller.call(Call.tool("nobody", "x"), CONTEXT)
        assert asked == ["record error"]


async def test_pins_are_asked_after_the_screenings_and_before_the_credentials(tmp_path: Path) -> None:
    asked: list[str] = []
    steps = [Step("a", asked)]
    async with hosted() as host, Pinning(FileApprovals(tmp_path / "pins.json")) as pins:
        document = {"mcpServers": {"up": {"url": host.url, "pin": True}}, "portal": {"pinned": "pins.json"}}
        async with Servers(parse_config(document, env={}).servers, pins=pins) as servers:
            await servers.settled()
            caller = Caller(servers, Kept(), gate=Gate(admissions=steps, screenings=steps, credentials=steps))
            with pytest.raises(CallDenied, match="is not among those of the pinned server") as caught:
                await caller.call(Call.tool("up", "unlisted", {"text": "x"}), CONTEXT)
    assert (caught.value.policy, caught.value.ran) == ("pin", "no")
    assert asked == ["a admits unlisted for ada@example.com", "a screens outgoing"]


@pytest.mark.parametrize("step", ["admission", "outgoing", "incoming"])
async def test_a_denial_at_any_step_is_one_record_names_its_policy_and_says_whether_it_ran(step: str) -> None:
    gate = Gate(admissions=[Denies(step)], screenings=[Denies(step)], credentials=[Bearer()])
    async with calling(gate) as (caller, kept, host, _):
        with pytest.raises(CallDenied, match="not on a Friday") as caught:
            await caller.call(Call.tool("up", "echo", {"text": "x"}), CONTEXT)
        assert caught.value.ran == ("yes" if step == "incoming" else "no")
        assert ("call echo" in host.upstream.journal.entries) is (step == "incoming")
        assert [(record.outcome, record.policy) for record in kept.records] == [("denied", "calm-fridays")]
        with caller.run(CONTEXT) as run:
            assert await run.call_tool(ToolCall("r", 1, "up", "echo", {})) == ToolDenied(
                "not on a Friday", "calm-fridays"
            )
        assert len(kept.records) == 2


async def test_the_headers_of_several_credentials_are_all_sent() -> None:
    credentials = [Bearer(authorization="a"), Bearer(assertion="b", account="c")]
    async with calling(Gate(credentials=credentials)) as (caller, _, host, _):
        await caller.call(Call.tool("up", "echo", {"text": "x"}), CONTEXT)
        sent = host.upstream.seen_headers[-1]
        assert (sent["authorization"], sent["assertion"], sent["account"]) == ("a", "b", "c")


async def test_two_credentials_for_one_header_are_refused_before_anything_is_sent() -> None:
    credentials = [Bearer(authorization=SECRET), Bearer(Authorization="another")]
    async with calling(Gate(credentials=credentials)) as (caller, kept, host, _):
        with pytest.raises(CallDenied, match=r"two credentials to the server 'up' .* Authorization") as caught:
            await caller.call(Call.tool("up", "echo", {"text": "x"}), CONTEXT)
        assert (caught.value.ran, caught.value.policy) == ("no", "credentials")
        assert SECRET not in str(caught.value) and "another" not in str(caught.value)
        assert "call echo" not in host.upstream.journal.entries
        assert [(record.outcome, record.policy) for record in kept.records] == [("denied", "credentials")]


async def test_a_screening_cannot_turn_a_call_into_one_of_another_tool() -> None:
    class Renames:
        async def screen(
            self, content: dict[str, Any], direction: Direction, call: Call, context: CallContext
        ) -> dict[str, Any] | Denial:
            return {**content, "name": "fail"}

    async with calling(Gate(screenings=[Renames()])) as (caller, kept, host, _):
        with pytest.raises(RuntimeError, match="Renames has changed 'name'"):
            await caller.call(Call.tool("up", "echo", {"text": "x"}), CONTEXT)
        assert not {"call echo", "call fail"} & set(host.upstream.journal.entries)
        assert [record.outcome for record in kept.records] == ["error"]


async def test_failures_are_values_to_a_program() -> None:
    async with calling() as (caller, kept, _, _):
        with caller.run(CONTEXT) as run:
            assert await run.call_tool(ToolCall("run-1", 1, "up", "nothing", {})) == ToolFailed(
                "no tool nothing", -32602, {"asked": "nothing"}
            )
            failed = await run.call_tool(ToolCall("run-1", 2, "dead", "x", {}))
            assert isinstance(failed, ToolFailed) and failed.code == -32010
            assert kept.last.run == "run-1"


async def test_a_program_keeps_its_servers_while_the_configuration_changes() -> None:
    async with calling() as (caller, _, _, servers):
        with caller.run(CONTEXT) as run:
            await servers.apply({})
            assert "up" in run.snapshot.servers
            outcome = await run.call_tool(ToolCall("run-1", 1, "up", "echo", {"text": "x"}))
            assert isinstance(outcome, ToolReturned)
        with pytest.raises(ServerUnknown):
            await caller.call(Call.tool("up", "echo"))


async def test_a_question_to_a_program_goes_to_its_client_or_fails() -> None:
    async def on_request(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"action": "accept", "content": {}}

    client = DownstreamClient(key="", capabilities={"elicitation": {"form": {}}})
    asking = ToolCall("r", 1, "up", "ask", {"text": "?"})
    async with calling() as (caller, _, _, _):
        with caller.run(CallContext(protocol="2026-07-28", client=client)) as run:
            assert isinstance(await run.call_tool(asking), ToolFailed)
        with caller.run(CallContext(protocol="2025-11-25", client=client, on_request=on_request)) as run:
            outcome = await run.call_tool(asking)
            assert isinstance(outcome, ToolReturned)
            assert outcome.result["content"][0]["text"] == "accept asked"


async def test_only_reads_are_made_twice_when_their_connection_is_lost() -> None:
    lost: list[str] = []

    async def lose(exchange: Exchange) -> None:
        lost.append(exchange.message["params"].get("name") or exchange.message["method"])
        exchange.abort()

    async with raw_upstream(lose) as raw:
        raw.tools = [
            {"name": "read", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ]
        config = parse_config({"mcpServers": {"up": {"url": raw.url}}}, env={})
        async with Servers(config.servers) as servers:
            await servers.settled()
            caller = Caller(servers, Kept())
            for call in (Call.tool("up", "read"), Call.tool("up", "write"), Call.resource("up", "a://b")):
                with pytest.raises(Exception, match="connection was lost"):
                    await caller.call(call)
    assert lost == ["read", "read", "write", "resources/read", "resources/read"]


async def test_a_call_through_the_portal_reaches_legacy_servers_too() -> None:
    async with hosted(Behaviour(legacy=True)) as host:
        config = parse_config({"mcpServers": {"up": {"url": host.url}}}, env={})
        async with Servers(config.servers) as servers:
            await servers.settled()
            kept = Kept()
            result = await Caller(servers, kept).call(Call.tool("up", "echo", {"text": "hi"}))
            assert result["content"][0]["text"] == "hi"
            assert kept.last.upstream_protocol == "2025-11-25"


class Written:
    """A journal that writes down which calls leave."""

    def __init__(self) -> None:
        self.left: list[tuple[int, str]] = []

    async def outcome(self, call: ToolCall) -> CallOutcome | None:
        return None

    async def leaves(self, call: ToolCall, arguments: Mapping[str, object], effect: CallEffect) -> None:
        self.left.append((call.seq, effect))

    async def came_back(self, call: ToolCall) -> None:
        self.left.pop()


async def test_a_call_that_is_written_ahead_has_one_key_each_time_it_is_made_and_a_read_none() -> None:
    key = "codemode/idempotencyKey"
    reads = {"structured": {"annotations": {"readOnlyHint": True}}}
    async with calling(behaviour=Behaviour(said=reads)) as (caller, _, host, _):
        written = Written()

        async def keys(journal: Written | None, *calls: tuple[int, str]) -> list[object]:
            host.upstream.seen_meta.clear()
            with caller.run(replace(CONTEXT, meta={key: "chosen"}), journal=journal) as run:
                for seq, tool in calls:
                    await run.call_tool(ToolCall("run-1", seq, "up", tool, {"text": "x"}))
            return [meta.get(key) for meta in host.upstream.seen_meta]

        first, again, other = await keys(written, (1, "echo"), (1, "echo"), (2, "echo"))
        assert first == again and isinstance(first, str) and len({first, other, "chosen"}) == 3
        assert "run-1" not in first and written.left == [(1, "effect"), (1, "effect"), (2, "effect")]
        # In another process, and without a journal.
        assert await keys(Written(), (1, "echo"), (2, "structured")) == [first, None]
        assert await keys(None, (1, "echo")) == [None]
