"""The gateway at the gate: what a call notes for its row stays small, whatever a server sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.calls import Call, GatewayScreening
from portal.calls.gate import Denial
from portal.calls.rows import MAX_FINDINGS
from portal.config import parse_config
from portal.dlp import Pattern, Profile
from portal.gateway import LiveGateway, Rulebook, read_rules
from portal.servers import Servers
from portal.upstream import CallContext
from tests.portal.gateway.searching import Searching

pytestmark = pytest.mark.anyio
OWN = 'any(dlp.profiles[*] == "own")'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def screening(servers: Servers, folder: Path, *rules: dict[str, object]) -> GatewayScreening:
    profile = Profile("own", patterns=(Pattern("ticket", r"\bT-\d{5}\b"),))
    gateway = LiveGateway(Searching(folder, [profile]))
    gateway.replace(Rulebook(tuple(read_rules(rules))))
    return GatewayScreening(gateway, servers, "", lambda: True)


async def test_what_a_call_notes_is_bounded_and_has_what_ended_it(tmp_path: Path) -> None:
    config = parse_config({"mcpServers": {"up": {"url": "http://127.0.0.1:1/mcp"}}}, env={})
    async with Servers(config.servers) as servers:
        log: dict[str, object] = {
            "name": "log",
            "action": "log",
            "traffic": f'{OWN} and mcp.method == "notifications/message"',
        }
        gate = screening(servers, tmp_path, log, {"name": "block", "action": "block", "traffic": OWN})
        context, call = CallContext(), Call.tool("up", "echo", {})
        told = Call(server="up", method="notifications/message", name="echo")
        for number in range(3 * MAX_FINDINGS):
            content = {"data": [f"T-{number:05}", "T-99999"]}
            assert isinstance(await gate.screen(content, "incoming", told, context), Denial)
        assert isinstance(await gate.screen({"content": ["T-11111"]}, "incoming", call, context), Denial)
        noted = context.facts.findings
        assert len(noted) == MAX_FINDINGS and noted[-1]["action"] == "block"
        assert sum(len(found) for one in noted if isinstance(found := one.get("findings"), list)) <= MAX_FINDINGS


async def test_a_server_that_is_gone_is_what_it_was_when_the_call_began(tmp_path: Path) -> None:
    config = parse_config({"mcpServers": {"up": {"url": "http://127.0.0.1:1/mcp"}}}, env={})
    rule: dict[str, object] = {"name": "there", "action": "block", "traffic": 'http.request.host == "127.0.0.1"'}
    async with Servers({}) as servers:
        gate, context = screening(servers, tmp_path, rule), CallContext()
        call = Call.tool("up", "echo", {})
        context.facts.server = config.servers["up"]
        denied = await gate.screen({}, "incoming", call, context)
        assert isinstance(denied, Denial) and "its conditions hold" in denied.reason
        context.facts.server = None
        unknown = await gate.screen({}, "incoming", call, context)
        assert isinstance(unknown, Denial) and "not there any more" in unknown.reason
        assert (
            await gate.screen({}, "incoming", Call(server="up", method="resources/unsubscribe", name="a"), context)
            == {}
        )
