"""Check of the mail server: it answers, encrypts as configured, and takes the user. No letter is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from portal.config import Config
from portal.doctor.findings import Diagnosis, ok, trouble
from portal.notices import MailFailed, Smtp

MAIL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class MailFacts:
    """The mail server of a configuration, and why no letter could be handed over to it, "" if one could."""

    place: str
    problem: str = ""


async def mail_facts(config: Config) -> MailFacts | None:
    """What the mail server does now; None if none is configured."""
    if (mail := Smtp.of(config.portal.identity)) is None:
        return None
    place = f"{mail.host}:{mail.port}"
    try:
        async with asyncio.timeout(MAIL_SECONDS):
            await mail.check()
    except MailFailed as error:
        return MailFacts(place, str(error))
    except TimeoutError:
        return MailFacts(place, f"it did not answer within {MAIL_SECONDS:g} s")
    return MailFacts(place)


def mail_findings(facts: MailFacts | None) -> Iterator[Diagnosis]:
    if facts is None:
        return
    if not facts.problem:
        yield ok("portal.mail", facts.place, "The mail server takes letters.")
        return
    text = f"No letter can be sent: {facts.problem}. PINs, invitations and notices of approvals do not arrive."
    fix = "correct `portal.identity.smtp` (host, port, security, username, password), or start the mail server"
    yield trouble("portal.mail", facts.place, text, fix)
