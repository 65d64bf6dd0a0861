"""What an author reads when a run goes wrong, or completes with something else than was meant: the cause, and what to
write instead, in the text and in the structured content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import ToolReturned
from codemode.returned import Returned, assumed, looped, missing, taken_apart
from codemode.spelling import declared_twice
from codemode.unwaited import unwaited
from tests.codemode.bench import CATALOG, Engines, run
from tests.deep import examples

pytestmark = pytest.mark.anyio

N = "const r = await codemode.fix.echo({n: 1});\n"
LIST = "const r = await codemode.fix.echo({items: [1]});\n"
ALL = "const all = await Promise.all([1, 2].map((n) => codemode.fix.echo({n})));\n"
TWO = "const [a, b] = await codemode.search(['things', 'time']);\n"
FOR_EACH = "codemode.search([…]) returned an array for each need, of objects with path, signature, description."
HAS_N = "fix.echo returned an object with n."
HAS_ITEMS = "fix.echo returned an object with items."


def text_result(text: str) -> ToolReturned:
    return ToolReturned({"content": [{"type": "text", "text": text}]})


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("function f(a, b, a) { return a }\nreturn f(1, 2)", "Two parameters are called `a`"),
        ("const f = ({ b }, b) => b; f({}, 1)", "Two parameters are called `b`"),
        ("import data from './data.json';\nreturn data", "There are no files"),
        ("return null ?? 5 || 3", "`??` beside || or && needs parentheses"),
        ("I'll search first.\n\nreturn 1", "Send the program alone"),
        ("return 1 && 5 ?? 3", "`??` beside || or && needs parentheses"),
        ("const r = [1]; const s = r\n[...s]", "Line 2 begins with ["),
        ("import data from '/data.json' with { type: 'json' };", "There are no files"),
    ],
)
async def test_a_program_that_does_not_begin_says_what_to_write(engines: Engines, code: str, advice: str) -> None:
    error = (await run(engines, code)).error
    assert (error["kind"], error["line"]) == ("syntax", code.count("...") + 1)
    assert error["advice"][0].startswith(advice)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("const a = [1, 2]\n(async () => { return a })()", (1, 2, "(")),
        ("const a = 5\n[1, 2].forEach((n) => console.log(n))", (1, 2, "[")),
        ("const main = async function () { return 1 }\n\n(async () => { await main() })()", (1, 3, "(")),
        ("console.log('a')\n`b`", (1, 2, "`")),
        ("const r = await codemode.fix.echo({n: 1})\n(await codemode.fix.echo({n: 2})).n", (1, 2, "(")),
    ],
)
async def test_a_line_that_goes_on_with_the_one_before_says_so(
    engines: Engines, code: str, lines: tuple[int, int, str]
) -> None:
    before, line, bracket = lines
    advice = f"Line {line} begins with {bracket} and so goes on with line {before}: end that one with a semicolon."
    assert (await run(engines, code)).error["advice"] == [advice]


@pytest.mark.parametrize("code", ["const r = {};\n(r.a)()", "const r = {}\nr\n  .b()", "[1].map(5)", "({}).a()"])
async def test_a_line_of_its_own_is_not_said_to_go_on(engines: Engines, code: str) -> None:
    assert "goes on" not in (await run(engines, code)).text


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("return await crypto.subtle.digest('SHA-256', new Uint8Array(1))", "There is no crypto.subtle"),
        ("setImmediate(() => 1)", "There is no setImmediate: write setTimeout(f, 0)."),
        ("new FormData()", "A program has no network"),
        ("return codemode", "These are functions"),
        ("return codemode.fix;", "These are functions"),
        ("if (true) { function load() { return 1 } }\nreturn load()", "The function load is known only in the block"),
    ],
)
async def test_what_is_not_there_says_what_is(engines: Engines, code: str, advice: str) -> None:
    assert (await run(engines, code)).error["advice"][0].startswith(advice)


@pytest.mark.parametrize(
    ("code", "has"),
    [
        ("return `${await codemode.fix.echo({n: 1})}`", True),
        ("return ['all: ' + {}]", True),
        ("return {text: `${Promise.resolve(1)}`}", True),
        ("return '[object Object]'", False),
        ("const r = await codemode.fix.echo({text: '[object ' + 'Object]'}); return r.text", False),
        ("return {n: 1}", False),
    ],
)
async def test_an_object_that_was_written_as_a_text_is_noted(engines: Engines, code: str, has: bool) -> None:
    note = (await run(engines, code)).structured.get("note", "")
    assert (note.startswith("Note: the result has [object ")) is has


async def test_what_a_framework_would_make_of_an_export_says_that_there_is_none(engines: Engines) -> None:
    [advice] = (await run(engines, "export default defineTool({ run() { return 1 } })")).error["advice"]
    assert advice.startswith("There is no framework here: leave defineTool out")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("throw new AggregateError(Array.from({length: 9}, (_, n) => new Error(n)), 'nine')",
         "nine" + "".join(f"\nerror: Error: {n}" for n in range(5)) + "\nand 4 more errors"),
        ("throw new AggregateError([1, 2, 3, 4, 5, 6], 'six')",
         "six\nerror: 1\nerror: 2\nerror: 3\nerror: 4\nerror: 5\nand 1 more error"),
        ("throw new Error('a', {cause: new AggregateError([new Error('x'), 'y'], 'both')})",
         "a\ncaused by: AggregateError: both\n  error: Error: x\n  error: y"),
        ("throw new AggregateError([new AggregateError([1, 2], 'inner'), new Error('z', {cause: 'c'})], 'outer')",
         "outer\nerror: AggregateError: inner\n  error: 1\n  error: 2\nerror: Error: z\n  caused by: c"),
        ("await Promise.any([Promise.reject(new Error('a', {cause: 'why'})), Promise.reject(new Error('b'))])",
         "all failed: Error: a; Error: b\nerror: Error: a\n  caused by: why"),
        ("let e = 'end'; for (let n = 0; n < 9; n++) e = new Error(String(n), {cause: e}); throw e",
         "8\ncaused by: Error: 7\ncaused by: Error: 6\ncaused by: Error: 5\ncaused by: Error: 4\ncaused by: Error: 3"
         "\nand more causes"),
        ("const a = new Error('a'), b = new Error('b', {cause: a}); a.cause = b; throw new Error('c', {cause: b})",
         "c\ncaused by: Error: b\ncaused by: Error: a"),
        ("const a = new AggregateError([], 'a'); a.errors.push(a, 1); throw a",
         "a\nerror: AggregateError: a\nerror: 1"),
    ],
)  # fmt: skip
async def test_an_error_says_of_which_others_it_is_made(engines: Engines, code: str, message: str) -> None:
    assert (await run(engines, code)).error["message"] == message


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("throw Object.create(Error.prototype)", "Error", "Error without a message"),
        ("throw Object.assign(Object.create(TypeError.prototype), {message: 'own'})", "TypeError", "own"),
        ("throw new Proxy(new RangeError('p'), {})", "RangeError", "p"),
        ("throw ''", "Error", "the program threw an empty text"),
        ("throw Promise.resolve(1)", "Error", "the program threw a promise: await it first"),
        ("throw {message: 'm', code: 5}", "Error", 'the program threw {"message":"m","code":5}'),
        ("throw undefined", "Error", "the program threw undefined"),
        ("throw null", "Error", "the program threw null"),
    ],
)
async def test_what_is_thrown_and_is_no_error_is_shown(engines: Engines, code: str, name: str, message: str) -> None:
    error = (await run(engines, code)).error
    assert (error["name"], error["message"]) == (name, message)


@pytest.mark.parametrize(
    "code",
    [
        "throw 'é'.repeat(100_000)",
        "throw {a: 'é'.repeat(100_000)}",
        "throw new Error('a', {cause: 'é'.repeat(100_000)})",
        "throw new Error('a', {cause: {a: 'é'.repeat(100_000)}})",
    ],
)
async def test_a_large_value_is_shown_in_part(engines: Engines, code: str) -> None:
    message = (await run(engines, code)).error["message"]
    assert "ééééé" in message and "�" not in message and len(message) < 4_001
    assert message.endswith("…")


async def test_a_large_text_in_a_logged_object_is_shown_in_part(engines: Engines) -> None:
    found = await run(engines, "console.log({a: 'x'.repeat(100_000)}); return 1")
    assert found.structured["logs"][0]["text"].startswith('{"a":"xxxxx')


async def test_an_error_made_of_an_object_says_to_write_a_text(engines: Engines) -> None:
    found = await run(engines, "throw new Error({code: 5})")
    assert found.error["advice"] == ["The message of an error is a text: new Error(JSON.stringify(value))."]


@pytest.mark.parametrize("value", ["{get x() { throw new Error('mine') }}", "{x: {toJSON() { throw 'mine' }}}"])
async def test_a_result_that_throws_says_which_part_of_it_did(engines: Engines, value: str) -> None:
    found = await run(engines, f"return {value}")
    assert found.error["message"] == "mine" and "was read" not in found.error.get("stack", "")
    [advice] = found.error["advice"]
    assert "while result.x was read" in advice and advice in found.text


# --- results of tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "starts", "ends"),
    [
        (N + "return r.data.items;", "`r.data` is undefined", HAS_N),
        (N + "return r.result.length;", "`r.result` is undefined", HAS_N),
        (N + "return await r.json();", "A tool's result is no HTTP response", HAS_N),
        (N + "return await r.text();", "A tool's result is no HTTP response", HAS_N),
        (N + "return r['body'].trim();", "A tool's result is no HTTP response", HAS_N),
        (N + "return r.content[0].text;", "A tool's result is the value itself", HAS_N),
        (N + "return JSON.parse(r?.content?.[0]?.text);", "A tool's result that is JSON is parsed already", HAS_N),
        (N + "return JSON.parse(r);", "A tool's result that is JSON is parsed already", HAS_N),
        ("const {data} = await codemode.fix.echo({n: 1});\nreturn data.map(String);", "`data` is undefined", HAS_N),
        ("return (await codemode.fix.echo({n: 1})).data.x;", "`(await fix.echo(…)).data` is undefined", HAS_N),
        ("return await codemode.fix.echo({n: 1}).then((r) => r.data.x);", "`r.data` is undefined", HAS_N),
        (
            "const t = 'echo'; const r = await codemode['fix'][t]({n: 1});\nreturn r.data.x",
            "`r.data` is undefined",
            HAS_N,
        ),
        (N + "const { data: { items } } = r; return items;", "`data` is undefined", HAS_N),
        (N + "return [...r.items];", "`r.items` is undefined", HAS_N),
        ("const r = codemode.fix.echo({n: 1}); return (await r).data.x;", "`(await r).data` is undefined", HAS_N),
        ("const r = await tools.fix.echo({n: 1}); return r.data.x;", "`r.data` is undefined", HAS_N),
        ("const {fix} = codemode; const r = await fix.echo({n: 1}); return r.data.x;", "`r.data` is undefined", HAS_N),
        ("const [a] = await Promise.all([codemode.fix.echo({n: 1})]);\nreturn a.data.x;", "`a.data` is unde", HAS_N),
        (ALL + "return all.map((one) => one.data.x);", "`one.data` is undefined", HAS_N),
        (ALL + "for (const one of all) console.log(one.data.x);", "`one.data` is undefined", HAS_N),
        (ALL + "return all[0].data.x;", "`all[…].data` is undefined", HAS_N),
        ("const r = await codemode.search('things'); return r.results[0];", "`r.results` is undefined",
         "codemode.search returned an array of objects with path, signature, description."),
        (TWO + "return a.path.split('.');", "`a.path` is undefined", FOR_EACH),
        (TWO + "return codemode[b.path]({});", "`b.path` is undefined", FOR_EACH),
        (TWO + "return codemode.describe([a.path, b.path]);", "`a.path` is undefined", FOR_EACH),
        ("const r = await codemode.search(['things', 'time']); return codemode[r[0].path]({});",
         "`r[…].path` is undefined", FOR_EACH),
        ("const r = await codemode.search(['things', 'time']); return r.map((one) => one.path.length);",
         "`one.path` is undefined", FOR_EACH),
        ("return (await codemode.search(['things', 'time'])).results[0];",
         "`(await codemode.search([…])).results` is undefined", FOR_EACH),
        ("const r = await codemode.search('things'); return codemode[r.path]({});", "`r.path` is undefined",
         "codemode.search returned an array of objects with path, signature, description."),
        (LIST + "return r.map(String);", "`r.map` is undefined", HAS_ITEMS),
        (LIST + "for (const one of r) console.log(one);", "`r` is no list", HAS_ITEMS),
        (LIST + "return r.itms.length;", "`r.itms` is undefined", HAS_ITEMS),
    ],
)  # fmt: skip
async def test_who_reads_what_a_result_does_not_have_learns_what_it_has(
    engines: Engines, code: str, starts: str, ends: str
) -> None:
    found = await run(engines, code)
    [advice] = found.error["advice"]
    assert advice.startswith(starts) and advice.endswith(ends)
    assert advice.split(": ")[0] in found.text


@pytest.mark.parametrize(
    "right",
    [
        "const [[a], [b]] = await codemode.search(['things', 'time']); console.log(a.path, b.path);",
        "const r = await codemode.search(['things', 'time']); console.log(r[0][0].path, r.map(([one]) => one.path));",
        "const r = await codemode.search(['things', 'time']); for (const [one] of r) console.log(one.path, one.x);",
        "const [a, b] = await codemode.search(['things', 'time']); console.log(a[0].path, b.map((one) => one.path));",
        "const a = (await codemode.search(['things', 'time'])).flat(); console.log(a.map((one) => one.path));",
    ],
)
async def test_who_takes_the_results_of_several_needs_apart_is_told_nothing_of_them(
    engines: Engines, right: str
) -> None:
    found = await run(engines, right + "\nconst nothing = undefined; return nothing.y;")
    assert "advice" not in found.error and "search" not in found.error["message"]


@pytest.mark.parametrize(
    ("returned", "shape"),
    [
        ("plain words", "a text that is not JSON"),
        ("[]", "an array of 0"),
        ('[{"id": 1, "name": "a"}, 2]', "an array of 2, the first an object with id, name"),
        ("{}", "an object without members"),
        ("{" + ", ".join(f'"key{n}": 1' for n in range(20)) + "}",
         "an object with key0, key1, key2, key3, key4, key5, key6, key7 and 12 more"),
        ("7", "a number"),
    ],
)  # fmt: skip
async def test_what_a_tool_returned_is_described_by_its_kind(engines: Engines, returned: str, shape: str) -> None:
    found = await run(engines, N + "return r.data.x;", echo=lambda call: text_result(returned))
    assert found.error["advice"] == [f"`r.data` is undefined: fix.echo returned {shape}."]


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (N + "return r.data.items;", {"data": None}),
        (N + "return r.data[0].x;", {"data": []}),
        (N + "const other = {}; return other.data.x;", {"n": 1}),
        ("const r = await codemode.fix.echo({}); const data = r.n; return data.x.y;", {"n": {}}),
        (N + "return r.data.items;", {"data": None, "long": "x" * 20_000}),
        (N + "return r.data.items;", {"long": "x" * 20_000, "n": 1}),
    ],
)
async def test_a_member_that_a_result_may_have_is_not_said_to_be_missing(
    engines: Engines, code: str, data: dict[str, Any]
) -> None:
    assert "advice" not in (await run(engines, code, echo=lambda call: data)).error


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (N + "return r.content?.[0]?.text ?? 'none';", "the value itself"),
        (N + "return JSON.parse(r?.content?.[0]?.text ?? '{}');", "the value itself"),
        (N + "return r.data;", "`r.data` is undefined"),
        (N + "return {body: r.body};", "`r.body` is undefined"),
        (N + "return r.structuredContent;", "the value itself"),
        (ALL + "return all.map((one) => one.data);", "`one.data` is undefined"),
        (N + "return r.result ?? null;", "`r.result` is undefined"),
        (N + "return (r.items ?? []).map(String);", "`r.items` is undefined"),
        (LIST + "return r.length;", "`r.length` is undefined"),
        (N + "console.log(r, JSON.stringify(r));\nreturn r.data ?? null;", "`r.data` is undefined"),
        (N + "const all = Array.isArray(r) ? r : r.items ?? [];\nreturn all;", "`r.items` is undefined"),
        (N + "if (Array.isArray(r)) return r;\nreturn r.items ?? [];", "`r.items` is undefined"),
        (N + "if (!r || !r.data) { return [] }\nreturn r.data;", "`r.data` is undefined"),
        (N + "if (r.n === 1) return r.data;", "`r.data` is undefined"),
    ],
)
async def test_an_empty_result_of_what_a_result_does_not_have_is_noted(engines: Engines, code: str, note: str) -> None:
    found = await run(engines, code)
    assert note in found.structured["note"] and found.structured["note"] in found.raw["content"][1]["text"]
    assert "fix.echo returned an object with" in found.structured["note"]


@pytest.mark.parametrize(
    "code",
    [
        N + "return r?.content?.[0]?.text ?? r;",
        N + "return r.content ? r.content[0].text : JSON.stringify(r);",
        N + "return r.data ?? r.n;",
        "const r = await codemode.fix.echo({data: null}); return r.data;",
        "const r = {}; await codemode.fix.echo({n: 1}); return r.data;",
    ],
)
async def test_a_program_that_is_ready_for_either_is_left_alone(engines: Engines, code: str) -> None:
    assert "note" not in (await run(engines, code)).structured


NONE = "const r = await codemode.fix.echo({items: [1]});\n"


@pytest.mark.parametrize(
    "code",
    [
        NONE + "const all = r.items || r.data || [];\nreturn all.filter((n) => n > 1);",
        NONE + "const all = Array.isArray(r.data) ? r.data : r.items;\nreturn all.filter((n) => n > 1);",
        NONE + "if (r.isError) throw new Error('no');\nreturn r.items.filter((n) => n > 1);",
        NONE + "if (r.isError) return 'bad';\nreturn '';",
        NONE + "if (r && r.ok === false) throw new Error('no');\nreturn null;",
        NONE + "const data = r?.structuredContent ?? r;\nreturn data.items.filter((n) => n > 1);",
        NONE + "const text = r?.content?.[0]?.text;\nreturn (text ? JSON.parse(text) : r).items.filter((n) => n > 1);",
        NONE + "const of = (r) => r.content ?? r.items;\nreturn of(r).filter((n) => n > 1);",
        NONE + "function of(r) { return r.data ?? null }\nreturn of({});",
        NONE + "r.data = r.items.filter((n) => n > 1);\nreturn r.data;",
        NONE + "return Object.assign(r, {result: null}).result;",
        "let r = await codemode.fix.echo({items: [1]});\nr = {data: null};\nreturn r.data;",
        "const { items, data } = await codemode.fix.echo({items: [1]});\nreturn (data ?? items).filter((n) => n > 1);",
        ALL + "return all.filter((one) => one.n > 1 && one.n < 2).map((one) => one.data);",
    ],
)
async def test_an_empty_result_of_a_program_that_knows_what_its_tool_returned_is_left_alone(
    engines: Engines, code: str
) -> None:
    assert "note" not in (await run(engines, code)).structured


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ("[1]", "const all = Array.isArray(r) ? r : r.items ?? [];\nreturn all.filter((n) => n > 1);"),
        ("[1]", "if (Array.isArray(r)) return r.filter((n) => n > 1);\nreturn r.items ?? [];"),
        ("text", "const text = (typeof r === 'string') ? r : r.text;\nreturn text.split('t').filter((n) => n > 1);"),
    ],
)
async def test_a_program_that_tests_for_the_type_of_a_result_is_left_alone(
    engines: Engines, returned: str, code: str
) -> None:
    found = await run(engines, N + code, echo=lambda call: text_result(returned))
    assert found.value == [] and "note" not in found.structured


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("x = 5;\nreturn x", "Declare it: write `let x`"),
        ("for (i = 0; i < 3; i++) {}", "Declare it: write `let i`"),
        ("for (x of [1]) {}", "Declare it: write `let x`"),
        ("n += 1;", "Declare it: write `let n`"),
        ("try { const x = 5 } catch {}\nreturn x;", "`x` is known only in the block that declares it: write `let x;`"),
        ("{ const { a, x } = {} }\nreturn x;", "`x` is known only in the block that declares it"),
        ("return x + 1;", None),
        ("const f = ({ x = 1 }) => x;\nreturn f({}) + x;", None),
        ("if (x in {}) {}", None),
        ("return Temporal.Now.instant()", "There is no Temporal: use Date"),
        ("return await Promise.all(codemode.fix.echo({}))", "Promise.all takes a list of promises"),
        ("return Promise.all([...1])", None),
        (f"{'`' * 3}js\n\n{'`' * 3}", "There is no program in the fence"),
        ("const r = await codemode.fix.echo({n: 1});\nreturn JSON.parse('{')", None),
        ("const [a] = await codemode.fix.echo({n: 1});", "`await fix.echo(…)` is no list: fix.echo returned an object"),
        (N + "const [a] = r;", "`r` is no list: fix.echo returned an object with n."),
    ],
)
async def test_an_error_of_a_known_kind_says_what_to_write(engines: Engines, code: str, advice: str | None) -> None:
    found = await run(engines, code)
    if advice is None:
        assert "advice" not in found.error
    else:
        assert found.error["advice"][0].startswith(advice) and found.error["advice"][0] in found.text


@pytest.mark.parametrize(
    ("code", "says"),
    [("", "is empty"), (" \n", "is empty"), ("// no", "has comments only"), ("/* no */\n", "has comments only")],
)
async def test_a_program_without_a_statement_is_answered_with_a_note(engines: Engines, code: str, says: str) -> None:
    assert (await run(engines, code)).structured["note"].startswith(f"Note: the program {says}, and nothing ran.")


@pytest.mark.parametrize(("value", "got"), [("undefined", "undefined"), ("{a: 1}", "an object")])
async def test_who_parses_what_is_no_text_learns_it(engines: Engines, value: str, got: str) -> None:
    [advice] = (await run(engines, f"return JSON.parse({value})")).error["advice"]
    assert advice.startswith(f"JSON.parse takes a text, and it got {got}")


async def test_a_promise_in_the_result_says_to_await_it(engines: Engines) -> None:
    found = await run(engines, "return [1, 2].map(async (n) => n)")
    assert found.error["advice"] == ["Write await before it; of an array of promises, await Promise.all(list)."]
    found = await run(engines, "return 'sum: ' + (async () => 1)()")
    assert found.structured["note"].startswith("Note: the result has [object Promise]")


@pytest.mark.parametrize(
    "code",
    [
        "return (await codemode.fix.echo({title: 'It shows ' + '[object ' + 'Promise]'})).title",
        "return 'A text with [object Promise] in it'",
    ],
)
async def test_the_words_of_a_promise_in_a_text_that_a_program_was_given_are_no_promise(
    engines: Engines, code: str
) -> None:
    assert "note" not in (await run(engines, code)).structured


@pytest.mark.parametrize("code", ["!(await codemode.fix.echo({n: 1})).n", "!([1, 2].length)"])
async def test_the_negation_of_a_value_drops_no_function(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert found.value is False and "note" not in found.structured


# --- promises that are lost ------------------------------------------------------------------------------------------

LOST = [
    ("[1].forEach(async (n) => { await codemode.fix.echo({n}) })", "forEach does not wait"),
    ("[1].forEach((n) => codemode.fix.echo({n}))", "forEach does not wait"),
    ("const f = async (n) => { await codemode.fix.echo({n}) };\n[1].forEach(f)", "forEach does not wait"),
    ("[1].map(async (n) => { await codemode.fix.echo({n}) })", "map does not wait"),
    ("const all = list.map(async (n) => await codemode.fix.echo({n})); return all.length", "map does not wait"),
    ("const all = await list.map(async (n) => await codemode.fix.echo({n})); return all[0].n", "map does not wait"),
    ("await list.map(async (n) => await codemode.fix.echo({n}))", "map does not wait"),
    ("return [1, 2].reduce(async (sum, n) => sum + n, 0)", "from its second turn on `sum` is a promise"),
    ("return [1, 2].reduce(async function (sum, n) { return sum + n }, 0)", "from its second turn on `sum`"),
    ("const t = [1].reduce(async (sum, n) => (await sum) + n, 0); return t + 1", "The promise of reduce is lost"),
    ("return list.filter(async (n) => n > 1)", "filter does not wait"),
    ("return list.some(async function (n) { return n > 1 })", "some does not wait"),
    ("return list.every(async n => n > 1)", "every does not wait"),
    ("return list.findIndex(async (n) => n > 1)", "findIndex does not wait"),
    ("return list.sort(async (a, b) => a - b)", "sort does not wait"),
    ("return list.toSorted(async (a, b) => a - b)", "toSorted does not wait"),
    ("const big = async (n) => n > 1; return list.filter(big)", "filter does not wait"),
    ("async function big(n) { return n > 1 } return list.find(big)", "find does not wait"),
    ("return list.find((n) => codemode.fix.echo({n}))", "find does not wait"),
]
KEPT = [
    "for (const n of list) { await codemode.fix.echo({n}) }",
    "await Promise.all(list.map(async (n) => { await codemode.fix.echo({n}) }))",
    "const all = list.map(async (n) => { await codemode.fix.echo({n}) }); return await Promise.all(all)",
    "const all = list.map(async (n) => { await codemode.fix.echo({n}) }); for (const one of all) await one",
    "const all = list.map(async (n) => await codemode.fix.echo({n})); return await Promise.allSettled([...all])",
    "const get = () => list.map(async (n) => await codemode.fix.echo({n})); return await Promise.all(get())",
    "return await list.reduce(async (sum, n) => (await sum) + n, 0)",
    "return await list.reduce(async (sum, n) => { const s = await sum; return s + n }, Promise.resolve(0))",
    "await list.reduce((before, n) => before.then(() => codemode.fix.echo({n})), Promise.resolve())",
    "const out = []; list.forEach(async (n) => { out.push(n) }); return out",
    "return list.filter((n) => n > 1).find((n) => n > 2)",
    "return '.filter(async (n) => n)' // .some(async (n) => n)",
    "return /.filter(async x)/.test('x')",
    "const all = []; list.forEach(async (n) => { all.push(codemode.fix.echo({n})) }); return Promise.all(all)",
    "await new Promise((done) => { let left = 3; list.forEach(async (n) => { await 1; if (!--left) done() }) })",
    "class Each { async forEach(run) { for (const n of list) await run(n) } }\n"
    "await new Each().forEach(async (n) => { await codemode.fix.echo({n}) })",
    "const all = list.map(async (n) => await codemode.fix.echo({n})); return Promise.all(all.concat([1]))",
    "const all = list.map(async (n) => await codemode.fix.echo({n})); while (all.length) await all.shift()",
    "const all = list.map(async (n) => await 1); for (const [i, one] of all.entries()) list[i] = await one",
    "const all = await list.map(async (n) => await codemode.fix.echo({n})); return await Promise.all(all)",
]


@pytest.mark.parametrize(("code", "says"), LOST)
async def test_a_promise_that_a_method_loses_is_noted(code: str, says: str) -> None:
    assert says in (unwaited(f"const list = [1, 2, 3];\n{code}") or "")


@pytest.mark.parametrize("code", KEPT)
async def test_a_promise_that_is_waited_for_is_no_loss(code: str) -> None:
    assert unwaited(f"const list = [1, 2, 3];\n{code}") is None


PIECES = st.sampled_from(
    "codemode .fix .echo ( ) [ ] { } => = async await function x y , ; . ? ?? || Promise .all .map .reduce .forEach "
    'const of for return "data" .data .content `${ } ` / // <!-- --> 0 then'.split()
)


@given(st.lists(PIECES, max_size=40), st.sampled_from(["", " ", "\n"]))
@examples(600)
def test_no_program_is_too_odd_to_be_read(pieces: list[str], between: str) -> None:
    program = between.join(pieces)
    unwaited(program)
    for read in missing(program, [Returned.of("fix.echo", b'{"n":1}')], CATALOG):
        assert 0 <= read.start < len(program)
    assumed(program, [Returned.of("fix.echo", b'{"n":1}')], CATALOG, has_value=True)
    taken_apart(program, [Returned.of("fix.echo", b'{"n":1}')], CATALOG)
    declared_twice(program)
    looped(program, 1, [Returned.of("fix.echo", b"{}")], CATALOG)


async def test_calls_that_are_not_awaited_are_in_the_note_of_the_structured_content(engines: Engines) -> None:
    found = await run(engines, "[1, 2].forEach(async (n) => { await codemode.fix.echo({n}) }); return 'done'")
    notes = found.structured["note"].split("\n")
    assert notes[0].startswith("Note: forEach does not wait for an async function")
    assert notes[1] == "Note: 2 calls were not awaited and were cancelled when the program ended: fix.echo"
