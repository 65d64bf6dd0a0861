"""Calls of a program: side by side, bounded, cancelled with it, and every one accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from codemode import Catalog, ToolCall, ToolDenied, ToolFailed, ToolReturned
from sandbox import Engine, Limits
from stubs import Server, Tool
from tests.codemode.bench import CATALOG, Recorder, bench

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio


async def test_a_call_carries_ids_names_and_arguments(engines: Engines) -> None:
    async with bench(engines) as b:
        await b.tool.run({"code": "await codemode.fix.my_tool({a: 1})"}, CATALOG, b.caller, run_id="run1")
        assert b.caller.calls == [ToolCall("run1", 1, "fix", "my-tool", {"a": 1})]


async def test_no_argument_is_an_empty_object(engines: Engines) -> None:
    async with bench(engines) as b:
        await b.run(
            "await codemode.fix.echo(); await codemode.fix.echo(undefined); await codemode.fix.echo({}, undefined)"
        )
        assert [call.arguments for call in b.caller.calls] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("await codemode.fix.search('text')", "must be an object"),
        ("await codemode.fix.search(['text'])", "must be an object"),
        ("await codemode.fix.search(null, 5)", "takes one argument"),
        ("await codemode.fix.search({query: 'x'}, {})", "takes one argument"),
        ("await codemode.fix.search({limit: '5'})", "input.query is missing; input.limit: expected integer"),
    ],
)
async def test_wrong_arguments_never_leave_and_show_the_signature(engines: Engines, code: str, said: str) -> None:
    async with bench(engines) as b:
        found = await b.run(code)
        assert said in found.error["message"]
        assert CATALOG.signature("fix.search") in found.error["message"]
        assert found.error["line"] == 1
        assert b.caller.calls == []


async def test_calls_run_side_by_side_and_settle_in_any_order(engines: Engines) -> None:
    gates = {name: asyncio.Event() for name in "abc"}

    async def echo(call: ToolCall) -> dict[str, Any]:
        await gates[call.arguments["name"]].wait()
        return call.arguments

    async with bench(engines, echo=echo) as b:
        code = """const order = [];
            await Promise.all(['a', 'b', 'c'].map(name => codemode.fix.echo({name}).then(() => order.push(name))));
            return order"""
        running = asyncio.create_task(b.run(code))
        for name in "cab":
            while b.caller.running + len([n for n in gates.values() if n.is_set()]) < 3:
                await asyncio.sleep(0)
            gates[name].set()
            await asyncio.sleep(0.01)
        assert (await running).value == ["c", "a", "b"]


async def test_only_so_many_calls_are_in_flight_and_the_rest_queue(engines: Engines) -> None:
    async def echo(call: ToolCall) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": call.arguments["n"]}

    async with bench(engines, Limits(calls_in_flight=4), echo=echo) as b:
        code = "return await Promise.all(Array.from({length: 50}, (_, n) => codemode.fix.echo({n}).then(r => r.n)))"
        assert (await b.run(code)).value == list(range(50))
        assert b.caller.most_running == 4
        assert len(b.caller.calls) == 50


async def test_one_slow_call_does_not_hold_up_the_others(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """const slow = codemode.fix.slow({});
            let total = 0;
            for (let n = 0; n < 5; n++) total += (await codemode.fix.echo({n})).n;
            return total"""
        found = await b.run(code)
        assert found.value == 10
        assert found.calls[0] == ("fix.slow", "cancelled")
        assert [status for _, status in found.calls[1:]] == ["ok"] * 5


async def test_calls_in_flight_when_the_program_ends_are_cancelled_and_reported(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("codemode.fix.slow({}); codemode.fix.slow({}); await codemode.fix.echo({}); return 'done'")
        assert (found.text, b.caller.cancelled) == ("done", 2)
        assert found.calls == [("fix.slow", "cancelled"), ("fix.slow", "cancelled"), ("fix.echo", "ok")]
        assert "2 calls were not awaited" in found.raw["content"][1]["text"]


async def test_calls_made_as_the_program_ends_do_not_leave_and_are_reported(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("codemode.fix.echo({}); return 1")
        assert found.calls == [("fix.echo", "cancelled")]
        assert "not awaited" in found.raw["content"][1]["text"]
        failed = await b.run("codemode.fix.echo({}); throw 1")
        assert failed.calls == [("fix.echo", "cancelled")]
        assert b.caller.calls == []


async def test_a_block_emitted_as_the_program_ends_counts(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("codemode.emit({type: 'text', text: 'last'}); codemode.emit('wrong'); return 1")
        assert [block["text"] for block in found.raw["content"]] == ["1", "last"]


async def test_cancelling_the_request_stops_the_program_and_its_calls(engines: Engines) -> None:
    async with bench(engines) as b:
        running = asyncio.create_task(b.run("await Promise.all([codemode.fix.slow({}), codemode.fix.slow({})])"))
        while b.caller.running < 2:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (b.caller.running, b.caller.cancelled) == (0, 2)
        assert (await b.run("1")).value == 1


async def test_a_program_that_burns_cpu_is_stopped_when_its_request_is_cancelled(engines: Engines) -> None:
    async with bench(engines) as b:
        await b.run("1")
        running = asyncio.create_task(b.run("for (;;) {}"))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await b.run("2")).value == 2


async def test_over_the_wall_time_calls_are_cancelled_and_what_completed_is_listed(engines: Engines) -> None:
    async with bench(engines, Limits(wall_time=0.2)) as b:
        found = await b.run("await codemode.fix.echo({}); await codemode.fix.slow({})")
        assert found.error["kind"] == "wall_time"
        assert found.calls == [("fix.echo", "ok"), ("fix.slow", "cancelled")]
        assert b.caller.cancelled == 1


async def test_a_call_that_ignores_its_cancellation_does_not_hold_the_answer_for_long(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codemode.calls._PATIENCE", 0.05)
    stop = asyncio.Event()

    async def stubborn(call: ToolCall) -> dict[str, Any]:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue
        return {}

    async with bench(engines, slow=stubborn) as b:
        found = await b.run("codemode.fix.slow({}); await codemode.fix.echo({}); return 1")
        assert found.value == 1
        stop.set()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("outcome", "seen"),
    [
        (ToolFailed("boom", -32000, {"a": 1}), ["boom", -32000, {"a": 1}]),
        (ToolFailed("gone"), ["gone", None, None]),
        (ToolReturned({"isError": True, "content": [{"type": "text", "text": "no"}]}), ["no", None, None]),
        (ToolReturned({"isError": True, "structuredContent": {"b": 2}}), [None, None, {"b": 2}]),
    ],
)
async def test_a_failed_call_rejects_with_a_tool_error(engines: Engines, outcome: object, seen: list[object]) -> None:
    async with bench(engines, echo=lambda call: outcome) as b:
        code = """try { await codemode.fix.echo({}) } catch (e) {
            const {message, code, data, tool, name} = e;
            return [message, code ?? null, data ?? null, tool, name, e instanceof ToolError, e instanceof Error]
        }"""
        found = await b.run(code)
        message, *rest = found.value
        assert rest == [*seen[1:], "fix.echo", "ToolError", True, True]
        assert message == (seen[0] or "the tool reported an error without a message")
        assert found.calls == [("fix.echo", "error")]


async def test_an_uncaught_tool_error_quotes_the_line_of_its_call(engines: Engines) -> None:
    async with bench(engines, echo=lambda call: ToolFailed("boom")) as b:
        found = await b.run("const a = 1;\n\nawait codemode.fix.echo({a});")
        assert (found.error["name"], found.error["message"], found.error["line"]) == ("ToolError", "boom", 3)


async def test_a_denied_call_says_why_and_is_reported_as_denied(engines: Engines) -> None:
    async with bench(engines, echo=lambda call: ToolDenied("read-only access")) as b:
        found = await b.run("await codemode.fix.echo({})")
        assert "read-only access" in found.text
        assert found.calls == [("fix.echo", "denied")]


async def test_a_fault_behind_the_caller_is_one_failed_call_and_tells_nothing(engines: Engines) -> None:
    def echo(call: ToolCall) -> Any:
        raise RuntimeError("secret token 123")

    async with bench(engines, echo=echo) as b:
        found = await b.run("await codemode.fix.echo({})")
        assert "secret" not in str(found.raw)
        assert found.error["message"] == "the call failed inside the portal"


async def test_a_call_cancelled_from_inside_rejects_and_the_program_goes_on(engines: Engines) -> None:
    def echo(call: ToolCall) -> Any:
        raise asyncio.CancelledError

    async with bench(engines, echo=echo) as b:
        one = await b.run("return await codemode.fix.echo({}).catch(e => e.message)")
        many = await b.run("return await Promise.all([1, 2].map(() => codemode.fix.echo({}).catch(e => e.name)))")
        assert (one.value, many.value) == ("the call was cancelled on its way", ["ToolError", "ToolError"])


async def test_a_result_over_its_limit_rejects_only_its_call(engines: Engines) -> None:
    big = ToolReturned({"content": [{"type": "text", "text": "x" * 3_000}]})
    async with bench(engines, Limits(tool_result=1_000), echo=lambda call: big) as b:
        found = await b.run("try { await codemode.fix.echo({}) } catch (e) { return e.message }")
        assert "3,002 bytes" in found.value


async def test_results_arrive_as_data(engines: Engines) -> None:
    text = ToolReturned({"content": [{"type": "text", "text": '{"n": 1.50, "id": "12345678901234567890"}'}]})
    async with bench(engines, echo=lambda call: text) as b:
        assert (await b.run("return await codemode.fix.echo({})")).value == {"n": 1.5, "id": "12345678901234567890"}


async def test_timers_and_calls_wait_together(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """const late = new Promise(resolve => setTimeout(() => resolve('timer'), 20));
            const first = await Promise.race([late, codemode.fix.slow({})]);
            return [first, (await codemode.fix.echo({n: 1})).n]"""
        assert (await b.run(code)).value == ["timer", 1]


async def test_timers_fire_in_order_without_calls(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """const seen = [];
            setTimeout(() => seen.push('never'), 60_000);
            const after = ms => new Promise(done => setTimeout(() => { seen.push(ms); done() }, ms));
            await Promise.all([10, 5, 1].map(after));
            return seen"""
        assert (await b.run(code)).value == [1, 5, 10]


async def test_calls_are_timed_against_the_start_of_the_run(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("await codemode.fix.echo({}); await codemode.fix.echo({})")
        first, second = found.structured["calls"]
        assert 0 <= first["at"] <= first["at"] + first["ms"] <= second["at"] + 1
        assert [first["seq"], second["seq"]] == [1, 2]


async def test_the_functions_of_codemode_are_served_here_and_are_no_calls(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """return [(await codemode.search('things', {limit: 1}))[0].path,
            (await codemode.search('', {server: 'fix'})).length, (await codemode.tools({server: 'time-zone'})).length,
            (await codemode.describe(['fix.search'])).includes('search(input')]"""
        found = await b.run(code)
        assert found.value == ["fix.search", 1, 3, True]
        assert (found.calls, b.caller.calls) == ([], [])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("codemode.search()", "needs words"),
        ("codemode.search('x', {limit: 99})", "1 to 50"),
        ("codemode.search('x', {limit: 'five'})", "1 to 50"),
        ("codemode.search('x', {sever: 'fix'})", "{limit, readOnly, server}"),
        ("codemode.search('x', {server: 'nope'})", "The servers are: fix, time-zone"),
        ("codemode.describe('fix.serach')", "Nearest:\n  codemode.fix.search("),
        ("codemode.describe()", "needs a path"),
        ("codemode.describe('fix', {all: true})", "{full}"),
        ("codemode.tools({server: 'broken'})", "connection refused"),
        ("codemode.tools('fix.search')", "the options of tools"),
        ("codemode.emit('text')", "MCP content block"),
    ],
)
async def test_wrong_questions_are_answered_with_how_to_ask(engines: Engines, code: str, said: str) -> None:
    async with bench(engines) as b:
        found = await b.run(f"await {code}")
        assert said in found.error["message"] and found.error["name"] == "TypeError"


async def test_emitted_blocks_come_last_and_survive_a_failure(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """console.log('log');
            await codemode.emit({type: 'image', data: new Uint8Array([1, 2, 3]), mimeType: 'image/png'});
            await codemode.emit({type: 'text', text: 'more'});
            throw new Error('x')"""
        found = await b.run(code)
        assert not found.ok
        assert [block["type"] for block in found.raw["content"]] == ["text", "text", "image", "text"]
        assert found.raw["content"][2] == {"type": "image", "data": "AQID", "mimeType": "image/png"}


@pytest.mark.parametrize(
    "block",
    [
        "{type: 'image', mimeType: 'image/png'}",
        "{type: 'image', data: '%%', mimeType: 'image/png'}",
        "{type: 'image', data: 'AAAA'}",
        "{type: 'resource', resource: {}}",
        "{type: 'nope'}",
        "null",
        "[]",
    ],
)
async def test_a_block_that_is_none_is_refused(engines: Engines, block: str) -> None:
    async with bench(engines) as b:
        found = await b.run(f"await codemode.emit({block})")
        assert not found.ok and len(found.raw["content"]) == 1


async def test_emitted_blocks_are_bounded(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """const data = 'A'.repeat(900_000);
            for (let n = 0; n < 20; n++) await codemode.emit({type: 'image', data, mimeType: 'image/png'})"""
        found = await b.run(code)
        assert "10,485,760 bytes together" in found.error["message"]
        assert len(found.raw["content"]) == 1 + 11
        many = await b.run("for (let n = 0; n < 150; n++) await codemode.emit({type: 'text', text: 'x'})")
        assert "at most 100 blocks" in many.error["message"]


async def test_runs_of_different_catalogs_share_one_tool(engines: Engines) -> None:
    other = Catalog.build([Server("other", tools=(Tool("x"),))])
    async with bench(engines) as b:
        caller = Recorder()
        found = await asyncio.gather(
            *(
                b.tool.run({"code": "return Object.keys(codemode)[0]"}, catalog, caller)
                for catalog in [other, CATALOG] * 5
            )
        )
        assert [one["structuredContent"]["result"] for one in found] == ["other", "fix"] * 5


async def test_a_prepared_catalog_is_ready_to_run_and_to_search(engines: Engines) -> None:
    catalog = Catalog.build(CATALOG.servers)
    async with bench(engines, catalog=catalog) as b:
        before = catalog.searchable
        await b.tool.prepare(catalog)
        assert (before, catalog.searchable) == (False, True)
        assert (await b.run("1")).value == 1


async def test_nothing_of_one_run_is_seen_by_the_next(engines: Engines) -> None:
    async with bench(engines) as b:
        await b.run("globalThis.leak = 1; codemode.fix.search.leak = 1; Object.prototype.leak = 1")
        found = await b.run("return [typeof leak, codemode.fix.search.leak === undefined, ({}).leak === undefined]")
        assert found.value == ["undefined", True, True]
