"""A call of a program that waits at a real portal, decided over the admin API by a person, and by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cloudflare import APIStatusError, AsyncCloudflare
from starlette.applications import Starlette

from codemode import CodeTool
from portal.admin import PREFIX, Admin, AdminSettings, create_admin
from portal.http import running
from portal.login import People
from tests.portal.access.guarded import ADA, BOB, ROBOT
from tests.portal.approvals.test_calls import BOBS_GROUP, CAUGHT, ECHO, Place, asking, place

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Inbox:
    """The admin API of a portal, as people use it who have a token that stands for them."""

    at: Place
    admin: Admin
    url: str

    async def ask(self, method: str, path: str, token: str, body: object = None) -> Any:
        """The result of a request, by the SDK's own client."""
        async with AsyncCloudflare(api_token=token, base_url=f"{self.url}{PREFIX}", max_retries=0) as sdk:
            place = f"/accounts/{self.admin.account_id}/access/ai-controls/mcp{path}"
            answer: Any = await (
                sdk.get(place, cast_to=object) if method == "GET" else sdk.post(place, body=body, cast_to=object)
            )
            return answer["result"]


@asynccontextmanager
async def inbox(folder: Path, code_tool: CodeTool) -> AsyncIterator[Inbox]:
    async with place(folder, asking(approval_groups=BOBS_GROUP), code_tool) as at:
        for person in (ADA, BOB):
            await People(at.store).note(person)
        settings = AdminSettings(events=at.events)
        admin = await create_admin(at.store, clock=at.time, settings=settings, approvals=at.approvals)
        async with running(Starlette(routes=[admin.route()])) as url:
            yield Inbox(at, admin, url)


async def test_a_program_goes_on_when_a_member_of_the_group_approves_over_the_api(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with inbox(tmp_path, code_tool) as api:
        bob = (await api.admin.tokens.create_for("bob", BOB.key, "test")).value
        waiting = asyncio.create_task(api.at.run(ECHO))
        [asked] = await api.at.asked()
        (listed,) = await api.ask("GET", "/approvals?state=pending", bob)
        assert (listed["id"], listed["server"], listed["tool"], listed["run"]) == (asked.id, "up", "echo", asked.run)
        shown = await api.ask("GET", f"/approvals/{asked.id}?arguments=true", bob)
        assert shown["arguments"] == '{"text":"planted-argument"}' and api.at.calls == 0
        await api.ask("POST", f"/approvals/{asked.id}/decision", bob, {"decision": "approve"})
        answer = await waiting
        assert (answer["status"], answer["result"]) == ("completed", "planted-argument") and api.at.calls == 1
        assert (await api.ask("GET", f"/approvals/{asked.id}", bob))["state"] == "used"
        assert "planted-argument" not in str(api.at.events.rows)


async def test_a_denial_over_the_api_is_an_error_of_the_call_and_nothing_is_sent(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with inbox(tmp_path, code_tool) as api:
        bob = (await api.admin.tokens.create_for("bob", BOB.key, "test")).value
        waiting = asyncio.create_task(api.at.run(CAUGHT))
        [asked] = await api.at.asked()
        await api.ask("POST", "/approvals/decisions", bob, {"decision": "deny", "run": asked.run, "comment": "not now"})
        answer = await waiting
        assert answer["status"] == "completed" and answer["result"]["kind"] == "denied" and api.at.calls == 0


async def test_no_token_but_that_of_a_member_lets_the_program_go_on(tmp_path: Path, code_tool: CodeTool) -> None:
    async with inbox(tmp_path, code_tool) as api:
        account = (await api.admin.tokens.create_with_all("everything", "test")).value
        ada = (await api.admin.tokens.create_for("ada", ADA.key, "test")).value
        robot = (await api.admin.tokens.create_for("robot", ROBOT.key, "test")).value
        waiting = asyncio.create_task(api.at.run(CAUGHT))
        [asked] = await api.at.asked()
        for token in (account, ada, robot):
            with pytest.raises(APIStatusError) as refused:
                await api.ask("POST", f"/approvals/{asked.id}/decision", token, {"decision": "approve"})
            assert refused.value.status_code == 403
        assert (await api.at.approvals.get(asked.id)).votes == () and not waiting.done() and api.at.calls == 0
        await api.ask("POST", f"/approvals/{asked.id}/decision", ada, {"decision": "deny"})
        assert (await waiting)["result"]["kind"] == "denied"
