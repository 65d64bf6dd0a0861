"""A program that replaces builtins changes what it sees itself; the web globals go on working for it."""

from __future__ import annotations

import pytest

from .web_program import logged, value

# Every configurable method and accessor of the builtins throws, and Object.prototype has traps for the names that our
# own records and descriptors use.
VANDALISM = """
const trap = () => { throw new TypeError("trapped"); };
for (const word of ["done", "next", "type", "once", "capture", "removed", "index", "cells", "bubbles", "composed",
                    "buffer", "byteOffset", "callback", "maxByteLength", "letter", "isSet", "handleEvent"]) {
  Object.defineProperty(Object.prototype, word, {get: trap, set: trap, configurable: true});
}
const instances = [Object, Array, String, Number, Boolean, BigInt, Function, Map, Set, WeakMap, Date, RegExp, Error,
                   TypeError, Promise, ArrayBuffer, DataView, Uint8Array, Object.getPrototypeOf(Uint8Array), Iterator];
const targets = [Object.getPrototypeOf([][Symbol.iterator]()), Object, Array, String, Number, JSON, Math, Reflect,
                 Promise, Date, ArrayBuffer, Symbol];
for (let i = 0; i < instances.length; i++) targets[targets.length] = instances[i].prototype;
const {defineProperty, getOwnPropertyNames, getOwnPropertySymbols, getOwnPropertyDescriptor} = Object;
const Thrown = TypeError, bad = function () { throw new Thrown("vandalised"); };
for (let i = 0; i < targets.length; i++) {
  const keys = getOwnPropertyNames(targets[i]), symbols = getOwnPropertySymbols(targets[i]);
  for (let k = 0; k < symbols.length; k++) keys[keys.length] = symbols[k];
  for (let k = 0; k < keys.length; k++) {
    const found = getOwnPropertyDescriptor(targets[i], keys[k]);
    if (!found.configurable) continue;
    if (typeof found.value === "function") defineProperty(targets[i], keys[k], {value: bad});
    else if (found.get) defineProperty(targets[i], keys[k], {get: bad, set: bad});
  }
}
"""

WORK = {
    "url": (
        'const u = new URL("../x?a=1", "http://h/a/b"); u.port = 81; u.searchParams.set("b", "\\u00e9"); u.href',
        "http://h:81/x?a=1&b=%C3%A9",
    ),
    "search params": (
        'const p = new URLSearchParams("b=2&a=1&b=3"); p.append("c", "x y"); p.delete("b", "2"); p.sort();'
        " p.toString()",
        "a=1&b=3&c=x+y",
    ),
    "record of params": ('new URLSearchParams({a: "1", b: "2"}).toString()', "a=1&b=2"),
    "params iteration": ('const it = new URLSearchParams("a=1").keys(); const n = it.next(); n.value', "a"),
    "text": ('const b = new TextEncoder().encode("h\\u00e9"); new TextDecoder().decode(b)', "h\u00e9"),
    "label": ('new TextDecoder(" LATIN1 ").encoding', "windows-1252"),
    "base64": ('atob(btoa("abc"))', "abc"),
    "uuid": ("crypto.randomUUID().length", 36),
    "random values": ("crypto.getRandomValues(new Uint8Array(4)) instanceof Uint8Array", True),
    "clone": (
        'const o = {a: [1, {b: 2}], d: new Date(5), e: new RangeError("r"), r: /x/g}; o.self = o;'
        " const c = structuredClone(o);"
        " c.self === c && c.a !== o.a && c.a[1].b === 2 && c.r !== o.r && c.e !== o.e",
        True,
    ),
    "clone of collections": (
        "const m = new Map(), s = new Set(), b = new Uint8Array(3); b[1] = 7;"
        " const c = structuredClone({m, s, b}); c.m !== m && c.s !== s && c.b[1] === 7 && c.b !== b",
        True,
    ),
    "dom exception": ('new DOMException("m", "AbortError").name', "AbortError"),
    "abort": (
        'const c = new AbortController(); let n = 0; c.signal.addEventListener("abort", () => { n++; });'
        ' c.abort("why");'
        " n === 1 && c.signal.aborted && c.signal.reason",
        "why",
    ),
    "events": (
        "const t = new EventTarget(); let n = 0; const f = () => { n++; };"
        ' t.addEventListener("x", f); t.addEventListener("x", f);'
        ' t.dispatchEvent(new Event("x")); t.removeEventListener("x", f); t.dispatchEvent(new Event("x")); n',
        1,
    ),
}


@pytest.mark.parametrize("what", WORK)
def test_it_works_among_vandalised_builtins(what: str) -> None:
    source, expected = WORK[what]
    assert value(f"{VANDALISM}\n{source}") == expected


def test_the_vandalism_is_thorough() -> None:
    source = """
    let broken = 0;
    try { [1].map((x) => x) } catch { broken++ }
    try { JSON.stringify({}) } catch { broken++ }
    try { "a".slice(0) } catch { broken++ }
    try { for (const x of [1]); } catch { broken++ }
    try { ({}).done } catch { broken++ }
    try { new Map().get(1) } catch { broken++ }
    broken
    """
    assert value(f"{VANDALISM}\n{source}") == 6


def test_the_console_works_among_vandalised_builtins() -> None:
    source = """
    console.log("a %s %d %j", "b", 1, "c", {d: 1}); console.group("g"); console.warn("x\\ny"); console.groupEnd();
    console.count(); console.table([{a: 1}]); console.assert(false, "z"); console.time(); console.timeEnd(); 0
    """
    found = logged(f"{VANDALISM}\n{source}")
    assert found[0][1].startswith("a b 1 ")
    assert [text for _, text in found[1:4]] == ["g", "  x\n  y", "default: 1"]
    assert found[5:] == [("error", "Assertion failed: z"), ("log", "default: 0ms")]


def test_replaced_natives_of_one_run_are_not_seen_by_the_next() -> None:
    value("URL.prototype.toString = () => 'evil'; console.log = null; delete globalThis.crypto; 0")
    assert value("[new URL('http://h/').toString(), typeof console.log, typeof crypto]") == [
        "http://h/",
        "function",
        "object",
    ]


def test_no_argument_gets_more_out_of_a_global_than_an_error() -> None:
    source = """
    const trap = () => { throw new RangeError("trap") }, throwing = new Proxy({}, {get: trap, has: trap});
    const odd = [undefined, null, -1, 2 ** 53, NaN, 1n, Symbol("s"), "\\ud800", "x".repeat(70000), {}, [], throwing,
                 () => 1, new Uint8Array(3), new ArrayBuffer(8), new DataView(new ArrayBuffer(2)), Object.create(null),
                 new SharedArrayBuffer(4), new Date(NaN), {toString: trap}, new URL("http://h"), new EventTarget()];
    const selves = [undefined, {}, odd[13], odd[20], odd[21], new AbortController().signal];
    const subjects = [URL, URLSearchParams, TextEncoder, TextDecoder, AbortController, AbortSignal, Event, CustomEvent,
                      EventTarget, DOMException, Crypto, console, crypto, atob, btoa, structuredClone, WebSocket];
    let calls = 0, foreign = [];
    function attempt(action) {
      calls++;
      try { action(); }
      catch (e) { if (!(e instanceof Error)) foreign.push(String(e)); }
    }
    for (const subject of subjects) {
      const functions = typeof subject === "function" ? [subject] : [];
      for (const holder of [subject, subject.prototype ?? {}]) {
        for (const d of Object.values(Object.getOwnPropertyDescriptors(holder))) {
          for (const f of [d.value, d.get, d.set]) if (typeof f === "function") functions.push(f);
        }
      }
      for (const f of functions) for (const self of selves) {
        for (const a of odd) attempt(() => f.call(self, a, odd[calls % odd.length]));
        attempt(() => f.call(self));
        attempt(() => Reflect.construct(f, odd.slice(9, 12)));
      }
    }
    [calls > 10000, foreign]
    """
    assert value(source) == [True, []]
