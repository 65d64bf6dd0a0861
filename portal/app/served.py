"""What an instance serves now, for the admin API: servers and portals, of the document and of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from portal.access import Capabilities, DisplaySetting
from portal.admin import OWN_PORTAL, ServedPortal, ServedPortalServer, ServedServer, Upstreams, fix_in_document, offered
from portal.app.definitions import OWN
from portal.app.portal import Portal
from portal.app.shared import Shared
from portal.config import HttpServer, OpenApiServer, ServerConfig

_AS_LISTED = Capabilities({}, DisplaySetting())
_TRANSPORTS: Mapping[str, Literal["http", "sse", "stdio", "openapi"]] = {
    "http": "http",
    "sse": "sse",
    "stdio": "stdio",
    "openapi": "openapi",
}


class InstanceServing:
    """Implements `portal.admin.Serving` over the servers and portals of an instance, which come and go."""

    def __init__(self, shared: Shared, portals: Mapping[str, Portal], upstreams: Upstreams) -> None:
        self._shared = shared
        self._portals = portals
        self._upstreams = upstreams

    def servers(self) -> Sequence[ServedServer]:
        """As `Serving` says."""
        documented = self._shared.config.servers
        running = {id: server.config for id, server in self._shared.servers.snapshot.servers.items()}
        configs = {**{id: running.get(id, config) for id, config in documented.items()}, **running}
        return [self._server(config, in_document=id in documented) for id, config in configs.items()]

    def _server(self, config: ServerConfig, *, in_document: bool) -> ServedServer:
        observed = self._upstreams.observed(config.id)
        return ServedServer(
            id=config.id,
            name=config.name,
            description=config.description,
            source="configuration" if in_document else "store",
            key=f"{self._shared.config.section}.{config.name}" if in_document else None,
            enabled=config.enabled,
            transport=_TRANSPORTS[config.transport_name],
            origin=_origin(_address(config)),
            pin=config.pin,
            secure_web_gateway=config.secure_web_gateway,
            labels=config.labels,
            status=observed.status,
            error=observed.error,
            error_details=observed.error_details,
            offered=offered(self._upstreams.definitions(config.id), _AS_LISTED, _AS_LISTED, pinned=config.pin),
            waiting_approvals=observed.waiting_approvals,
            notices=observed.notices,
            fix=fix_in_document(observed) if in_document else None,
        )

    def portals(self) -> Sequence[ServedPortal]:
        """As `Serving` says."""
        return [_portal(portal) for portal in self._portals.values()]


def _portal(portal: Portal) -> ServedPortal:
    definition = portal.definition
    servers = definition.servers
    return ServedPortal(
        id=OWN_PORTAL if definition.id == OWN else definition.id,
        name=definition.name,
        hostname=definition.hostname,
        description=definition.description,
        source="store" if definition.from_store else "configuration",
        key=None if definition.from_store else "portal" if definition.id == OWN else f"portals.{definition.id}",
        code_mode=definition.code_mode,
        secure_web_gateway=portal.secure_web_gateway,
        url=f"{portal.address}{portal.path}",
        servers=None
        if servers is None
        else tuple(
            ServedPortalServer(server_id=one.server_id, default_disabled=one.default_disabled, on_behalf=one.on_behalf)
            for one in servers
        ),
    )


def _address(config: ServerConfig) -> str:
    """Where a server is, as its configuration has it; of an API else where its document is."""
    if not isinstance(config, HttpServer):
        return ""
    return config.url or (config.document_url if isinstance(config, OpenApiServer) else "")


def _origin(url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"
