"""One-time PINs by e-mail: six digits, ten minutes, five attempts, good in one browser at one portal.

A flow is a token that every attempt uses up; a wrong PIN gets a new one that counts the attempt. So the store counts
attempts, one after the other, for all processes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pydantic import Field

from portal.notices import Mail, MailFailed, Message
from portal.objects import Document
from portal.pages import Visitor
from portal.shares import Full, Shares, network_of
from portal.state import Kind, Tokens, utc_now

LASTS = timedelta(minutes=10)
ATTEMPTS = 5
MAX_SENDING, MAX_SENDING_FOR_EACH = 200, 20
"""Messages that the mail server has not taken yet; the parts are those of the addresses that asked for them."""
LAST_SECONDS = 5.0


class OneTimePinDocument(Document):
    """A login that waits for its PIN. `pin` is signed by the browser's visitor; "" if no PIN is right."""

    email: str
    target: str
    browser: str
    pin: str = Field(repr=False)
    attempts: int


PIN_FLOW = Kind("pin", OneTimePinDocument)


@dataclass(frozen=True, slots=True)
class RightPin:
    """The address that the PIN was sent to, and where the login leads."""

    email: str
    target: str


@dataclass(frozen=True, slots=True)
class WrongPin:
    """`flow` is the token for the next attempt."""

    flow: str
    email: str
    target: str


class Pins:
    """Sends and checks PINs. `tokens` are those of the portal."""

    def __init__(self, tokens: Tokens, mail: Mail, now: Callable[[], datetime] = utc_now) -> None:
        self._tokens = tokens
        self._mail = mail
        self._now = now
        self._sending: set[asyncio.Task[None]] = set()
        self._room = Shares(MAX_SENDING, MAX_SENDING_FOR_EACH)
        self._log = structlog.get_logger("portal.login")

    async def aclose(self) -> None:
        """Wait a few seconds for messages on their way."""
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=LAST_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def begin(self, visitor: Visitor, email: str, target: str, *, portal: str, send: bool = True) -> str:
        """Send a PIN; the flow token of a login that leads to `target`. With `send` false no PIN is sent or right.

        The mail server gets the message afterwards, so that nobody can tell from the time or the answer whether there
        is one. `portal` is the name that the message says.
        """
        pin = f"{secrets.randbelow(1_000_000):06d}"
        document = OneTimePinDocument(
            email=email,
            target=target,
            browser=visitor.binding,
            pin=visitor.sign(f"pin:{email}:{pin}") if send else "",
            attempts=0,
        )
        flow = await self._issue(email, document, self._now() + LASTS)
        if send:
            self._send(
                Message(
                    email,
                    f"{pin} is your PIN for {portal}",
                    f"Your PIN to sign in to {portal} is {pin}.\n\nIt is good for 10 minutes, in the browser that "
                    "asked for it. If that was not you, do nothing: without it nobody gets in.\n",
                ),
                network_of(visitor.ip),
            )
        return flow

    def _send(self, message: Message, holder: str) -> None:
        try:
            self._room.take(holder)
        except Full as full:
            self._log.error("a PIN could not be sent", reason=f"messages on their way: {full}")
            return
        task = asyncio.create_task(self._hand_over(message))
        self._sending.add(task)

        def sent(task: asyncio.Task[None]) -> None:
            self._sending.discard(task)
            self._room.give_back(holder)

        task.add_done_callback(sent)

    async def _hand_over(self, message: Message) -> None:
        try:
            await self._mail.send(message)
        except MailFailed as error:
            self._log.error("a PIN could not be sent", reason=str(error))

    async def finish(self, visitor: Visitor, flow: str, pin: str) -> RightPin | WrongPin | None:
        """Try a PIN. None if the flow is unknown, expired, another browser's or portal's, or has no attempt left."""
        used = await self._tokens.consume(PIN_FLOW, flow) if flow else None
        if used is None or used.reused or not visitor.owns(used.document.browser):
            return None
        document = used.document
        expected, email, target = document.pin, document.email, document.target
        given = visitor.sign(f"pin:{email}:{''.join(pin.split())}")
        if expected and secrets.compare_digest(expected, given):
            return RightPin(email, target)
        document = document.model_copy(update={"attempts": document.attempts + 1})
        if document.attempts >= ATTEMPTS:
            return None
        return WrongPin(await self._issue(email, document, used.expires_at), email, target)

    async def _issue(self, email: str, document: OneTimePinDocument, expires_at: datetime) -> str:
        flow = secrets.token_urlsafe(32)
        await self._tokens.issue(PIN_FLOW, flow, subject=email, document=document, expires_at=expires_at)
        return flow
