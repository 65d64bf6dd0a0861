"""A portal with identity for tests: a real server over a real store, policies given as a function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from argon2 import PasswordHasher

from portal.access import Access, Decision, LiveAccess, Standing, read_document
from portal.admin import Admin
from portal.app import Instance, Parts, serving
from portal.app.identity import PortalIdentity
from portal.calls import Gate
from portal.endpoint import CodeRunner
from portal.http import HttpSettings
from portal.identity import Identity
from portal.login import Role
from portal.login.passwords import Passwords
from portal.notices import Message
from portal.oauth.clients import Fetch
from portal.oauth.settings import OAuthSettings
from portal.state import Store
from tests.portal.login.browser import Browser, Page
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state

EVERYONE = {"id": "everyone", "decision": "bypass", "include": [{"everyone": {}}]}
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
# Weak on purpose: what is tested is that it is asked, not how long it takes.
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Time that goes on with the machine's until it is stopped, and jumps when told to."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._stopped_at: datetime | None = None

    def __call__(self) -> datetime:
        return (self._stopped_at or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """From now on only jumps change the time: for what must happen within seconds, however slow the machine is."""
        self._stopped_at = datetime.now(UTC)


@dataclass
class Letters:
    """A mail box for everybody."""

    sent: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


@dataclass
class Rules:
    """The policies of a test: those it names are let in."""

    access: LiveAccess
    allowed: Callable[[Identity], bool] = lambda identity: bool(identity.key)
    asked: list[Identity] = field(default_factory=list)

    async def refused_for_identity(self, identity: Identity, place: str) -> bool:
        return identity.logged_in

    async def could_enter(self, identity: Identity) -> bool:
        return True

    async def admit(self, identity: Identity, place: str) -> Decision:
        self.asked.append(identity)
        if self.allowed(identity):
            return Decision("allow", "let in", "p1", "Staff")
        return Decision("deny", "Denied by the policy 'Staff'.", "p1", "Staff")

    async def decide(self, identity: Identity) -> Standing | None:
        standing = self.access.standing(identity)
        if standing is not None:
            standing.portal = await self.admit(identity, "/mcp")
        return standing


@dataclass
class Guarded:
    """`url` is the portal's base, `mcp` its endpoint."""

    url: str
    instance: Instance
    store: Store
    identity: PortalIdentity
    rules: Rules
    letters: Letters
    clock: Clock
    console: list[str]
    kept: Kept
    admin: Admin

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    async def account(self, email: str = EMAIL, password: str = PASSWORD) -> Identity:
        """The local account of this address."""
        there = await self.identity.administrators.find(email)
        return there.identity if there else await self.identity.administrators.create(email, "Ada", password, by="test")

    async def change_role(self, role: Role, email: str = EMAIL) -> None:
        """Give the local account of this address another role. Somebody else is owner beside them."""
        await self.account("spare@example.com")
        found = await self.identity.administrators.find(email)
        assert found is not None
        await self.identity.administrators.change_role(found.id, role, by="test")


@asynccontextmanager
async def guarded_portal(
    folder: Path,
    *,
    oauth: OAuthSettings | None = None,
    fetch: Fetch | None = None,
    upstream: str = "",
    servers: Mapping[str, str] | None = None,
    runs: Mapping[str, float | str] | None = None,
    passwords: Passwords | None = None,
    code: CodeRunner | Literal["workers"] | None = None,
    code_mode: str = "opt_in",
    state: str = "",
    http: HttpSettings | None = None,
    has_log: bool = False,
    sections: Mapping[str, object] | None = None,
    logs: Mapping[str, Any] | None = None,
    gate: Gate | None = None,
    **settings: Any,
) -> AsyncIterator[Guarded]:
    """With `has_log` rows are in the log of the portal, beside its state, and not in `kept`; `logs` is its section.
    `sections` are further ones of the document's portal. `gate` decides about calls in the place of the policies."""
    clock, letters, console, kept = Clock(), Letters(), list[str](), Kept()
    audiences = settings.pop("audiences", {})
    changes: dict[str, Any] = {"mail": letters, "oauth": oauth or OAuthSettings(), **settings}
    # Each server by its id and its URL, as a document has it.
    urls = {**({"fix": upstream} if upstream else {}), **(servers or {})}
    known = [{"id": id, "policies": [EVERYONE]} for id in {"fix": "", **urls}]
    access = LiveAccess(Access(read_document({"portal": {"policies": [EVERYONE]}, "servers": known})))
    rules = Rules(access)
    parts = Parts(
        code=code,
        http=http or HttpSettings(),
        records=None if has_log else kept,
        access=access,
        gate=gate,
        admission=rules,
        adjust_identity=lambda made: replace(made, **changes),
        fetch=fetch,
        passwords=passwords or Passwords(QUICK),
        now=clock,
    )
    proxies = [str(proxy) for proxy in settings.get("proxies", ())]
    # Servers that are only named: what is tested is who is told, and not that they answer.
    named = {
        name: {"url": "http://127.0.0.1:9/mcp", "assertionAudience": audience, "enabled": False}
        for name, audience in audiences.items()
    }
    document = {
        "mcpServers": {**named, **{id: {"url": url} for id, url in urls.items()}},
        "portal": {
            **(sections or {}),
            "codeMode": code_mode,
            "state": state or new_state(folder),
            "runs": dict(runs or {}),
            **({"logs": dict(logs)} if logs is not None else {}),
            "identity": {
                "trustedProxies": proxies,
                "publicUrl": settings.get("public_url", ""),
                "organization": settings.get("organization", {}),
            },
        },
    }
    async with opened(document, console.append, parts=parts) as instance:
        await instance.servers.settled()
        identity, store, admin = instance.own.identity, instance.shared.store, instance.admin
        assert identity is not None and store is not None and admin is not None
        async with serving(instance) as url:
            yield Guarded(url, instance, store, identity, rules, letters, clock, console, kept, admin)


async def sign_in(browser: Browser, page: Page, email: str = EMAIL, password: str = PASSWORD) -> Page:
    """Fill in the login page with a local account."""
    return await browser.submit(page, "/login/password", email=email, password=password)
