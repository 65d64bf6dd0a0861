"""A developer's own functions, and an MCP server in the same process, as tools of a program."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, TypedDict

import pytest
from mcp import Client
from mcp.server import MCPServer
from pydantic import BaseModel

from codemode import CodeTool, ExposedTools, expose, expose_server
from codemode.hints import input_schema, output_schema, schema_of
from sandbox import Engine, InProcessExecutor, Limits
from tests.codemode.bench import Answer

Engines = Callable[[Limits], Engine]


class Unit(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


@dataclass
class Place:
    latitude: float
    longitude: float
    name: str = ""


class Row(TypedDict):
    id: int
    title: str


class Order(BaseModel):
    number: int
    lines: list[str] = []


async def forecast(
    place: Place, days: Annotated[int, "how far ahead"] = 3, unit: Unit = Unit.METRIC, since: date | None = None
) -> dict[str, Any]:
    """The weather of a place."""
    return {"at": [place.latitude, place.longitude], "days": days, "unit": unit.value}


def add(a: float, b: float) -> float:
    """The sum of two numbers."""
    return a + b


async def order_lines(order: Order) -> Order:
    return Order(number=order.number + 1, lines=[*order.lines, "new"])


async def nothing() -> None: ...


async def broken(secret: str) -> str:
    raise ValueError(f"cannot use {secret}")


async def run(engines: Engines, exposed: ExposedTools, code: str) -> Answer:
    async with InProcessExecutor(engines(Limits())) as executor:
        return Answer(await CodeTool(executor).run({"code": code}, exposed.catalog, exposed))


def test_type_hints_become_schemas() -> None:
    assert input_schema(forecast) == {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {
                    "latitude": {"type": "number"},
                    "longitude": {"type": "number"},
                    "name": {"type": "string"},
                },
                "required": ["latitude", "longitude"],
            },
            "days": {"type": "integer", "description": "how far ahead", "default": 3},
            "unit": {"enum": ["metric", "imperial"]},
            "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "additionalProperties": False,
        "required": ["place"],
    }
    assert output_schema(add) == {"type": "number"}
    assert output_schema(lambda: 1) is None


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (
            Row,
            {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "title": {"type": "string"}},
                "required": ["id", "title"],
            },
        ),
        (list, {"type": "array"}),
        (Any, {}),
        (object, {}),
        (None, {"type": "null"}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_each_kind_of_hint_has_its_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint) == schema


def test_a_model_brings_its_own_schema() -> None:
    assert schema_of(Order)["properties"]["number"]["type"] == "integer"


def test_parameters_without_a_name_are_refused() -> None:
    def variadic(*values: int) -> int:
        return sum(values)

    with pytest.raises(TypeError, match="cannot be given by name"):
        expose(variadic)


@pytest.mark.anyio
async def test_functions_are_called_with_what_their_hints_promise(engines: Engines) -> None:
    tools = expose(forecast, add, order_lines, nothing)
    code = """const {python} = codemode;
        const place = {latitude: 1, longitude: 2};
        return [await python.forecast({place, unit: 'imperial'}), await python.add({a: 1, b: 2}),
                await python.order_lines({order: {number: 1}}), await python.nothing()]"""
    assert (await run(engines, tools, code)).value == [
        {"at": [1, 2], "days": 3, "unit": "imperial"},
        3,
        {"number": 2, "lines": ["new"]},
        None,
    ]


@pytest.mark.anyio
async def test_what_a_function_raises_rejects_its_call(engines: Engines) -> None:
    found = await run(
        engines, expose(broken), "return await codemode.python.broken({secret: 'it'}).catch(e => e.message)"
    )
    assert found.value == "cannot use it"


@pytest.mark.anyio
async def test_arguments_are_checked_before_a_function_is_called(engines: Engines) -> None:
    found = await run(engines, expose(add, server="math"), "await codemode.math.add({a: 1, c: 2})")
    assert "input.c: no such property" in found.text and "input.b is missing" in found.text


@pytest.mark.anyio
async def test_an_in_process_mcp_server_is_exposed_with_all_its_tools(engines: Engines) -> None:
    server = MCPServer("notes", log_level="ERROR")
    notes: list[str] = []

    @server.tool()
    def write(text: str) -> int:
        """Write a note."""
        notes.append(text)
        return len(notes)

    @server.tool()
    def fail() -> str:
        raise RuntimeError("no paper")

    async with Client(server) as client:
        tools = await expose_server(client, id="notes", description="A notebook")
        assert "Write a note." in tools.catalog.describe("notes.write")
        code = """const one = await codemode.notes.write({text: 'a'});
            const failure = await codemode.notes.fail().catch(e => e.name);
            return [one, failure]"""
        found = await run(engines, tools, code)
        assert (notes, found.value[1]) == (["a"], "ToolError")
        assert found.value[0] in (1, {"result": 1})


@pytest.mark.anyio
async def test_several_sources_are_joined(engines: Engines) -> None:
    tools = expose(add, server="math") | expose(nothing, server="other")
    assert (
        await run(engines, tools, "return [await codemode.math.add({a: 1, b: 1}), Object.keys(codemode.other)]")
    ).value == [
        *(2, ["nothing"]),
    ]
    with pytest.raises(ValueError, match="math"):
        expose(add, server="math") | expose(add, server="math")
