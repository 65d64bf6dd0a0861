"""What a program asks for, from its text alone: the servers it names, and whether it asks what servers there are.

A host whose servers are still connecting learns here which of them to wait for before the program runs. A mention that
is missed costs the program an error that says so, and one too many a wait, which the host bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stubs import Server, assign_names

MAX_CHARS = 256 * 1024
"""So much of a program is read."""

_QUOTE = r"[\"'`]"
# A key that is one whole text or number: nothing in it is computed.
_LITERAL_KEY = r"""\s*(?:"[^"\n]*"|'[^'\n]*'|`[^`$]*`|\d+)\s*\]"""
_DECLARES_TOOLS = re.compile(r"\b(?:const|let|var|function|class)\s+tools(?![\w$])")


@dataclass(frozen=True, slots=True)
class _Words:
    """How programs use `codemode`, by the names that it has in one."""

    member: str
    as_value: re.Pattern[str]
    searches: re.Pattern[str]
    takes_names: re.Pattern[str]
    literal_member: re.Pattern[str]
    computes: re.Pattern[str]

    @classmethod
    def of(cls, names: str) -> _Words:
        """`names` is a pattern."""
        codemode = rf"(?<![\w$.])(?:{names})(?![\w$])\s*"
        dot, bracket = r"(?:\?\s*)?\.\s*", r"(?:\?\s*\.\s*)?\["
        return cls(
            member=codemode + rf"(?:{dot}|\.?\s*\[\s*{_QUOTE})",
            # Assigned, destructured, passed on or enumerated: after that any name may stand for `codemode`.
            # The word `tools` alone stands in many texts, so it says nothing here.
            as_value=re.compile(r"(?<![\w$.])codemode(?![\w$])\s*(?![\s?.\[])"),
            searches=re.compile(codemode + rf"{dot}(?:search|tools)(?![\w$])"),
            # Its own functions take servers by name, and a member may be computed from one.
            takes_names=re.compile(
                codemode + rf"(?:{dot}(?:search|tools|describe)(?![\w$])|\??\s*\.?\s*\[(?!\s*{_QUOTE}))"
            ),
            literal_member=re.compile(codemode + bracket + _LITERAL_KEY),
            computes=re.compile(
                codemode + rf"(?:{bracket}(?!{_LITERAL_KEY})|{dot}describe\s*\(\s*(?:\[\s*)?(?![\s\[)]|{_QUOTE}))"
            ),
        )


_ONE_NAME, _BOTH_NAMES = _Words.of("codemode"), _Words.of("codemode|tools")


def named_servers(program: str, server_ids: Iterable[str]) -> set[str]:
    """Those of the servers that a program names: as a member of `codemode`, or in quotes where it may be one."""
    text = program[:MAX_CHARS]
    words = _words_of(text)
    before = [words.member]
    # A program may take `codemode` as a parameter of any name.
    unnamed = words.as_value.search(text) is not None or "codemode" not in text
    if unnamed:
        before.append(r"[.{,]\s*")
    if unnamed or words.takes_names.search(text):
        before.append(_QUOTE)
    return _found(text, before, server_ids)


def asks_for_servers(program: str) -> bool:
    """Whether a program searches or lists the tools of all servers, or uses `codemode` as a value."""
    text = program[:MAX_CHARS]
    words = _words_of(text)
    return words.searches.search(text) is not None or words.as_value.search(text) is not None


def computes_servers(program: str, server_ids: Iterable[str]) -> bool:
    """Whether a program computes the name of a server, and its text has none of `server_ids` to compute it from.

    Such a program may mean any server.
    """
    text = program[:MAX_CHARS]
    words = _words_of(text)
    if words.computes.search(text) is None:
        return False
    return not _found(words.literal_member.sub("", text), [_QUOTE], server_ids)


def _words_of(text: str) -> _Words:
    """`tools` is another name of `codemode`, unless the program gives it to something else."""
    return _ONE_NAME if _DECLARES_TOOLS.search(text) else _BOTH_NAMES


def _found(text: str, before: list[str], server_ids: Iterable[str]) -> set[str]:
    """The servers whose ids or identifiers follow one of the patterns `before`."""
    ids = list(server_ids)
    identifiers = assign_names([Server(server_id) for server_id in ids])
    found = set()
    for server_id in ids:
        spellings = "|".join(map(re.escape, {server_id, identifiers.server(server_id)}))
        # `_` may follow: `codemode.<server>_<tool>` is a path too.
        if re.search(rf"(?:{'|'.join(before)})(?:{spellings})(?![A-Za-z0-9$])", text):
            found.add(server_id)
    return found
