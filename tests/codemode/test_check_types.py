"""What TypeScript's compiler says of programs: what would matter at run time, where it stands, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemode import Catalog
from codemode.check.checker import Checker
from codemode.check.compiler import Compiler, compile_program, deno_path
from codemode.check.declared import declarations_for, isolate_declarations, named_tools
from codemode.check.finding import MISSING_AWAIT, SYNTAX, UNKNOWN_TOOL
from codemode.typescript import TypeScript
from stubs import Server, Tool
from tests.codemode.checking import CATALOG, NO_COMPILER, checked, native
from tests.stubs.typescript import check as compile_strictly

pytestmark = pytest.mark.anyio

ORDERS = "codemode.shop.list_orders"
WRONG = [
    (f"return await {ORDERS}({{limit: 'three'}})", "limit", "not assignable to type 'number'", "list_orders"),
    (f"return await {ORDERS}({{status: 'opn'}})", "status", "not assignable", "list_orders"),
    (f"return await {ORDERS}({{stauts: 'open'}})", "stauts", "Did you mean to write 'status'", "list_orders"),
    (f"return await {ORDERS}({{}}, 2)", "2)", "Expected", "list_orders"),
    ("return await codemode.shop.get_order({})", "{}", "'id' is missing", "get_order"),
    ("const [first] = await codemode.search(['orders', 'mail']);\nreturn first.path", "path", "not exist", ""),
    ("return await codemode.shop.get_order()", "get_order", "Expected 1 arguments", "get_order"),
    ("return await codemode.shop.get_order('17')", "'17'", "not assignable", "get_order"),
    ("const {shop} = codemode;\nreturn await shop.get_order({id: 17})", "id: 17", "not assignable", "get_order"),
    ("const get = codemode.shop.get_order;\nreturn await get({id: 17})", "id: 17", "not assignable", "get_order"),
    ("return await Promise.all([1, 2].map(id => codemode.shop.get_order({id})))", "id}", "not assignable", "get_order"),
    (
        "const r = await codemode.shop.get_order({id: '1'});\nreturn r.totl + 1",
        "totl",
        "Did you mean 'total'",
        "get_order",
    ),
    (f"const r = await {ORDERS}();\nfor (const o of r.orders) console.log(o.amount.value)", "amount", "not exist", ""),
    (f"const {{orders}} = await {ORDERS}();\nreturn orders.fliter(o => o.total)", "fliter", "not exist", "list_orders"),
    (f"for (const o of await {ORDERS}()) console.log(o)", "await", "iterator", "list_orders"),
    (f"return {ORDERS}().then(r => r.ordres)", "ordres", "Did you mean 'orders'", ""),
    ("const all = [1].map(() => codemode.shop.get_order({id: '1'}));\nreturn all[0].total", "total", "await it", ""),
    ("const r = await fetch('x');\nreturn r", "fetch", "has no network", ""),
    ("return document.title", "document", "not run in a browser", ""),
    ("const fs = require('fs');\nreturn fs", "'fs'", "has no modules", ""),
    ("import fs from 'fs';\nconsole.log(fs)", "'fs'", "has no modules", ""),
    ("return process.env.HOME", "process", "no process", ""),
    ("return totl + 1", "totl", "Cannot find name", ""),
    ("const a = 1;\na = 2;\nreturn a", "a = 2", "constant", ""),
    ("const r: any = 1, x: string = 'a';\nreturn x.contains('a')", "contains", "not exist", ""),
    ("enum A { B }\nreturn await codemode.shop.get_order({id: A.B})", "id:", "not assignable", "get_order"),
]


@pytest.mark.parametrize(("program", "at", "said", "tool"), WRONG)
async def test_what_would_go_wrong_is_found_where_it_stands_with_the_stub(
    program: str, at: str, said: str, tool: str
) -> None:
    found = await checked(program, native())
    assert [one.message for one in found.findings if said in one.message], found
    [one] = found.findings
    assert program.split("\n")[one.line - 1][one.column - 1 :].startswith(at)
    assert (one.stub or "").startswith(f"codemode.shop.{tool}(input" if tool else ""), one.stub
    assert found.by == "TypeScript"


RIGHT = [
    # JavaScript as agents write it
    f"const out = {{}}; for (const o of (await {ORDERS}()).orders) {{ (out[o.status] ??= []).push(o) }} return out",
    "const out = {}; out.total = 0; out.total += 1; const list = []; list.push({a: 1}); return [out.total, list[0].a]",
    "const args = {}; args.id = '1'; return await codemode.shop.get_order(args)",
    "const base = {}; base.id = '1'; return await codemode.shop.get_order({...base})",
    f"const q = {{status: 'open', between: ['a', 'b']}}; return await {ORDERS}(q)",
    f"return await Promise.all(['open', 'shipped'].map(status => {ORDERS}({{status}})))",
    f"let next; do {{ const page = await {ORDERS}({{limit: 5}}); next = page.next }} while (next)\nreturn next",
    "const r = await codemode.shop.get_order({id: '1'}); return r.notes ?? r.note ?? r.remark?.text ?? (r.x ? 1 : 2)",
    "const r = await codemode.shop.create_order({customer: 'a', lines: []}); if (r.error) return r.error; return r.id",
    "const r = await codemode.shop.note({text: 'x'}); return r.anything.at.all[0]",
    "const rs = await Promise.allSettled([codemode.shop.get_order({id: '1'})]);\n"
    "return rs.filter(r => r.status === 'fulfilled').map(r => r.value.total)",
    "try { await codemode.shop.get_order({id: '1'}) } catch (e) { return [e.code, e.message, e.data.x, e.tool] }",
    "const sum = (await codemode.shop.list_orders()).orders.reduce((a, o) => { a.n += o.total; a.x = 1; return a }, "
    "{n: 0}); return sum",
    "return (await codemode.shop.list_orders()).orders.sort((a, b) => new Date(b.note) - new Date(a.note))",
    "const id = Math.random() > 0.5 ? '1' : 2; return await codemode.shop.get_order({id})",
    "const m = new Map(); m.set('a', [1]); m.get('a').push(2); const s = new Set([1, 2]); return [...m, ...s]",
    "const s = new Set(); for (const o of [{a: 1}]) s.add(o); return [...s].map(o => o.a)",
    "function add(a, b) { return a + (b || 0) } return add(1)",
    "const {orders: list = [], ...rest} = await codemode.shop.list_orders(); return [list.length, rest]",
    "return Object.entries({a: [1]}).map(([k, v]) => `${k}: ${v.length}`).join()",
    "return parseInt(5) + Math.round('5') + isNaN('x')",
    "const found = await codemode.search('orders', {limit: 3}); return codemode.describe(found.map(f => f.path))",
    "const [tool] = await codemode.search('x'); const [s, t] = tool.path.split('.'); return codemode[s][t]({})",
    "const [[order], [mail]] = await codemode.search(['orders', 'mail'], {limit: 1}); return [order.path, mail?.path]",
    "const needs = []; needs.push('orders'); return (await codemode.search(needs)).flat().map(found => found.path)",
    "const [order] = await codemode.search({query: 'orders', limit: 1}); return codemode.describe([order])",
    "return [await codemode.search('x', 3), await codemode.tools('shop')]",
    "return await codemode.describe('shop', {full: true})",
    "for (const name of Object.keys(codemode.shop)) await codemode.shop[name]({id: 1, whatever: true})",
    "return codemode.shop['create-order']({customer: 1})",
    "return codemode.mail.send({to: 'a'}).then(() => 1, error => error.message)",
    "async () => {\n  const r = await codemode.shop.get_order({id: '1'});\n  return r.total;\n}",
    "export default async function () { return (await codemode.shop.get_order({id: '1'})).total }",
    "async function main() { return 1 }\nawait main()",
    "codemode.emit({type: 'image', data: '', mimeType: 'image/png'}); console.table([1], ['a'])",
    "return [structuredClone({a: 1}).a, new URL('https://a.b/c?d=e').searchParams.get('d'), atob(btoa('x'))]",
    "const bytes = crypto.getRandomValues(new Uint8Array(4)); return new TextDecoder().decode(bytes)",
    "await new Promise(done => setTimeout(done, 5)); return Object.groupBy([1, 2], n => n % 2)",
    "if (typeof process !== 'undefined') return process.version; return globalThis.anything",
    "throw new ToolError('no', {code: 1})",
    "const err = new Error('x'); err.code = 5; return err.code",
    "return await fetchAll(); async function fetchAll() { return [1].flat().at(-1) }",
    # TypeScript
    "const r: any = await codemode.shop.get_order({id: 17} as any); return (r as Unknown).whatever!.x",
    "interface Order { id: string; extra: Missing }\n"
    "const o = await codemode.shop.get_order({id: '1'}) as any as Order;\nreturn o.extra",
    "type R = Awaited<ReturnType<typeof codemode.shop.get_order>>;\nconst r: R | null = null;\nreturn r",
    "const x: number = 'text'; return x",
    "import type { Order } from './types';\nconst a: Order = 1; console.log(a)",
]


@pytest.mark.parametrize("program", RIGHT)
async def test_nothing_is_said_of_what_runs_well(program: str) -> None:
    found = await checked(program, native())
    assert (found.findings, found.unchecked) == ((), None)


async def test_what_is_certain_and_what_is_typed_are_told_once_and_in_order() -> None:
    program = (
        "const a = await codemode.shop.get_order({id: 1});\n"
        "const r = codemode.shop.list_orders(); console.log(r.orders);\n"
        "return await codemode.shop.get_ordr({})"
    )
    found = await checked(program, native())
    assert [(one.line, one.code) for one in found.findings] == [(1, "TS2322"), (2, MISSING_AWAIT), (3, UNKNOWN_TOOL)]
    assert found.certain and not found.ok


async def test_places_are_right_behind_any_character_and_line_end() -> None:
    for before in ("const s = '😀é\u2028';", "/* 😀\r\n é */", "`\n😀`;\n\t"):
        program = f"{before} return await codemode.shop.get_order({{id: 1}})"
        [one] = (await checked(program, native())).findings
        assert program.split("\n")[one.line - 1][one.column - 1 :].startswith("id: 1")


async def test_a_syntax_error_is_one_finding_and_no_compiler_runs() -> None:
    found = await checked("const a = 1;\nreturn const", NO_COMPILER)
    assert [(one.line, one.column, one.code) for one in found.findings] == [(2, 8, SYNTAX)]
    assert found.unchecked is None


async def test_without_a_compiler_the_answer_says_that_types_were_not_checked() -> None:
    found = await checked("return await codemode.shop.get_order({id: 1})", NO_COMPILER)
    assert found.findings == () and not found.ok
    assert found.unchecked is not None and "codemode typecheck install" in found.unchecked


async def test_only_tools_a_program_names_are_declared_however_many_there_are() -> None:
    many = Catalog.build([Server(f"s{n}", tools=tuple(Tool(f"t{m}") for m in range(500))) for n in range(20)])
    program = "await codemode.s3.t7(); codemode['s4']['t9']; codemode.s5_t1(); codemode.s6[name]()"
    assert {"s3.t7", "s4.t9", "s5.t1"} < set(named_tools(program, many))
    assert len(named_tools(program, many)) < 10
    assert len(declarations_for(program, many)) < 2_000


async def test_the_declarations_of_the_isolate_compile_and_leave_out_browser_and_node() -> None:
    program = "const n: string = new URL('x').host; document; process; fetch('x');"
    found = compile_strictly({"isolate.d.ts": isolate_declarations(), "program.ts": program})
    assert [one.code for one in found] == ["TS2584", "TS2580", "TS2304"] or {one.file for one in found} == {
        "program.ts"
    }


# --- hostile programs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        "// @ts-nocheck\nreturn await codemode.shop.get_order({id: 1})",
        "// @ts-ignore\nreturn await codemode.shop.get_order({id: 1})",
        "/* @ts-expect-error */\nreturn await codemode.shop.get_order({id: 1})",
        "/// <reference path='/etc/passwd' />\n/// <reference types='node' />\nawait codemode.shop.get_order({id: 1})",
    ],
)
async def test_a_program_cannot_switch_the_check_off(program: str) -> None:
    found = await checked(program, native())
    assert found.findings != ()


@pytest.mark.parametrize(
    "program",
    [
        "return await codemode.shop.get_order({id: 1})\n}\nexport {}\nasync function other() {",
        "if (1) /'/.test(1); return await codemode.shop.get_order({id: 1})",
    ],
)
async def test_a_program_that_cannot_be_told_apart_is_said_to_be_unchecked(program: str) -> None:
    found = await checked(program, native())
    assert found.findings == () and found.unchecked is not None and "two ways" in found.unchecked


async def test_a_program_cannot_read_files_through_the_compiler(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_text("export const password: 'hunter2' = 'hunter2';\n")
    (tmp_path / "data.json").write_text('{"hunter2": 1}')
    for loading in (
        f"import {{password}} from '{tmp_path}/secret'; const n: Map<1, 2> = password; n.x",
        f"const {{password}} = await import('{tmp_path}/secret.ts'); password.x",
        f"const n: import('{tmp_path}/secret').x = 1; n.y",
        f"import data from '{tmp_path}/data.json'; data.x; codemode.shop.get_order(data)",
        f"/// <reference path='{secret}' />\npassword.x",
        f"/** @import {{password}} from '{tmp_path}/secret' */\n/** @type {{typeof password}} */ let x; x.y",
        f"const x = require('{tmp_path}/data.json'); x.y; codemode.shop.get_order(x)",
    ):
        for environment in (native(), *deno()):
            found = await checked(loading, environment)
            assert "hunter2" not in str(found), loading


def compiler_that(does: str, folder: Path) -> dict[str, str]:
    """The environment that names a compiler of ours: the shell, doing this."""
    fake = folder / "tsc"
    fake.write_text(f"#!{shutil.which('sh')}\n{does}\n")
    fake.chmod(0o700)
    return {"CODEMODE_TYPE_CHECKER": str(fake)}


async def test_a_compiler_that_takes_too_long_or_fails_is_said(tmp_path: Path) -> None:
    for body, said in (("sleep 60", "took longer than 0.5 s"), ("kill -9 $$", "ended with code -9"), ("exit 7", "7")):
        checker = Checker(compiler_that(body, tmp_path), seconds=0.5)
        found = await checker.check("return 1", CATALOG, TypeScript(seconds=60))
        assert found.unchecked is not None and said in found.unchecked


@pytest.fixture
def endless_compiler(tmp_path: Path) -> dict[str, str]:
    return compiler_that("exec sleep 60", tmp_path)


async def test_a_program_that_waited_too_long_for_its_turn_is_told_so(endless_compiler: dict[str, str]) -> None:
    checker, typescript = Checker(endless_compiler, seconds=0.5), TypeScript(seconds=60)
    found = await asyncio.gather(*(checker.check(f"return {n}", CATALOG, typescript) for n in range(20)))
    said = [one.unchecked or "" for one in found]
    assert any("took longer" in one for one in said) and any("busy" in one for one in said) and "" not in said


async def test_more_programs_than_can_wait_are_told_so(endless_compiler: dict[str, str]) -> None:
    checker, typescript = Checker(endless_compiler, seconds=50), TypeScript(seconds=60)
    checks = [asyncio.create_task(checker.check(f"return {n}", CATALOG, typescript)) for n in range(80)]
    done, waiting = await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
    for check in waiting:
        check.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all("too many programs wait" in (check.result().unchecked or "") for check in done)


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_check_that_is_given_up_at_any_moment_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    compiler = Compiler("tsc", Path(compiler_that("exec sleep 60", tmp_path)["CODEMODE_TYPE_CHECKER"]))
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folders))
    declarations = {f"{number}.d.ts": "declare const x: 1;" for number in range(200)}
    task = asyncio.create_task(compile_program(compiler, "return 1", declarations, typed=False, seconds=50))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # What a thread still writes is written by then.
    await asyncio.get_running_loop().shutdown_default_executor()
    assert list(folders.iterdir()) == []


async def test_where_there_is_no_room_for_its_folder_a_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    found = await Checker(compiler_that("exit 0", tmp_path), seconds=50).check(
        "return 1", CATALOG, TypeScript(seconds=60)
    )
    assert found.unchecked is not None and "No such file or directory" in found.unchecked


async def test_a_check_that_is_given_up_leaves_no_compiler_behind(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    checker = Checker(compiler_that(f"echo $$ > {pipe}\nexec sleep 60", tmp_path), seconds=50)
    task = asyncio.create_task(checker.check("return 1", CATALOG, TypeScript(seconds=60)))
    process = int(await asyncio.to_thread(pipe.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_a_program_that_is_too_long_for_it_is_said_to_be_unchecked() -> None:
    found = await checked("return 1;" + " " * 70_000, native())
    assert found.unchecked is not None and "65,536 characters" in found.unchecked


async def test_thousands_of_complaints_are_heard_in_bounded_time() -> None:
    found = await checked("x.y(codemode.a.b(1));" * 2_500, native())
    assert len(found.findings) == 20


async def test_a_compiler_sees_no_environment_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "tsc"
    fake.write_text(f"#!{shutil.which('sh')}\nenv > {tmp_path}/bin/seen\nulimit -d >> {tmp_path}/bin/seen\n")
    fake.chmod(0o700)
    await checked("return 1", {"CODEMODE_TYPE_CHECKER": str(fake)})
    seen = (tmp_path / "bin" / "seen").read_text()
    assert "hunter2" not in seen and "2097152" in seen
    assert os.listdir(tmp_path) == ["bin"]


HARD = [
    "let x = " + "{a: " * 25 + "1" + "}" * 25 + "; x.b",
    "const x = " + " + ".join(["1"] * 3_000) + "; x.y",
]


@pytest.mark.parametrize("program", HARD)
async def test_types_that_never_end_end(program: str) -> None:
    await Checker(native(), seconds=20).check(program, CATALOG, TypeScript(seconds=60))


PIECES = st.sampled_from(
    "codemode .shop .get_order({id: 1}) .nope ( ) { } [ ] ; await const return x = => ' ` ${ // */ \n : any as x.y 😀 "
    "\r \u2028 interface enum import('x') @ts-nocheck <T> class A".split(" ")
)


@settings(max_examples=12)
@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=15).map(" ".join)))
def test_any_text_is_checked_and_every_place_lies_inside_it(program: str) -> None:
    found = asyncio.run(checked(program, native()))
    lines = program.split("\n")
    for one in found.findings:
        assert 1 <= one.line <= len(lines)
        assert 1 <= one.column <= len(lines[one.line - 1]) + 1


# --- Deno, where TypeScript's own compiler is not there ------------------------------------------------------------


def deno() -> list[dict[str, str]]:
    found = deno_path()
    return [] if found is None else [{"CODEMODE_TYPE_CHECKER": str(found)}]


async def test_deno_finds_the_same_where_it_is_all_there_is() -> None:
    program = (
        "// @ts-nocheck\nconst r = await codemode.shop.get_order({id: 1});\nreturn [r.totl, fetch, new Date() - 1]"
    )
    assert deno(), "the development environment has Deno"
    one, other = await checked(program, native()), await checked(program, deno()[0])
    assert other.by == "deno check"
    assert [(f.line, f.column, f.code, f.stub) for f in other.findings] == [
        (f.line, f.column, f.code, f.stub) for f in one.findings
    ]
    assert [f.code for f in other.findings] == ["TS2322", "TS2551", "TS2304"]


async def test_deno_is_not_given_a_program_that_could_make_it_load_something() -> None:
    found = await checked("const {x} = await im\\u0070ort('/etc/hosts')", deno()[0])
    assert found.unchecked is not None or found.findings
    found = await checked("export * from './other.ts'", deno()[0])
    assert found.unchecked is not None and "imports" in found.unchecked
