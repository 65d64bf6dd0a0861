"""What a program asks for, from its text alone: the servers it names, and whether it asks what servers there are.

A host whose servers are still connecting learns here which of them to wait for before the program runs. A mention that
is missed costs the program an error that says so, and one too many a wait, which the host bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stubs import Server, assign_names

MAX_CHARS = 256 * 1024
"""So much of a program is read."""

_CODEMODE = r"(?<![\w$.])codemode(?![\w$])\s*"
_MEMBER = _CODEMODE + r"(?:\?\s*)?(?:\.\s*|\.?\s*\[\s*[\"'`])"
# Assigned, destructured, passed on or enumerated: after that any name may stand for `codemode`.
_AS_VALUE = re.compile(_CODEMODE + r"(?![\s?.\[])")
_SEARCHES = re.compile(_CODEMODE + r"(?:\?\s*)?\.\s*(?:search|tools)(?![\w$])")
# Its own functions take servers by name, and a member may be computed from one.
_TAKES_NAMES = re.compile(_CODEMODE + r"(?:\?\s*)?(?:\.\s*(?:search|tools|describe)(?![\w$])|\.?\s*\[(?!\s*[\"'`]))")


def named_servers(program: str, server_ids: Iterable[str]) -> set[str]:
    """Those of the servers that a program names: as a member of `codemode`, or in quotes where it may be one."""
    text = program[:MAX_CHARS]
    before = [_MEMBER]
    # A program may take `codemode` as a parameter of any name.
    unnamed = _AS_VALUE.search(text) is not None or "codemode" not in text
    if unnamed:
        before.append(r"[.{,]\s*")
    if unnamed or _TAKES_NAMES.search(text):
        before.append(r"[\"'`]")
    ids = list(server_ids)
    identifiers = assign_names([Server(server_id) for server_id in ids])
    named = set()
    for server_id in ids:
        spellings = "|".join(map(re.escape, {server_id, identifiers.server(server_id)}))
        # `_` may follow: `codemode.<server>_<tool>` is a path too.
        if re.search(rf"(?:{'|'.join(before)})(?:{spellings})(?![A-Za-z0-9$])", text):
            named.add(server_id)
    return named


def asks_for_servers(program: str) -> bool:
    """Whether a program searches or lists the tools of all servers, or uses `codemode` as a value."""
    text = program[:MAX_CHARS]
    return _SEARCHES.search(text) is not None or _AS_VALUE.search(text) is not None
