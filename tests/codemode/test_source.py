"""Finding the program in what an agent sends."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.source import Program, extract
from tests.deep import deep

FENCE = "`" * 3


def test_text_without_a_fence_is_the_program_untouched() -> None:
    code = "\n\n  const x = 1;\n  return x\n"
    assert extract(code).text == code


@pytest.mark.parametrize("tag", ["", "js", "JavaScript", "TypeScript", "TS", "jsx", "js title=demo", "{.js}", "weird"])
def test_one_fence_with_any_tag_is_unwrapped(tag: str) -> None:
    assert extract(f"{FENCE}{tag}\nreturn 1\n{FENCE}").text == "return 1"


def test_prose_around_a_fence_is_left_out_and_line_one_is_inside_it() -> None:
    sent = f"Here is the program:\n\n{FENCE}js\nconst a = 1;\nreturn a\n{FENCE}\n\nIt returns one."
    assert extract(sent).text == "const a = 1;\nreturn a"


def test_the_program_is_chosen_over_other_blocks() -> None:
    sent = f'{FENCE}json\n{{"much": "longer than the program is"}}\n{FENCE}\n{FENCE}js\nreturn 1\n{FENCE}'
    assert extract(sent).text == "return 1"


def test_an_untagged_block_is_chosen_over_a_foreign_one() -> None:
    assert extract(f"{FENCE}bash\nrm -rf everything at once\n{FENCE}\n{FENCE}\nreturn 1\n{FENCE}").text == "return 1"


def test_of_several_programs_the_longest_is_chosen_and_of_equals_the_last() -> None:
    assert extract(f"{FENCE}js\n1\n{FENCE}\n{FENCE}js\nreturn 22\n{FENCE}\n{FENCE}js\n3\n{FENCE}").text == "return 22"
    assert extract(f"{FENCE}js\n1\n{FENCE}\n{FENCE}js\n2\n{FENCE}").text == "2"


def test_a_fence_left_open_runs_to_the_end() -> None:
    assert extract(f"Sure:\n{FENCE}ts\nconst a: number = 1\na").text == "const a: number = 1\na"


def test_a_fence_on_one_line_is_unwrapped() -> None:
    assert extract(f"{FENCE}js return 1 {FENCE}").text == "return 1"


def test_a_longer_fence_may_hold_a_shorter_one() -> None:
    inner = f"const doc = 'x';\n{FENCE}\nreturn doc"
    assert extract(f"{FENCE}`js\n{inner}\n{FENCE}`").text == inner


def test_an_indented_fence_gives_its_indentation_back() -> None:
    assert extract(f"1. Run:\n   {FENCE}js\n   if (1) {{\n     return 2\n   }}\n   {FENCE}").text == (
        "if (1) {\n  return 2\n}"
    )


def test_windows_line_ends_and_tildes_are_fences_too() -> None:
    assert extract(f"{FENCE}js\r\nreturn 1\r\n{FENCE}\r\n").text == "return 1"
    assert extract("~~~js\nreturn 1\n~~~").text == "return 1"


def test_a_fence_in_the_middle_of_a_line_is_part_of_the_program() -> None:
    code = f"const md = 'use {FENCE}js';\nreturn md"
    assert extract(code).text == code


@pytest.mark.parametrize(
    "code",
    [
        f'/*\nUse it so:\n{FENCE}js\nreturn "example"\n{FENCE}\n*/\nreturn "right";',
        f'/**\n {FENCE}ts\n return "example"\n {FENCE}\n */\nasync () => "right"',
        'const body = `\n~~~js\nreturn "example"\n~~~\n`;\nreturn body;',
        "return [`## ${1}`, `\n~~~\n${2}\n~~~\n`].join('')",
        "const text = String.raw`\n~~~\n\\d\n~~~`;\ntext",
        f"const s = 'a\\\n{FENCE}js\\\nb\\\n{FENCE}';\nreturn s",
        f"const r = /`/;\n/*\n{FENCE}\nx\n{FENCE}*/\nreturn r",
    ],
)
def test_a_program_with_fences_in_its_comments_and_texts_is_the_program(code: str) -> None:
    assert extract(code) == Program(code)
    assert extract(f"Here it is:\n\n{FENCE}{FENCE}js\n{code}\n{FENCE}{FENCE}\nThat's it.") == Program(code)
    if "~~~" not in code:
        assert extract(f"~~~js\n{code}\n~~~") == Program(code)


@pytest.mark.parametrize(
    "code",
    [
        f"/*\n{FENCE}js\nreturn 0\n{FENCE}\n*/\nreturn 1",
        f"/*\n{FENCE}\nreturn 0\n{FENCE}\n*/\nreturn 1",
        "const text = `\n~~~\nx\n~~~\n`;\nreturn text",
    ],
)
def test_a_fence_ends_where_its_program_does_not_hold_the_end_in_a_comment_or_text(code: str) -> None:
    assert extract(f"{FENCE}js\n{code}\n{FENCE}\n") == Program(code)


@pytest.mark.parametrize(
    "prose",
    [
        "Here's one (see `a`):",
        "It reads src/**/*.ts and docs/*:",
        "Odd `backtick, isn't it:",
        "and/or 'so'",
        "1. Don't",
    ],
)
def test_prose_that_looks_like_the_beginning_of_a_comment_or_text_is_prose(prose: str) -> None:
    assert extract(f"{prose}\n{FENCE}js\nreturn 1\n{FENCE}\nIt's /* done").text == "return 1"


def test_of_several_programs_it_is_said_which_one_it_is() -> None:
    two = extract(f"First:\n{FENCE}js\nreturn 1\n{FENCE}\nor\n{FENCE}js\nreturn 22\n{FENCE}")
    assert two.text == "return 22"
    assert two.note is not None and "2 blocks of code" in two.note
    assert "the one in line 6" in two.note and "not run: line 2" in two.note


NO_PROGRAMS = [
    '{"much": "longer than the program is", "x": [1, 2, 3]}',
    "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
    "This is what the program does, in many words.\nIt has two lines.",
    "42 things were found in the shop, of which 3 are late",
    "npm install something --save-dev",
    "$ curl https://example.com/a/long/path | jq .",
    "<div>html that is longer than the program</div>",
    "interface Order { id: string; total: number }\ntype Orders = Order[];\nexport type { Order };",
    "declare const orders: { id: string }[];",
    "// only a comment that says what comes\n/* and another one */",
    "import { something } from 'somewhere';",
]


@pytest.mark.parametrize("label", ["", "js", "ts"])
@pytest.mark.parametrize("other", NO_PROGRAMS)
def test_of_two_blocks_the_one_that_is_a_program_is_chosen(other: str, label: str) -> None:
    if not other.startswith(("{", "[", "interface", "declare", "import", "//")):
        label = ""  # a label says that it is code
    program, block = f"{FENCE}{label}\nreturn 1\n{FENCE}", f"{FENCE}{label}\n{other}\n{FENCE}"
    for sent in (f"{block}\nand\n{program}", f"{program}\nand\n{block}"):
        assert extract(sent).text == "return 1" and extract(sent).note is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("js\nreturn 22", "js\nreturn 1", "the longest"),
        ("js\nreturn 1 ", "js\nreturn 2", "the last"),
        ("js\nreturn 1", "\nconst long = 'an unlabelled program';\nreturn long", "the labelled one"),
        ("js\nconst a = 1, b = 2, c = 3, d = 4;", "js\nreturn 1", "which returns or calls something"),
    ],
)
def test_it_is_said_why_one_of_several_programs_is_the_program(one: str, other: str, why: str) -> None:
    found = extract(f"{FENCE}{one}\n{FENCE}\nor\n{FENCE}{other}\n{FENCE}")
    assert found.note is not None and f", {why}; not run" in found.note


def test_of_no_programs_the_labelled_block_is_taken() -> None:
    assert extract(f"{FENCE}\nsome words that say a lot\n{FENCE}\n{FENCE}js\n[1]\n{FENCE}").text == "[1]"


def test_a_block_that_is_no_program_is_not_spoken_of() -> None:
    assert extract(f"{FENCE}js\nreturn 1\n{FENCE}\n{FENCE}json\n[1]\n{FENCE}").note is None
    assert extract(f"{FENCE}js\nreturn 1\n{FENCE}").note is None


@pytest.mark.parametrize("tag", ["", "json", "text"])
def test_code_before_a_block_that_is_no_script_is_the_program_and_that_is_said(tag: str) -> None:
    found = extract(f"return await codemode.fix.search({{}});\n\n{FENCE}{tag}\n[1]\n{FENCE}")
    assert found.text.strip() == "return await codemode.fix.search({});"
    assert found.note == "Note: the program is the text before the fence in line 3."


@pytest.mark.parametrize("tag", ["code", "program", "js"])
def test_an_element_around_a_program_is_unwrapped(tag: str) -> None:
    assert extract(f"<{tag}>\nreturn '<b>';\n</{tag}>\n").text == "return '<b>';\n"
    assert extract(f"<{tag}>\n{FENCE}ts\nreturn 1\n{FENCE}\n</{tag}>").text == "return 1"


def test_arguments_in_place_of_a_program_are_unwrapped() -> None:
    assert extract('{"code": "const x = 1;\\nreturn x"}').text == "const x = 1;\nreturn x"
    for code in ('{"code": 1}', '{"code": "1", "b": 2}', '{"code"'):
        assert extract(code) == Program(code)


@pytest.mark.parametrize(
    "code",
    [
        '{ "code": "return 1" }',
        '{"code": "return 1", "language": "js"}',
        '{"program": "return 1"}',
        '{"javascript": "return 1"}',
        '{"name": "code", "arguments": {"code": "return 1"}}',
        '"return 1"',
        "'return 1'",
        "`return 1`",
        '"return 1";',
        "js\nreturn 1",
        "TypeScript\r\nreturn 1",
        f"{FENCE}\njs\nreturn 1\n{FENCE}",
        f'{FENCE}json\n{{"code": "return 1"}}\n{FENCE}',
        f"{FENCE}js\n{FENCE}js\nreturn 1\n{FENCE}\n{FENCE}",
        f"> {FENCE}js\n> return 1\n> {FENCE}",
        "<pre><code>return 1</code></pre>",
        f"#!/usr/bin/env node\n{FENCE}js\nreturn 1\n{FENCE}",
    ],
)
def test_what_stands_around_a_program_is_left_out(code: str) -> None:
    assert extract(code).text == "return 1"


@pytest.mark.parametrize(
    "code",
    [
        '"just a text"',
        '"use strict"',
        "'a' + `return ${1}`",
        '["return 1"]',
        '{"a": 1}',
        "js",
        "js.a\n",
        "`return ${1}`",
    ],
)
def test_a_text_or_an_object_that_is_no_program_stays(code: str) -> None:
    assert extract(code) == Program(code)


def test_a_comment_of_html_before_a_program_becomes_blanks() -> None:
    assert extract("<!--\na comment\n-->\nreturn 1").text == "    \n         \n   \nreturn 1"


@pytest.mark.parametrize("fence", ["{}", "```js\n{}\n```"])
@pytest.mark.parametrize(
    "head", ["---\ntitle: List\n---\n", "\n---\r\nname: a\r\ntags:\r\n  - b\r\n# c\r\n\r\n---\r\n"]
)
def test_a_head_of_yaml_before_a_program_becomes_blanks(fence: str, head: str) -> None:
    program = extract(fence.format(head + "return 1")).text
    assert program.split() == ["return", "1"]
    assert program.count("\n") == head.count("\n")


def test_what_only_begins_like_a_head_of_yaml_stays() -> None:
    for code in ("--x;\nx", "---\nreturn 1\n---\n", "---\na: 1\nreturn 1"):
        assert extract(code).text == code


def test_a_lone_end_of_a_fence_is_left_out() -> None:
    assert extract(f"const a = 1;\nreturn a\n{FENCE}\n").text == "const a = 1;\nreturn a\n"


def test_the_fence_tells_typescript() -> None:
    assert extract(f"{FENCE}ts\nf<A>(1)\n{FENCE}").typescript
    assert not extract(f"{FENCE}js\nf<A>(1)\n{FENCE}").typescript


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "code", "arguments": {"code": "return 1"}}\n</tool_call>',
        '<invoke name="code">\n<parameter name="code">return 1</parameter>\n</invoke>',
        "<codemode>return 1</codemode>",
    ],
)
def test_the_element_of_a_tool_call_around_a_program_is_left_out(text: str) -> None:
    assert extract(text).text.strip() == "return 1"


def test_an_empty_fence_is_no_program_worth_choosing() -> None:
    assert extract(f"{FENCE}\n{FENCE}").text == f"{FENCE}\n{FENCE}"


def test_lone_surrogates_and_a_byte_order_mark_do_not_get_through() -> None:
    assert extract("\ufeff'\ud800'").text == "'\ufffd'"
    assert extract("'\ud83d\ude00'").text == "'😀'"


@given(st.text())
def test_any_text_gives_a_program_that_can_be_encoded(text: str) -> None:
    extract(text).text.encode()


@given(st.text(st.characters(exclude_characters="`~\r", exclude_categories=["Cs"])), st.sampled_from(["", "js", "ts"]))
def test_what_is_put_into_a_fence_comes_out_again(code: str, tag: str) -> None:
    sent = f"Look:\n\n{FENCE}{tag}\n{code}\n{FENCE}\nDone."
    assert extract(sent).text == (code if code.strip() else sent)


UNITS = [
    "```js\n",
    "```js\n{",
    "```js\ntype A = 1\n```\n",
    "'",
    '{"code": "',
    "> ```\n",
    "<pre>",
    "<!--",
    "`",
    "```\n",
    "~~~ a\n",
    "``` ",
    "\t",
    " ",
    "   ```js\n",
    "a ```",
    "\n",
    "```js\n/*\n```\n",
]


@pytest.mark.parametrize(("unit", "around"), deep(product(UNITS, [("", ""), ("```js ", "x`"), ("", "```")])))
def test_any_amount_of_fences_is_read_in_linear_time(unit: str, around: tuple[str, str]) -> None:
    before, after = around
    extract(before + unit * 100_000 + after)


@pytest.mark.parametrize("line", ["a: b\r\n", "- : x\n", "- a: b\n", "\n", "# a\n", "a" * 100 + "\n", " " * 100 + "\n"])
def test_a_head_of_yaml_without_an_end_is_read_in_linear_time(line: str) -> None:
    code = "---\n" + line * (200_000 // len(line))
    assert extract(code).text == code
