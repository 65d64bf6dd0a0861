"""The challenge of a server that refuses a request: what it says about the token that it wants. Pure.

Source: RFC 9110 11.6.1 (the header), RFC 6750 3 (`scope`, `error`), RFC 9728 5.1 (`resource_metadata`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(
    r"""(?:^|[\s,])(?:(?P<scheme>[A-Za-z][A-Za-z0-9_-]*)[ ]+)?
        (?P<name>[A-Za-z_-]+)[ ]*=[ ]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
MAX_SCOPES = 100
INSUFFICIENT_SCOPE = "insufficient_scope"


@dataclass(frozen=True, slots=True)
class Challenge:
    """The parameters of a Bearer challenge; "" for what it does not say."""

    resource_metadata: str = ""
    scope: str = ""
    error: str = ""


def read_challenge(header: str | None) -> Challenge:
    """The Bearer challenge in a `WWW-Authenticate` header, which may have challenges of other schemes beside it."""
    found: dict[str, str] = {}
    scheme = ""
    for part in _PART.finditer(header or ""):
        scheme = (part["scheme"] or scheme).lower()
        if scheme == "bearer":
            value = part["plain"] if part["quoted"] is None else _ESCAPE.sub(r"\1", part["quoted"])
            found.setdefault(part["name"].lower(), value)
    return Challenge(found.get("resource_metadata", ""), found.get("scope", ""), found.get("error", ""))


def union(first: str, second: str) -> str:
    """The scopes of both, each once, at most `MAX_SCOPES`: more rights never cost those that there were."""
    return " ".join(list(dict.fromkeys([*first.split(), *second.split()]))[:MAX_SCOPES])
