"""The admin API with people who decide, tokens that stand for them, and calls that wait for an approval."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from portal.access import ApprovalRule
from portal.admin.api.permissions import group_id
from portal.admin.tokens import PermissionGroup, TokenBody, TokenPolicy
from portal.approvals import Approval, Approvals
from portal.identity import Identity
from portal.login import Administrators, Passwords, People, Role
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.approvals.people import group, need, rule
from tests.portal.login.guarded import PASSWORD, QUICK
from tests.portal.portals import KeptEvents

MCP = "/access/ai-controls/mcp"
TEAM = rule(group(1, "bob", "carol", "ada"))
BOTH = rule(group(2, "bob", "carol", "ada"))


class Ahead:
    """The time, and how far a test is ahead of it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Office:
    """`tokens` are those that stand for people, by the name before the `@` of their address."""

    api: Api
    approvals: Approvals
    events: KeptEvents
    time: Ahead
    tokens: dict[str, str]
    keys: dict[str, str]

    async def asked(self, by: ApprovalRule = TEAM, **more: Any) -> Approval:
        """The approval that a call of Ada's asks for."""
        return await self.approvals.request(need(by, **{"subject": self.keys["ada"], **more}))

    async def send(
        self, method: str, path: str, who: str = "", body: Mapping[str, object] | None = None, **query: Any
    ) -> httpx2.Response:
        """What a request is answered: of a person by their name, or with this token, or with that of the account."""
        return await self.raw(method, MCP + path, who, body, **query)

    async def raw(
        self, method: str, path: str, who: str = "", body: Mapping[str, object] | None = None, **query: Any
    ) -> httpx2.Response:
        """The same of any path of the account."""
        token = self.tokens.get(who, who) or self.api.token
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            return await http.request(method, self.api.at(path), headers=headers, json=body, params=query)

    async def decide(self, id: str, who: str, decision: str = "approve", **more: object) -> httpx2.Response:
        return await self.send("POST", f"/approvals/{id}/decision", who, {"decision": decision, **more})

    async def listed(self, who: str = "", **query: Any) -> list[str]:
        """The ids of the approvals that are shown."""
        answer = await self.send("GET", "/approvals", who, **query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["result"]]

    async def token_with(self, *permissions: str) -> str:
        """A token of the account that has these permissions."""
        groups = tuple(PermissionGroup(id=group_id(one)) for one in permissions)
        resources: dict[str, Any] = {f"com.cloudflare.api.account.{self.api.account}": "*"}
        policy = TokenPolicy(effect="allow", permission_groups=groups, resources=resources)
        return (await self.api.admin.tokens.create(TokenBody(name="some", policies=(policy,)), "test")).value


def words(answer: httpx2.Response) -> str:
    return str(answer.json()["errors"][0]["message"])


@asynccontextmanager
async def office(
    folder: Path, people: Sequence[str] = ("ada", "bob", "carol", "eve"), roles: Mapping[str, Role] | None = None
) -> AsyncIterator[Office]:
    """People who have signed in at an identity provider, and administrators with these roles (an admin `root`)."""
    time, events = Ahead(), KeptEvents()
    async with admin_api(folder, clock=time) as api:
        api.admin.settings.events = events
        keys: dict[str, str] = {}
        for name in people:
            person = Identity(id=f"okta:{name}", email=f"{name}@example.com", idp_id="okta", idp_type="okta")
            await People(api.store).note(person)
            keys[name] = person.key
        for name, role in (roles or {"root": "admin"}).items():
            accounts = Administrators(api.store, Passwords(QUICK))
            account = await accounts.create(f"{name}@example.com", name.title(), PASSWORD, by="test", role=role)
            keys[name] = account.key
        tokens = {name: (await api.admin.tokens.create_for(name, key, "test")).value for name, key in keys.items()}
        async with Approvals(api.store, events, time) as approvals:
            yield Office(api, approvals, events, time, tokens, keys)
