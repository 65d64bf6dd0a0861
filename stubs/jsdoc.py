"""Comments: the words and facts of a schema, short, and each once."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stubs.facts import branches, facts
from stubs.text import commented, cut, plain

PROPERTY_TEXT = 400
"""Longest description of a property or type, in characters."""
TOOL_TEXT = 1_200
"""Longest description of a tool, in characters."""

_MOST_READ = 20_000  # characters of one text
_SPACE = re.compile(r"\s+")
_NEW_BLOCK = re.compile(r"\s*([-*+>|#]|\d+[.)]|```|~~~)")
_WORD = re.compile(r"[^a-z0-9]+")


def line(text: str, longest: int = PROPERTY_TEXT) -> str:
    """Text on one line, safe in a comment."""
    if not text:
        return ""
    head = text[:_MOST_READ]
    return commented(cut(_SPACE.sub(" ", plain(head)).strip(), longest, len(text) - len(head)))


def describe(schema: Any, name: str = "") -> str:
    """The comment for the values of a schema: its description, and its facts in parentheses.

    `name`: the name of the property. A title that only repeats it is left out.
    """
    if not isinstance(schema, Mapping):
        return ""
    return with_facts(line(_words(schema, name)), facts(schema))


def with_facts(text: str, facts: Sequence[str]) -> str:
    """A description with facts behind it, or one of them alone."""
    words = commented(", ".join(facts))
    return f"{text} ({words})" if text and words else text or words


def block(text: str, indent: str) -> str:
    """A documentation comment, as lines; empty without text."""
    if not text:
        return ""
    if "\n" not in text:
        return f"{indent}/** {text} */\n"
    lines = "\n".join(f"{indent} * {line}".rstrip() for line in text.split("\n"))
    return f"{indent}/**\n{lines}\n{indent} */\n"


def paragraphs(text: str, longest: int = TOOL_TEXT) -> str:
    """A longer description. Joins lines that were wrapped by hand; lists, code and paragraphs keep their lines."""
    missing = len(text[_MOST_READ:])
    text = plain(text[:_MOST_READ])
    lines: list[str] = []
    in_code = False
    after_break = True
    for raw in text.split("\n"):
        stripped = raw.strip()
        fence = stripped.startswith(("```", "~~~"))
        if not stripped:
            after_break = True
            continue
        if in_code and not fence:
            lines.append(raw.rstrip())
        elif after_break or fence or _NEW_BLOCK.match(raw) or not lines:
            lines.append(stripped)
        else:
            lines[-1] += " " + stripped
        in_code ^= fence
        after_break = fence
    return commented(cut("\n".join(lines), longest, missing))


def _words(schema: Mapping[str, Any], name: str, depth: int = 3) -> str:
    description = schema.get("description")
    if isinstance(description, str) and description.strip():
        return description
    title = schema.get("title")
    if isinstance(title, str) and _bare(title) != _bare(name):
        return title
    alternatives = branches(schema)
    if len(alternatives) == 1 and isinstance(alternatives[0], Mapping) and depth:
        return _words(alternatives[0], name, depth - 1)
    return ""


def _bare(text: str) -> str:
    return _WORD.sub("", text.lower())
