"""The client scenarios of the official MCP conformance suite, through the portal's own upstream code."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from tests.house.source import ROOT
from tests.node_tools import install, needs, node
from tests.portal.endpoint.conformance import PACKAGE, SUITE_SECONDS

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.timeout(600)]
RELEASE = "0.2.0-alpha.12"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("scenario", ["auth/client-credentials-jwt", "auth/client-credentials-basic"])
async def test_every_check_of_a_client_scenario_passes(scenario: str) -> None:
    folder = await asyncio.to_thread(needs, install, f"{PACKAGE}@{RELEASE}")
    program = await asyncio.to_thread(needs, node)
    script = folder / "node_modules" / PACKAGE / "dist" / "index.js"
    command = f"{sys.executable} -m tests.portal.credentials.conformance_client"
    process = await asyncio.create_subprocess_exec(
        str(program),
        *(str(script), "client", "--scenario", scenario, "--command", command, "--timeout", str(SUITE_SECONDS * 1000)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(SUITE_SECONDS):
            raw, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    output = raw.decode(errors="replace")
    found = re.search(r"Passed: (\d+)/(\d+), (\d+) failed, (\d+) warnings", output)
    assert found is not None, output[-6000:]
    passed, checks, failed, warnings = map(int, found.groups())
    # Eight of them are about the token; the others are about each message.
    assert (passed, failed, warnings) == (checks, 0, 0) and checks >= 8, output[-6000:]
