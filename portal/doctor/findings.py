"""What a check finds: its id, what it is about, how bad it is, a sentence, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "notice", "trouble"]
"""`trouble`: something does not work. `notice`: it works, and somebody should know."""

CHECKS = {
    "config.valid": "the configuration is found, can be read, and is valid",
    "config.permissions": "a file with secrets in it is readable by its owner alone",
    "config.variables": "every `${VAR}` has a value",
    "config.servers": "no server is left out",
    "config.itself": "no server leads back to the portal itself",
    "config.keys": "no key is passed over",
    "config.names": "servers are called the same here, in files and in programs",
    "program.found": "the program of a server is there, and so is what starts it (`npx`, `uvx`, `docker`)",
    "program.folder": "the folder (`cwd`) of a program is there",
    "program.answers": "a program starts, agrees on a protocol, and lists its tools",
    "program.proxy": "a program that needs to be told uses the proxies of the environment",
    "remote.answers": "a server by URL answers and lists its tools",
    "remote.certificate": "its certificate is valid, of a known authority, and lasts another 14 days",
    "remote.login": "the portal is logged in where a server wants it, and the login is taken and lasts",
    "remote.clock": "its clock and the one of this machine agree",
    "environment.proxies": "proxies of the environment are well written and answer, and who goes around them",
    "environment.certificates": "files of certificates that the environment names are there and have certificates",
    "portal.port": "the port is free, or is the portal's own already",
    "portal.host": "the address to listen on is allowed",
    "portal.publicUrl": "the public URL resolves and leads to a portal",
    "portal.hosts": "the portal answers to the host name of its public URL",
    "portal.mail": "the mail server answers, encrypts, and takes the user",
    "database.schema": "the database can be read, and its tables are of this version",
    "database.keys": "the key file is there, private, and belongs to the database",
    "database.disk": "the disk has room",
    "database.lock": "nobody holds the lock of the database for long",
    "engine.runs": "an isolate starts in a worker and runs `1 + 2`",
    "engine.confinement": "the kernel confines the workers",
    "clients.portal": "clients of this machine that have the portal have it at its address",
    "clients.file": "the documents of clients can be read",
    "doctor.time": "the checks end in time",
}
"""The checks by their ids, each as what is so when nothing is wrong. Ids stay: scripts read them."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`about` is the server, file, client or place; `fix` a command or an edit, "" where there is nothing to do."""

    check: str
    about: str
    level: Level
    text: str
    fix: str = ""


def ok(check: str, about: str, text: str) -> Diagnosis:
    return Diagnosis(check, about, "ok", text)


def notice(check: str, about: str, text: str, fix: str = "") -> Diagnosis:
    return Diagnosis(check, about, "notice", text, fix)


def trouble(check: str, about: str, text: str, fix: str) -> Diagnosis:
    return Diagnosis(check, about, "trouble", text, fix)


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found, and how long it took in seconds."""

    findings: Sequence[Diagnosis]
    seconds: float

    @property
    def level(self) -> Level:
        return worst(self.findings)


def worst(findings: Iterable[Diagnosis]) -> Level:
    levels = {one.level for one in findings}
    return "trouble" if "trouble" in levels else "notice" if "notice" in levels else "ok"


def in_order(findings: Iterable[Diagnosis]) -> list[Diagnosis]:
    """By check as in `CHECKS`, then by what they are about as it came."""
    order = {check: number for number, check in enumerate(CHECKS)}
    return sorted(findings, key=lambda one: order[one.check])
