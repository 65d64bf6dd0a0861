"""What a shell completes: servers, portals and tools of the configuration without connecting, and fixed words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portal.cli.config_file import config_in_use

if TYPE_CHECKING:
    from portal.cli.known_names import KnownNames

MOST = 1000
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

Completer = Callable[[typer.Context, str], list[str]]


def words(*listed: str) -> Completer:
    """Completes these words."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _begun(listed, incomplete)

    return complete


complete_kind = words(*KINDS)
complete_outcome = words("ok", "tool_error", "error", "denied", "timeout", "unavailable", "cancelled")
complete_row_kind = words(
    "tool", "prompt", "resource", "completion", "subscription", "setting",
    "run", "request", "sign_in", "consent", "refusal", "change",
)  # fmt: skip
complete_run_state = words(
    "open", "parked", "ready", "running", "completed", "failed", "cancelled", "denied", "expired", "lost",
)  # fmt: skip
complete_approval_state = words("pending", "approved", "used", "denied", "expired", "withdrawn", "any")
complete_install = words("install")


def complete_server(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the servers of the configuration; none if it cannot be read."""
    return _begun(_known(ctx).servers, incomplete)


def complete_client(incomplete: str) -> list[str]:
    """Ids of the MCP clients that can be connected."""
    from portal.clients import CLIENTS

    return [client.id for client in CLIENTS if client.id.startswith(incomplete)]


def complete_portal(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the further portals of the configuration; none if it cannot be read."""
    return _begun(_known(ctx).portals, incomplete)


def complete_tool(ctx: typer.Context, incomplete: str) -> list[str]:
    """Paths of tools as their servers listed them last; before the first time, the servers that they begin with."""
    known = _known(ctx)
    tools = [path for server in known.servers for path in known.tools.get(server, ())]
    unknown = [f"{server}." for server in known.servers if server not in known.tools]
    return _begun([*tools, *unknown], incomplete)


def complete_path(ctx: typer.Context, incomplete: str) -> list[str]:
    """Servers, and their tools once a server's name is written."""
    servers = complete_server(ctx, incomplete)
    return servers if len(servers) > 1 and "." not in incomplete else [*servers, *complete_tool(ctx, incomplete)]


def complete_stubs(ctx: typer.Context, incomplete: str) -> list[str]:
    """What may follow `codemode stubs`: a server, or `diff`. Files are the shell's."""
    return [] if ctx.params.get("words") else _begun(["diff", *_known(ctx).servers], incomplete)


def complete_pinned(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the tools of the server that is named before."""
    tools = _known(ctx).tools.get(str(ctx.params.get("server")), ())
    return _begun([path.partition(".")[2] for path in tools], incomplete)


def _begun(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)][:MOST]


def _known(ctx: typer.Context) -> KnownNames:
    """The names of the configuration that the command would use. What was kept is read, unless the file has changed."""
    from portal.cli.known_names import KnownNames, keep, recall, safe, stamp_of

    named = ctx.params.get("config")
    try:
        file = Path(named) if named else config_in_use(Path.cwd(), os.environ)
    except OSError:
        return KnownNames()
    if file is None or not (stamp := stamp_of(file)):
        return KnownNames()
    known = recall(file, os.environ)
    if known.stamp == stamp:
        return known
    from portal.config import SERVER_SECTIONS, load_document, server_id
    from portal.errors import ConfigError

    try:
        document = load_document(file)
    except ConfigError:
        return KnownNames()
    servers = safe(server_id(name) for section in SERVER_SECTIONS for name in _names(document.get(section)))
    read = KnownNames(stamp, servers, safe(_names(document.get("portals"))), known.tools)
    keep(file, read, os.environ)
    return read


def _names(entries: object) -> list[str]:
    return list(map(str, entries)) if isinstance(entries, dict) else []


def complete_entry(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the servers of the document to change, as it writes them; none if it cannot be read."""
    from portal.cli.known_names import safe

    return _begun(safe(_entries(ctx)), incomplete)


def complete_program(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the servers of the configuration that are programs; none if it cannot be read."""
    from portal.cli.known_names import safe
    from portal.config import server_id

    return _begun(safe(server_id(name) for name, entry in _entries(ctx).items() if not _has_url(entry)), incomplete)


def _has_url(entry: object) -> bool:
    return isinstance(entry, dict) and any(
        entry.get(key) for key in ("url", "httpUrl", "serverUrl", "baseUrl", "openapi")
    )


def _entries(ctx: typer.Context) -> Mapping[str, object]:
    """The servers of the document that the command line means; none if it cannot be read."""
    from portal.config import load_document, server_place
    from portal.errors import ConfigError

    named = ctx.params.get("config")
    try:
        file = Path(named) if named else config_in_use(Path.cwd(), os.environ)
        return server_place(load_document(file), file).entries if file is not None else {}
    except (ConfigError, OSError):
        return {}
