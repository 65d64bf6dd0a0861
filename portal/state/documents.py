"""What may be stored: names of kinds and ids, and documents that are JSON objects within bounds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from portal.state.errors import DocumentInvalid

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_DEPTH = 40
MAX_SECRET_BYTES = 256 * 1024
MAX_NAME = 512
_NEVER_STORED = re.compile("[\0\ud800-\udfff]")
KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")


def encode(document: Mapping[str, object]) -> str:
    """The document as JSON text.

    Raises:
        DocumentInvalid: it is no JSON object, too deep or too large. The message names the place, never a value.
    """
    if not isinstance(document, Mapping):
        raise DocumentInvalid(f"a document is a JSON object, not {type(document).__name__}")
    _check(document, "", 1)
    try:
        encoded = orjson.dumps(document, default=_plain)
    except (TypeError, ValueError):
        # orjson's own messages may quote what they stumbled over.
        raise DocumentInvalid("the document has text or a number that JSON cannot hold") from None
    if len(encoded) > MAX_DOCUMENT_BYTES:
        raise DocumentInvalid(f"the document has {len(encoded)} bytes, over the limit of {MAX_DOCUMENT_BYTES}")
    return encoded.decode()


def check_kind(kind: str) -> str:
    if not KIND.fullmatch(kind):
        raise DocumentInvalid(f"{kind[:64]!r} is no kind of object")
    return kind


def check_name(name: str, what: str = "id") -> str:
    """An id, or another short text of a row: no control characters, at most `MAX_NAME` long, not empty if an id."""
    if len(name) > MAX_NAME or (what == "id" and not name) or not name.isprintable():
        raise DocumentInvalid(f"{what} must be printable text of at most {MAX_NAME} characters")
    return name


def is_storable(text: str) -> bool:
    """Whether a database can hold this text: PostgreSQL has no NUL, and nothing has half of a surrogate pair."""
    return _NEVER_STORED.search(text) is None


def check_secret(secret: bytes) -> bytes:
    if len(secret) > MAX_SECRET_BYTES:
        raise DocumentInvalid(f"the secret has {len(secret)} bytes, over the limit of {MAX_SECRET_BYTES}")
    return secret


def _check(value: object, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentInvalid(f"the document is nested deeper than {MAX_DEPTH} levels at {path[:200]!r}")
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise DocumentInvalid(f"{path[:200]!r} is a number that JSON cannot hold")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise DocumentInvalid(f"a key in {path[:200]!r} is not text")
            _check(inner, f"{path}.{key[:64]}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check(inner, f"{path}[{index}]", depth + 1)
    else:
        raise DocumentInvalid(f"{path[:200]!r} is {type(value).__name__}, which is not JSON")


def _plain(value: object) -> dict[object, object]:
    """Read-only mappings; `orjson` writes the other types itself."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
