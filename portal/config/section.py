"""What every section of the configuration document has in common: frozen, no unknown keys, camelCase or snake_case."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


def http_url(value: str) -> str:
    """A validator of http:// and https:// URLs."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http:// or https:// URL with a host")
    return value


class Section(BaseModel):
    """One object of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
