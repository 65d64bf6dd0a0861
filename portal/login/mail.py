"""Sending mail: SMTP in a thread of its own, or, while developing, the server's console."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, Protocol

from portal.egress import AddressRule, Threads, connected

TIMEOUT_SECONDS = 20.0
# Letters that are handed over at once.
MOST_AT_ONCE = 4


class MailFailed(Exception):
    """The message could not be handed over. The text is for the log: it holds no secret and no address."""


@dataclass(frozen=True, slots=True)
class Message:
    to: str
    subject: str
    text: str


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

    async def send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                opened = await connected(self.host, self.port, AddressRule.NOT_LINK_LOCAL)
            try:
                await self._threads.run(lambda: self._send(message, opened))
            finally:
                opened.close()
        except (OSError, smtplib.SMTPException) as error:
            raise MailFailed(f"{self.host} did not take the message: {type(error).__name__}") from error

    def _send(self, message: Message, opened: socket.socket) -> None:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = self.sender, message.to, message.subject
        letter.set_content(message.text)
        context = ssl.create_default_context()
        opened.settimeout(TIMEOUT_SECONDS)
        if self.security == "tls":
            opened = context.wrap_socket(opened, server_hostname=self.host)
        with _Session(opened, self.host, self.port) as server:
            if self.security == "starttls":
                server.starttls(context=context)
            if self.username:
                server.login(self.username, self.password)
            server.send_message(letter)


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
