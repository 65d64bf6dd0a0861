"""The admin API of an instance, and its settings from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_network

from portal.admin import Admin, AdminSettings, RegistryUpstreams, create_admin, rule_of_profiles
from portal.app.access import read_stored
from portal.app.definitions import OWN, definitions
from portal.app.identity import PortalIdentity
from portal.app.portal import Portal
from portal.app.served import InstanceServing
from portal.app.shared import Shared
from portal.app.tester import InstanceTester
from portal.config import Config
from portal.elicitation import PORTAL_LOGIN_PATH
from portal.home import Holdings
from portal.login import Delivery
from portal.notices import Smtp
from portal.servers import StoredServers
from portal.state import Store


async def open_admin(shared: Shared, stored: StoredServers, portals: Mapping[str, Portal], holdings: Holdings) -> Admin:
    """The admin API over the instance's store, running servers, log and portals, and over what people have begun."""
    upstreams = RegistryUpstreams(shared.servers, stored, shared.credentials)
    settings = AdminSettings(events=shared.events)
    configure_admin(settings, shared.config)
    settings.detector = shared.gateway.detector

    async def end_run(id: str, words: str) -> bool:
        return shared.parked is not None and await shared.parked.end(id, words)

    return await create_admin(
        shared.require_store(),
        upstreams,
        clock=shared.parts.now,
        settings=settings,
        log=shared.log,
        quotas=shared.quotas,
        exports=shared.exports,
        rules=shared.parts.detection_rules,
        profile_uses=rule_of_profiles,
        tester=InstanceTester(shared, portals),
        holdings=holdings,
        runs=shared.runs,
        contents=shared.kept,
        serving=InstanceServing(shared, portals, upstreams),
        approvals=shared.approvals,
        programs=shared.runner,
        end_run=end_run,
    )


def configure_admin(settings: AdminSettings, config: Config) -> None:
    """Set the settings that come from the configuration."""
    section = config.portal.identity
    settings.config = config
    settings.documented_profiles = frozenset(config.portal.dlp.profiles)
    settings.lead = timedelta(seconds=config.portal.credential_notices.lead)
    settings.identity = section
    settings.organization = section.organization if section is not None else {}
    if section is None:
        return
    settings.login_page = PORTAL_LOGIN_PATH
    settings.proxies = [ip_network(proxy) for proxy in section.trusted_proxies]
    settings.integrations = frozenset(section.posture.integrations) if section.posture is not None else None


def configure_delivery(settings: AdminSettings, own: PortalIdentity, origin: str, hostname: str) -> None:
    """Set the address of the document's own portal and how its links are sent. `origin` is "" before it listens."""
    settings.delivery = Delivery(origin, own.mail, own.called)
    settings.hostname = hostname


async def command_delivery(config: Config, store: Store) -> Delivery:
    """How a command without a running portal sends links, from the configuration and the store."""
    settings, stored = config.portal, await read_stored(store)
    origin = settings.public_url or (f"http://{settings.host}:{settings.port}" if settings.port else "")
    own = definitions(config, stored.objects.portals, stored.login_name)[OWN]

    async def called() -> str:
        return own.name

    return Delivery(origin, Smtp.of(settings.identity), called)
