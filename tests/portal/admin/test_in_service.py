"""What is in service is listed wherever it is from: servers and portals of the document beside those of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.app import Instance, Parts, serving
from tests.patience import PATIENCE
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _asked(instance: Instance, url: str, path: str) -> Any:
    admin = instance.admin
    assert admin is not None
    token = (await admin.tokens.create_with_all("test", "test")).value
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        at = f"{url}/client/v4/accounts/{admin.account_id}/access/ai-controls/mcp{path}"
        answer = await http.get(at, headers={"Authorization": f"Bearer {token}"})
    return answer.json() if answer.status_code == 200 else answer.status_code


async def test_servers_and_portals_of_the_document_are_listed_without_what_may_be_secret(tmp_path: Path) -> None:
    async with hosted() as upstream:
        document = {
            "mcpServers": {
                "docs": {"url": f"{upstream.url}?key=hunter2hunter2", "description": "All of it", "labels": ["public"]},
                "away": {"url": "http://127.0.0.1:9/mcp", "enabled": False},
                "tool": {"command": "/nowhere/at/all", "args": ["--token", "hunter2hunter2"]},
            },
            "portal": {"state": new_state(tmp_path), "identity": {}, "name": "Everything"},
            "portals": {"team": {"name": "Team", "servers": ["docs"], "codeMode": "enforced"}},
        }
        async with opened(document, lambda line: None, parts=Parts(code=None, records=Kept())) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                servers = await _asked(instance, url, "/served/servers")
                portals = await _asked(instance, url, "/served/portals")
                own = await _asked(instance, url, "/served/portals/_")
                assert await _asked(instance, url, "/served/servers/nothing") == 404
                assert await _asked(instance, url, "/served/portals/nothing") == 404
                assert await _asked(instance, url, "/servers?search=docs") != 404
    assert "hunter2" not in str(servers)
    by_id = {one["id"]: one for one in servers["result"]}
    assert list(by_id) == ["docs", "away", "tool"]
    assert by_id["docs"]["source"] == "configuration" and by_id["docs"]["status"] == "ready"
    assert by_id["docs"]["origin"] == upstream.url.removesuffix("/mcp") and by_id["docs"]["fix"] is None
    assert "echo" in [one["name"] for one in by_id["docs"]["offered"]]
    assert by_id["away"]["enabled"] is False
    assert by_id["tool"]["origin"] == "" and by_id["tool"]["transport"] == "stdio"
    assert by_id["tool"]["fix"]["action"] == "start_program"
    assert [one["id"] for one in portals["result"]] == ["_", "team"]
    assert own["result"] == portals["result"][0]
    assert own["result"]["url"] == f"{url}/mcp" and own["result"]["servers"] is None
    team = portals["result"][1]
    assert team["url"] == f"{url}/team/mcp" and team["code_mode"] == "enforced"
    assert [one["server_id"] for one in team["servers"]] == ["docs"]
