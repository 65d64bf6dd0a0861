"""One quota, as the document or the database says it, and what a call is to it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Literal

from portal.config import QuotaPart, QuotaSection, say_duration, server_id
from portal.objects import QuotaDocument

PARTS: tuple[QuotaPart, ...] = ("person", "portal", "server", "tool")
Key = tuple[str, ...]
"""Whose count it is: a text for each of `Quota.parts`."""


@dataclass(frozen=True, slots=True)
class CountedCall:
    """What a quota knows of a call. `person` is whose part it counts in (`portal.shares.holder_of`), and a `stranger`
    is whoever has not signed in; `tool` is a raw name, "" if the call is none of a tool."""

    person: str
    stranger: bool
    portal: str
    server: str
    tool: str


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `calls` calls in any `period` of seconds, for each of `parts`; for all together without any.

    Without `portals`, `servers` or `tools` it is about all of them. One that names tools, or counts for each tool, is
    about calls of tools alone. `id` is that of the object in the database, "" for one of the document.
    """

    id: str
    name: str
    calls: int
    period: int
    parts: tuple[QuotaPart, ...]
    portals: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()

    @classmethod
    def of_section(cls, section: QuotaSection) -> Quota:
        """A server may be named as in the document or by its id."""
        servers = frozenset(map(server_id, section.servers))
        return cls(
            "",
            section.name,
            section.calls,
            section.period,
            _ordered(section.per),
            frozenset(section.portals),
            servers,
            frozenset(section.tools),
        )

    @classmethod
    def of_stored(cls, id: str, document: QuotaDocument) -> Quota:
        return cls(
            id,
            document.name,
            document.calls,
            document.period,
            _ordered(document.per),
            frozenset(document.portals),
            frozenset(document.servers),
            frozenset(document.tools),
        )

    @property
    def origin(self) -> Literal["document", "store"]:
        return "store" if self.id else "document"

    @property
    def mark(self) -> str:
        """Two quotas for which this is equal count the same calls in the same way, and may go on with each other's
        counts. How many calls they allow is not part of it."""
        names = [sorted(self.portals), sorted(self.servers), sorted(self.tools)]
        written = json.dumps([self.id, "" if self.id else self.name, self.period, self.parts, *names])
        return sha256(written.encode()).hexdigest()[:32]

    @property
    def policy(self) -> str:
        """What errors and records call it, apart from the policies of access."""
        return f"quota:{self.name}"

    def concerns(self, call: CountedCall) -> bool:
        """Whether it is about this call."""
        if not call.tool and (self.tools or "tool" in self.parts):
            return False
        return (
            (not self.servers or call.server in self.servers)
            and (not self.portals or call.portal in self.portals)
            and (not self.tools or call.tool in self.tools)
        )

    def key(self, call: CountedCall) -> Key:
        """Whose count this call is of."""
        return tuple([getattr(call, part) for part in self.parts])

    def refusal(self, seconds: int) -> str:
        """The sentence for a call that it refuses, which may be made in this many seconds."""
        each = [part for part in self.parts if part != "server" or "tool" not in self.parts]
        whom = f" for each {' and '.join(each)}" if each else ""
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        lasts = say_duration(timedelta(seconds=self.period))
        return (
            f"The quota {self.name!r} allows {calls}{whom} in {lasts}, and that is used up. "
            f"The call did not run. Try again in {seconds} s."
        )


def _ordered(per: tuple[QuotaPart, ...]) -> tuple[QuotaPart, ...]:
    """In one order. A tool is one of its server: two servers may have tools of one name."""
    named = {*per, *(("server",) if "tool" in per else ())}
    return tuple(part for part in PARTS if part in named)
