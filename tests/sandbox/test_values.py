"""What leaves a program and what enters it: the table of values in the README."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import GuestException, HostCall, Settlement, SizeExceeded
from tests.deep import examples
from tests.sandbox.programs import Programs
from tests.strategies import FINITE, json_values

TABLE = [
    ("null", None),
    ("true", True),
    ("-7", -7),
    ("2147483648", 2147483648),
    ("9007199254740991", 9007199254740991),
    ("0.1", 0.1),
    ("1e300", 1e300),
    ("5e-324", 5e-324),
    ("-0", 0),
    ("NaN", None),
    ("[Infinity, -Infinity]", [None, None]),
    ("'text'", "text"),
    (r"'\u0000\u001f\"\\\n\r\t\u2028'", '\0\x1f"\\\n\r\t\u2028'),
    (r"'\ud83d\ude00'", "\U0001f600"),
    (r"'a\ud800b'", "a\ufffdb"),
    (r"({ '\udc00': 1 })", {"\ufffd": 1}),
    ("10n ** 30n", str(10**30)),
    ("[-1n]", ["-1"]),
    ("new Date(0)", "1970-01-01T00:00:00.000Z"),
    ("new Date(NaN)", None),
    ("new Map([['a', 1], [{ b: 2 }, new Set([3])]])", [["a", 1], [{"b": 2}, [3]]]),
    ("new Set(['x', 'y'])", ["x", "y"]),
    ("/a+/gi", "/a+/gi"),
    ("new Uint8Array([1, 2, 255])", {"$type": "Uint8Array", "base64": "AQL/"}),
    ("new Uint8Array(0)", {"$type": "Uint8Array", "base64": ""}),
    ("new Uint8ClampedArray([300])", {"$type": "Uint8ClampedArray", "base64": "/w=="}),
    ("new Uint8Array([1, 2, 3, 4]).buffer", {"$type": "ArrayBuffer", "base64": "AQIDBA=="}),
    ("new DataView(new ArrayBuffer(8), 2, 3)", {"$type": "DataView", "base64": "AAAA"}),
    ("new Float64Array([1.5, NaN])", [1.5, None]),
    ("new Int16Array([-1, 2])", [-1, 2]),
    ("new BigInt64Array([1n])", ["1"]),
    ("new Error('m')", {"name": "Error", "message": "m"}),
    ("Object.assign(new TypeError('m'), { code: 7 })", {"name": "TypeError", "message": "m", "code": 7}),
    ("({ a: 1, b: undefined, c: null })", {"a": 1, "c": None}),
    ("[1, undefined, , 4]", [1, None, None, 4]),
    ("({ [Symbol('s')]: 1, d: 2 })", {"d": 2}),
    ('JSON.parse(\'{"__proto__":{"x":1}}\')', {"__proto__": {"x": 1}}),
    ("({ toJSON() { return { shown: 1 } }, hidden: 2 })", {"shown": 1}),
    ("new (class P { x = 1; toJSON() { return [this.x] } })", [1]),
    ("new (class P { x = 1; #y = 2; get z() { return 3 } })", {"x": 1}),
    ("[new Number(3), new String('s'), new Boolean(false), Object(5n)]", [3, "s", False, "5"]),
    ("new Proxy([1, 2], {})", [1, 2]),
    ("new Proxy({ a: 1 }, {})", {"a": 1}),
    ("Object.create({ inherited: 1 })", {}),
    ("new URL('https://a.example/b')", "https://a.example/b"),
]


@pytest.mark.parametrize(("expression", "value"), TABLE)
def test_the_table_of_values(programs: Programs, expression: str, value: object) -> None:
    assert programs.value(f"({expression})") == value
    assert programs.value(f"[{expression}]") == [value]


@pytest.mark.parametrize(("expression", "value"), TABLE)
def test_arguments_are_encoded_like_results(programs: Programs, expression: str, value: object) -> None:
    seen: list[Any] = []

    def answer(call: HostCall) -> Settlement:
        seen.append(call.arguments)
        return Settlement.value(call.id, None)

    programs.run(f"await host.take(({expression}))", answer=answer)
    assert seen == [value]


REFUSED = [
    ("{ items: [1, 2, 3, { owner() {} }] }", "result.items[3].owner is a function"),
    ("[Symbol('s')]", "result[0] is a symbol"),
    ("{ 'a b': { 'ключ': () => 1 } }", 'result["a b"]["ключ"] is a function'),
    ("[new Map([['k', () => 1]])]", "result[0][0][1] is a function"),
    ("[new Set([() => 1])]", "result[0][0] is a function"),
    ("{ p: Promise.resolve(1) }", "result.p is a promise: await it"),
    ("[[].values()]", "result[0] is an iterator"),
    ("[(function* () {})()]", "result[0] is a generator"),
    ("[new WeakMap()]", "result[0] is a weak collection"),
    ("{ a: { toJSON() { return () => 1 } } }", "result.a is a function"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_what_is_not_data_is_an_error_that_names_its_path(programs: Programs, expression: str, message: str) -> None:
    error = programs.failure(f"({expression})")
    assert isinstance(error, GuestException)
    assert error.name == "TypeError"
    assert error.message.startswith(message)


def test_a_refused_argument_rejects_the_call_and_nothing_is_called(programs: Programs) -> None:
    calls: list[HostCall] = []

    def answer(call: HostCall) -> Settlement:
        calls.append(call)
        return Settlement.value(call.id, None)

    source = "const found = await host.take({ a: [() => 1] }).catch((e) => e.message); found"
    assert programs.value(source, answer=answer).startswith("arguments.a[0] is a function")
    assert calls == []


def test_a_cycle_is_an_error_that_names_its_path(programs: Programs) -> None:
    assert programs.failure("const a = { b: [] }; a.b.push(a); a").message.startswith("result.b[0] is a cycle")
    assert programs.value("const shared = { x: 1 }; [shared, shared]") == [{"x": 1}, {"x": 1}]


def test_values_deeper_than_the_limit_are_an_error(programs: Programs) -> None:
    nest = "const nest = (n) => n ? [nest(n - 1)] : 0; "
    assert programs.value(nest + "JSON.stringify(nest(100)).length; nest(100).length") == 1
    assert "is nested deeper than 100 levels" in programs.failure(nest + "nest(101)").message
    assert programs.value(nest + "nest(100)") is not None


def test_a_result_over_its_limit_cannot_be_caught(programs: Programs) -> None:
    assert isinstance(programs.failure("'x'.repeat(2_000_000)"), SizeExceeded)
    assert isinstance(programs.failure("new Array(4294967295)"), SizeExceeded)
    assert isinstance(programs.failure("Array.from({ length: 300_000 }, () => 'abc')"), SizeExceeded)


def test_a_getter_that_throws_is_the_programs_exception(programs: Programs) -> None:
    error = programs.failure("({ get a() { throw new TypeError('from the getter') } })")
    assert (error.name, error.message) == ("TypeError", "from the getter")


def test_a_getter_may_change_what_is_being_encoded(programs: Programs) -> None:
    source = "const m = new Map(); m.set({ get a() { m.clear(); return 1 } }, 2); m.set('b', 3); m"
    assert programs.value(source) == [[{"a": 1}, 2], ["b", 3]]
    source = "const a = [{ get x() { a.length = 0; return 1 } }, 2, 3]; a"
    assert programs.value(source) == [{"x": 1}, None, None]


POLLUTION = """
JSON.stringify = () => '{"evil":1}'; JSON.parse = () => ({ evil: 1 });
Object.prototype.toJSON = () => 'evil'; Array.prototype.toJSON = () => 'evil'; Date.prototype.toJSON = () => 'evil';
Date.prototype.toISOString = () => 'evil'; String.prototype.toString = () => 'evil';
Map.prototype.forEach = Set.prototype.forEach = Array.prototype.push = Array.prototype.map = () => { throw 'evil' };
Map.prototype[Symbol.iterator] = Array.prototype[Symbol.iterator] = function* () { yield 'evil' };
Promise.prototype.then = Promise.resolve = function () { throw 'evil' };
Object.prototype.get = Object.prototype.set = Object.prototype.value = () => 1;
Object.keys = Object.getOwnPropertyNames = () => ['evil']; RegExp.prototype.toString = () => 'evil';
"""


def test_patched_builtins_change_neither_arguments_nor_results(programs: Programs) -> None:
    seen: list[Any] = []

    def answer(call: HostCall) -> Settlement:
        seen.append((call.name, call.arguments))
        return Settlement.value(call.id, {"honest": [1]})

    value = "{ q: 1, list: [1, 2], date: new Date(0), map, re: /x/ }"
    outcome = programs.value(
        f"const map = new Map([[1, 2]]);{POLLUTION}\nconst r = await host.take({value});\n[r, {value}]", answer=answer
    )
    plain = {"q": 1, "list": [1, 2], "date": "1970-01-01T00:00:00.000Z", "map": [[1, 2]], "re": "/x/"}
    assert seen == [("take", plain)]
    assert outcome == [{"honest": [1]}, plain]


JSON_VALUES = json_values(
    st.integers(-(2**53) + 1, 2**53 - 1),
    # JavaScript writes whole numbers up to 1e21 without a point: Python reads an integer that only rounds to the float.
    FINITE.filter(lambda x: not 2**53 <= abs(x) < 1e21),
    st.text(),
    keys=st.text(),
    size=5,
    leaves=30,
)


@examples(200)
@given(JSON_VALUES)
def test_json_survives_the_way_in_and_out(programs: Programs, value: Any) -> None:
    def answer(call: HostCall) -> Settlement:
        return Settlement.value(call.id, value)

    found = programs.value("const v = await host.get(); [v, await host.get()]", answer=answer)
    assert found == [value, value]


def test_integers_past_64_bits_and_lone_surrogates_enter_as_javascript_reads_them(programs: Programs) -> None:
    def answer(call: HostCall) -> Settlement:
        return Settlement.value(call.id, {"big": 10**30, "half": "\ud800"})

    assert programs.value("const v = await host.get(); [v.big === 1e30, v.half.length, v]", answer=answer) == [
        True,
        1,
        {"big": 1e30, "half": "\ufffd"},
    ]


@examples(100)
@given(st.text(max_size=200))
def test_any_text_leaves_as_valid_unicode(programs: Programs, text: str) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    codes = [int.from_bytes(units[i : i + 2], "little") for i in range(0, len(units), 2)]
    assert programs.value(f"String.fromCharCode({', '.join(map(str, codes))})") == units.decode("utf-16-le", "replace")


@examples(100)
@given(st.binary(max_size=300))
def test_bytes_are_base64(programs: Programs, data: bytes) -> None:
    found = programs.value(f"new Uint8Array([{', '.join(map(str, data))}])")
    assert base64.b64decode(found["base64"], validate=True) == data


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("new Error('a', { cause: new TypeError('b', { cause: 5 }) })",
         {"name": "Error", "message": "a", "cause": {"name": "TypeError", "message": "b", "cause": 5}}),
        ("new AggregateError([new Error('b'), 'c', { d: 1 }], 'both')",
         {"name": "AggregateError", "message": "both", "errors": [{"name": "Error", "message": "b"}, "c", {"d": 1}]}),
        ("new Error('a', { cause: undefined })", {"name": "Error", "message": "a"}),
        ("new Error('a', { cause: () => 1 })", {"name": "Error", "message": "a", "cause": "[Function cause]"}),
        ("new Error('a', { cause: Symbol('s') })", {"name": "Error", "message": "a", "cause": "Symbol(s)"}),
        ("Object.assign(new Error('a'), { cause: 1, code: 2 })",
         {"name": "Error", "message": "a", "cause": 1, "code": 2}),
        ("(() => { const e = new Error('a'); e.b = 1; e.cause = e; return e })()", None),
        ("(() => { const e = new Error('a', { cause: 1 }); const f = new Error('b', { cause: e });"
         " Object.defineProperty(e, 'cause', { value: f }); return e })()",
         {"name": "Error", "message": "a", "cause": {"name": "Error", "message": "b", "cause": "[Circular]"}}),
    ],
)  # fmt: skip
def test_an_error_as_a_value_has_its_cause_and_its_errors(programs: Programs, expression: str, value: object) -> None:
    if value is None:  # an enumerable cause is a property like others
        assert programs.failure(f"({expression})").message.startswith("result.cause is a cycle")
    else:
        assert programs.value(f"({expression})") == value


def test_an_error_in_what_caused_it_is_described_once(programs: Programs) -> None:
    source = "const e = new Error('a'); e.cause = [{ e }]; "
    assert programs.failure(source + "throw e").message.startswith('a\ncaused by: [{"e":"Error: a')
    [(_, line)] = programs.logs(source + "console.log(e)")
    assert line.count("caused by") == 1
    hidden = source + "Object.defineProperty(e, 'cause', { enumerable: false }); e"
    assert programs.value(hidden)["cause"].startswith('[{"e":"Error: a')


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("new Proxy(new Map([[1, 2]]), {})", [[1, 2]]),
        ("new Proxy(new Proxy(new Set([1]), {}), {})", [1]),
        ("new Proxy(new Date(0), {})", "1970-01-01T00:00:00.000Z"),
        ("new Proxy(/a/g, {})", "/a/g"),
        ("new Proxy(new Uint8Array([1]), {})", {"$type": "Uint8Array", "base64": "AQ=="}),
        ("new Proxy(new Error('a'), {})", {"name": "Error", "message": "a"}),
        ("new Proxy({ a: 1 }, { get: () => 2 })", {"a": 2}),
        ("new Proxy([1], {})", [1]),
        ("new URLSearchParams('a=1&b=x y')", "a=1&b=x+y"),
    ],
)
def test_a_proxy_is_what_it_stands_for(programs: Programs, expression: str, value: object) -> None:
    assert programs.value(f"[{expression}]") == [value]


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("new Intl.NumberFormat('en')", "Intl.NumberFormat"),
        ("new AbortController()", "AbortController"),
        ("new TextEncoder()", "TextEncoder"),
        ("Math", "Math"),
    ],
)
def test_an_object_of_the_language_without_data_is_refused_by_its_name(
    programs: Programs, expression: str, what: str
) -> None:
    message = programs.failure(f"({{ a: {expression} }})").message
    assert message == f"result.a is {what}, which has no data of its own: name the values that you need"
    assert programs.logs(f"console.log({expression})") == [("log", f"[{what}]")]


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("class P { #a = 1; get a() { return this.#a } } new P()", "result is an object of P "),
        ("class P { #a = 1 } ({items: [new P()]})", "result.items[0] is an object of P "),
        ("[new class { #run() {} }]", "result[0] is an object of a class "),
    ],
)
def test_an_object_with_private_members_only_is_refused(programs: Programs, expression: str, path: str) -> None:
    assert programs.failure(expression).message.startswith(f"{path}with private members only: ")


def test_the_log_of_an_object_with_private_members_only_says_so(programs: Programs) -> None:
    logged = "class P { #a = 1 } console.log(new P(), [new P()])"
    assert programs.logs(logged) == [("log", "[P with private members only] [[P with private members only]]")]


def test_an_object_with_private_and_other_members_has_the_others(programs: Programs) -> None:
    assert programs.value("class P { #a = 1; b = 2 } new P()") == {"b": 2}
    assert programs.value("class P { #a = 1; toJSON() { return this.#a } } new P()") == 1
    assert programs.value("class P { b() {} } new P()") == {}


def test_a_proxy_that_was_revoked_is_refused(programs: Programs) -> None:
    source = "const p = Proxy.revocable({}, {}); p.revoke(); ({ a: [p.proxy] })"
    assert programs.failure(source).message == "result.a[0] is a proxy that was revoked"


def test_a_symbol_is_refused_by_its_name(programs: Programs) -> None:
    assert programs.failure("[Symbol('s')]").message.startswith("result[0] is a symbol, Symbol(s): only data")
    assert "Symbol(ключ" in programs.failure("[Symbol('ключ'.repeat(99))]").message


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("{ a: [{ get b() { throw 'mine' } }] }", "result.a[0].b"),
        ("{ a: { toJSON() { throw new Error('mine') } } }", "result.a"),
        ("[new Proxy({}, { ownKeys() { throw new Error('mine') } })]", "result[0]"),
        ("[new Proxy([1], { get(target, name) { if (name !== 'toJSON') throw new Error('mine') } })]", "result[0]"),
    ],
)  # fmt: skip
def test_the_stack_of_a_result_that_throws_ends_with_its_place(programs: Programs, expression: str, place: str) -> None:
    error = programs.failure(f"({expression})")
    assert error.message == "mine"
    assert (error.stack or "").endswith(f"    while {place} was read")
    assert "while" not in (programs.failure(f"console.log({expression}); throw new Error('x')").stack or "")
