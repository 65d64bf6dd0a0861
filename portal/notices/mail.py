"""Sending mail: SMTP in a thread of its own, or, while developing, the server's console."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Literal, Protocol, Self

from portal.config import IdentitySection
from portal.egress import AddressRule, Threads, connected

TIMEOUT_SECONDS = 20.0
"""For each step of handing a letter over."""
# Letters that are handed over at once.
MOST_AT_ONCE = 4
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")


class MailFailed(Exception):
    """The message could not be handed over. The text is for the log: it holds no secret and no address."""


@dataclass(frozen=True, slots=True)
class Message:
    """A letter. One that has an `id` says that a program has written it, so that no holiday note answers it; a letter
    that is sent once more has the same."""

    to: str
    subject: str
    text: str
    id: str = ""


class Mail(Protocol):
    async def send(self, message: Message) -> None:
        """Raises MailFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """A mail server. `security` is `starttls`, `tls` (from the first byte) or `none` (a server on this machine).

    It has threads of its own: one that does not answer holds up no other work that is done in threads.
    """

    host: str
    sender: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    # A mail server that is slow costs nobody the threads of the loop.
    _threads: Threads = field(
        default_factory=lambda: Threads(MOST_AT_ONCE, "mail"), init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, section: IdentitySection | None) -> Self | None:
        """The mail server that a configuration names, None without one."""
        return cls(**section.smtp.model_dump()) if section is not None and section.smtp is not None else None

    async def send(self, message: Message) -> None:
        opened = await self._opened()
        try:
            await self._threads.run(lambda: self._send(message, opened))
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise self._failed(error) from error
        finally:
            opened.close()

    async def check(self) -> None:
        """Return if the server lets letters be handed over as configured: it answers, encrypts, and takes the user. No
        letter is sent.

        Raises:
            MailFailed: it does not.
        """
        opened = await self._opened()
        try:
            await self._threads.run(lambda: self._session(opened).quit())
        except (OSError, smtplib.SMTPException) as error:
            raise self._failed(error) from error
        finally:
            opened.close()

    async def _opened(self) -> socket.socket:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await connected(self.host, self.port, AddressRule.NOT_LINK_LOCAL)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> MailFailed:
        # The text of the error may have what the server said, and in it an address or a password.
        return MailFailed(f"{self.host} did not take the message: {type(error).__name__}")

    def _send(self, message: Message, opened: socket.socket) -> None:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = self.sender, message.to, message.subject
        letter["Date"] = format_datetime(datetime.now(UTC))
        if message.id:
            domain = parseaddr(self.sender)[1].rpartition("@")[2] or self.host
            letter["Message-ID"], letter["Auto-Submitted"] = f"<{message.id}@{domain}>", "auto-generated"
        letter.set_content(message.text)
        with self._session(opened) as server:
            server.send_message(letter)

    def _session(self, opened: socket.socket) -> _Session:
        """A conversation in which a letter can be handed over."""
        context = ssl.create_default_context()
        opened.settimeout(TIMEOUT_SECONDS)
        if self.security == "tls":
            opened = context.wrap_socket(opened, server_hostname=self.host)
        server = _Session(opened, self.host, self.port)
        try:
            if self.security == "starttls":
                server.starttls(context=context)
            if self.username:
                server.login(self.username, self.password)
        except BaseException:
            server.close()
            raise
        return server


class _Session(smtplib.SMTP):
    """A conversation over a connection that is there: the library would look the name up again, and check nothing."""

    def __init__(self, opened: socket.socket, host: str, port: int) -> None:
        self._opened = opened
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)

    def connect(self, host: str = "localhost", port: int = 0, source_address: object = None) -> tuple[int, bytes]:
        self.sock = self._opened
        return self.getreply()


@dataclass(frozen=True, slots=True)
class Console:
    """Shows messages where the server's operator reads: for development, where there is no mail server."""

    write: Callable[[str], object]

    async def send(self, message: Message) -> None:
        self.write(f"Mail to {message.to}: {message.subject}\n{message.text}")


def normal_email(text: str) -> str | None:
    """The address in the spelling that is compared, or None if no letter could be sent to it."""
    text = text.strip()
    return text.lower() if len(text) <= 254 and _EMAIL.fullmatch(text) else None
