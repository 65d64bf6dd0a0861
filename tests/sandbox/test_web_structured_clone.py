"""structuredClone (HTML Standard, section 2.7)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deep import examples
from tests.strategies import SHORT, json_values

from .web_program import DATA, thrown, value

# [what is cloned, what must hold of the clone `c`]
CLONES: list[tuple[str, str]] = json.loads((DATA / "clones.json").read_text())


@pytest.mark.parametrize(("expression", "checks"), CLONES, ids=[case[0] for case in CLONES])
def test_a_clone_is_equal_and_apart(expression: str, checks: str) -> None:
    assert value(f"const o = {expression}; const c = structuredClone(o); [c !== o, !!({checks})]") == [True, True]


@pytest.mark.parametrize("primitive", ["undefined", "null", "1", "'x'", "true", "1n"])
def test_a_primitive_is_its_own_clone(primitive: str) -> None:
    assert value(f"Object.is(structuredClone({primitive}), {primitive})") is True


def test_sharing_and_cycles_survive() -> None:
    source = """
    const shared = {n: 1}, cycle = {shared, list: [shared]};
    cycle.self = cycle; cycle.map = new Map([[cycle, shared]]); cycle.set = new Set([cycle.map]);
    cycle.error = new Error("e", {cause: cycle});
    const c = structuredClone(cycle);
    [c !== cycle, c.self === c, c.shared === c.list[0], c.shared !== shared, c.map.get(c) === c.shared,
     c.set.has(c.map), c.error.cause === c]
    """
    assert value(source) == [True] * 7


def test_views_of_one_buffer_stay_views_of_one_buffer() -> None:
    source = """
    const buffer = new ArrayBuffer(4);
    const c = structuredClone({a: new Uint8Array(buffer), b: new Uint8Array(buffer, 2), buffer});
    c.a[2] = 9;
    [c.b[0], c.a.buffer === c.buffer, c.buffer !== buffer, new Uint8Array(buffer)[2]]
    """
    assert value(source) == [9, True, True, 0]


def test_a_transferred_buffer_moves() -> None:
    source = """
    const buffer = new Uint8Array([1, 2, 3]).buffer, view = new Uint8Array(buffer, 1);
    const c = structuredClone({view, buffer}, {transfer: [buffer]});
    [buffer.detached, buffer.byteLength, view.length, [...c.view], c.view.buffer === c.buffer, c.buffer.byteLength]
    """
    assert value(source) == [True, 0, 0, [2, 3], True, 3]


def test_nothing_is_transferred_when_the_clone_fails() -> None:
    source = """
    const buffer = new ArrayBuffer(3), seen = [];
    for (const [cloned, transfer] of [[() => 1, [buffer]], [1, [buffer, buffer]], [1, [buffer, {}]]]) {
      try { structuredClone(cloned, {transfer}); } catch (e) { seen.push(e.name, buffer.byteLength); }
    }
    seen
    """
    assert value(source) == ["DataCloneError", 3] * 3


def test_a_detached_buffer_cannot_be_cloned_or_transferred() -> None:
    before = "const b = new ArrayBuffer(1); const v = new Uint8Array(b); b.transfer();"
    for call in ("structuredClone(b)", "structuredClone(v)", "structuredClone(1, {transfer: [b]})"):
        assert thrown(f"{before} {call}")[0] == "DataCloneError"


REFUSED = """
() => 1
function named() {}
class C {}
Symbol("s")
Object(Symbol("s"))
new WeakMap()
new WeakSet()
new WeakRef({})
Promise.resolve(1)
new Proxy({}, {})
new Proxy([], {})
(function* () {})()
[].values()
new URL("http://h")
new URLSearchParams()
new TextEncoder()
new TextDecoder()
new AbortController()
new AbortController().signal
new EventTarget()
new Event("e")
crypto
console
new SharedArrayBuffer(1)
globalThis
""".strip().splitlines()


@pytest.mark.parametrize("expression", REFUSED)
def test_what_cannot_be_cloned_is_a_data_clone_error(expression: str) -> None:
    name, message, code = thrown(f"structuredClone({{deep: [{expression}]}})")
    assert (name, code) == ("DataCloneError", 25)
    assert message.startswith("structuredClone: ")
    assert message.endswith("cannot be cloned")


def test_a_getter_that_throws_throws_out_of_the_clone() -> None:
    assert thrown("structuredClone({get x() { throw new RangeError('mine') }})")[:2] == ["RangeError", "mine"]


def test_classes_are_known_by_what_they_are_not_by_what_they_say() -> None:
    source = """
    const fake = {[Symbol.toStringTag]: "Date", getTime() { return 1 }, constructor: Map};
    const real = Object.setPrototypeOf(new Map([[1, 2]]), null);
    const c = structuredClone([Object.defineProperty({a: 1}, Symbol.toStringTag, {value: "Date"}), real]);
    let refused = false;
    try { structuredClone(fake) } catch (e) { refused = e.name === "DataCloneError" }
    [c[0] instanceof Date, c[0].a, c[1] instanceof Map, c[1].get(1), refused]
    """
    assert value(source) == [False, 1, True, 2, True]


def test_nesting_is_not_bounded_by_the_stack() -> None:
    source = """
    let o = null; for (let i = 0; i < 20000; i++) o = i % 2 ? [o] : {o};
    let c = structuredClone(o), depth = 0;
    while (c) { c = Array.isArray(c) ? c[0] : c.o; depth++; }
    depth
    """
    assert value(source) == 20000


def test_it_has_one_argument_and_needs_it() -> None:
    assert value("[structuredClone.length, structuredClone.name]") == [1, "structuredClone"]
    assert thrown("structuredClone()")[0] == "TypeError"


VALUES = json_values(st.integers(-(2**31), 2**31), SHORT, leaves=20)


@examples(200)
@given(VALUES)
def test_whatever_is_json_clones_to_the_same_json(data: Any) -> None:
    source = (
        "const o = JSON.parse(given); [JSON.stringify(structuredClone(o)) === JSON.stringify(o), structuredClone(o)]"
    )
    assert value(source, json.dumps(data)) == [True, data]
