"""What a completed task costs, and that the description of `code` declares tools where this costs least.

A few tasks of what `benchmarks/subjects/task_searched.py` measures.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator

import pytest

from benchmarks.agent import Agent, Transcript, agent
from benchmarks.arguments import required_arguments
from benchmarks.tasks import Company, Task
from codemode import Catalog
from codemode.description import declared_tools, description, has_room_for, with_declarations, with_servers
from stubs import Server
from tests.codemode.counting import counted
from tests.corpus import cloudflare
from tests.corpus.real_servers import demo_servers

pytestmark = pytest.mark.anyio
pytest.importorskip("splintr")


@pytest.fixture(scope="module")
def drawn_from() -> Company:
    return Company(asyncio.run(demo_servers()), cloudflare.server())


@pytest.fixture
async def one() -> AsyncIterator[Agent]:
    async with agent(counted) as made:
        yield made


def as_many_as_declared(drawn_from: Company, task: Task) -> Catalog | None:
    """The largest catalog of a task whose tools are declared; None where already one is too long."""
    found, size = None, 1
    while has_room_for(declared_tools(catalog := drawn_from.drawn(task, size))):
        found, size = catalog, size + 1
    return found


def test_every_text_is_read_again_at_each_later_turn() -> None:
    transcript = Transcript(100, [(10, 20), (1, 2)])
    assert transcript.once == 133
    assert transcript.read == 100 + 130 + 133


async def test_what_the_description_declares_costs_a_task_less_than_finding_it(drawn_from: Company, one: Agent) -> None:
    """It fails when a search has become so cheap, or the room so large, that fewer tools must be declared."""
    tried = 0
    for task in drawn_from.some(8):
        if (catalog := as_many_as_declared(drawn_from, task)) is None:
            continue
        tried += 1
        assert description(catalog) == with_declarations(catalog, declared_tools(catalog))
        declared, searched = await one.declared(task, catalog), await one.searched(task, catalog)
        assert (len(declared.turns), len(searched.turns)) == (1, 2)
        assert declared.once < searched.once and declared.read < searched.read
    assert tried >= 4


async def test_the_room_ends_before_declarations_cost_as_much_as_finding_a_tool(
    drawn_from: Company, one: Agent
) -> None:
    """Were it the other way round, a limit of its own would have to end the declarations earlier."""
    even, declared_lengths = [], []
    for task in drawn_from.some(8):
        catalog = drawn_from.drawn(task, 3)
        length = counted(declared_tools(catalog))
        even.append(length - ((await one.declared(task, catalog)).once - (await one.searched(task, catalog)).once))
        if (fitting := as_many_as_declared(drawn_from, task)) is not None:
            declared_lengths.append(counted(declared_tools(fitting)))
    assert max(declared_lengths) < statistics.median(even)


async def test_finding_a_tool_takes_one_turn_and_less_than_reading_ten(drawn_from: Company, one: Agent) -> None:
    for task in drawn_from.some(8):
        catalog = drawn_from.drawn(task, 10)
        assert description(catalog) == with_servers(catalog)
        listed, searched = await one.listed(task, catalog), await one.searched(task, catalog)
        assert (len(listed.turns), len(searched.turns)) == (1, 2)
        assert searched.once < listed.once and searched.read < listed.read


async def test_a_tool_that_the_words_of_a_task_do_not_find_is_searched_again(drawn_from: Company, one: Agent) -> None:
    task = Task("qxzjvk", (("shop", "get_order"),))
    transcript = await one.searched(task, drawn_from.drawn(task, 10))
    assert len(transcript.turns) == 3


def test_a_larger_catalog_has_the_tools_of_a_smaller_one(drawn_from: Company) -> None:
    task = drawn_from.tasks[0]
    smaller, larger = ({tool["path"] for tool in drawn_from.drawn(task, size).tools()} for size in (5, 20))
    assert smaller < larger and len(larger) == 20


def test_tools_take_the_arguments_that_are_made_of_their_schema(drawn_from: Company) -> None:
    catalog = Catalog.build([Server(cloudflare.SERVER, tools=cloudflare.server().tools[::25])])
    for tool in catalog.tools():
        arguments = required_arguments(tool["inputSchema"])
        assert catalog.argument_check(tool["path"]).mismatches(arguments) == [], tool["path"]
