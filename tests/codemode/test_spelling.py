"""What to write instead of a text that is no JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.run import Failure
from codemode.spelling import instead
from sandbox import Engine, Limits
from tests.codemode.bench import bench

Engines = Callable[[Limits], Engine]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("return await codemode.fix.echo({})\n}", "The } in line 2, column 1 closes nothing"),
        ("async () => {\n  return 1;", "The { in line 1, column 13 is never closed"),
        ("const a = [1, (2];\nreturn a;", "The ( in line 1, column 15 is not closed before the next ]"),
        ("return \u201chello\u201d;", 'Write " in place of \u201c'),
        ("const x = \u2018a\u2019;\nx", "Write ' in place of \u2018"),
        ("return 3 \u2212 2;", "Write - in place of \u2212"),
        ("return 1\uff1b", "Write ; in place of \uff1b"),
        ("if (1 &lt; 2) { return 1 }", "escaped as HTML"),
        ("return a &amp;&amp; b;", "escaped as HTML"),
        ("const x = 1;\\nreturn x;", "send it without escapes"),
        ("@dec\nclass A {}", "There are no decorators"),
        ("class A { @dec x = 1 }\nreturn 1;", "There are no decorators"),
        ("return <div>hi</div>;", "no JSX"),
        ("return <Item id={1} />;", "no JSX"),
        ("return 1;\n</code>", "no JSX and no HTML"),
        ("def main():\n    return 1", "JavaScript or TypeScript"),
        ("import json\nprint(1)", "JavaScript or TypeScript"),
        ("from x import y", "JavaScript or TypeScript"),
        ("Here is the program that you asked for:\nreturn 1", "Send the program alone"),
        ("Sure! Here is the code:\nreturn 1", "Send the program alone"),
        ("# The program\nreturn 1", "Send the program alone"),
        ("Run this: `return 1`", "Send the program alone"),
        ("const s = 'it's';\nreturn s;", "The text ends at the ' in column 14: write \\' inside of it"),
        ("return { text: 'Ann's order', n: 1 };", "The text ends at the ' in column 20"),
        ('const s = "say "hi" now";', 'write \\" inside of it'),
        ("const s = 'one\ntwo';", "write \\n for a line end"),
        ("return `one\ntwo;", "The ` in line 1, column 8 is never closed"),
        ("const x = 1;\nconst x = 2;\nreturn x;", "`x` is declared twice"),
        ("const { a } = {};\nlet { a } = {};", "`a` is declared twice"),
        ("const x: number = 1;\nconst x: number = 2;\nreturn x;", "`x` is declared twice"),
        ('{ "a": 1, "b": await codemode.fix.echo({}) }', "return { ... };"),
        ("{ a: 1, b: 2 }", "return { ... };"),
        ("async () { return 1 }", "The arrow is missing"),
        ("function (a,\n b) { return 1 }", "without a name"),
        ("yield 1", "function* () { ... }"),
        ("with (Math) { abs(1) }", "object.member"),
        ("return 042;", "0o"),
    ],
)
async def test_a_syntax_error_of_a_known_kind_says_what_to_write(engines: Engines, code: str, advice: str) -> None:
    async with bench(engines) as b:
        found = await b.run(code)
    assert found.error["kind"] == "syntax"
    assert advice in found.error["advice"][0] and found.error["advice"][0] in found.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code", ["const a = ;", "return 'a</b>' 'c';", "let x = '&lt;' 1", "return 'a' b", "for (const x in) {}"]
)
async def test_another_syntax_error_has_the_words_of_the_engine(engines: Engines, code: str) -> None:
    async with bench(engines) as b:
        assert "advice" not in (await b.run(code)).error


@pytest.mark.anyio
async def test_a_program_that_ends_too_early_is_not_said_to_return_outside_of_a_function(engines: Engines) -> None:
    async with bench(engines) as b:
        assert (await b.run("return await")).error["message"] == "the program ends too early"


@pytest.mark.anyio
@pytest.mark.parametrize("second", ["function x() {}", "async function x() {}", "function* x() {}"])
async def test_a_function_with_the_name_of_a_variable_is_the_place_of_the_error(engines: Engines, second: str) -> None:
    async with bench(engines) as b:
        found = await b.run(f"const x = 1;\n{second}\nreturn x;")
    assert (found.error["kind"], found.error["line"]) == ("syntax", 2)
    assert found.error["advice"][0].startswith("`x` is declared twice")


@given(st.text(max_size=200), st.integers(1, 9), st.integers(1, 99))
def test_any_text_and_place_may_be_asked_about(program: str, line: int, column: int) -> None:
    instead(Failure("syntax", "SyntaxError", "expecting ';'", line, column), program)
