"""The example of all guards together does what the chapter says, with the text of the chapter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.app import Parts, serving
from portal.login.passwords import Passwords
from portal.logs import LogRow
from tests.patience import PATIENCE
from tests.portal.app.many_portals import Many
from tests.portal.app.test_events import rows_of
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import QUICK, Letters
from tests.portal.oauth.agent import Agent
from tests.portal.portals import opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import ANY, Behaviour

pytest.importorskip("kingfisher_sdk")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```json\n(.*?)```", CHAPTER[CHAPTER.index("### All guards together") :], re.DOTALL)[0]
# Put together, so that nobody who searches these files takes them for real ones.
CARD, TOKEN = "4111 1111" + " 1111 1111", "ghp_" + "q8W2eR4tY6uI0oPa" + "5sD7fG9hJ1kL3zX2cV4b"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def example(folder: Path, crm: Hosted, mail: Hosted) -> dict[str, Any]:
    """The document of the chapter over servers that are there, with files in `folder`."""
    document: dict[str, Any] = json.loads(EXAMPLE)
    document["mcpServers"]["crm"]["url"], document["mcpServers"]["mail"]["url"] = crm.url, mail.url
    portal = document["portal"]
    portal |= {"state": new_state(folder), "metrics": {"token": "a-token-of-enough-characters"}}
    portal["exports"]["folders"] = [str(folder)]
    return document


async def called(agent: Agent, http: httpx2.AsyncClient, tool: str, text: str) -> str:
    """What a call brings back: the text of its result, or the words of its error."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        "Authorization": f"Bearer {agent.tokens['access_token']}",
    }
    params = {"name": tool, "arguments": {"text": text}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    answer = (await http.post(agent.portal.mcp, json=body, headers=headers)).json()
    return str(answer["error"]["message"] if "error" in answer else answer["result"]["content"][0]["text"])


async def test_the_example_of_all_guards_does_what_the_chapter_says(tmp_path: Path) -> None:
    deletes = Behaviour(more=[{"name": "delete_customer", "inputSchema": ANY}])
    letters = Letters()
    parts = Parts(code=None, passwords=Passwords(QUICK))
    async with hosted(deletes) as crm, hosted() as mail:
        document = example(tmp_path, crm, mail)
        async with (
            opened(document, parts=parts) as instance,
            serving(instance) as url,
            browser_at(url) as browser,
            httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
        ):
            await instance.servers.settled()
            portal = Many(url, instance, letters)
            await portal.account()
            agent = Agent(portal.own, http)  # type: ignore[arg-type]
            await agent.log_in(browser)

            async def call(tool: str, text: str = "hello") -> str:
                return await called(agent, http, tool, text)

            assert "Nothing is deleted" in await call("crm_delete_customer")
            assert await call("mail_echo") == "hello"
            blocked = await call("mail_echo", f"it is {TOKEN}")
            assert "No secrets out" in blocked and "Secrets are in the vault: pass their names." in blocked
            assert "arguments.text" in blocked and TOKEN not in blocked
            assert await call("crm_echo", f"pays with {CARD}") == "pays with [redacted:card]"
            assert "no-leaks" in await call("mail_echo")
            for _ in range(120):
                last = await call("crm_echo")
            assert "'Everybody' allows 120 calls" in last and "Try again in" in last
            rows = await rows_of(instance.shared.log, kind="tool")
    # What a policy denies uses up no quota, what the gateway blocks does.
    assert [row.outcome for row in rows].count("ok") == 120 - 2
    assert list(dict.fromkeys(map(decided, rows))) == [
        ("delete_customer", "denied", "no-deletes"),
        ("echo", "ok", ""),
        ("echo", "denied", "gateway:No secrets out"),
        ("echo", "ok", "gateway:No cards to the model"),
        ("echo", "denied", "data-flow:no-leaks"),
        ("echo", "denied", "quota:Everybody"),
    ]
    assert all(CARD not in repr(row) and TOKEN not in repr(row) for row in rows)


def decided(row: LogRow) -> tuple[str, str, str]:
    return row.name, row.outcome, row.policy
