"""How long programs wait for people is taken up while the portal runs."""

from __future__ import annotations

from typing import Any

import pytest

from codemode import CodeTool
from portal.app import Parts, serving
from portal.config import parse_config
from tests.portal.portals import MODERN, Kept, client_of, opened
from tests.portal.runs.login import Login
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def test_changed_times_and_bounds_hold_from_the_next_run_on(code_tool: CodeTool) -> None:
    login = Login("echo")

    def document(**runs: Any) -> dict[str, Any]:
        servers = {"one": {"url": upstream.url}}
        return {"mcpServers": servers, "portal": {"codeMode": "enforced", "runs": {"patience": 0.001, **runs}}}

    async with hosted() as upstream:
        parts = Parts(code=code_tool, records=Kept(), gate=login.gate)
        async with opened(document(mostForEach=0), parts=parts) as instance:
            await instance.servers.settled()
            async with serving(instance) as url, client_of(f"{url}/mcp", MODERN) as client:

                async def run(program: str) -> Any:
                    return (await client.call_tool("code", {"code": program})).structured_content

                waits = "return codemode.one.echo({text: 'x'})"
                assert (await run(waits))["error"]["name"] == "TooManyRuns"
                await instance.apply(parse_config(document(mostForEach=1), env={}))
                assert (await run(waits))["status"] == "paused"
