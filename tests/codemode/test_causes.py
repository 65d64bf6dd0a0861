"""What went wrong is known as data: a message may be reworded, and quote whatever it likes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from codemode import Catalog, CatalogServer, ToolFailed
from codemode import preload as script
from codemode.brevity import LEVELS, shortened
from codemode.check.certain import unknown_tool
from codemode.description import description
from codemode.run import Cause, Failure, Rejection, UnknownName
from sandbox import Engine, GuestException, Limits
from stubs import Server, Tool, declarations
from tests.codemode.bench import CATALOG, bench

Engines = Callable[[Limits], Engine]

ID = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
LARGE = [Server("big", tools=tuple(Tool(f"record_{n:04}_get", None, None, ID) for n in range(500)))]


@pytest.fixture
def reworded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of the isolate with other words in all that it says of wrong names."""
    text = script._SCRIPT.read_text(encoding="utf-8")
    for words, others in (("does not exist", "is nowhere"), ("Nearest:", "Close by:"), ("The servers are:", "Have:")):
        assert words in text
        text = text.replace(words, others)
    (tmp_path / "preload.js").write_text(text, encoding="utf-8")
    monkeypatch.setattr(script, "_SCRIPT", tmp_path / "preload.js")


@pytest.mark.anyio
@pytest.mark.usefixtures("reworded")
async def test_signatures_are_added_to_a_wrong_name_whatever_words_the_isolate_has_for_it(engines: Engines) -> None:
    async with bench(engines, catalog=Catalog.build(LARGE)) as b:
        found = await b.run("const server = 'big'; await codemode[server].record_0123_gte({id: 1})")
        assert "is nowhere" in found.error["message"]
        assert "codemode.big.record_0123_get(input: { id:" in found.text


@pytest.mark.anyio
@pytest.mark.usefixtures("reworded")
async def test_why_a_server_is_missing_is_added_whatever_words_the_isolate_has_for_it(engines: Engines) -> None:
    async with bench(engines, catalog=Catalog.build(LARGE, {"crm": "connection refused"})) as b:
        found = await b.run("const server = 'crm'; await codemode[server].find()")
        assert "the server 'crm' is not available: connection refused." in found.text


@pytest.mark.anyio
@pytest.mark.parametrize("is_part", [False, True])
async def test_a_caught_error_says_why_a_server_or_a_tool_cannot_be_used_now(engines: Engines, is_part: bool) -> None:
    servers = [(CatalogServer(server), None) for server in LARGE]
    reasons = {("big", "held"): "The tool waits for approval."}
    catalog = Catalog.of(servers, {"my-crm": "sign in first"}, reasons, is_part=is_part)
    async with bench(engines, catalog=catalog) as b:
        caught = "const name = '{}'; try {{ await codemode{}({{}}) }} catch (error) {{ return error.message }}"
        why = "does not exist: the server 'my-crm' is not available: sign in first."
        assert (await b.run(caught.format("my-crm", "[name].find"))).value == f"codemode.my-crm {why}"
        assert (await b.run(caught.format("my_crm", "[name].find"))).value == f"codemode.my_crm {why}"
        assert (await b.run(caught.format("my_crm_find", "[name]"))).value == f"codemode.my_crm_find {why}"
        assert (await b.run(caught.format("", ".my_crm.find"))).value == f"codemode.my_crm {why}"
        held = "codemode.big.held does not exist: The tool waits for approval."
        assert (await b.run(caught.format("held", ".big[name]"))).value == held
        assert "approval" not in (await b.run(caught.format("held_not", ".big[name]"))).value
        for code in ("const name = 'my_crm'; await codemode[name].find()", "await codemode.my_crm.find()"):
            assert (await b.run(code)).text.count("sign in first") == 1


@pytest.mark.anyio
async def test_a_wrong_name_that_was_caught_is_not_the_reason_of_another_failure(engines: Engines) -> None:
    async with bench(engines, catalog=Catalog.build(LARGE, {"crm": "connection refused"})) as b:
        caught = "const server = 'crm'; try { codemode[server].find() } catch {} "
        assert "connection refused" not in (await b.run(caught + "throw new Error('x')")).text
        forged = "throw Object.assign(new Error('x'), {name: 'UnknownToolError'})"
        assert "connection refused" not in (await b.run(caught + forged)).text
        assert (await b.run(caught + "return (await codemode.big.record_0001_get({id: 1})).id")).value == 1


@pytest.mark.anyio
async def test_a_program_that_tries_many_wrong_names_has_its_calls_left(engines: Engines) -> None:
    async with bench(engines, Limits(calls=40)) as b:
        code = """let wrong = 0;
            for (let n = 0; n < 100; n++) try { codemode.fix["no" + n] } catch { wrong++ }
            for (let n = 0; n < 20; n++) await codemode.fix.echo({n});
            return wrong"""
        assert (await b.run(code)).value == 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    "patch",
    [
        "Array.prototype.toJSON = () => 5",
        "Array.prototype.toJSON = () => [1, {}, 'x', null]",
        "Array.prototype.toJSON = () => { throw new Error('mine') }",
    ],
)
async def test_a_program_that_falsifies_what_the_host_learns_of_a_wrong_name_loses_the_advice_only(
    engines: Engines, patch: str
) -> None:
    async with bench(engines, catalog=Catalog.build(LARGE, {"crm": "connection refused"})) as b:
        found = await b.run(f"{patch}; const server = 'crm'; await codemode[server].find()")
        assert found.error["name"] == "UnknownToolError"
        assert "codemode.crm does not exist" in found.error["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("message", ["x" * 10_000, "é日" * 3_000], ids=["ascii", "others"])
async def test_a_message_longer_than_what_leaves_the_isolate_still_tells_its_tool(
    engines: Engines, message: str
) -> None:
    async with bench(engines, echo=lambda call: ToolFailed(message, -32_000, {"a": 1})) as b:
        error = (await b.run("await codemode.fix.echo({})")).error
        assert (error.get("tool"), error.get("code"), error.get("data")) == ("fix.echo", -32_000, {"a": 1})


@pytest.mark.anyio
async def test_a_tool_whose_message_begins_with_its_own_path_is_named_with_its_code(engines: Engines) -> None:
    async with bench(engines, echo=lambda call: ToolFailed("codemode.fix.echo broke", -32_000)) as b:
        assert "from fix.echo, code -32000" in (await b.run("await codemode.fix.echo({})")).text


@pytest.mark.anyio
async def test_an_error_about_arguments_names_its_tool_once(engines: Engines) -> None:
    async with bench(engines) as b:
        found = await b.run("const server = 'fix'; await codemode[server].search({})")
        assert found.error["tool"] == "fix.search"
        assert "from fix.search" not in found.text


def test_of_errors_with_one_message_the_last_is_the_cause() -> None:
    causes: list[Cause] = [
        Rejection("a.b", "boom", 1),
        Rejection("c.d", "boom", 2),
        UnknownName("boom", "x"),
        Rejection("e.f", "x"),
    ]
    assert Failure.of(GuestException("boom", name="ToolError"), causes).cause == causes[1]
    assert Failure.of(GuestException("boom", name="UnknownToolError"), causes).cause == causes[2]
    assert Failure.of(GuestException("boom", name="Error"), causes).cause is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "import fs from 'fs'\nreturn fs",
        "return 1; import fs from 'fs'",
        "const fs: any = await import('fs')",
        "async () => { import fs from 'fs'; return fs }",
        "return import.meta.url.x",
    ],
)
async def test_a_program_that_imports_learns_that_there_are_no_modules(engines: Engines, code: str) -> None:
    async with bench(engines) as b:
        assert "A program has no modules" in (await b.run(code)).text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "throw new Error('cannot import the module')",
        "throw new TypeError('import of goods')",
        "const q = 'import it'; return q +",
    ],
)
async def test_a_program_that_only_mentions_imports_learns_nothing_of_modules(engines: Engines, code: str) -> None:
    async with bench(engines) as b:
        found = await b.run(code)
        assert not found.ok and "A program has no modules" not in found.text


def test_a_name_of_several_tools_is_told_whole_whatever_words_it_has() -> None:
    tools = (Tool("does_it"), Tool("other"))
    catalog = Catalog.build([Server("a", tools=tools), Server("b", tools=tools)])
    message, _ = unknown_tool(catalog, ("does_it",))
    assert message.startswith("codemode.does_it means several tools and therefore does not exist.")


def test_a_signature_that_quotes_another_tool_does_not_suggest_it() -> None:
    quoting = {"type": "object", "properties": {"next": {"enum": ["codemode.mail.remove(", "x"]}}}
    find = Tool("find_order", None, None, quoting)
    catalog = Catalog.build([Server("shop", tools=(find,)), Server("mail", tools=(Tool("remove"),))])
    message, nearest = unknown_tool(catalog, ("shop", "find_ordr"))
    assert nearest == "shop.find_order"
    assert "\n  codemode.mail.remove" not in message


def test_an_unavailable_server_keeps_its_name_where_there_is_little_room() -> None:
    down = {f"eu: {n}": "a reason that is far too long to be shown for all of them " * 3 for n in range(60)}
    text = description(Catalog.build(CATALOG.servers, down))
    assert re.search(r"^- eu: \d+ is not available$", text, re.MULTILINE)


def test_what_is_left_out_of_an_optional_property_is_said_at_every_level() -> None:
    mode = {"description": "Which way.", "enum": [f"mode_{n}" for n in range(200)]}
    ellipsis = {"description": "… and so on.", "type": "string"}
    tool = Tool("t", None, None, {"type": "object", "properties": {"mode": mode, "rest": ellipsis}})
    for level in range(1, LEVELS + 1):
        schema = shortened(tool, level).input_schema
        assert not isinstance(schema, bool)
        properties = schema["properties"]
        assert "more values" in properties["mode"]["description"]
        assert ("description" in properties["rest"]) == (level < 4)


def test_alternatives_that_are_values_and_null_stay_closed_at_every_level() -> None:
    values = [{"const": f"mode_{n}"} for n in range(200)]
    tool = Tool("t", None, None, {"type": "object", "properties": {"mode": {"anyOf": [*values, {"type": "null"}]}}})
    for level in range(1, LEVELS + 1):
        text = declarations(
            [Server("s", tools=(shortened(tool, level),))], Catalog.build([Server("s", tools=(tool,))]).names
        )
        assert '*/ "mode_199" | null' in text
