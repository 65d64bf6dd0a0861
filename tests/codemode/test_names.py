"""What `codemode` looks like from inside a program: every spelling, and truthful about what is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codemode import Catalog
from codemode.preload import preload, table
from sandbox import Engine, Limits
from stubs import Server, Tool, assign_names
from tests.codemode.bench import CATALOG, FIX, bench, run

Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio


async def value(engines: Engines, code: str, catalog: Catalog = CATALOG) -> object:
    async with bench(engines, catalog=catalog) as b:
        return (await b.run(code)).value


async def failure(engines: Engines, code: str, catalog: Catalog = CATALOG) -> str:
    async with bench(engines, catalog=catalog) as b:
        return str((await b.run(code)).error["message"])


@pytest.mark.parametrize(
    ("spelling", "call"),
    [
        ("codemode.fix.search", "fix.search"),
        ('codemode.fix["my-tool"]', "fix.my-tool"),
        ("codemode.fix.my_tool", "fix.my-tool"),
        ("codemode.fix_my_tool", "fix.my-tool"),
        ('codemode["fix_my-tool"]', "fix.my-tool"),
        ('codemode["my-tool"]', "fix.my-tool"),
        ("codemode.fix.delete_", "fix.delete"),
        ("codemode.fix.delete", "fix.delete"),
        ("codemode.fix_delete", "fix.delete"),
        ("codemode.fix._3d", "fix.3d"),
        ("codemode.fix_3d", "fix.3d"),
        ("codemode.fix.then_", "fix.then"),
        ("codemode.now", "time-zone.now"),
        ("codemode.time_zone.now", "time-zone.now"),
        ('codemode["time-zone"].now', "time-zone.now"),
        ('codemode["time-zone_now"]', "time-zone.now"),
        ("codemode.time_zone_search", "time-zone.search"),
        ('codemode["fix.search"]', "fix.search"),
        ('codemode["codemode.fix.search"]', "fix.search"),
        ('codemode["fix.my-tool"]', "fix.my-tool"),
        ('codemode["time-zone.now"]', "time-zone.now"),
        ('codemode["fix.delete"]', "fix.delete"),
        ('codemode.fix["fix.search"]', "fix.search"),
        ('codemode.time_zone["time_zone.now"]', "time-zone.now"),
        ("tools.fix.search", "fix.search"),
        ("tools.fix_search", "fix.search"),
        ('tools["fix.search"]', "fix.search"),
        ("codemode.tools.fix.search", "fix.search"),
    ],
)
async def test_every_spelling_reaches_the_tool(engines: Engines, spelling: str, call: str) -> None:
    async with bench(engines) as b:
        await b.run(f"return await {spelling}({{query: 'q'}})")
        assert b.caller.names == [call]


async def test_keys_and_in_tell_the_truth(engines: Engines) -> None:
    assert await value(engines, "Object.keys(codemode)") == [
        *("fix", "time_zone", "search", "describe", "tools", "emit", "step", "runs", "portal"),
    ]
    assert await value(engines, "Object.keys(codemode.fix)") == [
        *("_3d", "delete_", "echo", "my_tool", "search", "slow", "then_"),
    ]
    code = """["fix" in codemode, "fix_delete" in codemode, "nope" in codemode, "my-tool" in codemode.fix,
               "nope" in codemode.fix, "then" in codemode, "then" in codemode.fix, "toString" in codemode.fix]"""
    assert await value(engines, code) == [True, True, False, True, False, False, False, True]


async def test_a_path_that_search_or_tools_gave_is_a_key(engines: Engines) -> None:
    code = """
        const [found] = await codemode.search("the time now");
        const all = await codemode.tools();
        return [found.path, typeof codemode[found.path], all.every((tool) => typeof codemode[tool.path] === "function"),
                found.path in codemode, "fix.nope" in codemode]"""
    assert await value(engines, code) == ["time_zone.now", "function", True, True, False]


async def test_a_path_wins_over_a_raw_name_that_is_spelled_like_it(engines: Engines) -> None:
    servers = [Server("a", tools=(Tool("b"),)), Server("x", tools=(Tool("a.b"), Tool("c.d")))]
    code = """[codemode["a.b"] === codemode.a.b, codemode.x["a.b"] !== codemode.a.b,
               codemode["c.d"] === codemode.x["c.d"], codemode["x.c.d"] === codemode.x["c.d"]]"""
    assert await value(engines, code, Catalog.build(servers)) == [True, True, True, True]


async def test_a_wrong_path_as_a_key_names_the_nearest_tools_of_its_server(engines: Engines) -> None:
    message = await failure(engines, "const path = ['fix', 'serach'].join('.'); codemode[path]({})")
    assert message.startswith("codemode.fix.serach does not exist. Nearest:\n  codemode.fix.search(")


async def test_tools_is_another_name_for_the_same_tools(engines: Engines) -> None:
    code = """[tools === codemode.tools, typeof tools, Object.keys(tools), "fix" in tools, "nope" in tools,
               tools.then, (await tools()).length, (await tools.search("search the things"))[0].path,
               typeof tools.call]"""
    expected = [True, "function", ["fix", "time_zone"], True, False, None, 10, "fix.search", "function"]
    assert await value(engines, code) == expected
    assert "codemode.nope does not exist" in await failure(engines, "tools.nope.x({})")
    assert await value(engines, "const tools = [1]; tools.map((n) => n + 1)") == [2]


NAMESAKES = (
    *("search", "tools", "describe", "emit", "runs", "portal", "run", "step"),
    *("then", "toString", "constructor", "valueOf", "toJSON", "hasOwnProperty", "__proto__", "prototype"),
    *("codemode", "call", "name", "length", "class", "import", "3d"),
)


@pytest.mark.parametrize("name", NAMESAKES)
async def test_a_server_named_like_something_else_is_found_by_its_id(engines: Engines, name: str) -> None:
    catalog = Catalog.build([Server(name, tools=(Tool("list_things", None, "List the things."),)), FIX])
    assert [tool["server"] for tool in catalog.tools(name)] == [name]
    [found] = catalog.search("list the things", server=name, limit=1)
    assert catalog.names.of_path(found["path"]) == (name, "list_things")
    assert "list_things" in catalog.describe(name) == catalog.describe(catalog.names.server(name))
    assert catalog.describe(f"{name}.list_things") == catalog.describe(found["path"])
    code = f"""
        const id = {name!r};
        const [listed] = await codemode.tools({{server: id}});
        const [found] = await codemode.search("list the things", {{server: id, limit: 1}});
        await codemode[listed.path]({{}});
        await codemode[id + ".list_things"]({{}});
        return [listed.server, listed.path === found.path, (await codemode.describe(id)).includes("list_things"),
                typeof (await codemode), String(codemode), typeof codemode.search, typeof codemode.tools]"""
    async with bench(engines, catalog=catalog) as b:
        answer = await b.run(code)
        assert answer.value == [name, True, True, "object", "[object Object]", "function", "function"]
        assert b.caller.names == [f"{name}.list_things"] * 2


@pytest.mark.parametrize("name", ["search", "tools", "describe", "emit", "runs", "portal"])
async def test_a_function_of_codemode_has_the_tools_of_a_server_of_its_name(engines: Engines, name: str) -> None:
    catalog = Catalog.build([Server(name, tools=(Tool("list_things", None, "List the things."),)), FIX])
    async with bench(engines, catalog=catalog) as b:
        assert (await b.run(f"return await codemode.{name}.list_things({{n: 1}})")).value == {"n": 1}
        assert b.caller.names == [f"{name}.list_things"]
        assert (await b.run("return (await codemode.search('list things'))[0].server ?? 'a tool'")).value == "a tool"


OF_OBJECTS = (
    *("toString", "toLocaleString", "valueOf", "constructor", "hasOwnProperty", "isPrototypeOf", "__proto__"),
    *("__defineGetter__", "prototype"),
)


@pytest.mark.parametrize("name", [*OF_OBJECTS, "then", "toJSON"])
async def test_a_server_with_a_name_of_the_language_is_reached_by_it(engines: Engines, name: str) -> None:
    catalog = Catalog.build([Server(name, tools=(Tool("list"),)), FIX])
    spellings = [f"codemode.{name}.list", f"codemode[{name!r}]['list']", f"tools.{name}.list", f"codemode.{name}_.list"]
    async with bench(engines, catalog=catalog) as b:
        for spelling in spellings:
            assert (await b.run(f"return await {spelling}({{n: 1}})")).value == {"n": 1}
        code = """const [tool] = await codemode.tools({server: process});
            return await codemode[tool.server][tool.rawName]({n: 1})"""
        assert (await b.run(code.replace("process", repr(name)))).value == {"n": 1}
        assert b.caller.names == [f"{name}.list"] * 5
        code = """return [typeof await codemode, String(codemode), `${codemode}`,
            Object.keys(JSON.parse(JSON.stringify(codemode))).length, typeof await codemode.fix,
            String(codemode.fix), codemode == 1]"""
        assert (await b.run(code)).value == [
            "object",
            "[object Object]",
            "[object Object]",
            4,
            "object",
            "[object Object]",
            False,
        ]


@pytest.mark.parametrize("name", OF_OBJECTS)
async def test_a_tool_with_a_name_of_the_language_is_reached_by_it(engines: Engines, name: str) -> None:
    catalog = Catalog.build([Server("fix", tools=(Tool(name), Tool("other")))])
    async with bench(engines, catalog=catalog) as b:
        for spelling in (
            f"codemode.fix.{name}",
            f"codemode['fix'][{name!r}]",
            f"codemode.fix.{name}_",
            f"tools.fix.{name}",
        ):
            assert (await b.run(f"return await {spelling}({{n: 1}})")).value == {"n": 1}
        shown = await b.run(
            "return [String(codemode.fix), `${codemode.fix}`, typeof await codemode.fix, JSON.stringify(codemode.fix)]"
        )
        assert shown.value == ["[object Object]", "[object Object]", "object", "{}"]
        assert len(b.caller.calls) == 4


@pytest.mark.parametrize("name", ["then", "toJSON"])
async def test_a_tool_that_the_language_would_call_says_how_to_reach_it(engines: Engines, name: str) -> None:
    catalog = Catalog.build([Server("fix", tools=(Tool(name), Tool("other")))])
    async with bench(engines, catalog=catalog) as b:
        for call in (f"codemode.fix.{name}({{n: 1}})", "codemode[s.server][s.rawName]({n: 1})"):
            found = await b.run(f"const s = {{server: 'fix', rawName: {name!r}}};\nreturn await {call}")
            assert f"codemode.fix.{name}_(input)" in found.text
            assert any(f"codemode.fix.{name}_(input)" in line for line in found.error["advice"])
        assert (await b.run("return [typeof await codemode.fix, JSON.stringify(codemode.fix)]")).value == [
            "object",
            "{}",
        ]


@pytest.mark.parametrize(
    "call",
    [
        "const [found] = await codemode.search('search the things'); return await codemode[found]({query: 'x'})",
        "const found = await codemode.search('search the things', {limit: 1}); return codemode[found]({query: 'x'})",
        "const [found] = await codemode.search('search the things'); return await codemode.fix[found]({query: 'x'})",
        "const found = (await codemode.tools()).find((t) => t.rawName === 'search'); return tools[found]({query: 'x'})",
    ],
)
async def test_what_describes_a_tool_is_a_key_for_it(engines: Engines, call: str) -> None:
    assert await value(engines, call) == {"query": "x"}


async def test_what_describes_a_tool_is_still_plain_data(engines: Engines) -> None:
    code = """const [found] = await codemode.search('search the things');
        return [Object.keys(found), Object.keys({...found}), structuredClone(found).path, `${found}`, found]"""
    async with bench(engines) as b:
        keys, spread, path, text, found = (await b.run(code)).value
    assert keys == spread == list(found) == ["path", "signature", "description"]
    assert path == text == "fix.search"
    code = "const [found] = await codemode.search('search the things'); return await codemode.describe([found])"
    async with bench(engines) as b:
        assert "search(input: {" in (await b.run(code)).text


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("found.name", "The key is undefined"),
        ("null", "The key is null"),
        ("{}", "The key is an object"),
        ("codemode.search('things')", "The key is a promise. Await it first"),
    ],
)
async def test_a_key_that_is_no_text_says_what_to_write(engines: Engines, key: str, says: str) -> None:
    message = await failure(engines, f"const [found] = await codemode.search('things'); codemode[{key}]({{}})")
    assert says in message and "codemode[found.path](input)" in message


async def test_a_signature_as_a_key_names_the_tool(engines: Engines) -> None:
    message = await failure(engines, "const [found] = await codemode.search('search'); codemode[found.signature]({})")
    assert message.startswith(
        "codemode.fix.search(...) is a signature, not a path. Nearest:\n  codemode.fix.search(input"
    )


@pytest.mark.parametrize(
    "call",
    ["codemode(found.path)", "codemode(found.path, {query: 'x'})", "tools(found.path)", "found({query: 'x'})",
     "found.call({query: 'x'})"],
)  # fmt: skip
async def test_who_calls_what_is_no_tool_learns_how_to_call_one(engines: Engines, call: str) -> None:
    code = f"const [found] = await codemode.search('search the things');\nreturn await {call}"
    async with bench(engines) as b:
        assert "codemode[path](input)" in (await b.run(code)).text


async def test_the_same_tool_is_the_same_function_under_every_spelling(engines: Engines) -> None:
    assert await value(engines, "codemode.fix.my_tool === codemode['fix_my-tool'] && codemode.fix === codemode.fix")
    assert await value(engines, "[typeof codemode.fix.search, codemode.fix.search.name]") == ["function", "search"]


async def test_awaiting_or_printing_codemode_is_harmless(engines: Engines) -> None:
    code = """const c = await codemode, f = await codemode.fix;
              return [c === codemode, f === codemode.fix, `${c}`, JSON.stringify(f), f.constructor === Object]"""
    assert await value(engines, code) == [True, True, "[object Object]", "{}", True]


async def test_codemode_cannot_be_changed_by_accident(engines: Engines) -> None:
    for code in ("codemode.fix = 1", "codemode.fix.search = 1", "delete codemode.fix", "codemode.x = 1"):
        async with bench(engines) as b:
            assert (await b.run(code)).error["name"] == "TypeError"


@pytest.mark.parametrize(
    "code", ["codemode.fix.serach", "codemode.fix.serach({})", "const f = codemode.fix.serach; f()"]
)
async def test_a_wrong_name_throws_at_once_with_the_nearest_tools_and_signatures(engines: Engines, code: str) -> None:
    async with bench(engines) as b:
        answer = await b.run(code)
        assert answer.error["name"] == "UnknownToolError"
        assert answer.error["message"].startswith(
            "codemode.fix.serach does not exist. Nearest:\n  codemode.fix.search("
        )
        assert "query: string" in answer.text
        assert answer.error["line"] == 1
        assert b.caller.calls == []


async def test_a_wrong_server_names_the_right_one(engines: Engines) -> None:
    assert "Nearest: codemode.fix" in await failure(engines, "codemode.fxi.search({})")
    assert "The servers are: fix, time_zone" in await failure(engines, "codemode.qqqq.x({})")


async def test_a_tool_of_another_server_is_suggested(engines: Engines) -> None:
    assert "codemode.time_zone.now" in await failure(engines, "codemode.fix.now({})")


async def test_a_bare_name_two_servers_have_is_ambiguous(engines: Engines) -> None:
    message = await failure(engines, "codemode.echo({})")
    assert "several tools" in message and "codemode.fix.echo" in message and "codemode.time_zone.echo" in message


async def test_a_program_that_catches_a_wrong_name_can_repair_itself(engines: Engines) -> None:
    code = """try { codemode.fix.serach } catch (error) { return /codemode\\.(\\S+?)\\(/.exec(error.message)[1] }"""
    assert await value(engines, code) == "fix.search"


async def test_in_a_large_catalog_the_answer_adds_the_signatures(engines: Engines) -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    catalog = Catalog.build(
        [Server("big", tools=tuple(Tool(f"record_{n:04}_get", None, None, schema) for n in range(500)))]
    )
    async with bench(engines, catalog=catalog) as b:
        answer = await b.run("codemode.big.record_0123_gte({id: 1})")
        assert "codemode.big.record_0123_get(input: { id:" in answer.text
        assert len(answer.text) < 1_200


async def test_names_collide_without_hiding_each_other(engines: Engines) -> None:
    catalog = Catalog.build(
        [
            Server("a", tools=(Tool("b_c"), Tool("x.y"), Tool("x-y"), Tool("x_y"), Tool("日本"), Tool("constructor"))),
            Server("a_b", tools=(Tool("c"),)),
            Server("search", tools=(Tool("run"),)),
        ]
    )
    async with bench(engines, catalog=catalog) as b:
        for entry in catalog.tools():
            await b.run(f"await codemode.{entry['path']}({{}})")
        assert sorted(b.caller.names) == sorted(f"{entry['server']}.{entry['rawName']}" for entry in catalog.tools())
        assert (await b.run("typeof codemode.search")).value == "function"
        assert (await b.run('[codemode.a["x.y"] !== codemode.a["x-y"], codemode.a["日本"] !== undefined]')).value == [
            *(True, True),
        ]


async def test_every_spelling_of_every_tool_resolves_in_the_isolate_as_in_the_catalog(engines: Engines) -> None:
    servers = [
        Server("fix", tools=tuple(Tool(name) for name in ("my-tool", "delete", "3d", "a_b", "get"))),
        Server("fix-a", tools=tuple(Tool(name) for name in ("b", "get", "my-tool", "fix_get"))),
        Server("x", tools=tuple(Tool(f"t{n}") for n in range(300))),
    ]
    catalog = Catalog.build(servers)
    names = catalog.names
    expected = {spelling: names.path(*key) for spelling, key in names.shortcuts.items()}
    async with bench(engines, catalog=catalog) as b:
        code = f"""const found = {{}};
            for (const [spelling, path] of Object.entries({expected!r})) {{
                const [server, tool] = path.split('.');
                if (codemode[spelling] !== codemode[server][tool]) found[spelling] = path;
            }}
            return found"""
        assert (await b.run(code)).value == {}
        for spelling in names.ambiguous:
            assert not (await b.run(f"codemode[{spelling!r}]")).ok


def test_the_preload_carries_names_not_closures() -> None:
    servers = [Server("big", tools=tuple(Tool(f"some_operation_{n}_list") for n in range(2_747)))]
    assert len(preload(table(assign_names(servers), {}))) < 120_000


async def test_three_thousand_tools_are_all_there_and_found_one_by_one(engines: Engines) -> None:
    tools = tuple(Tool(f"zone{n % 50}_operation_{n}") for n in range(3_000))
    catalog = Catalog.build([Server("big", tools=tools)])
    async with bench(engines, catalog=catalog) as b:
        assert (await b.run("Object.keys(codemode.big).length")).value == 3_000
        code = "return Object.keys(codemode.big).every(name => typeof codemode.big[name] === 'function')"
        assert (await b.run(code)).value is True


@pytest.mark.anyio
async def test_search_and_tools_take_their_options_in_every_usual_form(engines: Engines) -> None:
    code = """const paths = (found) => found.map((one) => one.path);
        return [paths(await codemode.search("echo", {limit: 1})), paths(await codemode.search("echo", 1)),
          paths(await codemode.search({query: "echo", limit: 1})),
          (await codemode.tools("time-zone")).length, (await codemode.tools({server: "time_zone"})).length]"""
    assert (await run(engines, code)).value == [["fix.echo"], ["fix.echo"], ["fix.echo"], 3, 3]
    for wrong in ("search({query: 'echo', most: 1})", "search('echo', '1')", "tools('nowhere')"):
        assert "the options of " in (await run(engines, f"await codemode.{wrong}")).error["message"]
