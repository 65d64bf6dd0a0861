"""Characters: text that is safe in a comment, a string literal or a property name of TypeScript."""

import json
import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_BREAKS = re.compile("\r\n?|[\u2028\u2029\x85]")
# Marks that reorder the text on a screen (CVE-2021-42574), invisible characters and tags, lone surrogates.
_HIDDEN = "\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
_INVISIBLE = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_HIDDEN}]")
_NEEDS_ESCAPE = re.compile(f"[\x7f-\x9f\u2028\u2029{_HIDDEN}]")


def quoted(text: str) -> str:
    """A string literal. Invisible characters, and those that UTF-8 cannot encode, are escaped."""
    escaped = json.dumps(text, ensure_ascii=False)
    return json.dumps(text) if _NEEDS_ESCAPE.search(escaped) else escaped


def property_name(name: str) -> str:
    """A property name in a type literal, quoted where it must be."""
    return name if _NAME.fullmatch(name) else quoted(name)


def plain(text: str) -> str:
    """Text that is safe to display: line breaks as `\\n`, without invisible characters."""
    return _INVISIBLE.sub("", _BREAKS.sub("\n", text))


def commented(text: str) -> str:
    """Text that is safe in a block comment: it can neither end the comment nor be a directive to the compiler."""
    return text.replace("*/", "*\\/").replace("@ts-", "@ts\\-")


def cut(text: str, longest: int, missing: int = 0) -> str:
    """Text of at most about `longest` characters, cut at a space, with a marker that counts what is missing.

    `missing`: the characters that the caller has left out already.
    """
    if len(text) <= longest + 20 and not missing:
        return text
    end = text.rfind(" ", longest // 2, longest)
    end = longest if end < 0 else end
    return f"{text[:end].rstrip()} … (+{len(text) - end + missing:,} chars)"


def index_head(key: str) -> str:
    """What stands before the type of an index signature, or of a mapped type where `key` is a union of literals."""
    return f"[key in {key}]?: " if key[:1] == '"' else f"[key: {key}]: "


def number(value: float) -> str | None:
    """A JSON number as TypeScript source; None when it is not a finite double."""
    try:
        double = float(value)
    except OverflowError:
        return None
    if double != double or double in (float("inf"), float("-inf")):
        return None
    if double.is_integer() and abs(double) < 1e21:
        return str(int(value))
    return repr(double)


def short_json(value: Any, longest: int) -> str | None:
    """A JSON value on one line; None when it is longer than `longest` characters."""
    text = _short_json(value, longest, 3)
    return text if text is not None and len(text) <= longest else None


def _short_json(value: Any, longest: int, depth: int) -> str | None:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        return quoted(value) if len(value) <= longest else None
    if not isinstance(value, (list, Mapping)) or depth == 0 or len(value) * 2 > longest:
        return None
    if isinstance(value, list):
        items = [_short_json(item, longest, depth - 1) for item in value]
        return None if None in items else f"[{', '.join(map(str, items))}]"
    pairs = [(property_name(str(key)), _short_json(item, longest, depth - 1)) for key, item in value.items()]
    return (
        None
        if any(item is None for _, item in pairs)
        else "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    )
