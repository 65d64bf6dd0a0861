"""The answer contract: what an agent reads for every way a program can end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from codemode.answer import OUTPUT_SCHEMA, RESULT_CHARS, answer, snippet
from codemode.run import Failure, Run, RunCall
from codemode.tool import INPUT_SCHEMA
from codemode.truncation import text_of
from sandbox import Engine, Limits, LogLine
from tests.codemode.bench import CATALOG, Answer, bench
from tests.codemode.counting import counted

Engines = Callable[[Limits], Engine]
SCHEMA = validator_for(OUTPUT_SCHEMA)
FENCE = "`" * 3


def checked(found: Answer) -> Answer:
    """The answer, after what holds for all answers has been checked."""
    SCHEMA.validate(found.structured)
    orjson.dumps(found.raw)
    assert found.raw["content"][0]["type"] == "text"
    assert ("error" in found.structured) is not found.ok
    return found


async def run(engines: Engines, code: str, limits: Limits | None = None, **handlers: Any) -> Answer:
    async with bench(engines, limits, **handlers) as b:
        return checked(await b.run(code))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "async () => { return 42 }",
        "() => 42",
        "6 * 7",
        "const x = 40; x + 2",
        "const x = await Promise.resolve(42); return x",
        "export default async function () { return 42 }",
        "export default 42",
        "async function main() { return 42 }",
        "function helper(n) { return n * 2 }\nfunction main() { return helper(21) }",
        f"{FENCE}js\nreturn 42\n{FENCE}",
        f"Here it is:\n{FENCE}TypeScript\nconst x: number = 42;\nreturn x as any\n{FENCE}\nDone.",
        "const n: number = 42;\nenum E { A = 42 }\nreturn n === E.A ? E.A : 0",
        "class P { constructor(private readonly n: number) {}\n get(): number { return this.n } }\nnew P(42).get()",
        "const f = (x) => x\nf<Number>(42) as number",
    ],
)
async def test_programs_as_agents_write_them_give_their_value(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert (found.value, found.text) == (42, "42")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        ("return 'as it is'", "as it is", "as it is"),
        ("return {a: [1, null]}", {"a": [1, None]}, '{"a":[1,null]}'),
        ("return null", None, "null"),
        ("return 12345678901234567890n", "12345678901234567890", "12345678901234567890"),
        ("return new Date(0)", "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"),
        ("return [new Map([[1, 'a']]), new Set([1])]", [[[1, "a"]], [1]], '[[[1,"a"]],[1]]'),
        ("return [NaN, -0, /a/g, new URL('http://a/')]", [None, 0, "/a/g", "http://a/"], '[null,0,"/a/g","http://a/"]'),
        ("return '\\ud800'", "\ufffd", "\ufffd"),
    ],
)
async def test_values_are_readable(engines: Engines, code: str, value: object, text: str) -> None:
    found = await run(engines, code)
    assert (found.value, found.text) == (value, text)


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["", "   \n", "undefined", "const x = 1;", "return"])
async def test_an_undefined_result_is_absent_and_said(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert found.ok and "result" not in found.structured and found.text == "undefined"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "thrown", ["'x'", "null", "undefined", "new Error('')", "{a: 1}", "5", "new (class X {})", "Symbol('s')"]
)
async def test_whatever_is_thrown_is_a_failure(engines: Engines, thrown: str) -> None:
    found = await run(engines, f"throw {thrown}")
    assert found.error["kind"] == "exception"
    assert found.error["message"]


@pytest.mark.anyio
async def test_an_error_quotes_line_column_and_source(engines: Engines) -> None:
    found = await run(engines, "const a = {};\nconst b = 1;\n\nreturn a.missing.deep")
    assert (found.error["name"], found.error["line"]) == ("TypeError", 4)
    assert found.error["snippet"].startswith("4 | return a.missing.deep\n")
    assert found.text.splitlines()[1].startswith("at line 4, column ")


@pytest.mark.anyio
async def test_lines_are_those_inside_the_fence_and_of_the_typescript_as_written(engines: Engines) -> None:
    code = "type A = {\n  a: string\n}\nenum E { X,\n  Y }\nconst a: A = {a: 'x'};\n  throw new Error(a.a as string)"
    found = await run(engines, f"The program:\n\n{FENCE}ts\n{code}\n{FENCE}")
    assert found.error["line"] == 7
    assert "throw new Error(a.a as string)" in found.error["snippet"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "line"),
    [("const a = 1;\nconst x = ;", 2), ("const a: number = 1;\nconst x: string = ;", 2), ("foo(\n\n", 3), ("}", 1)],
)
async def test_a_syntax_error_is_placed_in_either_language(engines: Engines, code: str, line: int) -> None:
    found = await run(engines, code)
    assert found.error["kind"] == "syntax"
    assert abs(found.error["line"] - line) <= 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("const fs = require('fs')", "no modules"),
        ("import fs from 'fs'; fs", "modules"),
        ("await import('fs')", "modules"),
        ("process.env.HOME", "no process"),
        ("await fetch('https://example.com')", "Call a tool instead"),
        ("Buffer.from('x')", "Uint8Array"),
        ("document.title", "browser"),
        ("await fix.search({query: 'x'})", "Write codemode.fix."),
        ("await fix_search({query: 'x'})", "Write codemode.fix.search."),
        ("await search('x')", "Write codemode.search."),
    ],
)
async def test_what_is_not_there_comes_with_what_to_write_instead(engines: Engines, code: str, advice: str) -> None:
    found = await run(engines, code)
    assert advice in found.text


@pytest.mark.anyio
async def test_a_promise_nobody_settles_is_a_deadlock(engines: Engines) -> None:
    assert (await run(engines, "await new Promise(() => {})")).error["kind"] == "deadlock"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "kind", "limits"),
    [
        ("for (;;) {}", "cpu_time", Limits(cpu_time=0.1)),
        ("await codemode.fix.slow({})", "wall_time", Limits(wall_time=0.2)),
        ("for (;;) await codemode.fix.echo({})", "calls", Limits(calls=5)),
        ("return 'x'.repeat(2_000_000)", "size", Limits()),
        ("await codemode.fix.echo({a: 'x'.repeat(2_000_000)})", "size", Limits()),
        ("const f = () => f() + 1; f()", "stack", Limits()),
        ("const a = []; for (;;) a.push('x'.repeat(1000) + a.length)", "memory", Limits(memory=8 * 1024 * 1024)),
    ],
)
async def test_each_limit_has_its_kind(engines: Engines, code: str, kind: str, limits: Limits) -> None:
    error = (await run(engines, code, limits)).error
    assert error["kind"] == kind
    assert error["name"] == "".join(word.capitalize() for word in kind.split("_")) + "Exceeded"


@pytest.mark.anyio
async def test_a_source_over_its_limit_does_not_run(engines: Engines) -> None:
    found = await run(engines, "1;" + " " * 2_000, Limits(source=1_000))
    assert found.error["kind"] == "size" and "1,000" in found.text


@pytest.mark.anyio
async def test_on_a_limit_the_calls_that_completed_are_listed(engines: Engines) -> None:
    code = "await codemode.fix.echo({}); await codemode.time_zone.now({}); for (;;) {}"
    found = await run(engines, code, Limits(cpu_time=0.1))
    assert found.calls == [("fix.echo", "ok"), ("time_zone.now", "ok")]
    assert "Calls made: fix.echo ok, time_zone.now ok" in found.text


@pytest.mark.anyio
async def test_a_program_cannot_choose_the_kind_of_its_error(engines: Engines) -> None:
    code = "throw Object.assign(new Error('mine'), {kind: 'engine', name: 'CpuTimeExceeded', status: 'completed'})"
    assert (await run(engines, code)).error["kind"] == "exception"


@pytest.mark.anyio
async def test_logs_are_a_block_of_their_own_after_the_result(engines: Engines) -> None:
    found = await run(engines, "console.log('a', {b: 1}); console.warn('careful'); return [1]")
    assert json.loads(found.text) == [1]
    assert found.raw["content"][1]["text"].startswith("Logs:\na ")
    assert "[warn] careful" in found.raw["content"][1]["text"]
    assert [log["level"] for log in found.structured["logs"]] == ["log", "warn"]


@pytest.mark.anyio
async def test_logs_of_a_failed_program_are_kept(engines: Engines) -> None:
    found = await run(engines, "console.log('before'); await codemode.fix.echo({}); console.log('after'); throw 1")
    assert [log["text"] for log in found.structured["logs"]] == ["before", "after"]


@pytest.mark.anyio
async def test_many_logs_keep_their_first_and_last_lines(engines: Engines) -> None:
    found = await run(engines, "for (let i = 0; i < 900; i++) console.log('line ' + i); return 1")
    texts = [log["text"] for log in found.structured["logs"]]
    assert (texts[0], texts[-1]) == ("line 0", "line 899")
    assert any("log lines left out" in text for text in texts)
    assert len(found.raw["content"][1]["text"]) < 10_000


@pytest.mark.anyio
async def test_a_long_result_is_cut_and_still_valid_json(engines: Engines) -> None:
    found = await run(engines, "return {rows: Array.from({length: 9000}, (_, n) => ({n, text: 'row ' + n})), last: 1}")
    assert len(found.text) <= RESULT_CHARS
    assert json.loads(found.text) == found.value
    assert found.value["last"] == 1
    assert found.structured["truncated"]["chars"] > RESULT_CHARS
    assert found.structured["truncated"]["paths"] == ["result.rows"]


@pytest.mark.anyio
async def test_a_long_text_is_cut_with_a_marker(engines: Engines) -> None:
    found = await run(engines, "return 'x'.repeat(100000)")
    assert len(found.text) <= RESULT_CHARS and "TRUNCATED" in found.text
    assert found.structured["truncated"] == {"chars": 100_000, "paths": ["result"]}


@pytest.mark.anyio
async def test_a_result_that_cannot_leave_names_its_path(engines: Engines) -> None:
    found = await run(engines, "return {items: [{}, {owner: () => 1}]}")
    assert "result.items[1].owner" in found.error["message"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"code": "1", "timeout": 5, "x": 1}, "timeout, x"), ({}, "got nothing"), ({"code": 5}, "got int")]
    + [({"code": None}, "got nothing"), ({"code": ["1"]}, "got array"), ({"code": "1", "check": {}}, "got object")],
)
async def test_wrong_arguments_are_an_answer_that_names_them_and_nothing_runs(
    engines: Engines, arguments: dict[str, Any], named: str
) -> None:
    async with bench(engines) as b:
        found = checked(Answer(await b.tool.run(arguments, CATALOG, b.caller)))
        assert named in found.text and "Nothing was run" in found.text
        assert not found.ok and b.caller.calls == []


@pytest.mark.anyio
async def test_an_argument_that_is_null_was_not_sent(engines: Engines) -> None:
    async with bench(engines) as b:
        assert checked(Answer(await b.tool.run({"code": "1 + 1", "check": None}, CATALOG, b.caller))).ok


@pytest.mark.anyio
async def test_the_definition_has_schemas_for_both_ways(engines: Engines) -> None:
    async with bench(engines) as b:
        definition = b.tool.definition(CATALOG)
        assert definition["name"] == "code"
        assert definition["inputSchema"] == INPUT_SCHEMA and INPUT_SCHEMA["additionalProperties"] is False
        assert definition["outputSchema"]["required"] == ["status", "executionId", "logs", "calls"]


@pytest.mark.anyio
async def test_every_run_has_an_id_of_its_own_or_the_one_given(engines: Engines) -> None:
    async with bench(engines) as b:
        one, two = [(await b.run("1")).structured["executionId"] for _ in range(2)]
        assert one != two and one.startswith("exec_")
        given = await b.tool.run({"code": "1"}, CATALOG, b.caller, run_id="mine")
        assert given["structuredContent"]["executionId"] == "mine"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3_000) | st.text(
    "abcdef {}();\n\t日😀", max_size=3_000
)


@given(TEXTS, TEXTS, st.integers(1, 50), st.integers(1, 400), st.lists(TEXTS, max_size=2), st.integers(0, 30))
def test_an_error_costs_the_agent_a_bounded_number_of_characters(
    message: str, program: str, line: int, column: int, advice: list[str], calls: int
) -> None:
    run = Run("r", program, failure=Failure("exception", "Error", message, line, column))
    run.calls = [RunCall(n, f"server.tool{n % 3}", 0.0, "ok") for n in range(calls)]
    found = checked(Answer(answer(run, advice)))
    assert len(found.text) <= 1_001


def test_errors_agents_meet_cost_at_most_300_tokens() -> None:
    message = (
        'codemode.github.create_issue: input.title is missing; input.labels: expected array, got "bug"\nExpected: '
        + (
            "codemode.github.create_issue(input: { owner: string; repo: string; title: string; body?: string; labels?: "
            "string[]; assignees?: string[]; milestone?: number }): Promise<{ id: number; number: number; url: string"
            " }>"
        )
    )
    program = (
        "const issue = await codemode.github.create_issue({owner: 'me', repo: 'it', labels: 'bug'});\nreturn issue"
    )
    run = Run("r", program, failure=Failure("exception", "ToolError", message, 1, 28))
    run.calls = [RunCall(n, f"github.list_{n % 7}", 0.0, "ok") for n in range(30)]
    text = Answer(
        answer(run, ["codemode.github.list_issues(input: { owner: string; repo: string; page?: number })"] * 2)
    ).text
    assert counted(text) <= 300


def test_a_snippet_has_a_caret_under_the_column_even_of_a_long_line() -> None:
    assert snippet("a\n\tb.c()", 2, 4) == "2 |  b.c()\n       ^"
    long = snippet("x" * 500 + "HERE" + "y" * 500, 1, 501)
    assert long is not None
    shown, caret = long.split("\n")
    assert len(shown) < 120 and shown[len(caret) - 1 :].startswith("HERE")
    assert snippet("a", 5, 1) is None


@given(st.lists(st.text(max_size=3_000), max_size=40))
def test_logs_stay_within_their_budget(texts: list[str]) -> None:
    run = Run("r", "", value=1, has_value=True, logs=[LogLine("log", text) for text in texts])
    found = answer(run, [])
    assert sum(len(log["text"]) for log in found["structuredContent"]["logs"]) <= 8_200
    assert text_of(found["structuredContent"]["result"]) == "1"
