"""A match of a rule in a text, before it has a place in a value."""

from __future__ import annotations

from typing import NamedTuple

from portal.dlp.findings import Confidence


class Match(NamedTuple):
    """A match in a text, in bytes. `form` is what its digest is made of: the same for each way to write it.

    `origin` is the predefined profile of its rule, where another profile shares the rule.
    """

    profile: str
    rule: str
    confidence: Confidence
    start: int
    end: int
    form: bytes
    origin: str = ""
