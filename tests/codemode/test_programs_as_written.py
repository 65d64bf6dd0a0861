"""Programs as agents write them: each either means what its author means, or the error says what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import ToolFailed
from codemode.awaits import lost_awaits
from codemode.entry import without_given_parameters
from codemode.exports import as_script
from codemode.modules import imports
from codemode.syntax import NO_MODULES
from sandbox import Limits
from tests.codemode.bench import Engines, bench, run

FENCE = "`" * 3


# --- which text is the program -------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        f'/*\n{FENCE}js\nreturn await codemode.fix.echo({{}})\n{FENCE}\n*/\nreturn "right";',
        'const text = `\n~~~js\nreturn await codemode.fix.echo({})\n~~~\n`;\nreturn text.length && "right"',
    ],
)
async def test_an_example_in_a_comment_or_text_of_a_program_is_not_run(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert found.value == "right" and found.calls == []


@pytest.mark.anyio
async def test_which_of_two_blocks_ran_is_in_the_answer(engines: Engines) -> None:
    found = await run(engines, f"{FENCE}js\nreturn 1\n{FENCE}\nand then\n{FENCE}js\nreturn 22\n{FENCE}")
    assert found.value == 22
    assert "2 blocks of code" in found.raw["content"][1]["text"]
    assert "2 blocks of code" in found.structured["note"]


@pytest.mark.anyio
async def test_which_of_two_blocks_failed_is_in_the_advice(engines: Engines) -> None:
    found = await run(engines, f"{FENCE}js\nconst x = 1\n{FENCE}\nand then\n{FENCE}js\nreturn x + missing\n{FENCE}")
    assert "2 blocks of code" in found.text
    assert "2 blocks of code" in found.error["advice"][-1]


# --- advice --------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_advice_is_in_the_structured_content_too(engines: Engines) -> None:
    found = await run(engines, "return require('fs')")
    [advice] = found.error["advice"]
    assert advice.startswith("A program has no modules") and advice in found.text
    assert "advice" not in (await run(engines, "throw new Error('mine')")).error


# --- modules -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "#!/usr/bin/env node\nreturn 42;",
        "#!/usr/bin/env node\n42",
        "\n  #!/usr/bin/env -S node --x\nreturn 42;",
        "export const x = 42;\nreturn x;",
        "export const x = 42;\nx",
        "const x = 42;\nexport { x };\nreturn x;",
        "const x = 42;\nexport { x };\nx",
        "export async function main() { return 42 }\nreturn await main();",
        "export async function main() { return 42 }\nmain();",
        "export async function helper() { return 41 }\nexport async function main() { return (await helper()) + 1 }",
        "export default async function main() { return 42 }\nreturn await main();",
        "export default async function () { return 1 }\nreturn 42;",
        "export default class {}\nreturn 42;",
        "export default async () => 1;\nreturn 42;",
        "export default async () => 42;",
        "const main = async () => 42;\nexport default main;",
        "export class A { static n = 42 }\nA.n",
        "import type { A } from './a';\nconst x: number = 42;\nx",
        "import type { A } from './a';\nconst x: number = 42;\nreturn x;",
        "import type A from './a';\nimport type * as B from './b';\n42",
        "import { type A, type B as C } from './a';\nreturn 42;",
        "import { Order } from './types';\nconst o: Order = { n: 42 };\nreturn o.n;",
        "import { Order } from './types';\nconst o: Order = { n: 42 };\no.n",
        "export type { A } from './a';\nexport type B = { n: number };\nconst b: B = { n: 42 };\nb.n",
        "export interface A { n: number }\nreturn 42;",
        "export enum E { A = 42 }\nE.A",
        "module.exports = async () => 42;",
        "async function main() { return 42 }\nmodule.exports = main;",
        "exports.handler = async (event) => 42;",
        "module.exports = async () => 1;\nreturn 42;",
        "module.exports = async function run() { return 42 }",
        "exports.run=function() { return 42 };",
    ],
)
async def test_words_of_a_module_that_mean_nothing_at_run_time_are_left_out(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).value == 42


@pytest.mark.anyio
@pytest.mark.parametrize("below", ["", "return length;", "length"])
@pytest.mark.parametrize(
    "line",
    [
        'import { codemode as tools } from "codemode";',
        'import codemode from "codemode"',
        'import * as fs from "node:fs";',
        'import "dotenv/config";',
        'import data from "./data.json" with { type: "json" };',
        'import a, { b } from "x";',
        'export { a } from "./a";',
        'export * from "./a";',
        'import fs = require("fs");',
    ],
)
async def test_an_import_of_values_is_refused_where_it_is(engines: Engines, line: str, below: str) -> None:
    code = f"// A program.\n\n{line}\nconst {{ length }} = await codemode.search('things');\n{below}"
    found = await run(engines, code)
    assert (found.error["line"], found.error["column"], found.error["kind"]) == (3, 1, "syntax")
    assert found.error["message"].startswith("cannot import ")
    assert found.error["advice"][-1].startswith("A program has no modules")
    assert found.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize("below", ["x", "return x;"])
async def test_an_import_that_nothing_uses_is_refused_in_typescript_too(engines: Engines, below: str) -> None:
    found = await run(engines, f"import {{ a }} from 'a';\nconst x: number = 1;\n{below}")
    assert (found.error["line"], found.error["message"][:17]) == (1, 'cannot import "a"')


@pytest.mark.anyio
async def test_who_imports_codemode_learns_that_it_is_a_global(engines: Engines) -> None:
    found = await run(engines, "import { codemode } from '@acme/codemode';\nreturn 1")
    assert found.error["advice"][0].startswith("codemode is a global: leave the import out")


@pytest.mark.anyio
async def test_an_import_of_types_does_not_hide_one_of_values(engines: Engines) -> None:
    found = await run(engines, "import type { A } from './a';\nimport fs from 'fs';\nreturn fs;")
    assert found.error["line"] == 2


@pytest.mark.anyio
async def test_a_call_of_import_is_refused_where_it_is(engines: Engines) -> None:
    found = await run(engines, "const x = 1;\nconst fs = await import('fs');\nreturn fs;")
    assert (found.error["line"], found.error["column"]) == (2, 18)
    assert found.error["advice"] == [NO_MODULES]


@pytest.mark.anyio
async def test_the_metadata_of_a_module_is_refused_where_it_is(engines: Engines) -> None:
    found = await run(engines, "const x = 1;\nconst here = import.meta.url;\nreturn here;")
    assert (found.error["line"], found.error["column"]) == (2, 14)
    assert found.error["advice"] == [NO_MODULES]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "const text = `\nexport const x = 1;\nimport y from 'y';\n`;\nreturn text.length",
        "const o = { import: 20, export: 22 };\nreturn o.import + o.export",
        "/* export */ const s = 'import x from y';\ns.length",
    ],
)
async def test_these_words_elsewhere_change_nothing(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).ok


# --- await ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("below", ["", "return 1;"])
@pytest.mark.parametrize(
    ("code", "instead"),
    [
        ("[1].map((n) => {\n  const one = await codemode.fix.echo({n});\n  return one;\n});", "async (n) => ..."),
        ("[1].map((n) => await codemode.fix.echo({n}));", "Promise.all(list.map(async (n) => ...))"),
        ("[1].map(n => await codemode.fix.echo({n}));", "Promise.all(list.map(async (n) => ...))"),
        ("[1].map((n) => (await codemode.fix.echo({n})).n);", "Promise.all(list.map(async (n) => ...))"),
        ("[1].map((n) => ({ ...(await codemode.fix.echo({n})) }));", "Promise.all(list.map(async (n) => ...))"),
        ("[1].map((n) => await (codemode.fix.echo({n})));", "Promise.all(list.map(async (n) => ...))"),
        ("[1].map((n: number) => await codemode.fix.echo({n}));", "list.map(async (n: number) => ...)"),
        ("[1].map(function (n) { return await codemode.fix.echo({n}) });", "list.map(async function (n) ...)"),
        ("[1].forEach((n) => { await codemode.fix.echo({n}) });", "for (const item of list)"),
        ("[1].filter((n) => await codemode.fix.echo({n}));", "filter by results"),
        ("[1].some((n) => await codemode.fix.echo({n}));", "some does not wait"),
        ("[1].sort((a, b) => (await codemode.fix.echo({a})).a - b);", "sort does not wait"),
        ("[1].reduce((all, n) => { const one = await codemode.fix.echo({n}); return all }, []);", "for...of loop"),
        ("new Promise((resolve) => { resolve(await codemode.fix.echo({})) });", "Leave `new Promise` out"),
        ("function main() { return await codemode.fix.echo({}) }", "async function main()"),
        ("const main = () => { return await codemode.fix.echo({}) };", "async () => ..."),
        ("class A { load(id) { return await codemode.fix.echo({id}) } }", "async load(id)"),
        ("class A { get all() { return await codemode.fix.echo({}) } }", "async method of all"),
        ("class A { constructor() { this.x = await codemode.fix.echo({}) } }", "await before `new`"),
        ("const o = { load() { return await codemode.fix.echo({}) } };", "async load()"),
        ("function* all() { yield await codemode.fix.echo({}) }", "async function* all()"),
        ("const all = function* () { yield await codemode.fix.echo({}) };", "async function* ()"),
        ("const o = { ['x']() { return await codemode.fix.echo({}) } };", "async ['x']()"),
        ("class A { [`x`](id) { return await codemode.fix.echo({id}) } }", "async [`x`](id)"),
        ("const o = { *['x']() { for await (const x of []) { yield x } } };", "async *['x']()"),
        ("const o = { get ['x']() { return await codemode.fix.echo({}) } };", "async method of ['x']"),
        ("const o = { 'x-y'() { return await codemode.fix.echo({}) } };", "async 'x-y'()"),
        ("'ab'.replace(/b/g, (m) => await codemode.fix.echo({m}));", "await Promise.all([...text.matchAll(pattern)]"),
        ("'ab'.replaceAll('b', function (m) { return await codemode.fix.echo({m}) });", "replace does not wait"),
        ("codemode.fix.echo({}).then((r) => await codemode.fix.echo({r}));", "async (r) => ..., for which then waits"),
        ("setTimeout(() => { await codemode.fix.echo({}) }, 10);", "setTimeout(done, ms)"),
        ("Array.from([1], (n) => await codemode.fix.echo({n}));", "Promise.all(Array.from(list, async (n) => ...))"),
        ("Object.groupBy([1], (n) => await codemode.fix.echo({n}));", "groupBy does not wait"),
        ("JSON.stringify({}, (k, v) => await codemode.fix.echo({v}));", "stringify does not wait"),
        ("function f(list) { for await (const x of list) { x } }", "async function f(list)"),
        ("async () => { const all = [1].map((n) => await codemode.fix.echo({n})); return all };", "async (n) => ..."),
    ],
)
async def test_await_in_a_function_that_is_not_async_says_what_to_write(
    engines: Engines, code: str, instead: str, below: str
) -> None:
    sent = f"// first\n{code}\n{below}"
    found = await run(engines, sent)
    assert "`await` needs an async function around it" in found.error["message"]
    assert instead in found.error["advice"][0] and found.error["advice"][0] in found.text
    lines = sent.split("\n")
    assert lines[found.error["line"] - 1][found.error["column"] - 1 :].startswith("await")
    assert found.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize("below", ["", "return 1;", "1"])
@pytest.mark.parametrize(
    ("code", "where", "instead"),
    [
        ("class A { x = await codemode.fix.echo({}) }", "a field", "write x = value"),
        (
            "class A { static x = await codemode.fix.echo({}); }",
            "a field",
            "const value = await ..., and write x = value",
        ),
        ("class A { static #x = (await codemode.fix.echo({})).n; y = 1 }", "a field", "write #x = value"),
        ("class A { a = 1\n  private x: number = await codemode.fix.echo({}) }", "a field", "write x = value"),
        ("const A = class { x = [await codemode.fix.echo({})]; };", "a field", "write x = value"),
        ("class A { static { this.x = await codemode.fix.echo({}) } }", "a static block", "Await before the class"),
        (
            "const f = (x = await codemode.fix.echo({})) => x;",
            "the default",
            "write x ??= await ...; as the first line",
        ),
        ("const f = async (x = await codemode.fix.echo({})) => x;", "the default", "write x ??= await ...;"),
        ("async function f(x = await codemode.fix.echo({})) { return x }", "the default", "write x ??= await ...;"),
        ("function f({ a = await codemode.fix.echo({}) } = {}) { return a }", "the default", "and make it async"),
        ("const o = { async m(x = await codemode.fix.echo({})) { return x } };", "the default", "x ??= await"),
        ("class A { constructor(x = await codemode.fix.echo({})) {} }", "the default", "await before `new`"),
        ("class A { constructor(private x = await codemode.fix.echo({})) {} }", "the default", "await before `new`"),
    ],
)
async def test_await_where_no_function_can_have_it_says_what_to_write(
    engines: Engines, code: str, where: str, instead: str, below: str
) -> None:
    sent = f"// first\n{code}\n{below}"
    found = await run(engines, sent)
    assert found.error["message"].startswith(f"`await` cannot stand in {where} of a")
    assert instead in found.error["advice"][0] and found.error["advice"][0] in found.text
    assert sent.split("\n")[found.error["line"] - 1][found.error["column"] - 1 :].startswith("await")
    assert found.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "const f = (n) => n * 2\nawait codemode.fix.echo({})\nreturn f(21)",
        "const f = async (n) => { const x = [n].map((m) => m * 2); return await x[0] }\nreturn f(21)",
        "const f = { async run() { return await 42 } };\nf.run()",
        "const f = { async ['run']() { return await 42 } };\nf.run()",
        "class A { [await 'x']() { return 42 } }\nreturn new A().x()",
        "class A { run = async () => await 42; static of = (n = 1) => new A() }\nreturn A.of().run()",
        "async function* all() { yield await 42 }\nfor await (const x of all()) { return x }",
        "if (true) { for (const x of [1]) { try { await 1 } catch { await 2 } finally { await 3 } } }\nreturn 42",
    ],
)
async def test_await_where_it_may_stand_runs(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).value == 42


@pytest.mark.anyio
async def test_another_error_in_a_program_with_await_is_not_about_it(engines: Engines) -> None:
    found = await run(engines, "const xs = await Promise.all([1].map(async (n) => await n));\nreturn xs +")
    assert "await" not in found.error["message"] and found.error["line"] == 2


# --- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "async (codemode) => { return codemode.fix.echo({n: 42}) }",
        "async (tools) => tools.fix.echo({n: 42})",
        "async ({ codemode }) => codemode.fix.echo({n: 42})",
        "async ({ tools, codemode }) => tools['fix.echo']({n: 42})",
        "async (codemode, tools) => { return await tools.fix_echo({n: 42}) }",
        "async (codemode: any): Promise<unknown> => codemode.fix.echo({n: 42})",
        "async ({ codemode }: { codemode: any }) => { return await codemode.fix.echo({n: 42}) }",
        "codemode => codemode.fix.echo({n: 42})",
        "async tools => tools.fix.echo({n: 42})",
        "async function main(codemode) { return codemode.fix.echo({n: 42}) }",
        "async function main(tools) { return tools.fix.echo({n: 42}) }\nreturn await main();",
        "async function main(codemode) { return codemode.fix.echo({n: 42}) }\nmain(codemode)",
        "const main = async (tools) => { return tools.fix.echo({n: 42}) };",
        "const main = async ({ codemode }) => codemode.fix.echo({n: 42});\nawait main();",
        "export default async function (codemode) { return codemode.fix.echo({n: 42}) }",
        "export default async function run(codemode, console) { return codemode.fix.echo({n: 42}) }",
        "export async function run(codemode) { return codemode.fix.echo({n: 42}) }",
        "export default async ({ codemode }) => codemode.fix.echo({n: 42})",
        "(async (codemode) => { return codemode.fix.echo({n: 42}) })()",
        "(async function (tools) { return tools.fix.echo({n: 42}) })();",
        "return await (async (codemode) => codemode.fix.echo({n: 42}))();",
        "(async (codemode) => codemode.fix.echo({n: 42}))(codemode)",
        "const n = 42\nasync (codemode) => codemode.fix.echo({n})",
        "async (\n  codemode,\n  tools,\n) => tools.fix.echo({n: 42})",
        "return async (codemode) => codemode.fix.echo({n: 42})",
    ],
)
async def test_a_program_that_takes_codemode_or_tools_as_a_parameter_gets_it(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).value == {"n": 42}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "const count = (tools) => tools.length;\nreturn count(await codemode.tools());",
        "async function count(tools) { return tools.length }\nreturn count(await codemode.tools());",
        "const names = (await codemode.tools()).map((tools) => tools.name);\nreturn names.length;",
        "const count = (tools) => tools.length;\nreturn [await codemode.tools()].map(count)[0];",
        "const o = { count(tools) { return tools.length } };\nreturn o.count(await codemode.tools());",
    ],
)
async def test_a_parameter_that_gets_an_argument_keeps_it(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).value == 10


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code", ["async (ctx) => ctx.codemode.fix.echo({})", "async ({ a: { codemode: c } }) => c.fix"]
)
async def test_who_takes_other_parameters_learns_that_there_are_none(engines: Engines, code: str) -> None:
    [advice] = (await run(engines, code)).error["advice"]
    assert advice.startswith("A program is called without arguments: codemode is a global.")


# --- results -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "return JSON.parse(r);",
        "return JSON.parse(r.n);",
        "return JSON.parse(\n  r\n);",
        "const parse = (text) => JSON.parse(text);\nreturn parse(r);",
    ],
)
async def test_who_parses_a_result_learns_that_it_is_parsed(engines: Engines, code: str) -> None:
    found = await run(engines, f"const r = await codemode.fix.echo({{n: {{}}}});\n{code}")
    [advice] = found.error["advice"]
    assert advice.startswith("A tool's result that is JSON is parsed already: use the value as it is")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "return r.content[0].text;",
        "return JSON.parse(r.content[0].text);",
        "return r\n  .content[0]\n  .text;",
        "return r.content.map((block) => block.text).join('');",
        "const { content } = r;\nreturn content.find((block) => block.type === 'text').text;",
        "const { content: [first] } = r;\nreturn first.text;",
        "for (const block of r.content) { return block.text }",
        "return r.structuredContent.n;",
    ],
)
async def test_who_reads_the_mcp_answer_around_a_result_learns_that_there_is_none(engines: Engines, code: str) -> None:
    found = await run(engines, f"const r = await codemode.fix.echo({{n: 1}});\n{code}")
    [advice] = found.error["advice"]
    assert advice.startswith("A tool's result is the value itself") and "no content" in advice


@pytest.mark.anyio
async def test_an_undefined_result_where_the_mcp_answer_was_meant_is_explained(engines: Engines) -> None:
    found = await run(engines, "const r = await codemode.fix.echo({n: 1}); return r.content?.[0]?.text;")
    assert found.text == "undefined" and "the value itself" in found.structured["note"]


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["return JSON.parse('{');", "const x = {}; return x.content[0];"])
async def test_a_program_without_calls_gets_no_advice_about_results(engines: Engines, code: str) -> None:
    assert "advice" not in (await run(engines, code)).error


@pytest.mark.anyio
async def test_a_result_over_its_limit_names_the_tool_and_the_limit(engines: Engines) -> None:
    async with bench(engines, Limits(tool_result=10_000)) as b:
        found = await b.run("return await codemode.fix.echo({text: 'x'.repeat(20_000)})")
        assert found.error["message"].startswith("the result of fix.echo has 20,011 bytes, over the limit of 10,000 (")
        assert "tool_result" in found.error["message"]
    async with bench(engines, Limits(tool_result=500)) as b:
        found = await b.run("return await codemode.tools()")
        assert found.error["message"].startswith("codemode.tools: the list of 10 tools has ")
        assert 'codemode.tools({server: "..."})' in found.error["message"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "return await codemode.call('fix.echo', {});",
        "return await codemode.fix.call('echo', {});",
        "return await codemode.run('fix.echo', {});",
        "const name = 'execute';\nreturn await codemode[name]('fix.echo', {});",
        "return await callTool('fix.echo', {});",
        "return await mcp.fix.echo({});",
    ],
)
async def test_who_calls_tools_by_another_function_learns_how_to_call_them(engines: Engines, code: str) -> None:
    assert "Call a tool as codemode.<server>.<tool>(input)" in (await run(engines, code)).text


# --- completed, and probably not as meant ----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_program_that_forgot_to_return_learns_what_to_write(engines: Engines) -> None:
    found = await run(engines, "const r = await codemode.fix.echo({n: 1});\nconst list = [r].map((one) => one.n);")
    assert found.text == "undefined"
    assert found.structured["note"] == "Note: the program returned nothing. `return list;` at its end returns list."


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "const r = await codemode.fix.echo({n: 1});\nconsole.log(r);",
        "const r = await codemode.fix.echo({n: 1});\nreturn;",
        "const r = await codemode.fix.echo({n: 1});\nif (r.n > 1) { r.n = 2 }",
        "await codemode.fix.echo({n: 1});\nfor (const x of [1]) { x }",
        "const x = 1;",
    ],
)
async def test_a_program_that_returns_nothing_on_purpose_is_left_alone(engines: Engines, code: str) -> None:
    assert "note" not in (await run(engines, code)).structured


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["filter", "some", "find"])
async def test_an_async_function_for_a_method_that_does_not_wait_is_noted(engines: Engines, method: str) -> None:
    found = await run(engines, f"return [1, 2].{method}(async (n) => n > 1);")
    assert found.structured["note"].startswith(f"Note: {method} does not wait for an async function")


# --- the place of an error -------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("await Promise.any([Promise.reject(new Error('a')), Promise.reject(new TypeError('b')), Promise.reject('c')])",
         "all failed: Error: a; TypeError: b; c"),
        ("await Promise.any([codemode.fix.echo({n: 1}), codemode.fix.echo({n: 2})])",
         "all failed: ToolError: no; ToolError: no"),
        ("await Promise.any([Promise.any([Promise.reject(new Error('a'))])])",
         "all failed: AggregateError: all failed: Error: a"),
        ("throw new AggregateError([1, {a: 2}])", 'all failed: 1; {"a":2}'),
        ("throw new AggregateError(Array.from({length: 9}, (_, n) => new Error(n)))",
         "all failed: Error: 0; Error: 1; Error: 2; Error: 3; Error: 4; and 4 more"),
        ("throw new AggregateError([], 'mine')", "mine"),
        ("try { await Promise.any([]) } catch (e) { e.message = 'mine'; throw e }", "mine"),
        ("await Promise.any([])", "AggregateError without a message"),
        ("throw new AggregateError([{get name() { throw 1 }, __proto__: Error.prototype}])", "all failed: an error"),
    ],
)  # fmt: skip
async def test_an_error_of_several_says_what_they_are(engines: Engines, code: str, message: str) -> None:
    found = await run(engines, code, echo=lambda call: ToolFailed("no"))
    assert (found.error["name"], found.error["message"]) == ("AggregateError", message)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("throw new Error('a', {cause: new TypeError('b', {cause: 'c'})})", "a\ncaused by: TypeError: b\ncaused by: c"),
        ("try { await codemode.fix.echo({}) } catch (e) { throw new Error('a', {cause: e}) }",
         "a\ncaused by: ToolError: no"),
        ("throw new Error('a', {cause: {code: 5}})", 'a\ncaused by: {"code":5}'),
        ("throw new Error('a', {cause: undefined})", "a"),
        ("const e = new Error('a'); e.cause = e; throw e", "a"),
        ("const e = new Error('a'); e.cause = new Error('b', {cause: e}); throw e", "a\ncaused by: Error: b"),
        ("throw new Error('a', {get cause() { throw 1 }}).cause", "the program threw 1"),
        ("throw new AggregateError([new Error('a'), 'b'], 'both')", "both\nerror: Error: a\nerror: b"),
        ("throw new AggregateError([1], 'both', {cause: 'c'})", "both\nerror: 1\ncaused by: c"),
        ("throw Symbol('s')", "the program threw Symbol(s)"),
        ("throw {a: Symbol('s')}", 'the program threw {"a":Symbol(s)}'),
    ],
)  # fmt: skip
async def test_an_error_says_what_caused_it(engines: Engines, code: str, message: str) -> None:
    found = await run(engines, code, echo=lambda call: ToolFailed("no"))
    assert found.error["message"] == message


@pytest.mark.anyio
async def test_a_tool_s_error_with_a_cause_keeps_its_tool(engines: Engines) -> None:
    code = "try { await codemode.fix.echo({}) } catch (e) { e.cause = 'mine'; throw e }"
    found = await run(engines, code, echo=lambda call: ToolFailed("no", -32000))
    assert (found.error["tool"], found.error["code"]) == ("fix.echo", -32000)


# --- whatever the text is --------------------------------------------------------------------------------------------


_PIECES = [
    *"(){}=>,;:.\n '",
    "async ",
    "codemode",
    "tools",
    "export ",
    "default ",
    "import ",
    "from ",
    "function ",
    "x",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_what_is_left_out_of_a_program_leaves_every_place_where_it_is(program: str) -> None:
    changed = without_given_parameters(as_script(program).text)
    assert len(changed) == len(program)
    assert [at for at, letter in enumerate(changed) if letter == "\n"] == [
        at for at, letter in enumerate(program) if letter == "\n"
    ]
    lost_awaits(program)
    imports(program)
