"""Sending mail: SMTP in a thread, or, while developing, the server's console."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, Protocol

TIMEOUT_SECONDS = 20.0
AT_ONCE = 4


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
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "mail"), init=False, repr=False, compare=False
    )

    async def send(self, message: Message) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise MailFailed(f"{self.host} did not take the message: {type(error).__name__}") from error

    def _send(self, message: Message) -> None:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = self.sender, message.to, message.subject
        letter.set_content(message.text)
        context = ssl.create_default_context()
        connect: smtplib.SMTP = (
            smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_SECONDS, context=context)
            if self.security == "tls"
            else smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)
        )
        with connect as server:
            if self.security == "starttls":
                server.starttls(context=context)
            if self.username:
                server.login(self.username, self.password)
            server.send_message(letter)


@dataclass(frozen=True, slots=True)
class Console:
    """Shows messages where the server's operator reads: for development, where there is no mail server."""

    write: Callable[[str], object]

    async def send(self, message: Message) -> None:
        self.write(f"Mail to {message.to}: {message.subject}\n{message.text}")
