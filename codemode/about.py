"""What a server is for, in a line, from texts that were not written for one: descriptions, instructions, reasons.

Servers describe themselves in Markdown with a headline on top, and their reasons for not being available hold
tracebacks and paths of the machine. Nothing of these is for an agent.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from stubs import Server

LONGEST = 100  # characters
SUMMARY_CHARS = 140
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'])|\n\s*\n")
_MOST_READ = 4_000
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):?")
_LAST_OF_TRACEBACK = re.compile(r"\b(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b(?::[^\n]*)?")
# An address after `at` is where to go, and no frame: `log in at https://portal.example:8443/servers`.
_FRAMES = re.compile(r"\s+at (?:(?:async )?[\w.<>$\[\] ]{1,80} )?\(?(?!https?://)[^\s()]{1,200}:\d+(?::\d+)?\)?")
# Only under the roots that a machine has: `/v1/orders` is a path too, of an API.
_PATH = re.compile(
    r"(?:file://)?(?:(?<![\w.:/])/(?:home|Users|root|tmp|var|opt|usr|etc|mnt|private|app|srv|workspace|Library)"
    r"(?:/[^\s\"'`,;:()]*)?|(?<!\w)[A-Za-z]:\\[^\s\"'`,;()]+|(?<![\w/])~/[^\s\"'`,;:()]+)"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|\A---\n.*?\n---\n", re.DOTALL)
_CODE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_HEADLINE = re.compile(r"#{1,6}(?:\s|$)|\*\*[^*]+\*\*:?$|__[^_]+__:?$|<h\d|={3,}$|-{3,}$")
_BULLET = re.compile(r"(?:[-*+>]|\d+[.)])\s+")
_MARKS = re.compile(r"\*\*|__|`|</?\w+[^>]*>")
_GREETING = re.compile(r"(?:welcome to|this is)\b[\w '&/-]{1,60}\b(?:mcp|server)", re.IGNORECASE)
_KINDS, _SMALL = frozenset({"mcp", "server"}), frozenset("a an the for of and your mcp server".split())
_MOST_WORDS = 6  # of a title


def about(server: Server) -> str:
    """The first sentence of a server's description that is no headline; "" when it has none."""
    text = (server.description or "")[:_MOST_READ].replace("\r\n", "\n")
    if _TRACEBACK.search(text):
        return ""
    text = _IMAGE.sub("", _CODE.sub("\n", _COMMENT.sub("\n", text)))
    lines = [line.strip() for line in text.split("\n")]
    underlined = {line for line, below in pairwise(lines) if line and re.fullmatch(r"={3,}|-{3,}", below)}
    paragraph: list[str] = []
    for line in [*lines, ""]:
        is_text = line and line not in underlined and not _HEADLINE.match(line)
        if is_text and not (not paragraph and _is_title(line, server)):
            if paragraph and _BULLET.match(line):
                break
            paragraph.append(_without_bullet(line) if not paragraph else line)
        elif paragraph:
            break
    plain = without_paths(_MARKS.sub("", _LINK.sub(r"\1", " ".join(paragraph))))
    sentences = _SENTENCE_END.split(plain)
    while sentences and _is_title(sentences[0], server):
        sentences.pop(0)
    words = summary(" ".join(sentences), LONGEST)
    return words if any(letter.isalnum() for letter in words) else ""


def briefly(server: Server) -> Server:
    """The server with the line that says what it is for in place of its own name and texts."""
    return replace(server, name=None, description=about(server) or None)


def _without_bullet(line: str) -> str:
    bullet = _BULLET.match(line)
    return line if bullet is None else line[bullet.end() :]


def summary(text: str, longest: int = SUMMARY_CHARS) -> str:
    """The first sentence of a description, on one line and cut to `longest` characters."""
    first = " ".join(_SENTENCE_END.split(text.strip(), maxsplit=1)[0].split())
    return first if len(first) <= longest else first[: longest - 1].rstrip() + "…"


def _is_title(text: str, server: Server) -> bool:
    """Whether a text only names the server, such as `The Acme MCP Server`."""
    plain = _MARKS.sub("", text).strip(" .!:")
    words = plain.split()
    if plain.lower() in (server.id.lower(), (server.name or "").lower()) or _GREETING.fullmatch(plain):
        return True
    is_name = all(word.lower() in _SMALL or not word[0].islower() for word in words)
    return 0 < len(words) <= _MOST_WORDS and words[-1].lower() in _KINDS and is_name


def reason(text: str) -> str:
    """Why a server is not available, on one line: of a traceback its last line, no frames, no paths of the machine."""
    if (traceback := _TRACEBACK.search(text)) is not None:
        last = [match[0] for match in _LAST_OF_TRACEBACK.finditer(text, traceback.end())][-1:]
        text = " ".join([text[: traceback.start()], *last])
    return " ".join(without_paths(_FRAMES.sub("", text)).split())


def without_paths(text: str) -> str:
    """A text with `…` for each path of the machine."""
    return _PATH.sub("…", text)
