"""The input of this package: a tool as its server describes it, and a server as a named group of tools."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any] | bool
"""A JSON Schema document, 2020-12 or draft-07, as decoded JSON. It is hostile: any part may have any type."""


def _any_object() -> Schema:
    return {"type": "object"}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one server. `name` is the raw name, exactly as the server spells it.

    `output_inferred`: the server declares no output, and `output_schema` was learned from results.
    """

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: Schema = field(default_factory=_any_object)
    output_schema: Schema | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)
    output_inferred: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """One server and its tools. `id` is the configured id; `name` and `description` are for people."""

    id: str
    name: str | None = None
    description: str | None = None
    tools: tuple[Tool, ...] = ()
