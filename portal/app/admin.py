"""The admin API of an instance, and what it asks of the configuration."""

from __future__ import annotations

from ipaddress import ip_network

from portal.admin import Admin, AdminSettings, RegistryUpstreams, create_admin
from portal.app.identity import PortalIdentity
from portal.app.shared import Shared
from portal.config import IdentitySection
from portal.login import Delivery
from portal.servers import StoredServers


async def open_admin(shared: Shared, stored: StoredServers, section: IdentitySection) -> Admin:
    """The admin API over the instance's store and its running servers."""
    upstreams = RegistryUpstreams(shared.servers, stored)
    settings = AdminSettings()
    configure_admin(settings, section)
    return await create_admin(shared.require_store(), upstreams, clock=shared.parts.now, settings=settings)


def configure_admin(settings: AdminSettings, section: IdentitySection) -> None:
    """Set what the API asks of the configuration."""
    settings.proxies = [ip_network(proxy) for proxy in section.trusted_proxies]
    settings.integrations = frozenset(section.posture.integrations) if section.posture is not None else None


def configure_delivery(settings: AdminSettings, own: PortalIdentity, origin: str, hostname: str) -> None:
    """Set where the document's own portal is, and how its links get to people. `origin` is "" before it listens."""
    settings.delivery = Delivery(origin, own.mail, own.called)
    settings.hostname = hostname
