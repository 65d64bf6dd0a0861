"""No answer of a server makes the event loop late, whatever is in it and whatever carries it.

Of each answer there is an outcome in our own words, or the answer itself where it is within the bounds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from portal.calls import Call
from portal.errors import CallError
from portal.upstream import ProcessLogs
from tests.deep import deep
from tests.hostile import unparsed
from tests.hostile.lateness import STALL, least_late
from tests.hostile.upstream import ANSWERS, ERRORS, HTTP, LINES, STREAMS, hostile_upstream
from tests.patience import PATIENCE
from tests.portal.portals import Portal, portal_over
from tests.portal.upstreams.watching import watched

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def outcome_of(portal: Portal, tool: str) -> dict[str, Any] | CallError:
    try:
        return await portal.caller.call(Call.tool("h", tool, {}))
    except CallError as error:
        return error


async def once_ready(portal: Portal) -> None:
    """The server is connected, again if it had to be disconnected."""
    for _ in range(100):
        if isinstance(await outcome_of(portal, "fine"), dict):
            return
        await portal.servers.settled()
    raise AssertionError("the server is not connected to again")


@pytest.mark.parametrize(
    "case", deep([*(f"http {name}" for name in (*ANSWERS, *ERRORS)), *(f"stdio {name}" for name in ANSWERS)])
)
async def test_no_result_makes_the_loop_late(case: str) -> None:
    transport, name = case.split()
    async with hostile_upstream(transport, timeout=PATIENCE) as entry, portal_over({"h": entry}) as portal:
        await once_ready(portal)
        late = await least_late(lambda: outcome_of(portal, name), STALL)
    assert late.worst < STALL, late


@pytest.mark.parametrize("name", deep([*STREAMS, *HTTP, "bomb", "redirects"]))
async def test_no_stream_makes_the_loop_late(name: str) -> None:
    async with hostile_upstream(timeout=PATIENCE) as entry, portal_over({"h": entry}) as portal:

        async def attack() -> None:
            await once_ready(portal)
            assert isinstance(await outcome_of(portal, name), CallError)

        late = await least_late(attack, STALL)
    assert late.worst < STALL, late


@pytest.mark.parametrize("name", deep(name for name in LINES if name not in ("words", "half_answers")))
async def test_no_line_that_comes_again_and_again_makes_the_loop_late(name: str) -> None:
    async with hostile_upstream("stdio", timeout=PATIENCE) as entry, portal_over({"h": entry}) as portal:

        async def attack() -> None:
            await once_ready(portal)
            assert isinstance(await outcome_of(portal, name), CallError)

        late = await least_late(attack, STALL)
    assert late.worst < STALL, late


FLOOD = """import os
lines = b"".join(b"line %d of a flood of lines\\n" % n for n in range(1000))
for _ in range(1000): os.write(2, lines)
"""


async def test_a_million_lines_on_standard_error_that_are_kept_do_not_make_the_loop_late(tmp_path: Path) -> None:
    entry = {"command": sys.executable, "args": ["-c", FLOOD]}

    async def attack() -> None:
        async with ProcessLogs(tmp_path) as logs, watched(entry, options={"logs": logs}) as up:
            await up.until(lambda connection: connection.state == "error")

    late = await least_late(attack, STALL)
    assert late.worst < STALL, late


@pytest.mark.parametrize("name", deep(name for name in ANSWERS if name.startswith("fewer")))
async def test_no_result_within_the_bounds_makes_the_loop_late_on_its_way_to_a_client(name: str) -> None:
    async with hostile_upstream(timeout=PATIENCE) as entry, portal_over({"h": entry}) as portal:
        await once_ready(portal)
        async with aiohttp.ClientSession() as http:
            late = await least_late(lambda: unparsed.call(http, portal.mcp, f"h_{name}"), STALL)
    assert late.worst < STALL, late
