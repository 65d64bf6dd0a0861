"""Reading a configuration file into plain values: JSON or TOML by its ending, bounded, no key written twice."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from portal.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024


def load_document(path: Path) -> dict[str, Any]:
    """The document as a mapping.

    Raises:
        ConfigError: no such file, too large, not text, not JSON or TOML, or not an object.
    """
    file = str(path)
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}.", file=file) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES // 1024**2} MiB.", file=file)
    try:
        text = data.decode("utf-8-sig")
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text, object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text.", file=file) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"is not JSON: {error.msg} ({where}).", file=file, fix="JSON has no comments.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}.", file=file) from None
    except RecursionError:
        raise ConfigError("is nested too deeply.", file=file) from None
    except _Repeated as repeated:
        raise ConfigError("is written twice.", file=file, key=repeated.key, fix="Keep one of them.") from None
    if not isinstance(document, dict):
        raise ConfigError(f"must be an object, found {describe(document)}.", file=file)
    return document


def describe(value: Any) -> str:
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


class _Repeated(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Repeated(key)
        found[key] = value
    return found
