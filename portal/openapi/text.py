"""The text of an OpenAPI document, JSON or YAML, as a value of bounded size and depth."""

from __future__ import annotations

LARGEST = 64 * 1024 * 1024


def parse_document(data: bytes, *, largest: int = LARGEST) -> dict[str, object]:
    """The mapping that a JSON or YAML text holds.

    Raises:
        InputError: it is too large, nested too deeply, neither JSON nor YAML, or not a mapping.
    """
    raise NotImplementedError
