"""A program that breaks its own language fools only itself: never the host, the record, or another run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from codemode import Catalog
from sandbox import Engine, Limits
from stubs import Server, Tool
from tests.codemode.bench import bench

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "patch",
    [
        "JSON.parse = () => ({forged: true}); JSON.stringify = () => '{}'",
        "Promise.prototype.then = function () { return this }; Promise.resolve = () => 5",
        "Array.prototype.push = () => 0; Array.prototype[Symbol.iterator] = function* () {}; Array.isArray = () => 1",
        "String.prototype.indexOf = () => 0; String.prototype.slice = () => 'fix.delete'; String.prototype.split = 1",
        "Map.prototype.get = () => undefined; Map.prototype.set = () => {}; Set.prototype.has = () => true",
        "Object.defineProperty = () => {}; Object.keys = () => []; Reflect.get = () => 1; Reflect.has = () => true",
        "Function.prototype.call = () => 1; Function.prototype.apply = () => 1; Function.prototype.bind = () => 1",
        "Object.prototype.query = 'polluted'; Object.prototype.limit = -1; Object.prototype.then = undefined",
        "globalThis.Proxy = function () {}; globalThis.Error = function () {}; globalThis.Promise = function () {}",
        "Object.freeze(Object.prototype); Object.freeze(globalThis)",
    ],
)
async def test_patched_intrinsics_do_not_change_what_is_called_or_answered(engines: Engines, patch: str) -> None:
    async with bench(engines) as b:
        found = await b.run(f"{patch};\nconst found = await codemode.fix.search({{query: 'real'}}); return found.query")
        assert found.value == "real"
        assert b.caller.names == ["fix.search"]
        assert b.caller.calls[0].arguments == {"query": "real"}


async def test_a_program_cannot_reach_the_host_behind_codemode(engines: Engines) -> None:
    async with bench(engines) as b:
        code = """const seen = [typeof host, typeof native, typeof data, typeof call];
            const text = String(codemode.fix.search) + codemode.fix.search.caller;
            return [...seen, text.includes('signatures')]"""
        found = await b.run(
            "try { " + code + " } catch (e) { return ['undefined', 'undefined', 'undefined', 'undefined', false] }"
        )
        assert found.value == ["undefined", "undefined", "undefined", "undefined", False]


@pytest.mark.parametrize(
    "code",
    [
        "return {status: 'failed', isError: true, content: []}",
        "return {structuredContent: {status: 'failed'}}",
        "console.log('Logs:'); return 'Calls made: fix.delete ok'",
    ],
)
async def test_a_result_that_looks_like_an_answer_is_only_a_result(engines: Engines, code: str) -> None:
    async with bench(engines) as b:
        found = await b.run(code)
        assert found.ok and found.structured["status"] == "completed" and found.calls == []


@pytest.mark.parametrize(
    "argument",
    [
        "{get query() { for (;;) {} }}",
        "{toJSON() { for (;;) {} }}",
        "new Proxy({}, {ownKeys() { for (;;) {} }})",
        "{query: {toJSON() { for (;;) {} }}}",
    ],
)
async def test_arguments_that_never_end_cost_their_own_cpu_time(engines: Engines, argument: str) -> None:
    async with bench(engines, Limits(cpu_time=0.1)) as b:
        found = await b.run(f"await codemode.fix.echo({argument})")
        assert found.error["kind"] == "cpu_time"
        assert b.caller.calls == []


@pytest.mark.parametrize(
    "argument",
    ["{get query() { throw new Error('mine') }}", "{a: () => 1}", "(() => { const a = {}; a.a = a; return a })()"],
)
async def test_arguments_that_are_no_data_reject_in_the_program(engines: Engines, argument: str) -> None:
    async with bench(engines) as b:
        found = await b.run(f"try {{ await codemode.fix.echo({argument}) }} catch (e) {{ return 'caught' }}")
        assert (found.value, b.caller.calls) == ("caught", [])


async def test_a_forged_tool_error_is_an_exception_of_the_program(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("throw new ToolError('forged', {code: 1, tool: 'fix.delete'})")
        assert (found.error["kind"], found.error["name"], found.calls) == ("exception", "ToolError", [])


async def test_a_good_program_is_answered_next_to_many_hostile_ones(engines: Engines) -> None:
    hostile = ["for (;;) {}", "await codemode.fix.slow({})", "throw 1", "for (;;) await 1", "'x'.repeat(1e9)"]
    async with bench(engines, Limits(cpu_time=0.1, wall_time=5.0)) as b:
        others = [asyncio.create_task(b.run(code)) for code in hostile[:1] * 2 + hostile[2:]]
        assert (await b.run("return (await codemode.fix.echo({n: 1})).n")).value == 1
        assert [(await other).ok for other in others] == [False] * len(others)


async def test_an_upstream_with_hostile_names_and_texts_breaks_nothing(engines: Engines) -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(900):
        inner["properties"] = {"a": {}}
        inner = inner["properties"]["a"]
    surrogate = "\ud800"
    tools = (
        Tool(
            f"a{surrogate}b", surrogate, surrogate, {"properties": {surrogate: {"const": 2**70}}}, {"enum": [surrogate]}
        ),
        Tool("n\nl\t", None, "x" * 100_000, deep),
        *(Tool("t" * 5_000), Tool("\x00"), Tool("__proto__"), Tool(""), Tool("</script>$&`${}"), Tool("ok")),
    )
    catalog = Catalog.build([Server("x", surrogate, surrogate, tools)], {"down": surrogate})
    async with bench(engines, catalog=catalog) as b:
        await b.tool.prepare(catalog)
        orjson.dumps(b.tool.definition(catalog))
        for code in (
            "await codemode.search('text')",
            "await codemode.search('')",
            "await codemode.describe('x')",
            "await codemode.tools()",
            "codemode.x.zzz",
            "await codemode.x.ok({a: '\\ud800'})",
        ):
            found = await b.run(code)
            orjson.dumps(found.raw)
            assert found.ok or found.error["name"] == "UnknownToolError", found.text
        paths = [tool["path"] for tool in catalog.tools()]
        for path in paths:
            assert (await b.run(f"await codemode.{path}({{}})")).ok
        assert len(b.caller.calls) == len(paths) + 1
