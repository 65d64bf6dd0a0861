"""Which credential a server has."""

from __future__ import annotations

from portal.config import HttpServer, ServerConfig
from portal.credentials.client_credentials import ClientCredentials
from portal.upstream import Credential


def credential_of(config: ServerConfig) -> Credential | None:
    """The credential that all connections to a server share, None for a server that needs none beyond its headers."""
    if isinstance(config, HttpServer) and config.oauth is not None:
        return ClientCredentials(config, config.oauth)
    return None
