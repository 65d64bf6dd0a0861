"""A mail server, a webhook, and processes that tell people of approvals, for tests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.approvals import ApprovalNotices, Approvals, NoticePlace
from portal.approvals.notices import GATHERED
from portal.config import ApprovalNoticesSection
from portal.http import HttpSettings, running
from portal.notices import Smtp
from portal.state import KeyRing, Store
from tests.portal.approvals.people import Noted, Time

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class PostOffice:
    """A mail server on a port of this machine. It answers letters with `answer`; `letters` are those that came."""

    port: int = 0
    answer: str = "250 OK"
    letters: list[EmailMessage] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        letter = message_from_bytes(envelope.content, policy=default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.came.set()
        return self.answer

    @property
    def people(self) -> list[str]:
        return [str(one["To"]) for one in self.letters]

    @property
    def mail(self) -> Smtp:
        return Smtp(host="127.0.0.1", port=self.port, sender="Portal <portal@example.com>", security="none")


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def post_office() -> AsyncIterator[PostOffice]:
    office = PostOffice()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(office), "127.0.0.1", 0)
    async with server:
        office.port = server.sockets[0].getsockname()[1]
        yield office


@dataclass
class Receiver:
    """A webhook that checks what it gets as the specification of Standard Webhooks says. It answers with `status`."""

    url: str = ""
    status: int = 204
    ids: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    async def endpoint(self, request: Request) -> Response:
        body = await request.body()
        assert verified(request.headers, body)
        self.ids.append(request.headers["webhook-id"])
        self.told.append(json.loads(body))
        return Response(status_code=self.status, headers={"location": "/elsewhere"})


def verified(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether one of the signatures is right: the algorithm of the specification, written anew."""
    key = b64decode(SECRET.removeprefix("whsec_"))
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    right = b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, right) for version, value in given)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    routes = [Route(path, found.endpoint, methods=["POST", "GET"]) for path in ("/hook", "/elsewhere")]
    async with running(Starlette(routes=routes), http=HttpSettings()) as url:
        found.url = f"{url}/hook"
        yield found


@dataclass
class Teller:
    """One process that tells when a test says so."""

    store: Store
    approvals: Approvals
    notices: ApprovalNotices

    async def look(self) -> None:
        await self.notices.note()
        await self.notices.send("mail")
        await self.notices.send("webhook")


class Town:
    """A database with approvals, processes on it, their clock, mail server and webhook."""

    def __init__(self, url: str, office: PostOffice, hook: Receiver) -> None:
        self.time, self.events = Time(), Noted()
        self.office, self.hook = office, hook
        self.settings = ApprovalNoticesSection(mail=True)
        self.gathered = GATHERED
        self.url, self._keys = url, KeyRing.in_memory()

    @property
    def hooked(self) -> ApprovalNoticesSection:
        """Settings with the webhook alone."""
        return ApprovalNoticesSection(webhook=self.hook.url, secret=SECRET)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Teller]:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.open(self.url, self._keys, clock=self.time))
            approvals = Approvals(store, self.events, self.time)
            mail, places = self.office.mail, {"": NoticePlace("Acme", "https://portal.example")}

            async def name(portal: str, client: str) -> str:
                return {"agent": "Claude Code"}.get(client, client)

            notices = ApprovalNotices(
                store,
                approvals,
                lambda: self.settings,
                lambda: mail,
                lambda: places,
                name,
                self.events,
                self.time,
                gathered=self.gathered,
            )
            stack.push_async_callback(notices.__aexit__, None, None, None)
            yield Teller(store, approvals, notices)


@asynccontextmanager
async def town(url: str) -> AsyncIterator[Town]:
    async with post_office() as office, receiver() as hook:
        yield Town(url, office, hook)
