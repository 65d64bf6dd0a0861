"""What is written into a client's document: the portal as one of its servers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.clients.known import McpClient


@dataclass(frozen=True, slots=True)
class PortalEndpoint:
    """The portal that clients are connected to: its URL with the mode, and the command that serves it to a client which
    starts programs."""

    url: str
    command: tuple[str, ...]


def entry_of(client: McpClient, endpoint: PortalEndpoint, *, stdio: bool = False) -> Mapping[str, object]:
    """The entry for this client; with `stdio`, and for clients that know nothing else, a program to start."""
    if stdio or client.starts_programs_only:
        word, *args = endpoint.command
        return {**({"type": "stdio"} if client.typed else {}), "command": word, "args": args}
    return {**({"type": "http"} if client.typed else {}), client.address: endpoint.url}
