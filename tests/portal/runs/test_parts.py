"""Programs under way: one person, or one address, does not take all of the room, and none of anybody else's time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest

from codemode import Catalog, CodeTool, FairThreads, ToolCaller, work_for
from codemode.threads import whose
from portal.config import RunSettings
from portal.identity import Identity
from portal.runs import RunRegistry
from portal.runs import registry as registry_module
from sandbox import Limits, Overloaded, WorkerExecutor
from tests.hostile.crowd import HOSTILE, LARGE, MORE, QUICK, SLOW, Slow
from tests.portal.access.guarded import ANYBODY, STAFF, guarded
from tests.portal.portals import GENERATIONS, MODERN, client_of
from tests.portal.runs.login import Login
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
STAFF_ONLY = {"portal": {"policies": [STAFF]}, "servers": [{"id": "one", "policies": [ANYBODY]}]}
BYPASS = {"id": "all", "decision": "bypass", "include": [{"everyone": {}}]}
OPEN = {"portal": {"policies": [BYPASS]}, "servers": [{"id": "one", "policies": [BYPASS]}]}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "UNDER_WAY", 5)
    monkeypatch.setattr(registry_module, "UNDER_WAY_EACH", 2)


@pytest.mark.usefixtures("small_parts")
def test_one_holder_has_a_part_and_nobody_in_particular_has_none() -> None:
    registry = RunRegistry(RunSettings)
    for _ in range(2):
        registry.admit("ann")
    with pytest.raises(Overloaded, match=r"2 of your programs are under way.*nothing was run, try again") as own:
        registry.admit("ann")
    for _ in range(3):
        registry.admit("")
    with pytest.raises(Overloaded, match="5 programs are under way at this portal") as everybodys:
        registry.admit("bob")
    assert (own.value.own, everybodys.value.own) == (True, False)
    registry.dismiss("ann")
    registry.admit("bob")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("mode", GENERATIONS)
async def test_a_program_more_than_a_person_may_have_is_refused_and_everybody_else_s_runs(
    mode: str, code_tool: CodeTool
) -> None:
    login = Login("echo")
    async with (
        hosted() as upstream,
        guarded({"one": upstream}, STAFF_ONLY, code_tool=code_tool, gate=login.gate) as portal,
        client_of(portal.code("ada"), mode) as ada,
        client_of(portal.code("bob"), mode) as bob,
    ):
        kept = [asyncio.create_task(_until(ada, "return codemode.one.echo({text: 'x'})", False)) for _ in range(2)]
        refused = await _until(ada, "return 1", True)
        assert refused.is_error
        error = refused.structured_content["error"]
        assert (error["kind"], error["name"]) == ("denied", "Overloaded")
        assert "2 of your programs are under way" in error["message"]
        assert "nothing was run, try again when one has ended" in error["message"]
        assert refused.structured_content["calls"] == []
        assert (await bob.call_tool("code", {"code": "return 1"})).structured_content["result"] == 1
        login.done.set()
        assert [(await one).structured_content["result"] for one in kept] == ["x", "x"]
        assert (await ada.call_tool("code", {"code": "return 2"})).structured_content["result"] == 2


async def _until(client: Any, program: str, refused: bool) -> Any:
    """The first answer that is a refusal, or is none."""
    while (answer := await client.call_tool("code", {"code": program})).is_error is not refused:
        await asyncio.sleep(0)
    return answer


class Recorder:
    """In the place of the code tool: notes for whom each program is run."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def definition(self, catalog: Catalog, *, plans: bool = False) -> dict[str, Any]:
        return {"name": "code", "inputSchema": {"type": "object"}}

    async def prepare(self, catalog: Catalog) -> None:
        """Nothing."""

    async def begin(
        self, arguments: Mapping[str, Any], catalog: Catalog, caller: ToolCaller, *, identity: str = "", **_: Any
    ) -> dict[str, Any]:
        self.seen.append((identity, await asyncio.to_thread(whose)))
        return {"content": []}


async def test_whom_a_policy_lets_in_without_a_login_has_the_part_of_their_address() -> None:
    recorder: Any = Recorder()
    async with hosted() as upstream, guarded({"one": upstream}, OPEN, code_tool=recorder) as portal:
        addresses = {"first": "192.0.2.7", "second": "2001:db8::1", "neighbour": "2001:db8::2"}
        portal.callers.update({name: Identity(ip=ip) for name, ip in addresses.items()})
        for name in (*addresses, "ada"):
            async with client_of(portal.code(name), MODERN) as client:
                await client.call_tool("code", {"code": "1"})
    network = "address:2001:db8::/64"
    holders = ["address:192.0.2.7", network, network, "ada"]
    assert recorder.seen == [(one, one) for one in holders]


async def first_program(tool: CodeTool, catalog: Catalog, identity: str, source: str) -> float:
    """The seconds that the first program of an identity takes."""
    work_for(identity)
    began = perf_counter()
    answer = await tool.run({"code": source}, catalog, Slow(), identity=identity)
    assert answer["structuredContent"]["result"] == 2
    return perf_counter() - began


@asynccontextmanager
async def besieged(programs: list[str]) -> AsyncIterator[tuple[CodeTool, Catalog, float]]:
    """A code tool on worker processes, with threads as the portal has them, and 64 programs of one person that are
    begun again as soon as they end. Also how long a program takes before they begin."""
    threads = FairThreads()
    asyncio.get_running_loop().set_default_executor(threads)
    catalog = Catalog.build([SLOW])
    async with WorkerExecutor(Limits(), workers=2) as executor:
        tool = CodeTool(executor)
        await tool.prepare(catalog)
        quiet = max([await first_program(tool, catalog, "", source) for source in (*QUICK, *QUICK)][3:])

        async def attack(number: int) -> None:
            work_for("enemy")
            while True:
                await tool.run({"code": programs[number % len(programs)]}, catalog, Slow(), identity="enemy")

        enemies = [asyncio.create_task(attack(number)) for number in range(64)]
        while not (threads._queue or executor._dispatch._slots.parked):
            await asyncio.sleep(0)
        try:
            yield tool, catalog, quiet
        finally:
            for enemy in enemies:
                enemy.cancel()
            await asyncio.gather(*enemies, return_exceptions=True)


@pytest.mark.parametrize("programs", [HOSTILE + MORE, list(LARGE.values())], ids=["every kind", "large sources"])
async def test_the_first_program_of_a_newcomer_answers_soon_among_sixty_four_hostile_ones(programs: list[str]) -> None:
    """What is asked is a quarter of a second on a machine that does nothing else. A second, and more where everything
    takes long, is generous. Best of three."""
    async with besieged(random.Random(1).sample(programs, len(programs))) as (tool, catalog, quiet):
        for at, source in enumerate(QUICK):
            newcomers = (first_program(tool, catalog, f"newcomer {at} {number}", source) for number in range(3))
            took = [await asyncio.create_task(newcomer) for newcomer in newcomers]
            assert min(took) < 1.0 + 10 * quiet, (source, took)
