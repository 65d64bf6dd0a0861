"""Programs that another environment would start: what they export, or the function that they leave to it to call."""

from __future__ import annotations

from typing import Any

import pytest

from codemode.entry import as_expression
from codemode.exports import as_script
from tests.codemode.bench import Engines, run

# --- functions that nobody calls -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "async function main(codemode, args) { return codemode.fix.echo({n: 42}) }",
        "async function main({ codemode: cm }) { return cm.fix.echo({n: 42}) }",
        "async ({ codemode: cm, tools: all }) => cm.fix.echo({n: 42})",
        "const { main } = { main: async () => codemode.fix.echo({n: 42}) };",
        "async function run(codemode, args) { return codemode.fix.echo({n: 42}) }",
        "async function execute(codemode, input = {}) { return codemode.fix.echo({n: 42}) }",
        "async function main({ codemode, args }) { return codemode.fix.echo({n: 42}) }",
        "async function main({ codemode, limit = 42 }) { return codemode.fix.echo({n: limit}) }",
        "async function main({\n  codemode,\n  args,\n}) {\n  return codemode.fix.echo({n: 42})\n}",
        "async function main(args, codemode) { return codemode.fix.echo({n: 42}) }",
        "async function main(args) { return codemode.fix.echo({n: 42}) }",
        "async function collect(input) { return codemode.fix.echo({n: 42}) }",
        "async function fetchAll(codemode, list) { return codemode.fix.echo({n: 42}) }",
        "async function main(codemode: any, args: { n: number }): Promise<any> { return codemode.fix.echo({n: 42}) }",
        "enum E { A = 42 }\nasync function main(codemode: any, args: any) { return codemode.fix.echo({n: E.A}) }",
        "const main = async (codemode, args) => codemode.fix.echo({n: 42});",
        "const main = async ({ tools, args }) => { return tools.fix.echo({n: 42}) }",
        "var run = async function run(codemode, args) { return codemode.fix.echo({n: 42}) };",
        "const all = (list) => list;\nasync function main(codemode, args) { return codemode.fix.echo({n: all(42)}) }",
        "async function main(codemode) { return codemode.fix.echo({n: 42}) }\nfunction other(a, b) { return a + b }",
        "async ({ codemode, args }) => codemode.fix.echo({n: 42})",
        "async ({ codemode, args }: { codemode: any; args: any }) => codemode.fix.echo({n: 42})",
        "(async ({ codemode, args }) => codemode.fix.echo({n: 42}))",
        "(async function main(codemode, args) { return codemode.fix.echo({n: 42}) });",
        "async ({ codemode, args } = {}) => codemode.fix.echo({n: 42})",
        "export default async function ({ codemode, args }) { return codemode.fix.echo({n: 42}) }",
        "export async function run({ codemode }, args) { return codemode.fix.echo({n: 42}) }",
        "async function run(codemode, args) { return codemode.fix.echo({n: 42}) }\nexport { run as default };",
        "async function run(a, b) { return codemode.fix.echo({n: 42}) }\nexport { run };",
        "function () { return codemode.fix.echo({n: 42}) }",
        "async function (codemode) { return codemode.fix.echo({n: 42}) }",
        "async function (codemode, args) {\n  return codemode.fix.echo({n: 42})\n}",
        "async () => { return codemode.fix.echo({n: 42}) }()",
        "async function () { return codemode.fix.echo({n: 42}) }();",
    ],
)
async def test_a_function_that_an_environment_would_call_is_called(engines: Engines, code: str) -> None:
    found = await run(engines, code)
    assert found.value == {"n": 42}
    assert found.calls == [("fix.echo", "ok")] and found.structured["logs"] == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("function add(a, b) { return a + b }", "the function add and never calls it. `return await add(...);`"),
        ("let f = function (a) { return 42 }", "the function f and never calls it. `return await f(...);`"),
        ("const one = 1;\nconst total = (args) => args.length;", "the function total and never calls it"),
        ("function outer() { function inner() { return 42 } }", "the function inner and never calls it"),
        ("class A { async run() { return 42 } }", "the class A and never uses it. `return await new A().run();`"),
        ("class Runner { static async run() { return 42 } }", "`return await Runner.run();`"),
        ("const o = { async run() { return 42 } };", "the object o and never uses it. `return await o.run();`"),
        ("const o = { a: 1, run: async () => 42 };", "`return await o.run();`"),
        ("const o = { name: 'x', async run({ codemode }) {} };", "`return await o.run({codemode});`"),
        ("async function main() { return 42 }\nvoid main();", "`void` drops the result"),
        ("void (async () => 42)();", "`void` drops the result"),
        ("!async function () { return 42 }();", "`!` drops the result"),
        ("+async function () { return 42 }();", "`+` drops the result"),
        ("async function main() { return 42 }\nconst all = await main();", "`return all;` at its end returns all"),
        ("const { n } = await codemode.fix.echo({n: 42});", "`return { n };` at its end"),
        ("const n: { n: number } = await codemode.fix.echo({n: 42});", "`return n;` at its end"),
        ("return\n  42;", "`return` ends with its line"),
        ("interface A { n: number }\ntype B = A[];", "types only"),
        ("export const n = 42;\nif (n > 50) { n }", "this one returned nothing. `return n;`"),
        ("{ a: 42 }", "`return { ... };` returns an object"),
        ("return 'ab'.replace(/b/g, async (m) => m);", "replace does not wait"),
        ("return 'ab'.replaceAll('b', (m) => Promise.resolve(m));", "a promise was written as a text"),
        ("const all = [];\n[1].forEach(async (n) => { all.push(await n) });\nreturn all;", "forEach does not wait"),
    ],
)  # fmt: skip
async def test_what_was_probably_not_meant_is_noted(engines: Engines, code: str, note: str) -> None:
    found = await run(engines, code)
    assert note in found.structured["note"] and found.structured["note"] in found.raw["content"][1]["text"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "console.log(1);\nfunction add(a, b) { return a + b }",
        "function add(a, b) { return a + b }\nreturn;",
        "function add(a, b) { return a + b }\nreturn add(40, 2);",
        "const text = 'a'.replace(/a/, (m) => m);\nreturn text;",
        "class A { run() {} }\nreturn new A().run();",
    ],
)
async def test_what_was_probably_meant_is_not_noted(engines: Engines, code: str) -> None:
    assert "note" not in (await run(engines, code)).structured


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "async function main() {{ {} }}",
        "async function main(codemode) {{ {} }}",
        "async function note(args) {{ {} }}",
        "const main = async () => {{ {} }};",
        "(async function main() {{ {} }})",
        "function one() {{ return 1 }}\nasync function main() {{ one(); {} }}",
        "export async function main() {{ {} }}",
        "export default async function main() {{ {} }}",
        "async function main() {{ {} }}\nexport {{ main }};",
        "async function main() {{ {} }}\nexport {{ main as default }};",
        "export const job = async () => {{ {} }};",
        "export const job = {{ async run() {{ {} }} }};",
        "const main = async (codemode: any): Promise<void> => {{ {} }};",
    ],
)
async def test_a_function_that_ran_and_returned_nothing_is_not_said_to_be_never_called(
    engines: Engines, code: str
) -> None:
    found = await run(engines, code.format("await codemode.fix.echo({n: 42});"))
    assert found.calls == [("fix.echo", "ok")] and "note" not in found.structured


@pytest.mark.anyio
async def test_a_named_function_that_is_handed_on_is_not_said_to_be_never_called(engines: Engines) -> None:
    found = await run(engines, "const go = async (f) => { await f() };\nawait go(async function step() {});")
    assert found.ok and "note" not in found.structured


@pytest.mark.anyio
async def test_a_function_without_its_arguments_fails_in_its_own_line(engines: Engines) -> None:
    found = await run(engines, "async function main(args) {\n  return args.list.length;\n}")
    assert (found.error["line"], found.error["stack"].count("\n")) == (2, 0)
    assert found.error["advice"] == [
        "A program is called without arguments: codemode is a global. Leave the parameters out."
    ]


# --- exports -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "export default { async run() { return 42 } }",
        "export default { name: 'x', run: async () => 42 };",
        "export default { async fetch(request, env) { return 42 } };",
        "export default { async run({ codemode }) { return (await codemode.fix.echo({n: 42})).n } }",
        "export default async ({ codemode: cm }) => (await cm.fix.echo({n: 42})).n",
        "export default async function ({\n  codemode: cm,\n  args\n}) { return (await cm.fix.echo({n: 42})).n }",
        "export default Object.freeze({ run() { return 42 } })",
        "const app = { run: async () => 42 };\nexport default app satisfies App;",
        "class App { async run() { return 42 } }\nexport default App as any",
        "module.exports = async function ({ codemode }) { return (await codemode.fix.echo({n: 42})).n }",
        "module.exports = function run(codemode) { return codemode.fix.echo({n: 42}).then((r) => r.n) }",
        "module.exports = Object.seal({ async run({ codemode }) { return (await codemode.fix.echo({n: 42})).n } });",
        "export default new (class { async run() { return 42 } })();",
        "export default new class { async run() { return 42 } }",
        "module.exports = new (class Task { async run() { return 42 } })",
        "export default (class { async run() { return 42 } });",
        "export default { async run(codemode, args) { return (await codemode.fix.echo({n: 42})).n } }",
        "export default { async run(args, { tools }) { return (await tools.fix.echo({n: 42})).n } }",
        "async function run() { return 42 }\nexport default { run };",
        "const go = async () => 42;\nexport default { description: 'x', run: go };",
        "export const config = {};\nexport default { run: async () => 42 };\nexport const other = 1;",
        "export default class { async run() { return 42 } }",
        "export default class Main { async run() { return 42 } }",
        "export default class Main { static async run() { return 42 } }",
        "export default class Main { m = 1; constructor() { this.n = 42 } async main() { return this.n } other() {} }",
        "export default class Main { run = async () => 42 }",
        "export default class Main { private n: number = 42; async run(): Promise<number> { return this.n } }",
        "class Main { async run(codemode) { return (await codemode.fix.echo({n: 42})).n } }\nexport default Main;",
        "class Main { async run() { return 42 } }\nmodule.exports = Main",
        "class Main { n = 42; async run() { return this.n } }\nexport default new Main();",
        "export default ({ run: async () => 42 });",
        "module.exports = class { async run() { return 42 } }",
        "module.exports = class Runner { async run() { return 42 } };",
        "module.exports = { async run() { return 42 } };",
        "module.exports = { n: 42 }.n;",
        "async function run() { return 42 }\nasync function other() { return 1 }\nmodule.exports = { other, run };",
        "module.exports = exports = async () => 42;",
        "module.exports.run = async () => 42;",
        "module.exports.default = async function run() { return 42 };",
        "exports.run = async () => 42;\nexports.name = 'x';",
        "exports.name = 'x';\nexports.helper = () => 1;\nexports.main = async () => 42;",
        "'use strict';\nObject.defineProperty(exports, '__esModule', { value: true });\nexports.main = void 0;\n"
        "const main = async () => 42;\nexports.main = main;",
        "exports.default = async () => 42;",
        "exports = async () => 42;",
        "const run = async () => 42;\nexport = run;",
        "export = { run: async () => 42 };",
        "async function main() { return 42 }\nif (require.main === module) { main() }",
        "async function main() { return 42 }\nif (import.meta.main) { await main() }",
        "async function main() { return 42 }\nif (import.meta.url === `file://${process.argv[1]}`) { await main(); }",
        "async function main() { return 42 }\nif (typeof require !== 'undefined' && require.main === module) main();",
        "async function main() { return 42 }\nif (typeof module != 'undefined' && require.main == module) { main() }",
        "const job = { run: async () => 42 };\nexport default job;",
        "const job = { name: 'x', async run() { return 42 } };\nmodule.exports = job;",
        "class Main { async run() { return 42 } }\nexport default new Main().run();",
        "class Main { async run() { return 42 } }\nmodule.exports = new Main().run();",
        "const exports = { n: 41 };\nexports.n = 42;\nreturn exports.n;",
        "const { exports } = { exports: { n: 41 } };\nexports.n = 42;\nreturn exports.n;",
        "import { A, type B } from 'x';\nconst o: A = { n: 42 };\nreturn o.n;",
        "import A, { type B } from 'x';\nconst o: A = { n: 42 };\no.n",
        "import x = require('x');\nconst o: x.A = { n: 42 };\nreturn o.n;",
    ],
)
async def test_what_a_program_exports_is_run(engines: Engines, code: str) -> None:
    assert (await run(engines, code)).value == 42


@pytest.mark.anyio
async def test_exported_data_are_the_result(engines: Engines) -> None:
    for head in ("export default", "module.exports =", "export ="):
        assert (await run(engines, f"{head} {{ a: 1, b: [2] }};")).value == {"a": 1, "b": [2]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("export const n = await codemode.fix.echo({n: 42});", {"n": 42}),
        ("export const n: number = 42", 42),
        ("export const { n } = await codemode.fix.echo({n: 42});", 42),
        ("const all = [];\nfor (const n of [1, 2]) { all.push(n) }\nexport { all };", [1, 2]),
        ("const all = [];\nall.push(1, 2);\nexport const count = all.length", 2),
        ("export type A = number;\nexport let { a, b } = { a: 1, b: 2 };", {"a": 1, "b": 2}),
        ("export const a = 1;\nconst b = 2;\nexport { b };", {"a": 1, "b": 2}),
        ("export const a = { n: 42 }\na.n", 42),
        ("export const a = { n: 42 };\na.n;", 42),
        ("export const a = 1;\nasync function main() { return 42 }\nexport const b = 2;", 42),
        ("const main = async () => 42;\nexport { main };", 42),
        ("export async function get() { return 42 }\nexport const n = await get();", 42),
        ("export class A { n = 42 }\nexport const { n } = new A();", 42),
        ("export enum E { A = 42 }\nexport const n: E = E.A;", 42),
        ("export const helper = (x = 42) => x;", 42),
        ("export const o = { n: 0, run(by) { return this.n += by } };\no.run(42);\no.n", 42),
        ("export const tool = { name: 'x', async execute({ codemode }) { return codemode.fix.echo({n: 42}) } };",
         {"n": 42}),
    ],
)  # fmt: skip
async def test_variables_that_a_program_exports_last_are_its_result(engines: Engines, code: str, value: Any) -> None:
    assert (await run(engines, code)).value == value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("if (true) { export const x = 1 }", "A program exports nothing: leave `export` out"),
        ("async () => { export const x = 1; return x }", "A program exports nothing: leave `export` out"),
        ("export default class {}", "make an object of the class"),
        ("export default { a: () => 1, b: () => 2 };", "Call the function"),
        ("import { A, type B } from 'x';\nreturn A.n;", "A program has no modules"),
        ("import { A, type B } from 'x';\nreturn 1;", "A program has no modules"),
        ("import x = require('x');\nreturn x;", "A program has no modules"),
        ("export import x = require('x');\nreturn 1;", "A program has no modules"),
        ("async function main() { import fs from 'fs'; return 1 }", "A program has no modules"),
    ],
)
async def test_what_cannot_be_run_says_what_to_write(engines: Engines, code: str, advice: str) -> None:
    found = await run(engines, code)
    assert any(advice in line for line in found.error["advice"]) and all(
        one in found.text for one in found.error["advice"]
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("exports.a = 1; exports.b = 2", {"a": 1, "b": 2}),
        ("module.exports.a = [1];\nmodule.exports.b = { c: 2 };", {"a": [1], "b": {"c": 2}}),
        ("exports.a = 1; exports.a = 2", 2),
        ("exports.a = 1; exports.b = { run() { return 2 } }", 2),
        ("exports.a = 1; exports.b = () => 2", 2),
    ],
)
async def test_several_exported_data_are_the_result_together(engines: Engines, code: str, value: Any) -> None:
    assert (await run(engines, code)).value == value


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["", "run();", "run();\n"])
@pytest.mark.parametrize(
    "end",
    [
        "if (typeof module !== 'undefined' && module.exports) { module.exports = { run } }",
        "if (typeof module !== 'undefined') module.exports = { run };",
        "if (typeof exports === 'object' && typeof module != 'undefined')\n  module.exports = {\n    run,\n  }",
        "if (typeof module == 'object') {\n  exports.run = run;\n}",
    ],
)
async def test_exports_that_only_node_needs_leave_the_program_as_it_is(engines: Engines, call: str, end: str) -> None:
    found = await run(engines, f"async function run() {{ return 42 }}\n{call}\n{end}")
    assert found.ok and found.structured.get("result") in (42, None)
    assert found.structured.get("result") == 42 or call
    assert (await run(engines, f"const all = 42;\n{end.replace('run', 'all')}\nall")).value == 42


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "{main}\nmain();\nmodule.exports = main;",
        "{main}\nmain();\nmodule.exports = {{ main }};",
        "{main}\nexports.main = main;\nexports.n = 1;\nmain();",
        "exports.main = void 0;\n{main}\nexports.main = main;\nmain();",
        "{main}\nexport default main;\nmain();",
        "export default {main}\nmain();",
        "export {main}\nawait main();",
        "export default {main}\nreturn await main();",
        "export default class A {{ async run() {{ return codemode.fix.echo({{n: 42}}) }} }}\nnew A().run();",
        "class A {{ async run() {{ return codemode.fix.echo({{n: 42}}) }} }}\nmodule.exports = A;\nnew A().run();",
        "{main}\nif (require.main === module) {{ main() }}\nmodule.exports = {{ main }};",
        "class A {{ async run() {{ return codemode.fix.echo({{n: 42}}) }} }}\nexport default new A().run();",
        "const a = {{ run() {{ return codemode.fix.echo({{n: 42}}) }} }};\nexport default a;\na.run();",
    ],
)
async def test_what_a_program_exports_and_calls_runs_once(engines: Engines, code: str) -> None:
    found = await run(engines, code.format(main="async function main() { return codemode.fix.echo({n: 42}) }"))
    assert found.value == {"n": 42} and found.calls == [("fix.echo", "ok")]


# --- namespaces and other words of TypeScript ------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "end",
    [
        "for (const x of [1]) { return {0} }\nreturn",
        "return {0};",
        "{0}",
        "if ({0}) { return {0} }",
        "if (!{0}) return;\nreturn {0}",
    ],
)
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("namespace N { export const x = 42 }", "N.x"),
        ("export namespace N { export const x = 42 }", "N.x"),
        ("module N { export const x: number = 42 }", "N.x"),
        ("namespace N {\n  export const x = 42\n}", "(\n  N.x\n)"),
        ("namespace N { export const f = (x: number) => { return x } }", "N.f(\n  42,\n)"),
        ("namespace A.B { export function f(): number { return 42 } }", "A.B.f()"),
        ("namespace N { export const a = 40 }\nnamespace N { export const b = N.a + 2 }", "N.b"),
        ("function f() { return 1 }\nnamespace f { export const x = 42 }", "f.x"),
        ("namespace N { export enum E { A = 42 } }", "N.E.A"),
        ("declare const enum E { A = 42 }", "E.A"),
        ("declare enum E { A = 42 }", "E.A"),
        ("class A { accessor x = 42 }", "new A().x"),
        ("class A { static accessor x: number = 42 }", "A.x"),
    ],
)
async def test_a_namespace_may_stand_above_a_return(engines: Engines, code: str, value: str, end: str) -> None:
    assert (await run(engines, f"{code}\n{end.replace('{0}', value)}")).value == 42


@pytest.mark.anyio
async def test_a_program_with_a_namespace_and_a_return_keeps_its_lines(engines: Engines) -> None:
    found = await run(engines, "namespace N {\n  export const x = 42;\n}\nconst y: number = N.x;\nreturn y.z.a;")
    assert found.error["line"] == 5


@pytest.mark.anyio
async def test_a_namespace_in_a_function_says_what_to_write(engines: Engines) -> None:
    found = await run(engines, "async () => {\n  namespace N { export const x = 42 }\n  return N.x;\n}")
    assert found.error["line"] == 2 and "write const N = { ... };" in found.error["advice"][0]
    found = await run(engines, "namespace N { export let x = 42 }\nreturn N.x;")
    assert "write export const in it" in found.error["advice"][0]


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "export default {\n  async run() { return 42 } }",
        "module.exports =\n  async () => 42;",
        "exports.a = 1;\nexports.run\n  = async () => 42;",
        "module\n.exports\n=\n{\nrun() {} }",
    ],
)
def test_what_is_left_out_of_exports_leaves_every_place_where_it_is(code: str) -> None:
    text = as_script(code).text
    assert len(text) == len(code)
    assert [at for at, letter in enumerate(text) if letter == "\n"] == [
        at for at, one in enumerate(code) if one == "\n"
    ]


@pytest.mark.parametrize(
    "code", ["async function (a, b) {\n  return 1\n}", "async () => { return 1 }()", "function () { return 1 }();"]
)
def test_a_function_that_stands_alone_keeps_the_place_of_its_body(code: str) -> None:
    changed = as_expression(code)
    assert len(changed) == len(code) and changed.index("{") == code.index("{")
    assert as_expression(f"x = {code}") == f"x = {code}"


def test_more_exports_than_any_program_has_are_not_looked_for() -> None:
    many = "".join(f"exports.a{number} = b;" for number in range(3_000))
    assert as_script(many).text == many
