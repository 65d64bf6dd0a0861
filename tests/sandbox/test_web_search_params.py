"""URLSearchParams (WHATWG URL Standard, section 6)."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deep import examples

from .web_program import DATA, thrown, value

CASES: list[tuple[str, list[list[str]], str]] = json.loads((DATA / "search_params.json").read_text())


@pytest.mark.parametrize(("query", "pairs", "text"), CASES, ids=[ascii(case[0]) for case in CASES])
def test_a_query_parses_and_serialises_as_the_standard_says(query: str, pairs: list[list[str]], text: str) -> None:
    assert value("const p = new URLSearchParams(given); [[...p], String(p), p.size]", query) == [
        pairs,
        text,
        len(pairs),
    ]


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ("undefined", ""),
        ("null", "null="),
        ("12", "12="),
        ("{a: 1, b: null}", "a=1&b=null"),
        ("{}", ""),
        ('[["a", 1], ["a", 2]]', "a=1&a=2"),
        ('new Map([["a", "b"]])', "a=b"),
        ('new URLSearchParams("a=1&a=2")', "a=1&a=2"),
        ('(function* () { yield ["x", "y"]; })()', "x=y"),
        ('{a: "1", [Symbol.iterator]: undefined}', None),
        ('Object.defineProperty({a: 1}, "hidden", {value: 1})', "a=1"),
    ],
)
def test_params_are_made_of_strings_pairs_and_records(init: str, text: str | None) -> None:
    if text is None:
        assert thrown(f"new URLSearchParams({init})")[0] == "TypeError"
    else:
        assert value(f"String(new URLSearchParams({init}))") == text


@pytest.mark.parametrize("init", ['[["a"]]', '[["a", "b", "c"]]', '["ab"]', "[1]", "[null]", "Symbol()"])
def test_pairs_of_the_wrong_size_are_a_type_error(init: str) -> None:
    assert thrown(f"new URLSearchParams({init})")[0] == "TypeError"


def test_get_has_set_delete_and_append() -> None:
    source = """
    const p = new URLSearchParams("a=1&b=2&a=3&c=");
    const seen = [p.get("a"), p.get("x"), p.getAll("a"), p.getAll("x"), p.has("c"), p.has("a", "3"), p.has("a", "9")];
    p.set("a", "z"); seen.push(`${p}`);
    p.set("n", "w"); seen.push(`${p}`);
    p.append("a", 5); p.delete("a", "z"); seen.push(`${p}`);
    p.delete("a"); seen.push(`${p}`, p.size);
    seen
    """
    assert value(source) == ["1", None, ["1", "3"], [], True, True, False, "a=z&b=2&c=", "a=z&b=2&c=&n=w",
                             "b=2&c=&n=w&a=5", "b=2&c=&n=w", 3]  # fmt: skip


def test_an_undefined_value_counts_as_not_given() -> None:
    assert value('const p = new URLSearchParams("a=1"); p.has("a", undefined)') is True


def test_sorting_is_stable_and_by_code_units() -> None:
    pairs = [["z", "1"], ["\ufb03", "2"], ["\U0001f308", "3"], ["a", "4"], ["z", "0"], ["", "5"]]
    expected = [["", "5"], ["a", "4"], ["z", "1"], ["z", "0"], ["\U0001f308", "3"], ["\ufb03", "2"]]
    assert value("const p = new URLSearchParams(given); p.sort(); [...p]", pairs) == expected


def test_iteration_is_live() -> None:
    source = """
    const p = new URLSearchParams("a=1&b=2"), seen = [];
    for (const [name] of p) { seen.push(name); if (name === "a") p.append("c", "3"); if (name === "b") p.delete("a"); }
    const shown = [];
    p.forEach((v, k, self) => shown.push(v, k, self === p));
    [seen, [...p.keys()], [...p.values()], shown]
    """
    assert value(source) == [["a", "b"], ["b", "c"], ["2", "3"], ["2", "b", True, "3", "c", True]]


def test_iterators_are_web_iterators() -> None:
    source = """
    const it = new URLSearchParams("a=1").entries();
    const proto = Object.getPrototypeOf(it);
    [it[Symbol.iterator]() === it, Object.prototype.toString.call(it), Object.keys(proto), it.next(), it.next().done,
     URLSearchParams.prototype[Symbol.iterator] === URLSearchParams.prototype.entries,
     Object.getPrototypeOf(proto) === Iterator.prototype, it.map((x) => x) instanceof Iterator]
    """
    first = {"value": ["a", "1"], "done": False}
    assert value(source) == [True, "[object URLSearchParams Iterator]", ["next"], first, True, True, True, True]


@pytest.mark.parametrize(
    "call", ["get()", "append('a')", "set('a')", "delete()", "has()", "getAll()", "forEach()", "forEach(1)"]
)
def test_missing_arguments_are_a_type_error(call: str) -> None:
    assert thrown(f"new URLSearchParams('a=1').{call}")[0] == "TypeError"


@examples(200)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), max_size=5))
def test_what_is_serialised_comes_back_here_and_in_python(pairs: list[tuple[str, str]]) -> None:
    text, again = value("const p = new URLSearchParams(given); [String(p), [...new URLSearchParams(String(p))]]", pairs)
    assert [tuple(pair) for pair in again] == pairs
    assert parse_qsl(text, keep_blank_values=True) == pairs
    assert text.isascii()
