"""The text of an OpenAPI document, JSON or YAML, as a value of bounded size and depth."""

from __future__ import annotations

import orjson

from codemode import excess
from portal.errors import InputError
from portal.exact import beyond_64_bits, parse
from portal.openapi.document import described
from portal.yaml_text import MOST_VALUES, YamlError, parse_yaml

LARGEST = 64 * 1024 * 1024
MOST_GROUPS = 1_000_000
"""The most lists and objects of a document in JSON."""


def parse_document(data: bytes, *, largest: int = LARGEST) -> dict[str, object]:
    """The mapping that a JSON or YAML text holds.

    YAML may have aliases, and of a key that is written twice the last one counts, in JSON too.

    Raises:
        InputError: it is too large, nested too deeply, neither JSON nor YAML, or not a mapping.
    """
    if len(data) > largest:
        raise InputError(f"The document is larger than {largest:,} bytes.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The document is not UTF-8 text.") from None
    start = text[:200].lstrip()
    if start.startswith("<"):
        raise InputError(
            "This is HTML or XML, no OpenAPI document. Name the document itself, not a page that shows it."
        )
    value = _json(text) if start.startswith(("{", "[")) else _yaml(text)
    if not isinstance(value, dict):
        raise InputError(f"This is no OpenAPI document: it must be an object, found {described(value)}.")
    return value


def _json(text: str) -> object:
    encoded = text.encode()
    if (what := excess(encoded, MOST_VALUES, MOST_GROUPS)) is not None:
        # Nothing else runs while JSON is parsed, in a thread too.
        raise InputError(f"The document has more than {MOST_VALUES if what == 'values' else MOST_GROUPS:,} {what}.")
    try:
        value: object = parse(text) if beyond_64_bits(encoded) else orjson.loads(encoded)
    except ValueError as error:
        # YAML in braces begins like JSON.
        try:
            return _yaml(text)
        except InputError:
            raise InputError(f"The document is not JSON: {error}.") from None
    return value


def _yaml(text: str) -> object:
    try:
        return parse_yaml(text, lenient=True)
    except YamlError as error:
        raise InputError(f"The document {error}.") from None
