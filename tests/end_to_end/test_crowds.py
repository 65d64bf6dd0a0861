"""Many at once: hostile programs beside good ones, equal ids, floods of calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice

import pytest

from tests.deep import times
from tests.end_to_end.whole import LEGACY, MODERN, Raw, Whole, whole
from tests.patience import PATIENCE
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.raw import Raw as Upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
# No program of the crowd ends by the clock, however busy the machine is.
LIMITS = {"cpuTime": 0.25, "wallTime": PATIENCE}
CROWDED = {**LIMITS, "cpuTime": 0.12, "memory": 16 << 20}
# Each with the kinds of error it may end with; None for one that completes.
HOSTILE: list[tuple[str, set[str | None]]] = [
    ("for (;;) {}", {"cpu_time"}),
    ("/(a+)+$/.test('a'.repeat(40) + 'b')", {"cpu_time"}),
    ("const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))", {"memory", "exception"}),
    ("let s = 'x'; for (;;) s += s", {"memory", "exception", "size"}),
    ("const f = () => f() + 1; f()", {"stack", "exception"}),
    ("return 'x'.repeat(3 << 20)", {"size"}),
    ("for (let n = 0; n < 1e5; n++) console.log('y'.repeat(1000)); return 1", {None, "cpu_time"}),
    ("for (let n = 0; n < 1e5; n++) await codemode.one.echo({n})", {"calls", "cpu_time"}),
    ("await Promise.all(Array.from({length: 2e4}, (_, n) => codemode.one.echo({n})))", {"calls", "cpu_time"}),
    ("await new Promise(() => {})", {"deadlock"}),
    ("for (let n = 0; n < 1e6; n++) setTimeout(() => {}, n)", {"exception", "cpu_time", "size", "calls"}),
    ("let a = []; for (let n = 0; n < 1e5; n++) a = [a]; return a", {"exception", "size", "stack", "cpu_time"}),
    ("return new Proxy({}, {ownKeys() { for (;;) {} }})", {"cpu_time"}),
    ("return {toJSON() { throw new Error('no') }}", {"exception"}),
    ("JSON.stringify = Promise.resolve = Array.prototype.push = () => { throw 1 }; return [1]", {None, "exception"}),
    ("return 7n ** (1n << 40n)", {"exception", "memory", "cpu_time"}),
]


async def echo(exchange: Exchange) -> None:
    await exchange.text(str(exchange.message["params"]["arguments"].get("text", "")))


@asynccontextmanager
async def portal_over(upstream: Upstream, **settings: object) -> AsyncIterator[Whole]:
    async with whole({"one": {"url": upstream.url}}, **settings) as portal:
        yield portal


async def test_sixty_four_hostile_programs_at_once_and_a_good_client_is_answered_all_the_while() -> None:
    async with raw_upstream(echo) as upstream, portal_over(upstream, limits=CROWDED) as portal:
        async with Raw(portal.code, MODERN) as attacker, Raw(portal.code, LEGACY) as user:
            crowd = list(islice(cycle(HOSTILE), 64))
            attack = [asyncio.create_task(attacker.run(program)) for program, _ in crowd]
            good = 0
            while not all(task.done() for task in attack):
                answered = await user.run("return (await codemode.one.echo({text: 'fine'})).length")
                assert (answered["status"], answered.get("result")) == ("completed", 4), answered
                good += 1
            assert good >= 3
            for (program, kinds), task in zip(crowd, attack, strict=True):
                found = task.result()
                assert found.get("error", {}).get("kind") in kinds, (program, found)
            assert (await portal.health())["servers"]["one"]["state"] == "ready"


@pytest.mark.parametrize("turns", times(15, 60))
@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_equal_ids_of_different_clients_never_cross(version: str, turns: int) -> None:
    """Every client uses the same JSON-RPC ids, the upstream answers out of order."""
    held: list[Exchange] = []

    async def in_reverse(exchange: Exchange) -> None:
        held.append(exchange)
        if len(held) == 8:
            batch = held[::-1]
            held.clear()
            for one in batch:
                await echo(one)

    async with raw_upstream(in_reverse) as upstream, portal_over(upstream) as portal:
        clients = [Raw(portal.code, version) for _ in range(8)]
        for client in clients:
            await client.__aenter__()

        async def rounds(number: int, client: Raw) -> None:
            for turn in range(turns):
                mine = f"{number} {turn}"
                program = f"return [await codemode.one.echo({{text: '{mine}'}}), '{mine}']"
                params = {"name": "code", "arguments": {"code": program}}
                answer = await client.ask("tools/call", params, turn)
                assert answer["id"] == turn
                assert answer["result"]["structuredContent"]["result"] == [mine, mine]

        await asyncio.gather(*(rounds(number, client) for number, client in enumerate(clients)))
        for client in clients:
            await client.__aexit__()


@pytest.mark.parametrize("turns", times(12, 40))
async def test_plain_tool_calls_with_equal_ids_never_cross(turns: int) -> None:
    async with raw_upstream(echo) as upstream, portal_over(upstream) as portal:
        clients = [Raw(portal.mcp, version) for version in (MODERN, LEGACY) * 8]
        for client in clients:
            await client.__aenter__()

        async def rounds(number: int, client: Raw) -> None:
            for turn in range(turns):
                mine = f"{number} {turn}"
                answer = await client.ask("tools/call", {"name": "one_echo", "arguments": {"text": mine}}, 0)
                assert answer["id"] == 0 and answer["result"]["content"][0]["text"] == mine

        await asyncio.gather(*(rounds(number, client) for number, client in enumerate(clients)))
        for client in clients:
            await client.__aexit__()


async def test_at_most_sixteen_calls_of_a_program_are_at_the_upstream_at_a_time() -> None:
    flying, peak, full = 0, 0, asyncio.Event()

    async def counting(exchange: Exchange) -> None:
        nonlocal flying, peak
        flying += 1
        peak = max(peak, flying)
        if flying == 16:
            full.set()
        await full.wait()  # the first sixteen are all there before one is answered
        flying -= 1
        await echo(exchange)

    async with raw_upstream(counting) as upstream, portal_over(upstream) as portal, Raw(portal.code) as client:
        program = "return (await Promise.all(Array.from({length: 120}, (_, n) => codemode.one.echo({n})))).length"
        assert (await client.run(program))["result"] == 120
    assert peak == 16 and len(upstream.calls) == 120


@pytest.mark.parametrize(
    "program",
    [
        "for (let n = 0; n < 1e5; n++) await codemode.one.echo({n})",
        "for (let n = 0; n < 1e5; n++) try { await codemode.one.echo({n}) } catch {}",
        "for (;;) await Promise.allSettled(Array.from({length: 40}, (_, n) => codemode.one.echo({n})))",
    ],
)
async def test_the_upstream_sees_exactly_the_calls_that_are_allowed(program: str) -> None:
    async with raw_upstream(echo) as upstream, portal_over(upstream) as portal, Raw(portal.code) as client:
        found = await client.run(program)
        assert found["error"]["kind"] == "calls"
        assert len(upstream.calls) == 200
        assert [call["status"] for call in found["calls"]] == ["ok"] * 200
    assert len(portal.sink.records) == 200


async def test_a_flood_of_calls_past_the_limit_in_one_go_makes_no_call_more() -> None:
    async with raw_upstream(echo) as upstream, portal_over(upstream) as portal, Raw(portal.code) as client:
        program = "await Promise.all(Array.from({length: 20000}, (_, n) => codemode.one.echo({n})))"
        found = await client.run(program)
        assert found["error"]["kind"] == "calls"
        assert len(upstream.calls) <= 200 and len(found["calls"]) <= 200
        assert (await client.run("return 1"))["result"] == 1


async def test_names_that_were_not_granted_reach_no_upstream() -> None:
    """Every way round the catalog that a program can try: raw names, numbers, prototypes, every global function."""
    program = """
        const found = [];
        const names = ["secret", "one.secret", "constructor", "__proto__", "toString", "", "one", 0, -1, NaN, {}, null];
        for (const name of names) {
            try { await codemode[name]({}); found.push(name) } catch {}
            try { await codemode.one[name]({}); found.push(name) } catch {}
        }
        const seen = new Set();
        const visit = (value, depth) => {
            if (depth > 3 || Object(value) !== value || seen.has(value)) return;
            seen.add(value);
            for (const key of Reflect.ownKeys(value)) {
                let inner; try { inner = value[key] } catch { continue }
                if (typeof inner === "function" && value !== codemode && value !== codemode.one) {
                    for (const given of [["secret", {}], ["one.secret", {}], ["call", 1], [0], [-1], [NaN]]) {
                        try { inner(...given) } catch {}
                    }
                }
                visit(inner, depth + 1);
            }
        };
        for (const key of Reflect.ownKeys(globalThis)) if (!/^(set|queue|console)/.test(String(key)))
            try { visit(globalThis[key], 0) } catch {}
        return found.map(String);
    """
    async with raw_upstream(echo) as upstream, portal_over(upstream, limits=LIMITS) as portal:
        async with Raw(portal.code) as client:
            found = await client.run(program)
            assert set(found["result"]) <= {"constructor", "toString", "__proto__"}, found  # those of any object
            assert found["calls"] == [] and upstream.calls == []
