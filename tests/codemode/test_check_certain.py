"""What is refused before it runs, from the text alone: certain mistakes, and nothing that could be right."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codemode import Catalog
from codemode.check.brackets import brackets
from codemode.check.certain import MAX_CHARS, certain_findings, suspicious
from codemode.check.finding import MISSING_AWAIT, UNKNOWN_TOOL
from codemode.typescript import printed
from stubs import Server, Tool
from tests.codemode.checking import CATALOG, at_once
from tests.deep import examples

UNKNOWN = [
    ("return await codemode.shop.list_order({})", 14, "codemode.shop.list_orders"),
    ("return await codemode.shop?.list_order({})".replace("?", ""), 14, "codemode.shop.list_orders"),
    ('return await codemode["shop"]["list-orders"]()', 14, "codemode.shop.list_orders"),
    ("return await codemode.shpo.get_order({id: '1'})", 14, "codemode.shop.get_order"),
    ("return await codemode.shop_get_ordr({id: '1'})", 14, "codemode.shop.get_order"),
    ("return await codemode.serach('orders')", 14, "codemode.search"),
    ("async () => await codemode.shop.get_ordr({id: '1'})", 19, "codemode.shop.get_order"),
    ("if (true) { await codemode.shop.get_ordr({id: '1'}) }", 19, "codemode.shop.get_order"),
    ("[1].map(id => codemode.shop.get_ordr({id}))", 15, "codemode.shop.get_order"),
    ("const r = await codemode.shop.get_ordr({id: '1'}); try { r() } catch {}", 17, "codemode.shop.get_order"),
    ("async () => { const r = await codemode.shop.get_ordr({}); try { r() } catch {} }", 31, "codemode.shop.get_order"),
    ("const x: number = await codemode.shop.get_ordr({id: '1'} as any)", 25, "codemode.shop.get_order"),
    (
        "const f = () => 1; const r = await codemode.shop.get_ordr({}); try { r() } catch {}",
        36,
        "codemode.shop.get_order",
    ),
    ("`${await codemode.shop.get_ordr({id: '1'})}`", 10, "codemode.shop.get_order"),
    ("return (await codemode.shop.list_orders()).orders.length / codemode.shop.nope()", 60, "codemode.shop."),
    ("return await codemode.crm.find()", 14, "the server 'crm' is not available: connection refused"),
]


@pytest.mark.parametrize(("program", "column", "named"), UNKNOWN)
def test_a_path_that_does_not_exist_is_found_with_its_place_and_what_is_near(
    program: str, column: int, named: str
) -> None:
    [found] = at_once(program)
    assert (found.line, found.column, found.code) == (1, column, UNKNOWN_TOOL)
    assert named in found.message


UNAWAITED = [
    ("const r = codemode.shop.list_orders(); return r.orders", 47),
    ("const r = codemode.shop.list_orders()\nreturn r.orders.length", 8),
    ("const {orders} = codemode.shop.list_orders({limit: 3});\nreturn orders", 18),
    ("const [first] = codemode.search('orders'); return first", 17),
    ("const [[a], [b]] = codemode.search(['orders', 'mail']); return [a, b]", 20),
    ("return codemode.shop.list_orders().orders", 8),
    ("return await codemode.shop.list_orders({}).orders", 14),
    ("for (const o of codemode.search('x')) { console.log(o) }", 17),
    ("const t = codemode.describe('shop'); console.log(t.length)", 50),
    ("async function main() { const r = codemode.shop.get_order({id: '1'}); return r.total * 2 }", 78),
    ("const r = codemode.shop_get_order({id: '1'}); return `total ${r.total}`", 63),
]


@pytest.mark.parametrize(("program", "column"), UNAWAITED)
def test_a_promise_taken_for_its_value_is_found(program: str, column: int) -> None:
    [found] = at_once(program)
    assert (found.column, found.code) == (column, MISSING_AWAIT)
    assert "await" in found.message and found.stub is not None


RIGHT = [
    # awaited in one way or another
    "const r = await codemode.shop.list_orders(); return r.orders",
    "return codemode.shop.list_orders()",
    "return (await codemode.shop.list_orders()).orders",
    "return codemode.shop.list_orders().then(r => r.orders)",
    "return codemode.shop.list_orders().then(r => r.orders).catch(() => [])",
    "const p = codemode.shop.list_orders(); const r = await p; return r.orders",
    "const a = codemode.shop.list_orders(), b = codemode.shop.note({text: 'x'}); return (await a).orders",
    "const p = codemode.shop.list_orders(); return p.then(r => r.orders)",
    "const [a, b] = await Promise.all([codemode.shop.list_orders(), codemode.search('x')]); return a.orders",
    "const r = codemode.shop.list_orders(); { const r = {orders: 1}; return r.orders }",
    "const o = codemode.shop.list_orders(); return [{orders: 1}].map(o => o.orders)",
    "const o = codemode.shop.list_orders(); return [{orders: 1}].map(({o}) => o.orders)",
    "const o = codemode.shop.list_orders(); o.label = 'mine'; return o",
    "for await (const o of [codemode.shop.list_orders()]) return o.orders",
    "const {then} = codemode.shop.list_orders(); return typeof then",
    # paths that may be right, or may never be taken
    "const codemode = {a: {b: () => 1}}; return codemode.a.b()",
    "return (codemode => codemode.a.b())({a: {b: () => 1}})",
    "function f(codemode) { return codemode.a.b() } return f({a: {b: () => 1}})",
    "const f = async ({codemode}) => codemode.a.b(); return 1",
    "const f = (x, codemode: any): any => codemode.a.b(); return 1",
    "try { return await codemode.crm.find() } catch (e) { return e.message }",
    "const safe = f => f().catch(() => null); return safe(async () => codemode.a.b())",
    "return Promise.allSettled([1].map(async () => codemode.a.b()))",
    "const find = () => codemode.crm.find(); try { return await find() } catch { return 1 }",
    "const find = async () => await codemode.crm.find()\ntry { return await find() } catch { return 1 }",
    "if ('crm' in codemode) return codemode.crm.find()",
    "if (Object.keys(codemode).length > 9) return codemode.crm.find()",
    "if (typeof codemode.a === 'object') return codemode.a.b()",
    "return codemode.a?.b()",
    "return codemode?.a.b",
    "if (codemode.a) return codemode.a.b()",
    "const name = 'crm'; if (known.has(name)) return codemode.crm.find()",
    "const server = 'shop'; return codemode[server].get_order({id: '1'})",
    "return codemode.shop[`get_${'order'}`]({id: '1'})",
    "return this.codemode.a.b()",
    "const my = {codemode: {a: {b() {}}}}; return my.codemode.a.b()",
    "eval('var codemode = 1'); return codemode.a.b()",
    # every spelling of what exists
    'return [codemode["create-order"], codemode.shop["create-order"], codemode.shop.create_order].map(f => f.name)',
    "return codemode.shop_get_order({id: '1'})",
    "return codemode.toString() + codemode.hasOwnProperty('x') + codemode.shop.toString()",
    "return codemode.shop.get_order.call(null, {id: '1'})",
    # no code at all
    "return 'codemode.a.b()'",
    'return "codemode.a.b() \\" codemode.a.b()"',
    "// codemode.a.b()\nreturn 1",
    "/* codemode.a.b() */ return 1",
    "return `codemode.a.b() \\` ${1} codemode.a.b()`",
    "return /codemode.a.b()/.test('x')",
    "if (1) /codemode.a.b()/.test('x')",
    "const x = {}\n/codemode.a.b()/.test('x')",
    "let x = 1; x++ /codemode.a.b()/ 2",
    "<!-- codemode.a.b()\nreturn 1",
    # no program
    "return codemode.a.b(",
    "codemode.a.b() }",
]


@pytest.mark.parametrize("program", RIGHT)
def test_nothing_is_said_of_a_program_that_may_be_right(program: str) -> None:
    assert at_once(program) == []


def test_several_mistakes_are_told_in_the_order_of_the_program() -> None:
    program = (
        "const a = await codemode.shop.get_ordr({});\nconst {orders} = codemode.shop.list_orders();\ncodemode.a.b()"
    )
    assert [(one.line, one.code) for one in at_once(program)] == [
        (1, UNKNOWN_TOOL),
        (2, MISSING_AWAIT),
        (3, UNKNOWN_TOOL),
    ]


def test_a_program_without_mistakes_is_not_even_looked_at_closely() -> None:
    program = "const r = await codemode.shop.list_orders({limit: 3});\nreturn r.orders.map(o => o.total)"
    assert not suspicious(program, CATALOG)


def test_a_mistake_costs_at_most_300_tokens_whatever_the_tools_are_called() -> None:
    tools = tuple(Tool("x" * 200 + str(n), None, "Long.") for n in range(5))
    catalog = Catalog.build([Server("s" * 40, tools=tools)])
    [found] = at_once(f"return codemode.{'s' * 40}.{'x' * 200}()", catalog)
    assert len(found.message) <= 500


PIECES = st.sampled_from(
    "codemode .shop .get_order .nope ( ) { } [ ] ; , await const x = => ' \" ` ${ / // /* */ \n ? : ... x.y "
    "codemode.shop.list_orders() codemode.a.b() {orders} of for try catch typeof in 😀 \\ return <T> as".split(" ")
)


@examples(200)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join)))
@example("codemode.a.b()\r\n`${")
def test_any_text_is_looked_at_and_every_place_lies_inside_it(program: str) -> None:
    suspicious(program, CATALOG)
    lines = program.split("\n")
    for found in certain_findings(program, CATALOG, printed):
        assert 1 <= found.line <= len(lines)
        assert 1 <= found.column <= len(lines[found.line - 1]) + 1
        assert program.split("\n")[found.line - 1][found.column - 1 :]


@given(st.text(alphabet="(){}[]`$;/ax'\"\n +", max_size=60))
def test_brackets_of_any_text_belong_together_in_pairs(text: str) -> None:
    found = brackets(text)
    if found is not None:
        assert all(found.pairs[other] == one or one < other for one, other in found.pairs.items())
        assert len(found.depths) == len(found.tokens)


@pytest.mark.parametrize(
    "unit", ["codemode.a.b();", "codemode(", "(codemode,", "x = codemode.shop.get_order().y;", "`${"]
)
def test_a_source_as_large_as_allowed_ends_whatever_is_in_it(unit: str) -> None:
    for size in (256 * 1024, MAX_CHARS):
        certain_findings((unit * (size // len(unit) + 1))[:size], CATALOG, printed)
