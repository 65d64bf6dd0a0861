"""Hides what may be secret in the text of a document that is shown: values of variables and headers, passwords, tokens,
and what a URL or an argument carries of them. References such as `${TOKEN}` stay. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from portal.config import secrets
from portal.config.difference import difference
from portal.config.document import parse_document
from portal.config.editing import with_values
from portal.errors import ConfigError

HIDDEN = "***"
_HOLDERS = frozenset({"env", "environment", "headers", "http_headers"})
_WORDS = "(?:key|token|secret|passw|pwd|passphrase|credential|bearer|cookie)"
_NAME = re.compile(rf"{_WORDS}(?!.*env_?var)", re.IGNORECASE)
_REFERENCE = r"(?:\$\{(?:(?!:-)[^}])*\}|\{env:\w+\}|\$[A-Z_][A-Z0-9_]*)"
_REFERENCES = re.compile(rf"(?:[A-Za-z]+ )?{_REFERENCE}+")
_HEADER = re.compile(r"([A-Za-z0-9-]+:\s*)(.+)", re.DOTALL)
_VARIABLE = re.compile(r"((?:--?[\w.-]+=)?[A-Za-z_][A-Za-z0-9_]*=)(.+)", re.DOTALL)
_HEADER_OPTIONS = frozenset({"--header", "-H", "--headers"})
_STRING = re.compile(r""""(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'""")
_NAMES = re.compile(r"\s*+[:=]")
_COMMENTS_OF_JSON = re.compile(rf"(?P<text>{_STRING.pattern})|(?P<comment>//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)")
_COMMENTS_OF_TOML = re.compile(
    r'(?P<text>"""(?:[^"\\]|\\.|"(?!""))*+"""|\'\'\'(?:[^\']|\'(?!\'\'))*+\'\'\''
    rf"|{_STRING.pattern})|(?P<comment>#[^\n]*+)",
    re.DOTALL,
)
_IN_COMMENT = re.compile(
    rf"""(?P<name>"[A-Za-z][\w.-]*"(?=\s*[:=]))|(?P<text>{_STRING.pattern})|(?P<word>[^\s\"]++|\")"""
)
_SIGNS = re.compile(r"[^\w\s]{1,2}")
# A word of a language, with what stands around it.
_OF_LANGUAGE = re.compile(
    r"[^\w\s]{0,4}(?:[A-Za-z]?[a-z]{0,19}|[A-Z]{1,6}|\d{1,3})(?:['/-][a-z]{1,19}){0,3}[^\w\s]{0,4}"
)
_BEFORE_SECRETS = re.compile("key|token|secret|passw|pwd|passphrase|credential|bearer|cookie|auth|pin", re.IGNORECASE)


def shown_difference(before: str, after: str, suffix: str, name: str, *, was_there: bool = True) -> str:
    """The diff of two texts of a document without what may be secret; "" if nothing else changes."""
    whole = difference(before, after, name, was_there=was_there)
    # A document may be large, and few of its values are near the change. An escape may stand for any of them.
    near = None if any("\\" in line[1:] for line in whole.splitlines()) else whole
    was, now = (hide_values(text, suffix, near) for text in (before, after))
    return difference(was, now, name, was_there=was_there)


def hide_values(text: str, suffix: str, near: str | None = None) -> str:
    """The text of a document, to be shown; with `near` what is in those lines is hidden, and the rest need not be.
    What cannot be read loses every string."""
    mark = text[:1] if text.startswith("\ufeff") else ""
    try:
        document = parse_document(text.removeprefix(mark), suffix, file="") if text.strip() else {}
        values = {
            path: value
            for path, value, old in _hidden(document, ())
            if near is None or any(word in near for word in _words(old))
        }
        text = mark + with_values(text.removeprefix(mark), suffix, values)
    except ConfigError:
        text = _STRING.sub(lambda one: one[0] if _NAMES.match(text, one.end()) else f'"{HIDDEN}"', text)
    tokens = _COMMENTS_OF_TOML if suffix == ".toml" else _COMMENTS_OF_JSON
    return tokens.sub(lambda one: hide_in_comment(one[0]) if one.lastgroup == "comment" else one[0], text)


def hide_in_comment(comment: str, string: Callable[[str], str] | None = None) -> str:
    """A comment without what may be secret: words stay, and what no language has does not, nor what follows a word such
    as `token` on its line. `string` says how a text in quotes is shown."""
    return "\n".join(_hidden_in_line(line, string) for line in comment.split("\n"))


def _hidden_in_line(line: str, string: Callable[[str], str] | None) -> str:
    hiding = False

    def shown(found: re.Match[str]) -> str:
        nonlocal hiding
        token = found[0]
        if found.lastgroup == "text" and string is not None and not hiding:
            return string(token)
        is_word = found.lastgroup == "name" or _OF_LANGUAGE.fullmatch(token) is not None
        stays = _SIGNS.fullmatch(token) is not None or (is_word and not hiding)
        hiding = hiding or _BEFORE_SECRETS.search(token) is not None
        if stays:
            return token
        return f"{token[0]}{HIDDEN}{token[0]}" if token.startswith('"') and len(token) > 1 else HIDDEN

    return _IN_COMMENT.sub(shown, line)


def is_reference(value: str) -> bool:
    """Whether a value is only a reference to a variable, perhaps behind a word such as `Bearer`."""
    return _REFERENCES.fullmatch(value) is not None


def sounds_secret(name: str) -> bool:
    """Whether a variable or header of this name usually holds a secret."""
    return name.lower() == "authorization" or _NAME.search(name) is not None


def _hidden(value: Mapping[str, object], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object, object]]:
    """The members that are to be shown otherwise, by their paths: how, and what they are."""
    for name, member in value.items():
        where = (*path, name)
        if isinstance(member, dict):
            yield from _hidden(member, where)
            continue
        shown = _shown(member, name, held=bool(path) and path[-1] in _HOLDERS)
        if shown != member:
            yield where, shown, member


def _words(value: object) -> Iterator[str]:
    """The strings and numbers in a value."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _words(one)
    else:
        yield str(value)


def _shown(value: object, name: str, *, held: bool) -> object:
    if isinstance(value, dict):
        return {member: _shown(one, member, held=name in _HOLDERS) for member, one in value.items()}
    if isinstance(value, list):
        if all(isinstance(one, str) for one in value):
            return _arguments([HIDDEN if held and not is_reference(one) else one for one in value])
        return [_shown(one, name, held=held) for one in value]
    if isinstance(value, str) and value:
        if is_reference(value):
            return value
        if "://" in value and not held:
            return _address(value)
        return HIDDEN if held or _NAME.search(name) else value
    return HIDDEN if held and value not in (None, "", True, False) else value


def _arguments(words: Sequence[str]) -> list[str]:
    confidential = set(secrets.of_process((), {}, words))
    before = {at + 1 for at, (one, _) in enumerate(pairwise(words)) if one in _HEADER_OPTIONS}
    shown: list[str] = []
    for at, word in enumerate(words):
        pair = _HEADER.fullmatch(word) if at in before else _VARIABLE.fullmatch(word)
        name, _, value = word.partition("=")
        if word in confidential:
            shown.append(word if is_reference(word) else HIDDEN)
        elif value in confidential:
            shown.append(word if is_reference(value) else f"{name}={HIDDEN}")
        elif pair is not None and "://" not in pair[1]:
            shown.append(word if is_reference(pair[2]) else f"{pair[1]}{HIDDEN}")
        else:
            shown.append(_address(word) if "://" in word else word)
    return shown


def _address(text: str) -> str:
    """A URL without its password, and without what in it is as long as a key."""
    try:
        words = secrets.of_address((), text, {})
    except ValueError:
        return HIDDEN
    for word in words:
        text = text if is_reference(word) else text.replace(word, HIDDEN)
    return text
