"""What an error says is short and enough: from its text alone the next program is written, and works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from codemode import Catalog, ToolFailed, ToolReturned
from sandbox import Engine, Limits
from stubs import Server, Tool
from tests.codemode.bench import Answer, Bench, bench
from tests.codemode.counting import counted
from tests.corpus import cloudflare

pytest.importorskip("splintr")
Engines = Callable[[Limits], Engine]
pytestmark = pytest.mark.anyio

LARGE = Catalog.build([cloudflare.server()])
MODES = [f"mode_{n}" for n in range(300)]
PROPERTIES = {f"a_rather_long_name_of_a_property_{n}": {"type": "string", "enum": MODES} for n in range(400)}
HEAVY = Catalog.build(
    [
        Server(
            "plant",
            tools=(
                Tool(
                    "configure_everything",
                    None,
                    "Configures. " * 200,
                    {
                        "type": "object",
                        "properties": {"mode": {"enum": MODES}, "count": {"type": "integer"}, **PROPERTIES},
                        "required": ["mode", "count"],
                        "additionalProperties": False,
                    },
                    {"type": "object", "properties": PROPERTIES},
                ),
                Tool("orders"),
            ),
        )
    ]
)


async def failed(b: Bench, program: str) -> str:
    """The text of a failure, which costs at most 300 tokens."""
    found = await b.run(program)
    assert not found.ok
    text = "\n".join(block["text"] for block in found.raw["content"])
    assert counted(text) <= 300, text
    return text


async def works(b: Bench, program: str) -> Answer:
    found = await b.run(program)
    assert found.ok, found.text
    return found


def paths(text: str) -> list[str]:
    """Tools as an error shows them, with their signatures."""
    return re.findall(r"codemode\.([\w$]+\.[\w$]+)\(input", text)


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ("cloudflare.dns_record_create", '{zone_id: "z", name: "www", ttl: 1, type: "A"}'),
        ("cloudflare.zone_list", "{}"),
        ("cloudflare.load_balancer_pool_create", '{account_id: "a", name: "p", origins: []}'),
        ("cloudflair.zones_list", "{}"),
    ],
)
async def test_an_unknown_tool_among_thousands_is_named_with_its_signature(
    engines: Engines, written: str, arguments: str
) -> None:
    async with bench(engines, catalog=LARGE) as b:
        text = await failed(b, f"return await codemode.{written}({arguments})")
        assert b.caller.calls == []
        right = paths(text)[0] if paths(text) else re.findall(r"Nearest:?\s+codemode\.(\w+)", text)[0] + ".zones_list"
        await works(b, f"return await codemode.{right}({arguments})")


async def test_missing_arguments_are_named_and_typed(engines: Engines) -> None:
    async with bench(engines, catalog=HEAVY) as b:
        text = await failed(b, "return await codemode.plant.configure_everything({})")
        first, second = re.findall(r"input\.(\w+)(?=,| are missing)", text)[:2]
        types = dict(re.findall(r"(\w+): (\"\w+\"|number)", text))
        await works(b, f"await codemode.plant.configure_everything({{{first}: {types[first]}, {second}: 1}})")
        assert types[second] == "number"


async def test_a_wrong_value_shows_those_it_may_have_been(engines: Engines) -> None:
    async with bench(engines, catalog=HEAVY) as b:
        text = await failed(b, "await codemode.plant.configure_everything({mode: 'mod_277', count: 1})")
        meant = re.findall(r'input\.mode: expected (".*?")', text)[0]
        await works(b, f"await codemode.plant.configure_everything({{mode: {meant}, count: 1}})")
        assert meant == '"mode_277"'


async def test_a_wrong_type_says_which_is_expected_and_what_was_given(engines: Engines) -> None:
    async with bench(engines, catalog=HEAVY) as b:
        text = await failed(b, "await codemode.plant.configure_everything({mode: 'mode_1', count: 'three'})")
        assert 'input.count: expected integer, got "three"' in text
        await works(b, "await codemode.plant.configure_everything({mode: 'mode_1', count: 3})")


async def test_a_property_that_does_not_exist_is_named_with_the_one_meant(engines: Engines) -> None:
    async with bench(engines, catalog=HEAVY) as b:
        text = await failed(b, "await codemode.plant.configure_everything({mode: 'mode_1', count: 1, moode: 'mode_1'})")
        wrong, right = re.findall(r"input\.(\w+): no such property, nearest: input\.(\w+)", text)[0]
        assert (wrong, right) == ("moode", "mode")


async def test_the_code_and_the_data_of_a_tool_s_error_are_there_to_be_used(engines: Engines) -> None:
    def orders(call: Any) -> Any:
        if call.arguments.get("status") == "open":
            return ToolReturned({"structuredContent": {"count": 3}})
        return ToolFailed("unknown status", -32602, {"allowed": ["open", "shipped"], "notes": "x" * 10_000})

    async with bench(engines, catalog=HEAVY, orders=orders) as b:
        text = await failed(b, "return await codemode.plant.orders({status: 'waiting'})")
        assert "unknown status" in text and "plant.orders" in text and "code -32602" in text
        allowed = json.loads(re.findall(r'"allowed":(\[.*?\])', text)[0])
        found = await works(b, f"return await codemode.plant.orders({{status: '{allowed[0]}'}})")
        assert found.value == {"count": 3}
        error = (await b.run("await codemode.plant.orders()")).error
        assert error["tool"] == "plant.orders" and error["code"] == -32602
        assert error["data"]["allowed"] == ["open", "shipped"] and len(json.dumps(error["data"])) <= 2_100


async def test_on_a_limit_the_next_program_knows_where_to_go_on(engines: Engines) -> None:
    async with bench(engines, Limits(calls=7), catalog=HEAVY) as b:
        program = "for (let n = {first}; n < 10; n++) await codemode.plant.orders({{n}});"
        text = await failed(b, program.format(first=0))
        done = int(re.findall(r"plant\.orders ok ×(\d+)", text)[0])
        await works(b, program.format(first=done))
        assert [call.arguments["n"] for call in b.caller.calls] == list(range(10))


@pytest.mark.parametrize(
    "program",
    [
        "await codemode.plant.configure_evrything({mode: 1})",
        "await codemode.plant.configure_everything({mode: 1, count: 'x', "
        + ", ".join(f"q{n}: 1" for n in range(90))
        + "})",
        "await codemode.plant.configure_everything({mode: '" + "y" * 900 + "', count: []})",
        "await codemode.plant.configure_everything(1, 2, 3)",
        "await codemode.describe('plant.configure_evrything')",
        "await codemode.search('x', {server: 'plnt'})",
        "throw new Error('" + "many words of an error " * 90 + "')",
        "codemode." + "very_long_name_" * 60 + ".x()",
        "let x = 1; let x = 2;" + " // and more of it" * 300,
    ],
)
async def test_no_error_costs_more_than_300_tokens(engines: Engines, program: str) -> None:
    async with bench(engines, catalog=HEAVY) as b:
        await failed(b, program)


async def test_long_names_and_many_servers_do_not_make_an_error_long(engines: Engines) -> None:
    long = "_".join(["department", "of", "unusually", "long", "names"] * 12)
    servers = [Server(f"{long}_{n}", tools=(Tool(f"{long}_tool_{n}"),)) for n in range(40)]
    async with bench(engines, catalog=Catalog.build(servers)) as b:
        for program in (
            f"await codemode.{long}_4x.{long}()",
            f"await codemode.{long}_3.{long}_tool()",
            "codemode.q.x()",
        ):
            await failed(b, program)
