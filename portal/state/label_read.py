"""One thing that somebody has read: a label, when, where, and until when it counts. A value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LABELS_READ = "labels_read"
"""What subscribers of a store are told when somebody has read a label, or what they have read was forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRead:
    """`person` is who has read it (`portal.shares.holder_of`), `client` their OAuth client, "" for none. It was read
    `at` this time, by a call of `tool` of `server` at `portal`, and counts `until` then. `number` grows with each
    writing; 0 is not written.
    """

    person: str
    client: str
    label: str
    portal: str
    server: str
    tool: str
    at: datetime
    until: datetime
    number: int = 0
