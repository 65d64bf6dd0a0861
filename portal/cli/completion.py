"""What a shell completes: kinds of stored objects, and servers and portals of the configuration, without connecting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from portal.cli.config_file import config_in_use

KINDS = (
    "administrators",
    "servers",
    "portals",
    "policies",
    "groups",
    "apps",
    "identity-providers",
    "service-tokens",
    "custom-pages",
    "lists",
    "gateway-rules",
    "quotas",
    "data-flow-rules",
    "data-flow-reads",
    "tokens",
)
"""The kinds that `codemode admin` lists, by name."""


def complete_kind(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def complete_server(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the servers of the configuration; none if it cannot be read."""
    from portal.config import SERVER_SECTIONS, server_id

    return [server_id(name) for name in _names(ctx, SERVER_SECTIONS) if server_id(name).startswith(incomplete)]


def complete_portal(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the further portals of the configuration; none if it cannot be read."""
    return [id for id in _names(ctx, ("portals",)) if id.startswith(incomplete)]


def complete_entry(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the servers of the document to change, as it writes them; none if it cannot be read."""
    from portal.config import server_place

    file, document = _document(ctx)
    return [name for name in server_place(document, file).entries if name.startswith(incomplete)]


def _names(ctx: typer.Context, sections: Sequence[str]) -> list[str]:
    _, document = _document(ctx)
    found = (document.get(section) for section in sections)
    return [name for entries in found if isinstance(entries, dict) for name in entries]


def _document(ctx: typer.Context) -> tuple[Path, dict[str, object]]:
    """The document that the command line means; without members if there is none, or it cannot be read."""
    from portal.config import load_document
    from portal.errors import ConfigError

    named = ctx.params.get("config")
    file = Path(named) if named else config_in_use(Path.cwd(), os.environ)
    if file is None:
        return Path(), {}
    try:
        return file, load_document(file)
    except ConfigError:
        return file, {}
