"""Fifty programs, parked at every suspension: thawed, repeated in another build, never interrupted, all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor, Limits
from tests.codemode.director import parked_at_every_suspension, uninterrupted, without_times
from tests.codemode.parking_programs import PROGRAMS

pytestmark = pytest.mark.anyio
NEVER_WAITS = {"deadlock": 1}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_that_is_parked_answers_as_if_it_never_was(
    engines: Callable[[Limits], Engine], name: str
) -> None:
    code, engine = PROGRAMS[name], engines(Limits())
    before = engine.live_isolates
    async with InProcessExecutor(engine) as executor:
        tool = CodeTool(executor)
        whole = await uninterrupted(tool, code)
        thawed, director = await parked_at_every_suspension(tool, code)
        repeated, again = await parked_at_every_suspension(tool, code, build="another")
    assert without_times(thawed) == without_times(whole)
    assert without_times(repeated) == without_times(whole)
    assert director.made == again.made
    assert director.parkings == again.parkings >= 1
    assert engine.live_isolates == before
