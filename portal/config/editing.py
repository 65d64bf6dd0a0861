"""Changes one member of a configuration document in its text, so that all else stays byte for byte. Pure.

Comments, order, indentation, line ends, a byte order mark and commas after last members are the author's. What comes
out is read again and compared with what it should mean. A text that cannot be changed so is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from portal.config.document import YAML, describe, parse_document
from portal.config.json_members import is_empty, with_json_member, with_json_values, without_json_member
from portal.config.toml_members import with_toml_member, without_toml_member
from portal.errors import ConfigError

_MARK = "\ufeff"
_TOO_DEEP = "is nested too deeply."


def with_member(text: str, suffix: str, path: Sequence[str], value: object, *, file: str = "<config>") -> str:
    """The document with `value` (of JSON's kinds) as the member at `path`, where there may be another one. Sections on
    the way that are not there are made. `suffix` is the ending of the file's name; a text without a value is an empty
    document.

    A member that has this value already changes nothing. A new one is the last of its section.

    Raises:
        ConfigError: the text is no document, a section is no object, or the format has no such value.
    """
    mark, body = _without_mark(text)
    try:
        document = document_in(body, suffix, file)
        _require_sections(document, path, suffix, file)
        wanted = _with(document, path, value)
        if _same(wanted, document):
            return text
        change = with_toml_member if suffix == ".toml" else with_json_member
        changed = mark + change(body, path, value)
        changed.encode()
    except RecursionError:
        raise ConfigError(_TOO_DEEP, file=file) from None
    except UnicodeEncodeError:
        raise ConfigError("would have characters that are no text.", file=file, key=".".join(path)) from None
    except (TypeError, ValueError) as error:
        problem = f"would have a value that the format of the file does not have: {error}."
        raise ConfigError(problem, file=file, key=".".join(path)) from None
    return _confirmed(changed, suffix, wanted, file, path)


def without_member(text: str, suffix: str, path: Sequence[str], *, file: str = "<config>") -> str:
    """The document without the member at `path`, and without the comment behind it on its line. Its section stays,
    unless it is one of TOML that only its members make. Without such a member nothing changes.

    Raises:
        ConfigError: the text is no document, or a section is no object.
    """
    mark, body = _without_mark(text)
    try:
        document = document_in(body, suffix, file)
        _require_sections(document, path, suffix, file)
        if not _has(document, path):
            return text
        change = without_toml_member if suffix == ".toml" else without_json_member
        changed = mark + change(body, path)
    except RecursionError:
        raise ConfigError(_TOO_DEEP, file=file) from None
    return _confirmed(changed, suffix, _without(document, path), file, path, removed=True)


def _without_mark(text: str) -> tuple[str, str]:
    return (_MARK, text[1:]) if text.startswith(_MARK) else ("", text)


def with_values(text: str, suffix: str, values: Mapping[tuple[str, ...], object]) -> str:
    """The text of a document with other values for members that are there, to be shown."""
    if suffix != ".toml":
        return with_json_values(text, values) if values else text
    for path, value in values.items():
        text = with_toml_member(text, path, value)
    return text


def document_in(text: str, suffix: str, file: str) -> dict[str, object]:
    """What `with_member` reads: a text without a value is an empty document.

    Raises:
        ConfigError: the text is no document.
    """
    text = _without_mark(text)[1]
    if suffix in YAML:
        raise ConfigError("is YAML, and the configuration is JSON or TOML.", file=file, fix="Name another file.")
    if suffix != ".toml" and is_empty(text):
        return {}
    return parse_document(text, suffix, file=file)


def _require_sections(document: Mapping[str, object], path: Sequence[str], suffix: str, file: str) -> None:
    if not path:
        raise ValueError("a member has a path")
    value: object = document
    for depth, name in enumerate(path):
        if not isinstance(value, dict):
            kind = "a table" if suffix == ".toml" else "an object"
            raise ConfigError(f"must be {kind}, found {describe(value)}.", file=file, key=".".join(path[:depth]))
        if name not in value:
            return
        value = value[name]


def _has(document: object, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _with(document: object, path: Sequence[str], value: object) -> object:
    if not path:
        return value
    members = document if isinstance(document, dict) else {}
    return {**members, path[0]: _with(members.get(path[0]), path[1:], value)}


def _without(document: object, path: Sequence[str]) -> object:
    assert isinstance(document, dict)
    if len(path) == 1:
        return {name: value for name, value in document.items() if name != path[0]}
    return {**document, path[0]: _without(document[path[0]], path[1:])}


def _confirmed(text: str, suffix: str, wanted: object, file: str, path: Sequence[str], *, removed: bool = False) -> str:
    try:
        found = parse_document(_without_mark(text)[1], suffix, file=file) if text.strip(f"{_MARK} \t\r\n") else {}
        found_same = _same(*((_pruned(found), _pruned(wanted)) if removed and suffix == ".toml" else (found, wanted)))
    except (ConfigError, RecursionError):
        found_same = False
    if not found_same:
        fix = "Change it by hand."
        raise ConfigError("cannot be changed here without changing the rest.", file=file, key=".".join(path), fix=fix)
    return text


def _pruned(value: object) -> object:
    """Without tables that have nothing."""
    if not isinstance(value, dict):
        return value
    pruned = {name: _pruned(one) for name, one in value.items()}
    return {name: one for name, one in pruned.items() if one != {}}


def _same(one: object, other: object) -> bool:
    """Whether two documents say the same: 1, 1.0 and true are three values, the order of members is none."""
    return _canonical(one) == _canonical(other)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=repr)
