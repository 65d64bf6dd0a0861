"""The one reader of documents in files: JSON, TOML or YAML by its ending, bounded, no key written twice.

JSON may have comments and a comma after the last member.

`load_document` is for configuration, and says what is wrong as a `ConfigError`; `read_document` and `read_text` are for
what people name on a command line or keep next to their programs, and say it as an `InputError`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from portal.config.jsonc import as_json
from portal.errors import ConfigError, InputError
from portal.yaml_text import YamlError, parse_yaml

MAX_BYTES = 4 * 1024 * 1024
"""Of a configuration."""
LARGEST = 64 * 1024 * 1024
YAML = (".yaml", ".yml")


class _Unreadable(Exception):
    """Why a file holds no document. `key` is the key that is written twice, "" for another problem."""

    def __init__(self, problem: str, key: str = "") -> None:
        self.problem = problem
        self.key = key
        super().__init__(problem)


def load_document(path: Path) -> dict[str, object]:
    """The configuration in a JSON or TOML file, as a mapping.

    Raises:
        ConfigError: no such file, too large, not text, not JSON or TOML, or not an object.
    """
    file = str(path)
    try:
        text = _text(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}.", file=file) from None
    except _Unreadable as error:
        raise ConfigError(f"{error.problem}.", file=file) from None
    return parse_document(text, path.suffix, file=file)


def parse_document(text: str, suffix: str, *, file: str) -> dict[str, object]:
    """The configuration in the text of a JSON or TOML file, as a mapping. `suffix` is the ending of the file's name.

    Raises:
        ConfigError: not JSON or TOML, or not an object.
    """
    try:
        document = _parsed(text, "" if suffix in YAML else suffix)
    except _Unreadable as error:
        if error.key:
            raise ConfigError(f"{error.problem}.", file=file, key=error.key, fix="Keep one of them.") from None
        raise ConfigError(f"{error.problem}.", file=file) from None
    if not isinstance(document, dict):
        raise ConfigError(f"must be an object, found {describe(document)}.", file=file)
    return document


def read_document(path: Path, *, largest: int = LARGEST) -> object:
    """The value in a JSON, TOML or YAML file.

    Raises:
        InputError: there is none.
    """
    try:
        return _parsed(_text(path, largest), path.suffix)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except _Unreadable as error:
        named = f": {error.key} {error.problem}" if error.key else f" {error.problem}"
        raise InputError(f"{path}{named}.") from error


def read_text(path: Path, *, largest: int = LARGEST) -> str:
    """The text of a file.

    Raises:
        InputError: there is none.
    """
    try:
        return _text(path, largest)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except _Unreadable as error:
        raise InputError(f"{path} {error.problem}.") from error


def toml_key(written: str) -> tuple[str, ...]:
    """The parts of a key of a TOML document, as in `a."b.c"`."""
    parts: list[str] = []
    value: object = tomllib.loads(f"{written.strip()} = 0")
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        parts.append(name)
    return tuple(parts)


def describe(value: object) -> str:
    """What kind of thing was found, never the thing itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "something else"


def _text(path: Path, largest: int) -> str:
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        mebibytes = largest // 1024**2
        raise _Unreadable(f"is larger than {f'{mebibytes} MiB' if mebibytes else f'{largest:,} bytes'}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Unreadable("is not UTF-8 text") from None


def _parsed(text: str, suffix: str) -> object:
    try:
        if suffix in YAML:
            return parse_yaml(text)
        if suffix == ".toml":
            return tomllib.loads(text)
        return _json(text)
    except YamlError as error:
        raise _Unreadable(str(error), error.key) from None
    except json.JSONDecodeError as error:
        raise _Unreadable(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except tomllib.TOMLDecodeError as error:
        raise _Unreadable(f"is not TOML: {error}") from None
    except RecursionError:
        raise _Unreadable("is nested too deeply") from None
    except ValueError as error:
        # A number of thousands of digits.
        raise _Unreadable(f"is not JSON: {error}") from None


def _json(text: str) -> object:
    try:
        value: object = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        value = json.loads(as_json(text), object_pairs_hook=_once)
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _Unreadable("is written twice", key)
        found[key] = value
    return found
