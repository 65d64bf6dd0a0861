"""console (WHATWG Console Standard)."""

from __future__ import annotations

import pytest

from .web_program import logged, value


def lines(source: str) -> list[str]:
    return [text for _, text in logged(source)]


def test_each_method_has_its_level() -> None:
    source = """
    for (const level of ["log", "info", "warn", "error", "debug", "dirxml"]) console[level](level);
    console.dir(1); 0
    """
    assert logged(source) == [
        ("log", "log"),
        ("info", "info"),
        ("warn", "warn"),
        ("error", "error"),
        ("debug", "debug"),
        ("log", "dirxml"),
        ("log", "1"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Symbol('s')", "Symbol(s)"),
        ("Symbol()", "Symbol()"),
        ("Symbol.for('s')", "Symbol(s)"),
        ("Symbol.iterator", "Symbol(Symbol.iterator)"),
        ("{a: Symbol('s'), b: 's'}", '{"a":Symbol(s),"b":"s"}'),
        ("[1, Symbol('s'), [Symbol('t')], {u: {v: Symbol('w')}}]", '[1,Symbol(s),[Symbol(t)],{"u":{"v":Symbol(w)}}]'),
        ("'[Symbol]'", "[Symbol]"),
        ("{a: '[Symbol]', b: Symbol('s')}", '{"a":"[Symbol]","b":Symbol(s)}'),
        ("'%o and %s', {a: Symbol('s')}, Symbol('t')", '{"a":Symbol(s)} and Symbol(t)'),
        ("{[Symbol('s')]: 1, a: 2}", '{"a":2,"Symbol(s)":1}'),
        ("[{[Symbol.iterator]: Symbol()}]", '[{"Symbol(Symbol.iterator)":Symbol()}]'),
    ],
)
def test_symbols_are_written_by_their_names(value: str, text: str) -> None:
    assert lines(f"console.log({value}); console.error({value}); 0") == [text, text]


def test_strings_are_verbatim_and_joined_by_spaces() -> None:
    assert lines('console.log("a", "b  c", "", "\\"q\\"\\n", 1); console.log(); console.log(""); 0') == [
        'a b  c  "q"\n 1',
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("'%s is %d', 'x', 42", "x is 42"),
        ("'%s', 1n", "1"),
        ("'%s', Symbol('q')", "Symbol(q)"),
        ("'%s', null", "null"),
        ("'%d', '12.5'", "12.5"),
        ("'%d', 'x'", "NaN"),
        ("'%d', 5n", "5n"),
        ("'%d', {}", "NaN"),
        ("'%i', 3.99", "3"),
        ("'%i', '12px'", "12"),
        ("'%f', '1.5em'", "1.5"),
        ("'%f', Symbol()", "NaN"),
        ("'%j', {a: [1]}", '{"a":[1]}'),
        ("'%j', undefined", "undefined"),
        ("'%c styled', 'color: red'", " styled"),
        ("'100%', 1", "100% 1"),
        ("'%% %s', 'x'", "% x"),
        ("'%s %s', 'x'", "x %s"),
        ("'%x %s', 'x'", "%x x"),
        ("'%s', 'a', 'b'", "a b"),
        ("'%', 1", "% 1"),
        ("'%%'", "%%"),
        ("'%s'", "%s"),
        ("'a%sb%sc', 1, 2", "a1b2c"),
        ("1, '%s', 2", "1 %s 2"),
    ],
)
def test_printf_directives(arguments: str, text: str) -> None:
    assert lines(f"console.log({arguments}); 0") == [text]


def test_objects_are_inspected() -> None:
    shown = lines(
        "console.log({a: 1}); console.log('%o', {a: 1}); console.log('%O', {a: 1}); console.log('x', {a: 1}); 0"
    )
    assert shown[0] == shown[1] == shown[2]
    assert shown[3] == "x " + shown[0]


def test_logging_never_throws() -> None:
    source = """
    const cycle = {}; cycle.self = cycle;
    const no = () => { throw 1 }, hostile = {get a() { throw 2 }, toString: no, [Symbol.toPrimitive]: no, toJSON: no};
    const odd = [cycle, hostile, Symbol("s"), 1n, new Proxy({}, {get: no, ownKeys: no}), Object.create(null), () => {},
                 new Error("e"), new URL("http://h"), new Date(NaN), [,1], -0];
    for (const value of odd) {
      console.log(value); console.dir(value); console.error("%s %d %j %o", value, value, value, value);
      console.table([value]); console.assert(false, value); console.trace(value);
    }
    odd.length
    """
    assert value(source) == 12


def test_groups_indent_every_line() -> None:
    source = """
    console.group("G", 1); console.log("a\\nb"); console.groupCollapsed(); console.warn("c");
    console.groupEnd(); console.groupEnd(); console.groupEnd(); console.log("d"); 0
    """
    assert lines(source) == ["G 1", "  a\n  b", "    c", "d"]


def test_indentation_is_bounded() -> None:
    assert len(lines('for (let i = 0; i < 5000; i++) console.group(); console.log("x"); 0')[0]) < 100


def test_counts() -> None:
    source = """
    console.count(); console.count("x"); console.count(); console.countReset(); console.count(undefined);
    console.count(null); 0
    """
    assert lines(source) == ["default: 1", "x: 1", "default: 2", "default: 1", "null: 1"]


def test_assertions_speak_only_when_they_fail() -> None:
    source = 'console.assert(true, "no"); console.assert(false); console.assert(0, "bad %s", "x"); console.assert(); 0'
    assert logged(source) == [
        ("error", "Assertion failed"),
        ("error", "Assertion failed: bad x"),
        ("error", "Assertion failed"),
    ]


def test_timers_measure_the_time_of_the_run() -> None:
    source = """
    console.time(); console.timeLog(); await new Promise((resolve) => setTimeout(resolve, 250));
    console.timeLog("default", "so far"); console.timeEnd(); console.timeEnd(); console.timeEnd("x"); 0
    """
    assert logged(source) == [
        ("log", "default: 0ms"),
        ("log", "default: 250ms so far"),
        ("log", "default: 250ms"),
        ("warn", 'There is no timer "default"'),
        ("warn", 'There is no timer "x"'),
    ]


def test_a_trace_shows_where_it_was_called() -> None:
    ((level, text),) = logged('function culprit() { console.trace("here %d", 1); } culprit(); 0')
    assert level == "debug"
    first, *frames = text.split("\n")
    assert first == "Trace: here 1"
    assert "culprit" in frames[0]


def test_tables_have_a_row_an_item_and_a_column_a_key() -> None:
    source = """
    console.table([{a: 1, b: "x"}, {c: true}, 5]); console.table({p: [1], q: [2, 3]});
    console.table([{a: 1, b: 2}], ["b"]); console.table("no"); console.table([]); 0
    """
    assert lines(source) == [
        "| (index) | a | b | c    | Values |\n"
        "|---------|---|---|------|--------|\n"
        "| 0       | 1 | x |      |        |\n"
        "| 1       |   |   | true |        |\n"
        "| 2       |   |   |      | 5      |",
        "| (index) | 0 | 1 |\n|---------|---|---|\n| p       | 1 |   |\n| q       | 2 | 3 |",
        "| (index) | b |\n|---------|---|\n| 0       | 2 |",
        "no",
        "| (index) |\n|---------|",
    ]


def test_methods_work_without_their_object() -> None:
    assert lines('const {log, group} = console; [1, 2].forEach((x) => log(x)); group("g"); log("in"); 0') == [
        "1",
        "2",
        "g",
        "  in",
    ]


def test_console_looks_like_a_console() -> None:
    source = """
    [Object.prototype.toString.call(console), console.log.name, console.log.length,
     Object.keys(console).includes("table"), typeof console.clear()]
    """
    assert value(source) == ["[object console]", "log", 0, True, "undefined"]
