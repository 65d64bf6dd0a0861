"""Programs that replace builtins, walk what they can reach, forge what the host reads: they fool themselves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox import HostCall, Settlement

from .hostile.arena import QUICK, Arena, arena
from .hostile.scripts import sections, text

LIMITS = replace(QUICK, cpu_time=1.0, calls=1000)


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(LIMITS) as made:
        yield made


POLLUTION = sections("pollution.js")


@pytest.mark.parametrize("what", POLLUTION)
def test_arguments_results_and_settlements_are_what_they_are(ground: Arena, what: str) -> None:
    source = f"""
    const map = new Map([[1, [2]]]), set = new Set(['s']), date = new Date(0), bytes = new Uint8Array([1, 2]), h = host;
    const plain = {{ q: 1, list: [1, {{ a: null }}], text: 'x' }};
    (() => {{ {POLLUTION[what]} }})();
    const got = await h.echo(plain), again = await h.echo([map, set, date, bytes, 12n, /x/]);
    let failed; try {{ await h.fail(1) }} catch (e) {{ failed = [typeof e, e.code] }}
    ({{ got, again, failed, plain }})"""

    def answer(call: HostCall) -> Settlement:
        if call.name == "fail":
            return Settlement.error(call.id, name="ToolError", message="no", properties={"code": 7})
        return Settlement.value(call.id, {"honest": call.arguments})

    ended = ground.run(source, answer=answer)
    plain = {"q": 1, "list": [1, {"a": None}], "text": "x"}
    rich = [[[1, [2]]], ["s"], "1970-01-01T00:00:00.000Z", {"$type": "Uint8Array", "base64": "AQI="}, "12", "/x/"]
    assert [(call.name, call.arguments) for call in ended.calls] == [("echo", plain), ("echo", rich), ("fail", 1)]
    assert ended.value["got"] == {"honest": plain}
    assert ended.value["again"] == {"honest": rich}
    assert ended.value["failed"][0] == "object"
    assert ended.value["plain"] == plain


def test_a_then_on_every_object_holds_up_the_program_itself_and_no_other(ground: Arena) -> None:
    ended = ground.run("Object.prototype.then = () => {}; await host.x({ a: 1 })")
    assert ended.kind == "deadlock"
    assert [call.arguments for call in ended.calls] == [{"a": 1}]
    ended = ground.run(
        "Object.prototype.then = function (f) { delete Object.prototype.then; f('mine') }; await host.x([])"
    )
    assert ended.value == "mine"


def test_nothing_leaks_from_a_call_that_would_settle_it(ground: Arena) -> None:
    """Whatever replaced promise machinery records, calling it settles nothing the host has not settled."""
    source = """
    const seen = [], record = (...a) => { seen.push(...a) };
    const { then } = Promise.prototype, { ownKeys } = Reflect;
    for (const key of ownKeys(Promise.prototype)) if (key !== 'constructor' && typeof key === 'string')
      Promise.prototype[key] = function (...a) { record(this, ...a); return then.apply(this, a) };
    for (const key of ['resolve', 'reject', 'withResolvers']) { const f = Promise[key];
      Promise[key] = function (...a) { record(...a); return f.apply(Promise, a) } }
    Error.prepareStackTrace = (e, sites) => { record(e, ...sites); return '' };
    Object.defineProperty(Object.prototype, 'then', { get() { record(this) }, configurable: true });
    const p = host.first(1); record(p);
    let settled = 'not yet'; then.call(p, () => { settled = 'by the program' });
    for (let i = 0; i < seen.length && i < 500; i++) {
      const it = seen[i];
      if (typeof it === 'function')
        for (const v of [undefined, 1, 'forged']) try { record(it(v, v)) } catch (e) { record(e) }
      if (it && typeof it === 'object') for (const key of ownKeys(it)) try { record(it[key]) } catch (e) { record(e) }
    }
    await 0; await 0; await 0;
    const before = settled; await host.second(2); await 0;
    [before, settled]"""
    settled: list[Any] = []

    def answer(call: HostCall) -> Settlement:
        settled.append(call.name)
        return Settlement.value(call.id, call.name)

    ended = ground.run(source, answer=answer)
    assert ended.value[0] == "not yet"
    assert settled == ["first", "second"]


REACH = text("reach.js")


def test_everything_that_can_be_reached_makes_no_call_but_through_the_door_it_was_given(ground: Arena) -> None:
    """A preload keeps `host.call` to itself: no walk finds it, and no function it finds makes another call."""
    preload = """
    const secret = { token: 'prelude-secret' };
    const call = host.call;
    globalThis.reach = function reach(value) { void secret.token; return call('allowed', { value }) };"""
    image = ground.on_thread(lambda: ground.engine.image(preload))
    source = (
        "reach(0);"
        + REACH
        + """
    const skip = new Set([setTimeout, setInterval, queueMicrotask, Array.prototype.fill]);
    let called = 0;
    for (const f of found) {
      if (typeof f !== 'function' || skip.has(f)) continue;
      for (const args of [[], ['secret', {}], [1], [-1], [NaN, {}], [{}, 'secret'], ['secret', () => 1]]) {
        try { f(...args) } catch {}
        called++;
        if (f.name === 'reach') break;
      }
      try { Reflect.apply(f, found, ['secret', {}]) } catch {}
    }
    [called > 3000, typeof host]"""
    )
    ended = ground.run(source, image=image, check=False)
    assert ended.kind in ("completed", "exception", "calls", "cpu_time", "memory")
    assert {call.name for call in ended.calls} == {"allowed"}
    if ended.kind == "completed":
        assert ended.value == [True, "undefined"]
    ground.check()


def test_a_walk_finds_many_objects_and_no_text_of_the_host(ground: Arena) -> None:
    preload = "const secret = 'prelude-' + 'secret'; globalThis.reach = (v) => secret.length && v.a;"
    image = ground.on_thread(lambda: ground.engine.image(preload))
    source = (
        REACH
        + """
    let texts = '';
    for (const it of found) {
      if (typeof it === 'function') texts += it.name + ' ' + it + '\\n';
      try { texts += it.getFileName() + ':' + it.getLineNumber() } catch {}
      try { if (typeof it.stack === 'string') texts += it.stack } catch {}
    }
    [found.size > 700, WORDS.filter((word) => texts.includes(word))]"""
    )
    words = ["prelude-secret", "site-packages", "native.call", "Traceback", ".py", "/usr", sys.prefix, os.getcwd()]
    assert ground.run(f"const WORDS = {json.dumps(words)};{source}", image=image).value == [True, []]


def test_a_call_site_hands_out_no_function_and_no_receiver(ground: Arena) -> None:
    source = """
    let sites; Error.prepareStackTrace = (e, s) => s;
    host.x({ get a() { sites = new Error().stack; return 1 } });
    console.log({ get a() { sites = [...sites, ...new Error().stack]; return 1 } });
    const given = [];
    for (const site of sites) for (const key of Reflect.ownKeys(Object.getPrototypeOf(site))) {
      let value; try { value = site[key]?.() } catch {}
      if (typeof value === 'function' || (typeof value === 'object' && value !== null)) given.push(String(key));
    }
    [sites.length > 1, given]"""
    assert ground.run(source).value == [True, []]


@pytest.mark.parametrize(
    "source",
    [
        "fetch('http://169.254.169.254')", "require('fs')", "process.env", "Deno.readFile('x')", "Bun.file('x')",
        "new XMLHttpRequest()", "new WebSocket('ws://x')", "importScripts('x')", "new Worker('x')", "std.open('x')",
        "os.exec(['ls'])", "scriptArgs[0]", "print(1)", "loadScript('x')", "bjson.read()", "WebAssembly.compile",
        "new WebAssembly.Module(new Uint8Array(8))", "native.call('x')", "__wasi", "Atomics.wait",
    ],
)  # fmt: skip
def test_there_is_no_way_out_by_name(ground: Arena, source: str) -> None:
    ended = ground.run(source)
    assert ended.kind == "exception"
    assert ended.calls == ()


@pytest.mark.parametrize(
    "name", ["fs", "node:fs", "std", "os", "http://x/y.js", "./x.js", "/etc/passwd", "data:,1", ""]
)
def test_nothing_can_be_imported(ground: Arena, name: str) -> None:
    for source in (
        f"await import('{name}')",
        f"import x from '{name}'; x",
        f"export * from '{name}'",
        f"await eval(\"import('{name}')\")",
        f"await new Function(\"return import('{name}')\")()",
        f"await import('{name}', {{ with: {{ type: 'json' }} }})",
    ):
        ended = ground.run(source, check=False)
        assert ended.kind in ("exception", "syntax"), source
    ground.check()


def test_eval_and_function_give_the_same_world_and_no_other(ground: Arena) -> None:
    source = """
    const indirect = eval, F = (() => {}).constructor, A = (async () => {}).constructor,
      G = (function* () {}).constructor;
    [indirect('globalThis') === globalThis, F('return this')() === undefined || F('return this')() === globalThis,
     new Function('return globalThis')() === globalThis, await A('return globalThis')() === globalThis,
     [...G('yield globalThis')()][0] === globalThis]"""
    assert ground.run(source).value == [True] * 5


ENVELOPES = [
    "({ ok: true, result: 1, __error: null })",
    "['completed', true, 1, [], []]",
    '\'["failed",{"kind":"engine","message":"x"},[],[]]\'',
    "({ status: 'failed', error: { kind: 'cpu_time', message: 'x' } })",
    "({ kind: 'deadlock', message: 'x', name: 'Deadlock', stack: '' })",
    "({ $type: 'Uint8Array', base64: 'AA==' })",
    "'\\n]],[\"suspended\",[]'",
]


@pytest.mark.parametrize("expression", ENVELOPES)
def test_a_result_that_looks_like_an_envelope_is_a_result(ground: Arena, expression: str) -> None:
    ended = ground.run(expression)
    assert ended.kind == "completed"
    assert ground.run(f"await host.x(({expression}))").value == ended.value
    logged = ground.run(f"console.log(JSON.stringify(({expression}))); 1")
    assert len(logged.logs) == 1


def test_a_log_line_is_one_line_whatever_is_in_it(ground: Arena) -> None:
    ended = ground.run("""console.log('a"],["error","forged'); console.info('\\u0000\\n"]]'); 1""")
    assert [(line.level, line.text) for line in ended.logs] == [("log", 'a"],["error","forged'), ("info", '\0\n"]]')]
