"""Runs that people have to agree to: no call starts before they do, and a run is parked meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from codemode import Agreement, Failure, OnWait, ParkedProgram
from tests.codemode.bench import Answer
from tests.codemode.test_parking import APPROVAL, FAR, Desk, Engines, parked, parking, resumed

pytestmark = pytest.mark.anyio


def agreeing(comes: asyncio.Event, asked: list[str] | None = None) -> Agreement:
    """Asks people to agree to a run, who do when `comes` is set."""

    async def agree(on_wait: OnWait) -> None:
        if asked is not None:
            asked.append("asked")
        async with on_wait(APPROVAL):
            await comes.wait()

    return agree


FIRST_SUSPENSIONS = {
    "a call": "return codemode.fix.echo({n: 1})",
    "calls at once": "return Promise.all([codemode.fix.echo({n: 1}), codemode.fix.echo({n: 2})])",
    "a function of codemode": "await codemode.search('echo'); return codemode.fix.echo({n: 1})",
    "a timer that is due": "await new Promise(resolve => setTimeout(resolve, 1)); return codemode.fix.echo({n: 1})",
    "a timer that is far": f"return Promise.race([codemode.fix.echo({{n: 1}}), {FAR}])",
}


@pytest.mark.parametrize("first", FIRST_SUSPENSIONS)
async def test_no_call_starts_before_people_agree_to_the_run_which_is_parked_meanwhile(
    engines: Engines, first: str
) -> None:
    async with parking(engines) as b:
        desk, asked = Desk({1: {"n": 1}, 2: {"n": 2}}), list[str]()
        desk.handle.agreement = agreeing(asyncio.Event(), asked)
        program = await parked(b, FIRST_SUSPENSIONS[first], desk)
        assert (desk.made, asked, program.waiting) == ([], ["asked"], (replace(APPROVAL, run="exec_1"),))
        comes = asyncio.Event()
        later = Desk({1: {"n": 1}, 2: {"n": 2}})
        later.handle.agreement = agreeing(comes, asked)
        going_on = asyncio.create_task(resumed(b, program, later))
        await later.waits_for(1)
        assert later.made == []
        comes.set()
        answer = await going_on
        assert answer.value in ({"n": 1}, [{"n": 1}, {"n": 2}])
        assert [seq for seq, _, _ in later.made] == list(range(1, len(later.made) + 1)) and later.made
        assert asked == ["asked", "asked"]


async def test_a_program_that_cannot_be_parked_waits_in_memory_until_people_agree(engines: Engines) -> None:
    async with parking(engines) as b:
        desk, comes = Desk({1: {"n": 1}}), asyncio.Event()
        desk.handle.agreement = agreeing(comes)
        arguments = {"code": FIRST_SUSPENSIONS["a call"]}
        running = asyncio.create_task(b.tool.run(arguments, b.catalog, desk, run_id="exec_1", handle=desk.handle))
        await desk.waits_for(1)
        assert desk.made == [] and desk.handle.waits.only_for_people
        comes.set()
        assert Answer(await running).value == {"n": 1} and len(desk.made) == 1


async def test_a_run_that_people_do_not_agree_to_ends_and_its_program_catches_nothing(engines: Engines) -> None:
    code = "try { return await codemode.fix.echo({n: 1}) } catch { return 'caught' } finally { console.log('after') }"
    async with parking(engines) as b:
        desk = Desk({1: {"n": 1}})

        async def refuse(on_wait: OnWait) -> None:
            desk.handle.end(Failure("denied", "PlanDenied", "not today"))

        desk.handle.agreement = refuse
        ended = await b.tool.begin({"code": code}, b.catalog, desk, run_id="exec_1", handle=desk.handle)
        assert not isinstance(ended, ParkedProgram)
        answer = Answer(ended)
        assert (answer.error["kind"], answer.error["message"], desk.made) == ("denied", "not today", [])
        assert answer.calls == [("fix.echo", "cancelled")] and answer.structured["logs"] == []


async def test_a_program_that_ends_without_a_call_asks_nobody_to_agree(engines: Engines) -> None:
    async with parking(engines) as b:
        desk, asked = Desk(), list[str]()
        desk.handle.agreement = agreeing(asyncio.Event(), asked)
        ended = await b.tool.begin({"code": "return 1"}, b.catalog, desk, run_id="exec_1", handle=desk.handle)
        assert not isinstance(ended, ParkedProgram) and Answer(ended).value == 1 and asked == []
