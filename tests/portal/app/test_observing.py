"""Traces, numbers and readiness of a whole instance, over real upstreams and a real receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from mcp_types import RequestParamsMeta
from prometheus_client.parser import text_string_to_metric_families

from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.errors import ConfigError
from portal.logs import Discard, LogRow
from portal.observe.spans import request_of
from tests.patience import PATIENCE
from tests.portal.observe.receiver import Found, Receiver, receiving
from tests.portal.portals import GENERATIONS, LEGACY, MODERN, Kept, client_of, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "a-secret-of-somebody-5f0c"
TOKEN = "a-token-of-enough-characters"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def meta_of(**members: str) -> RequestParamsMeta:
    return cast("RequestParamsMeta", members)


def document(upstream: Hosted | str, **portal: Any) -> dict[str, Any]:
    url = upstream if isinstance(upstream, str) else upstream.url
    return {"mcpServers": {"up": {"url": url}}, "portal": portal}


def traces(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"endpoint": receiver.url, "sample": 1, **more}


def named(spans: list[Found]) -> dict[str, Found]:
    """Spans by kind and name, where none is there twice."""
    found = {f"{span.kind} {span.name}": span for span in spans}
    assert len(found) == len(spans)
    return found


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_call_is_below_its_caller_and_the_server_s_own_spans_are_below_the_call(mode: str) -> None:
    kept = Kept()
    async with receiving() as receiver, hosted() as upstream:
        config = document(upstream, traces=traces(receiver))
        async with opened(config, parts=Parts(code=None, records=kept)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", mode) as client:
                await client.call_tool("up_echo", {"text": SECRET}, meta=meta_of(traceparent=PARENT, tracestate="a=1"))
                spans = named(await receiver.have(2))
    outer, inner = spans["SERVER tools/call echo"], spans["CLIENT tools/call echo"]
    assert {outer.trace, inner.trace} == {TRACE}
    assert (outer.parent, inner.parent) == (SPAN, outer.id)
    (headers,), (meta,) = upstream.upstream.seen_headers, upstream.upstream.seen_meta
    assert headers["traceparent"] == meta["traceparent"] == f"00-{TRACE}-{inner.id}-01"
    assert headers["tracestate"] == meta["tracestate"] == "a=1"
    row = kept.last
    assert (row.trace, row.span, row.parent_span) == (TRACE, inner.id, SPAN) and outer.id == request_of(row.span)
    assert inner.attributes["gen_ai.tool.name"] == "echo" and inner.attributes["codemode.server"] == "up"
    assert outer.resource["service.name"] == "codemode-portal"
    assert all(SECRET.encode() not in body for body in receiver.bodies)


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_run_and_its_calls_are_one_tree(mode: str, code_tool: Any) -> None:
    async with receiving() as receiver, hosted() as upstream:
        config = document(upstream, traces=traces(receiver))
        async with opened(config, parts=Parts(code=code_tool, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp?codemode=search_and_execute", mode) as client:
                program = (
                    f"const one = codemode.up.echo({{text: '{SECRET}'}}), two = codemode.up.structured({{text: 'b'}});"
                    "await Promise.all([one, two]);"
                    " try { await codemode.up.fail({text: 'c'}) } catch {}; return 1"
                )
                await client.call_tool("code", {"code": program})
                spans = named(await receiver.have(5))
    request, run = spans["SERVER tools/call code"], spans["INTERNAL run"]
    assert request.parent == "" and run.parent == request.id
    calls = [span for span in spans.values() if span.kind == "CLIENT"]
    assert {span.name for span in calls} == {"tools/call echo", "tools/call structured", "tools/call fail"}
    assert {span.parent for span in calls} == {run.id}
    assert len({span.trace for span in spans.values()}) == 1
    told = {headers["traceparent"].split("-")[2] for headers in upstream.upstream.seen_headers}
    assert told == {span.id for span in calls}
    assert spans["CLIENT tools/call fail"].attributes["error.type"] == "tool_error"
    assert spans["CLIENT tools/call fail"].raw.status.code == 2 and run.raw.status.code == 0
    assert all(SECRET.encode() not in body and b"codemode.up" not in body for body in receiver.bodies)


async def test_two_portals_in_a_row_make_one_trace(code_tool: Any) -> None:
    async with receiving() as receiver, hosted() as upstream:
        behind = document(upstream, traces=traces(receiver, serviceName="behind"))
        async with opened(behind, parts=Parts(code=None, records=Kept())) as second:
            await second.servers.settled()
            async with serving(second) as inner:
                front = document(f"{inner}/mcp", traces=traces(receiver, serviceName="front"))
                async with opened(front, parts=Parts(code=code_tool, records=Kept())) as first:
                    await first.servers.settled()
                    async with serving(first) as url:
                        async with client_of(f"{url}/mcp?codemode=search_and_execute", MODERN) as client:
                            program = {"code": "return await codemode.up.up_echo({text: 'x'})"}
                            await client.call_tool("code", program, meta=meta_of(traceparent=PARENT))
                            spans = await receiver.have(5)
    by_id = {span.id: span for span in spans}
    line = [next(span for span in spans if span.id not in {one.parent for one in spans})]
    while line[-1].parent in by_id:
        line.append(by_id[line[-1].parent])
    assert [(span.resource["service.name"], span.kind) for span in line] == [
        ("behind", "CLIENT"),
        ("behind", "SERVER"),
        ("front", "CLIENT"),
        ("front", "INTERNAL"),
        ("front", "SERVER"),
    ]
    assert line[-1].parent == SPAN and {span.trace for span in spans} == {TRACE}


async def test_without_traces_a_valid_context_goes_on_as_it_came_and_baggage_does_not() -> None:
    kept = Kept()
    async with hosted() as upstream:
        async with opened(document(upstream), parts=Parts(code=None, records=kept)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
                meta = meta_of(traceparent=PARENT, tracestate="a=1", baggage="who=ada")
                await client.call_tool("up_echo", {"text": "x"}, meta=meta)
                await client.call_tool("up_echo", {"text": "x"}, meta=meta_of(traceparent="00-no", baggage="who=ada"))
    (first, second), (meta_1, meta_2) = upstream.upstream.seen_headers, upstream.upstream.seen_meta
    assert first["traceparent"] == meta_1["traceparent"] == PARENT and first["tracestate"] == "a=1"
    assert {"traceparent", "tracestate"}.isdisjoint({*second, *meta_2})
    assert all("baggage" not in one for one in (first, second, meta_1, meta_2))
    assert [(row.trace, row.span, row.parent_span) for row in kept.records] == [(TRACE, "", SPAN), ("", "", "")]


async def test_a_2025_server_is_told_in_meta_only_what_its_client_has_said_there() -> None:
    async with hosted(Behaviour(legacy=True)) as upstream:
        async with opened(document(upstream), parts=Parts(code=None, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                async with client_of(f"{url}/mcp", MODERN) as client:
                    await client.call_tool("up_echo", {"text": "x"}, meta=meta_of(traceparent=PARENT))
                async with httpx2.AsyncClient(headers={"traceparent": PARENT}) as http:
                    await call_by_hand(http, f"{url}/mcp")
    assert [one.get("traceparent") for one in upstream.upstream.seen_headers] == [PARENT, PARENT]
    assert [one.get("traceparent") for one in upstream.upstream.seen_meta] == [PARENT, None]


async def call_by_hand(http: httpx2.AsyncClient, url: str) -> None:
    """One call of `up_echo` as a 2026-07-28 client makes it, with what the client's headers say."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "up_echo", "arguments": {"text": "x"}, "_meta": envelope}
    answer = await http.post(
        url,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        headers={
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "up_echo",
        },
    )
    assert answer.status_code == 200 and "result" in answer.json(), answer.text


async def test_baggage_goes_to_the_servers_that_are_named() -> None:
    async with receiving() as receiver, hosted() as one, hosted() as two:
        config = {
            "mcpServers": {"one": {"url": one.url}, "two": {"url": two.url}},
            "portal": {"traces": traces(receiver, baggageTo=["one"])},
        }
        async with opened(config, parts=Parts(code=None, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
                for server in ("one", "two"):
                    meta = meta_of(traceparent=PARENT, baggage="who=ada")
                    await client.call_tool(f"{server}_echo", {"text": "x"}, meta=meta)
    assert one.upstream.seen_headers[0]["baggage"] == one.upstream.seen_meta[0]["baggage"] == "who=ada"
    assert "baggage" not in two.upstream.seen_headers[0] and "baggage" not in two.upstream.seen_meta[0]


async def test_traces_begin_and_end_with_the_configuration_file() -> None:
    kept = Kept()
    async with receiving() as receiver, hosted() as upstream:
        off, on = document(upstream), document(upstream, traces=traces(receiver))
        async with opened(off, parts=Parts(code=None, records=kept)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:
                for config in (off, on, off):
                    assert await instance.apply(parse_config(config, env={})) == ()
                    await client.call_tool("up_echo", {"text": "x"})
                    if config is on:
                        await receiver.have(2)
    assert [bool(row.span) for row in kept.records] == [False, True, False]
    assert len(receiver.spans) == 2


# Numbers


def numbers(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Mapping[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def test_calls_and_runs_are_counted(code_tool: Any) -> None:
    async with hosted() as upstream:
        config = document(upstream, metrics={})
        async with opened(config, parts=Parts(code=code_tool, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, httpx2.AsyncClient() as http:
                async with client_of(f"{url}/mcp", LEGACY) as client:
                    for _ in range(3):
                        await client.call_tool("up_echo", {"text": "x"})
                    await client.call_tool("up_fail", {"text": "x"})
                    found = numbers((await http.get(f"{url}/metrics")).text)
                    assert of(found, "codemode_sessions", portal="") == 1
                async with client_of(f"{url}/mcp?codemode=search_and_execute", MODERN) as client:
                    await client.call_tool("code", {"code": "return (await codemode.up.echo({text: 'x'})).length"})
                answer = await http.get(f"{url}/metrics")
                accepts = {"accept": "application/openmetrics-text;version=1.0.0"}
                other = await http.get(f"{url}/metrics", headers=accepts)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    assert other.headers["content-type"].startswith("application/openmetrics-text") and other.text.endswith("# EOF\n")
    found = numbers(answer.text)
    call = {"portal": "", "server": "up", "kind": "tool"}
    assert of(found, "codemode_calls_total", outcome="ok", **call) == 4
    assert of(found, "codemode_calls_total", outcome="tool_error", **call) == 1
    assert of(found, "codemode_tool_calls_total", server="up", tool="echo", outcome="ok") == 4
    assert of(found, "codemode_call_duration_seconds_count", server="up", kind="tool") == 5
    assert of(found, "codemode_runs_total", portal="", outcome="ok") == 1
    assert of(found, "codemode_upstream_ready", server="up") == 1
    assert "_created" not in answer.text


async def test_numbers_are_nowhere_unless_the_document_says_so_and_shown_to_whoever_has_the_token() -> None:
    async with opened({}, parts=Parts(code=None, records=Kept())) as instance, serving(instance) as url:
        async with httpx2.AsyncClient() as http:

            async def status(shown: str = "") -> int:
                headers = {"authorization": shown} if shown else {}
                return (await http.get(f"{url}/metrics", headers=headers)).status_code

            assert await status() == 404
            on = {"portal": {"metrics": {"token": TOKEN}}}
            assert await instance.apply(parse_config(on, env={})) == ()
            assert [await status(shown) for shown in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer")] == [
                401
            ] * 5
            assert await status(f"Bearer {TOKEN}") == await status(f"bearer {TOKEN}") == 200
            refused = await http.get(f"{url}/metrics")
            assert refused.headers["www-authenticate"].startswith("Bearer") and TOKEN not in refused.text
            assert await instance.apply(parse_config({"portal": {"metrics": {"enabled": False}}}, env={})) == ()
            assert await status(f"Bearer {TOKEN}") == 404


async def test_where_people_sign_in_numbers_need_a_token(tmp_path: Path) -> None:
    guarded = {"state": new_state(tmp_path), "identity": {}}
    with pytest.raises(ConfigError, match="needs a `token`"):
        parse_config({"portal": {**guarded, "metrics": {}}}, env={})
    with pytest.raises(ConfigError) as short:
        parse_config({"portal": {"metrics": {"token": "too-short-8f2"}}}, env={})
    assert "too-short-8f2" not in str(short.value)
    parse_config({"portal": {**guarded, "metrics": {"token": TOKEN}}}, env={})
    parse_config({"portal": {**guarded, "metrics": {"enabled": False}}}, env={})


async def test_names_that_callers_make_up_are_no_labels(code_tool: Any) -> None:
    async with hosted() as upstream:
        config = document(upstream, metrics={})
        async with opened(config, parts=Parts(code=code_tool, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, httpx2.AsyncClient() as http:
                async with client_of(f"{url}/mcp", MODERN) as client:
                    for number in range(30):
                        for name in (f"up_made-up-{number}", f"made-up-{number}_echo"):
                            with pytest.raises(Exception):  # noqa: B017 - whatever it is, it is an error
                                await client.call_tool(name, {"text": "x"})
                        await client.read_resource(f"test://made-up-{number}")
                text = (await http.get(f"{url}/metrics")).text
    assert "made-up" not in text


# Readiness


async def test_an_instance_is_ready_when_its_servers_have_answered_or_failed_once() -> None:
    async with hosted(Behaviour(hang_on_list=True)) as slow, hosted() as quick:
        config = document(quick)
        config["mcpServers"]["slow"] = {"url": slow.url}
        async with opened(config, parts=Parts(code=None, records=Kept())) as instance, serving(instance) as url:
            async with httpx2.AsyncClient() as http:
                waiting = await http.get(f"{url}/readyz")
                assert waiting.status_code == 503 and waiting.json()["parts"] == {"servers": "waiting"}
                assert "slow" in waiting.json()["waiting"]
                assert (await http.get(f"{url}/healthz")).status_code == 200
                config["mcpServers"]["slow"]["url"] = "http://127.0.0.1:9/mcp"
                await instance.apply(parse_config(config, env={}))
                await instance.servers.settled()
                ready = await http.get(f"{url}/readyz")
                assert ready.status_code == 200 and ready.json() == {"status": "ready", "parts": {"servers": "ok"}}
                # A server that comes later keeps nobody from being served.
                config["mcpServers"]["later"] = {"url": slow.url}
                await instance.apply(parse_config(config, env={}))
                assert (await http.get(f"{url}/readyz")).status_code == 200


async def test_a_stranger_reads_words_and_no_names(tmp_path: Path) -> None:
    async with hosted(Behaviour(hang_on_list=True)) as slow:
        config = document(slow, state=new_state(tmp_path), identity={})
        async with opened(config, parts=Parts(code=None)) as instance, serving(instance) as url:
            async with httpx2.AsyncClient() as http:
                answer = await http.get(f"{url}/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "parts": {"store": "ok", "log": "ok", "servers": "waiting"}}


async def test_a_log_in_trouble_takes_an_instance_away_only_where_calls_wait_for_it(tmp_path: Path) -> None:
    async with hosted() as upstream:
        config = document(upstream, logs={"database": f"sqlite:///{tmp_path}/logs.db"}, metrics={})
        async with opened(config, parts=Parts(code=None)) as instance, serving(instance) as url:
            await instance.servers.settled()
            log = instance.shared.log
            assert log is not None
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{url}/readyz")).json()["parts"]["log"] == "ok"
                log.trouble = "the disk is full"
                answer = await http.get(f"{url}/readyz")
                assert answer.status_code == 200 and answer.json()["parts"]["log"] == "degraded"
                assert "disk" not in answer.text
                config["portal"]["logs"]["whenFull"] = "block"
                await instance.apply(parse_config(config, env={}))
                answer = await http.get(f"{url}/readyz")
                assert answer.status_code == 503 and answer.json()["parts"]["log"] == "trouble"
                assert "disk" not in answer.text
                assert of(numbers((await http.get(f"{url}/metrics")).text), "codemode_log_ok") == 0
                log.write(LogRow(1, 1, "tool", "tools/call", "ok"))
                await log.stored()
                async with asyncio.timeout(PATIENCE):
                    while (await http.get(f"{url}/readyz")).status_code != 200:
                        await asyncio.sleep(0)


async def test_isolates_are_a_part_where_programs_run() -> None:
    async with Instance.open(parse_config({"portal": {"metrics": {}}}, env={}), Discard()) as instance:
        async with serving(instance) as url, httpx2.AsyncClient() as http:
            assert (await http.get(f"{url}/readyz")).json()["parts"] == {"servers": "ok", "isolates": "ok"}
            found = numbers((await http.get(f"{url}/metrics")).text)
    assert of(found, "codemode_sandbox_workers") >= 1
    assert [of(found, "codemode_programs", state=state) for state in ("running", "queued", "suspended")] == [0, 0, 0]
