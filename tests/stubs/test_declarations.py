"""Whole declarations: as text, and as the compiler sees them."""

import os
from pathlib import Path

import pytest

from stubs import Server, Tool, assign_names, declarations
from tests.stubs import corpus, typescript

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "CODEMODE_UPDATE_GOLDEN"


def declared(*servers: Server, only: set[str] | None = None, members: str = "") -> str:
    return declarations(servers, assign_names(servers), only, members=members)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_declarations_are_as_expected(name: str) -> None:
    """Set CODEMODE_UPDATE_GOLDEN=1 to write what is generated; read the difference before committing it."""
    expected = GOLDEN / f"{name}.d.ts"
    text = declared(corpus.server(name))
    if os.environ.get(UPDATE) == "1":
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


def test_declarations_of_all_servers_compile_together_under_strict_tsc() -> None:
    assert typescript.check({"codemode.d.ts": declared(*map(corpus.server, corpus.NAMES))}) == []


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_declaration_of_every_single_tool_compiles_alone(name: str) -> None:
    server = corpus.server(name)
    names = assign_names([server])
    # Each file is made a module, so that they do not declare one `codemode` together.
    parts = {
        f"{number}.ts": f"{declarations([server], names, {path})}export {{}};\n"
        for number, path in enumerate(names.paths)
    }
    assert typescript.check(parts) == []


PROGRAM = """
export async function program() {
  const found = await codemode.fix.search({ query: "crash", state: "open", limit: 5 });
  const first = found.issues[0]!;
  const name: string | null = first.author.name;
  const up: string | undefined = first.parent?.parent?.title;
  const { issue, comments } = await codemode.fix.get_issue({ id: first.id });
  const body: string = comments[0]!.replies![0]!.body;
  await codemode.fix.update_issue({ id: 1, state: "closed" });
  await codemode.fix.whoami();
  await codemode.fix.whoami({});
  await codemode.files.list_allowed_directories();
  const tree = await codemode.files.directory_tree({ path: "/" });
  const leaf: string | undefined = tree.children?.[0]?.children?.[0]?.name;
  await codemode.shapes.buffer({ geometry: { type: "Point", coordinates: [1, 2] }, distance: 3 });
  await codemode.shop.rates_set({ rates: { EUR: 1 }, labels: { version: 1, a: "b" }, when: null, reason: "x" });
  const order = await codemode.shop.orders_create({
    customer: { name: "A", address: { street: "s", city: "c", country: "CH" } },
    lines: [{ sku: "1" }],
    payment: { kind: "card", number: "411111111111" },
  });
  const link: string | undefined = order.links?.["x-next"];
  return [name, up, issue.total, body, leaf, link];
}
"""


def test_a_right_program_compiles_and_reads_what_is_declared() -> None:
    sources = {"codemode.d.ts": declared(*map(corpus.server, corpus.NAMES)), "program.ts": PROGRAM}
    found = typescript.check(sources)
    assert [(item.file, item.code) for item in found] == [("program.ts", "TS2339")], found
    assert "'total'" in found[0].text


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("codemode.fix.search({ query: 5 })", "TS2322"),
        ("codemode.fix.search({})", "TS2741"),
        ("codemode.fix.search()", "TS2554"),
        ("codemode.fix.search({ query: 'x', limt: 5 })", "TS2561"),
        ("codemode.fix.search({ query: 'x', state: 'opened' })", "TS2820"),
        ("codemode.fix.search({ query: 'x' }, 1)", "TS2554"),
        ("codemode.fix.serch({ query: 'x' })", "TS2551"),
        ("codemode.fox", "TS2339"),
        ("codemode.fix.search({ query: 'x' }).issues", "TS2339"),
        ("codemode.fix.update_issue({ id: 1 })", "TS2345"),
        ("codemode.fix.update_issue({ id: 1, priority: 4 })", "TS2322"),
        ("codemode.files.list_allowed_directories({ path: '/' })", "TS2322"),
        ("codemode.shapes.buffer({ geometry: { type: 'Point', coordinates: [1] }, distance: 1 })", "TS2322"),
        ("codemode.shapes.buffer({ geometry: { type: 'Dot' }, distance: 1 })", "TS2322"),
        ("codemode.shop.rates_set({ rates: { GBP: 1 }, reason: '' })", "TS2353"),
        ("codemode.shop.rates_set({ rates: {} })", "TS2741"),
    ],
)
def test_a_wrong_program_is_refused(call: str, code: str) -> None:
    sources = {
        "codemode.d.ts": declared(*map(corpus.server, corpus.NAMES)),
        "program.ts": f"export const x = {call};\n",
    }
    found = typescript.check(sources)
    assert [(item.file, item.code) for item in found] == [("program.ts", code)], found


def test_only_the_tools_asked_for_are_declared() -> None:
    servers = [*map(corpus.server, corpus.NAMES)]
    text = declared(*servers, only={"fix.search", "files.directory_tree"})
    assert "search(input" in text and "directory_tree(input" in text
    assert "get_issue" not in text and "shop" not in text and "fix_Comment" not in text
    assert typescript.check({"a.ts": text}) == []


def test_a_server_without_tools_is_declared_empty() -> None:
    text = declared(Server("idle", "Idle", "Nothing yet."))
    assert text == "declare const codemode: {\n  /** Idle: Nothing yet. */\n  idle: {\n  };\n};\n"


def test_members_of_codemode_itself_come_first() -> None:
    text = declared(Server("a"), members="  search(query: string): Promise<unknown[]>;\n")
    assert text == (
        "declare const codemode: {\n  search(query: string): Promise<unknown[]>;\n  a: {\n  };\n};\n"
    )  # fmt: skip


def test_a_tool_listed_twice_is_declared_once() -> None:
    text = declared(Server("s", tools=(Tool("t", description="first"), Tool("t", description="second"))))
    assert text.count("t(input") == 1 and "first" in text


def test_the_same_servers_give_the_same_text() -> None:
    servers = [*map(corpus.server, corpus.NAMES)]
    assert declared(*servers) == declared(*map(corpus.server, corpus.NAMES))
