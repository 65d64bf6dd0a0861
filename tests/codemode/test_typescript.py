"""Types are taken out where they stand: every other token keeps its line and column."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.erasure import blank, lay_out, matches
from codemode.tokens import tokenize
from codemode.typescript import JavaScript, TypeScript, TypeScriptError, javascript, looks_typed
from tests.deep import examples
from tests.patience import PATIENCE

ERASED = [
    "const a: number = 1;\nlet b = (x: string, y: {a: string, b: string}, z?: Map<A, number>): void => { f(x!) }",
    "type A = {a: number,\n  b: string};\ninterface B extends A {\n  c: boolean\n}\nconst x: A = f();\nthrow x!",
    "const r = await g<Foo>({x: 1} as const) as Foo[];\nreturn r.map((i: Foo) => i.name satisfies string);",
    "import type {A} from 'b';\nexport default async function f(this: A, a?: B): C {\n  return `${a as D}`\n}",
    "abstract class A<T extends O = {}> implements B<T>, C {\n  abstract x(): D;\n  y?: X = 1\n}\nlet b: B = new A",
    "for (let i: number = 0; i < 5; i++) { const z: [number, T] = [1, 'a']; }\ntry { } catch (e: unknown) { throw e }",
    "const f = xs.map(x => x.a as string), g = async x => (await x) as any\nf(g as any)",
    "(x as any).y = 5;\nfoo(y!, <any>x)",
]


@pytest.mark.parametrize("source", ERASED)
def test_erasable_types_are_blanked_and_nothing_else_moves(source: str) -> None:
    found = javascript(source)
    assert isinstance(found, JavaScript) and found.own_lines
    assert len(found.text) == len(source)
    kept = [(one, two) for one, two in zip(source, found.text, strict=True) if one != two]
    assert {two for _, two in kept} == {" "}


def test_statements_around_erased_types_keep_line_and_column() -> None:
    found = javascript("type A = {\n  b: string\n}\n\nconst a: A = f()  as A;  throw new Error()")
    assert isinstance(found, JavaScript)
    assert found.text.split("\n")[4].index("throw") == 25


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("enum Color { Red, Green = 5,\n  Blue }\nconst x = Color.Red\nthrow x", 4, "throw x"),
        ("namespace N {\n  export const x: number = 1;\n}\n\nthrow N.x", 5, "throw N.x"),
        ("class P {\n  constructor(private readonly x: number) {}\n}\nthrow new P(1)", 4, "throw new P(1)"),
        (
            "function f(a: string): void;\nfunction f(a: number): void;\nfunction f(a: any) { return a }\nthrow f(1)",
            4,
            "throw",
        ),
        ("const f = async (a: {\n  b: string,\n}): Promise<\n  number\n> => {\n  return 1\n}\nthrow f", 8, "throw f"),
    ],
)
def test_what_is_not_erasable_is_transformed_on_its_own_lines(source: str, line: int, text: str) -> None:
    found = javascript(source)
    assert isinstance(found, JavaScript) and found.own_lines
    assert found.text.split("\n")[line - 1].startswith(text)


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("const a: number = 1;\nlet b: string = ;\nfoo(", 2, 17),
        ("const x: number = 5;\nfoo(", 2, 5),
        ("let x: A = {a: 1 b: 2}", 1, 18),
        ("const a: number = 1;\nreturn }", 2, 8),
    ],
)
def test_a_syntax_error_of_typescript_is_placed(source: str, line: int, column: int) -> None:
    found = javascript(source)
    assert isinstance(found, TypeScriptError)
    assert (found.line, found.column) == (line, column)


def test_a_top_level_return_is_no_error() -> None:
    assert javascript("const a: number = 1;\nreturn a") == JavaScript("const a         = 1;\nreturn a", True)


def test_calls_with_type_arguments_are_told_from_comparisons() -> None:
    assert looks_typed("codemode.fix.search<Found>({})")
    assert not looks_typed("if (a < b && c > (d)) {}")
    assert not looks_typed("a<b>(c)")


@pytest.mark.parametrize("source", ["(" * 100, "a<" * 50, "(a=new A<a<" * 12 + "1" + ">(1)>())=>1" * 12, "[" * 100_000])
def test_nesting_that_would_take_the_transformer_ages_is_refused(source: str) -> None:
    found = javascript(source)
    assert isinstance(found, TypeScriptError)
    assert "nested too deep" in found.message


@pytest.mark.anyio
async def test_programs_are_transformed_at_the_same_time_and_in_any_number() -> None:
    typescript = TypeScript(seconds=60)
    found = await asyncio.gather(*(typescript.javascript(f"const a: number = {n}") for n in range(8)))
    assert [one.text for one in found if isinstance(one, JavaScript)] == [f"const a         = {n}" for n in range(8)]


@pytest.mark.anyio
async def test_whoever_waits_for_the_transformer_gives_up_in_time() -> None:
    typescript = TypeScript(seconds=0.0)
    typescript.warm()
    assert typescript._compiled.wait(PATIENCE)
    found = await typescript.javascript("const a: number = 1")
    assert isinstance(found, TypeScriptError)
    assert "took longer" in found.message


@given(st.text())
def test_any_text_has_tokens_in_order_that_lie_within_it(text: str) -> None:
    position = 0
    for token in tokenize(text):
        assert position <= token.start < token.end <= len(text)
        position = token.end


FRAGMENTS = st.sampled_from(
    [
        "const a: number = 1;",
        "f<T>(x as any)!;",
        "enum E { A, B }",
        "`a${b as c}d`",
        "// note: x\n",
        "/re/g",
        "'s'",
        "\n",
    ]
    + [
        "interface I { x: y }\n",
        "return 1",
        "class A { constructor(private x: number) {} }",
        "}",
        "{",
        "(",
        "a ? b : c;",
    ]
)


@examples(150)
@given(st.lists(FRAGMENTS, max_size=8))
def test_mixed_fragments_are_transformed_or_refused_and_lines_are_never_lost(fragments: list[str]) -> None:
    source = "".join(fragments)
    found = javascript(source)
    if isinstance(found, JavaScript) and found.own_lines:
        assert found.text.count("\n") <= source.count("\n") + 1


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_can_be_aligned(source: str, output: str) -> None:
    blank(source, output)
    lay_out(source, output)


def test_a_patience_diff_pairs_equal_items_in_order() -> None:
    found = sorted(matches("a b c d e f".split(), "a x c d y f".split()))
    assert found == [(0, 0), (2, 2), (3, 3), (5, 5)]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.lists(st.sampled_from("abcdefgh"), max_size=30))
def test_a_diff_of_any_two_lists_keeps_their_order(one: list[str], other: list[str]) -> None:
    found = sorted(matches(one, other))
    assert all(one[a] == other[b] for a, b in found)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(found))


@pytest.mark.parametrize(
    "unit",
    [
        "=/[/[",
        "a as b;",
        "enum A{B}\n",
        "a;\n",
        "`${",
        "type A = {b: c};\n",
        "f<A<B>>(c);",
        "'\\",
        "`",
        "const f = (a: {b: c}): d => a;\n",
    ],
)
def test_a_source_as_large_as_allowed_ends_whatever_is_in_it(unit: str) -> None:
    javascript((unit * (256 * 1024 // len(unit) + 1))[: 256 * 1024])


def test_a_large_program_runs_without_its_lines() -> None:
    found = javascript("const a: number = 1;\n" * 4_000)
    assert isinstance(found, JavaScript) and not found.own_lines
