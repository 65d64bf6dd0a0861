"""Fifty programs, parked at every suspension: thawed, repeated in another build, never interrupted, all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codemode import CodeTool, OnWait
from sandbox import Engine, InProcessExecutor, Limits
from tests.codemode.director import WAIT, Decision, Director, interrupted, uninterrupted, without_times
from tests.codemode.parking_programs import PROGRAMS

pytestmark = pytest.mark.anyio
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_that_is_parked_answers_as_if_it_never_was(
    engines: Callable[[Limits], Engine], name: str
) -> None:
    code, engine = PROGRAMS[name], engines(Limits())
    before = engine.live_isolates
    async with InProcessExecutor(engine) as executor:
        tool = CodeTool(executor)
        whole = await uninterrupted(tool, code)
        thawed, director = await interrupted(tool, code, lambda _: "park")
        repeated, again = await interrupted(tool, code, lambda _: "move")
    assert without_times(thawed) == without_times(whole)
    assert without_times(repeated) == without_times(whole)
    assert director.made == again.made
    assert director.parkings == again.parkings >= 1
    assert engine.live_isolates == before


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_that_waited_for_agreement_before_its_first_call_answers_as_if_it_never_had(
    engines: Callable[[Limits], Engine], name: str
) -> None:
    code, engine, asked = PROGRAMS[name], engines(Limits()), list[str]()
    before = engine.live_isolates

    async def agree(on_wait: OnWait) -> None:
        asked.append(name)
        async with on_wait(WAIT):
            await asyncio.get_running_loop().create_future()

    async with InProcessExecutor(engine) as executor:
        tool = CodeTool(executor)
        whole = await uninterrupted(tool, code)
        answer, director = await interrupted(tool, code, lambda _: "live", agreement=agree)
    assert without_times(answer) == without_times(whole)
    assert (asked, director.parkings) == ([name], 1)
    assert engine.live_isolates == before


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(Limits(), slots=16) as made:
        yield made


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(PROGRAMS)), decisions=st.lists(st.sampled_from(DECISIONS), min_size=1, max_size=12))
def test_a_run_answers_the_same_wherever_it_parks_moves_and_dies(
    engine: Engine, name: str, decisions: list[Decision]
) -> None:
    async def both() -> tuple[dict[str, Any], dict[str, Any], Director]:
        async with InProcessExecutor(engine) as executor:
            tool = CodeTool(executor)
            whole = await uninterrupted(tool, PROGRAMS[name])
            return whole, *await interrupted(tool, PROGRAMS[name], lambda step: decisions[step % len(decisions)])

    whole, answer, director = asyncio.run(both())
    assert without_times(answer) == without_times(whole)
    assert engine.live_isolates == 0
    # A call is made once: whatever a program received had been written down before.
    assert len(director.made) == len({seq for seq, _, _ in director.made})
