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
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1000}")  # RFC 6749 3.3
_ESCAPE = re.compile(r"\\(.)")
MAX_SCOPES, MAX_SCOPE_CHARS = 100, 4096
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
    scope = " ".join(one for one in found.get("scope", "").split() if _SCOPE.fullmatch(one))
    return Challenge(found.get("resource_metadata", ""), scope, found.get("error", ""))


def union(first: str, second: str) -> str:
    """The scopes of both, each once: more rights never cost those that there were. What is over `MAX_SCOPES`, or over
    `MAX_SCOPE_CHARS` together, is left out."""
    scopes = list(dict.fromkeys([*first.split(), *second.split()]))[:MAX_SCOPES]
    while len(" ".join(scopes)) > MAX_SCOPE_CHARS:
        scopes.pop()
    return " ".join(scopes)
