"""Every check of the official MCP conformance suite passes through the portal, in both protocol generations."""

import os

import pytest

from tests.node_tools import NodeToolUnavailable
from tests.portal.endpoint.conformance import SUITES, Suite, portal_over, run_suite, run_task_scenarios
from tests.portal.endpoint.everything import ExampleUnavailable, everything_server

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.timeout(600)]


# The stable release has fewer checks of the same version of the protocol.
STABLE, *NEWER = SUITES


@pytest.mark.parametrize("suite", [pytest.param(STABLE, marks=pytest.mark.deep), *NEWER], ids=lambda suite: suite.name)
async def test_every_check_of_the_official_suite_passes_through_the_portal(suite: Suite) -> None:
    try:
        async with everything_server() as upstream, portal_over(upstream) as url:
            outcome = await run_suite(suite, url)
    except (NodeToolUnavailable, ExampleUnavailable) as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))
    assert outcome.green, outcome.output[-6000:]


@pytest.mark.deep
async def test_every_scenario_of_the_tasks_extension_passes_through_the_portal() -> None:
    try:
        outcomes = await run_task_scenarios()
    except NodeToolUnavailable as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))
    assert all(one.green for one in outcomes), [(str(one), one.output[-2000:]) for one in outcomes if not one.green]
