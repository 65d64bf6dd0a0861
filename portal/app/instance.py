"""Everything one process serves: the portals, and below them what they share.

    instance   configuration, store, upstream connections, workers, records, learned types, pins, admin API
      portals  definition, access, login, MCP endpoint: one object each (`portal.app.portal`)

A change of the configuration file or of the store is taken up by `apply` and by following the store; both make the
same reading of both, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from portal.access import LiveAccess, PolicyError
from portal.app.access import DECIDING, StoredState, portal_access, read_stored
from portal.app.asgi import Addresses, instance_app
from portal.app.code import Programs
from portal.app.definitions import OWN, PortalDefinition, definitions, host_url
from portal.app.portal import Portal
from portal.app.reload import takeable
from portal.app.upstreams import open_upstreams
from portal.calls import Gate, Records
from portal.config import Config, IdentitySection
from portal.endpoint import CodeRunner
from portal.errors import ConfigError, StartError
from portal.http import Edge, HttpSettings, running
from portal.learning import Learning
from portal.logs import RecordSink, set_level
from portal.pins import Pinning
from portal.servers import Servers, StoredServers
from portal.state import StateError, StateUnavailable, beside, beside_changes, utc_now

if TYPE_CHECKING:
    from portal.admin import Admin
    from portal.app.identity import Admission, IdentitySettings, PortalIdentity, SharedIdentity
    from portal.app.signals import SignalSources
    from portal.login import Passwords
    from portal.oauth import Fetch
    from portal.state import Clock, Store

PURGE_SECONDS = 3600.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a program that embeds an instance may put in the place of the real parts.

    `code` runs programs: the instance's own workers, another runner, or None for portals without code mode. `records`
    takes call records in the place of a log. `learning` and `pins` are the embedding program's to open and close.

    At the document's own portal, `access` decides in the place of configuration and store, `gate` about calls, and
    `admission` who may sign in. `adjust_identity` changes the settings of a login before it is made.
    """

    now: Clock = utc_now
    http: HttpSettings = HttpSettings()
    code: CodeRunner | Literal["workers"] | None = "workers"
    records: Records | None = None
    learning: Learning | None = None
    pins: Pinning | None = None
    access: LiveAccess | None = None
    gate: Gate | None = None
    admission: Admission | None = None
    adjust_identity: Callable[[IdentitySettings], IdentitySettings] | None = None
    fetch: Fetch | None = None
    passwords: Passwords | None = None


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """The name of a portal and the URL of its MCP endpoint."""

    name: str
    url: str


class Instance:
    """Use `Instance.open`. `config` is the configuration in force; `app` the ASGI application."""

    def __init__(self, config: Config, announce: Callable[[str], object], parts: Parts) -> None:
        self.config = config
        self.parts = parts
        self.programs = Programs() if parts.code == "workers" else None
        self.portals: dict[str, Portal] = {}
        self.addresses = Addresses(())
        self.edge = Edge(parts.http)
        self.records: Records
        self.learning: Learning
        self.servers: Servers
        self.app: Starlette
        self.store: Store | None = None
        self.admin: Admin | None = None
        self._shared: SharedIdentity | None = None
        self._signals: SignalSources | None = None
        self._stored_servers: StoredServers | None = None
        self._stored = StoredState()
        self._origin = ""
        self._announce = announce
        self._applying = asyncio.Lock()
        self._log = structlog.get_logger("portal.app")

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: Config,
        sink: RecordSink,
        announce: Callable[[str], object] = print,
        parts: Parts | None = None,
    ) -> AsyncIterator[Instance]:
        """An instance of this configuration, ready to listen; its servers are connecting.

        `announce` shows the operator a message that is meant for nobody else.

        Raises:
            StartError: something that the configuration names cannot be used. The message says what.
        """
        instance = cls(config, announce, parts or Parts())
        async with AsyncExitStack() as stack:
            try:
                await instance._start(sink, stack)
            except StateError as error:
                raise StartError(str(error)) from error
            except (PolicyError, ValueError) as error:
                raise StartError(f"portal.identity: {error}") from error
            yield instance

    async def apply(self, config: Config) -> tuple[str, ...]:
        """Take up a changed configuration: on open sessions and in running programs too. The keys that wait for the
        next start, by name.

        Raises:
            ConfigError: something in it cannot be used; what could be taken up before that stays.
            StateUnavailable: stored servers cannot be read; they are taken up when they can.
        """
        async with self._applying:
            takes, waiting = takeable(self.config, config)
            try:
                self.edge.replace(self._edge_settings(takes))
                if self.programs is not None:
                    await self.programs.apply(takes)
            except (StartError, ValueError) as error:
                raise ConfigError(str(error), file="the changed configuration") from error
            set_level(takes.portal.log_level)
            self.config = takes
            if self._stored_servers is not None:
                await self._stored_servers.configure(takes.servers)
            else:
                await self.servers.apply(takes.servers)
            try:
                await self._refresh()
            except (PolicyError, ValueError) as error:
                raise ConfigError(f"portal.identity: {error}", file="the changed configuration") from error
        return waiting

    def listening(self, origin: str) -> None:
        """The address is known now: what a portal without a public URL tells its servers of itself."""
        self._origin = origin
        for portal in self.portals.values():
            self._name_issuer(portal)

    def urls(self, origin: str) -> list[PortalAddress]:
        """Where each portal's MCP endpoint is, the document's own first; `origin` is where the instance listens."""
        base = self.config.portal.public_url or origin
        return [
            PortalAddress(
                portal.definition.name, (self._own_url(portal) or base + portal.definition.prefix) + portal.path
            )
            for portal in self.portals.values()
        ]

    def close_streams(self) -> None:
        """Begin to shut down: end the streams that would otherwise stay open."""
        for portal in self.portals.values():
            portal.endpoint.close_streams()

    def require_store(self) -> Store:
        assert self.store is not None, "identity needs a store, and only identity asks for one"
        return self.store

    @property
    def now(self) -> Clock:
        return self.parts.now

    @property
    def own(self) -> Portal:
        """The document's own portal."""
        return self.portals[OWN]

    @property
    def runner(self) -> CodeRunner | None:
        """What runs programs, or None without code mode."""
        return self.programs if self.parts.code == "workers" else self.parts.code

    def identity_of(self, portal: Portal, section: IdentitySection) -> PortalIdentity:
        """The login and the authorization server of a portal.

        Raises:
            ValueError: the section cannot be used.
        """
        from portal.app.admission import PortalAdmission
        from portal.app.identity import IdentitySettings, portal_identity

        assert self._shared is not None and portal.access is not None
        definition = portal.definition
        settings = IdentitySettings.of(definition, section, portal.path)
        if self.parts.adjust_identity is not None:
            settings = self.parts.adjust_identity(settings)
        own = self.parts.admission if definition.id == OWN else None
        return portal_identity(
            self._shared,
            settings,
            own or PortalAdmission(self, portal.access),
            scope=definition.id,
            announce=self._announce,
            fetch=self.parts.fetch,
        )

    # Starting

    async def _start(self, sink: RecordSink, stack: AsyncExitStack) -> None:
        config = self.config
        self.edge.replace(self._edge_settings(config))
        if self.programs is not None:
            stack.push_async_callback(self.programs.aclose)
            await self.programs.apply(config)
        if config.portal.has_store:
            from portal.app.store import open_store

            self.store = await stack.enter_async_context(open_store(config.portal.state, self.parts.now))
        learning, pins = self.parts.learning, self.parts.pins
        opened = open_upstreams(config, sink, self.store, learning=learning, pins=pins)
        upstreams = await stack.enter_async_context(opened)
        self.servers, self.learning = upstreams.servers, upstreams.learning
        self.records = self.parts.records or upstreams.records
        routes: list[BaseRoute] = []
        if config.portal.identity is not None:
            routes = await self._start_identity(config.portal.identity, stack)
        stack.push_async_callback(self._close_portals)
        await self._refresh()
        self.app = instance_app(self, self.edge, routes)

    async def _start_identity(self, section: IdentitySection, stack: AsyncExitStack) -> list[BaseRoute]:
        from portal.app.admin import open_admin
        from portal.app.identity import SharedIdentity
        from portal.app.signals import SignalSources

        store, now = self.require_store(), self.parts.now
        self._shared = shared = SharedIdentity.over(store, now, self.parts.passwords)
        stack.push_async_callback(shared.aclose)
        shared.logins.on_change(self._callers_changed)

        async def sign(claims: Mapping[str, Any]) -> str:
            return await shared.keys.sign({"iss": self._issuer(self.own), **claims})

        self._signals = SignalSources(store, sign, self._callers_changed, now)
        stack.push_async_callback(self._signals.aclose)
        stored = StoredServers(store, self.servers, self.config.servers)
        self._stored_servers = await stack.enter_async_context(stored)
        self.admin = await open_admin(self, stored, section)
        await stack.enter_async_context(beside(self._forget_expired()))
        await stack.enter_async_context(beside_changes(store, DECIDING, self._follow))
        return [self.admin.route()]

    async def _close_portals(self) -> None:
        await asyncio.gather(*(portal.aclose() for portal in self.portals.values()))

    # Following

    async def _follow(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            try:
                async with self._applying:
                    await self._refresh()
            except StateUnavailable as error:
                self._log.error("the store cannot be read; what was known goes on deciding", reason=str(error))
                changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            except (PolicyError, StateError, ValueError) as error:
                self._log.error("what is stored is not taken up; what was known goes on deciding", reason=str(error))

    async def _refresh(self) -> None:
        """Read the store, and make the portals what configuration and store say."""
        section = self.config.portal.identity
        if section is not None:
            from portal.app.admin import configure_admin

            self._stored = await read_stored(self.require_store())
            assert self._signals is not None
            renewed = await self._signals.apply(section)
            assert self.admin is not None
            configure_admin(self.admin.settings, section)
        else:
            renewed = False
        wanted = definitions(self.config, self._stored.objects.portals)
        for id in [id for id in self.portals if id not in wanted]:
            await self.portals.pop(id).aclose()
        for id, definition in wanted.items():
            portal = self.portals.get(id)
            if portal is None:
                portal = self.portals[id] = Portal(self, definition, self._access_of(definition))
                await portal.start()
                renewed = True
            await portal.apply(definition, self._stored)
            self._name_issuer(portal)
            # Compiling the policies of many portals must not hold the event loop.
            await asyncio.sleep(0)
        if renewed:
            self._connect_signals()
        self.addresses = Addresses(self.portals.values())
        self.edge.replace(self._edge_settings(self.config))

    def _access_of(self, definition: PortalDefinition) -> LiveAccess | None:
        if self.parts.access is not None and definition.id == OWN:
            return self.parts.access
        if self.config.portal.identity is None and definition.servers is None:
            return None
        return LiveAccess(portal_access(definition, self.config, self._stored))

    def _connect_signals(self) -> None:
        """Let every portal's decisions ask the sources that are open now."""
        if self._signals is None or self._shared is None:
            return
        from portal.oauth import LoginSignals

        for portal in self.portals.values():
            if portal.access is not None:
                portal.access.signals = LoginSignals(self._shared.logins, self._signals.known())
                portal.access.changed()

    def _callers_changed(self) -> None:
        for portal in self.portals.values():
            if portal.access is not None:
                portal.access.changed()

    async def _forget_expired(self) -> None:
        """Delete tokens that have expired or whose account is gone, now and every hour: each login leaves some."""
        from portal.oauth import end_departed

        store = self.require_store()
        while True:
            try:
                await store.tokens.purge(self.parts.now())
                await end_departed(store)
            except StateError as error:
                self._log.error("expired tokens could not be deleted", reason=str(error))
            await asyncio.sleep(PURGE_SECONDS)

    # Addresses

    def _edge_settings(self, config: Config) -> HttpSettings:
        settings, identities = config.portal, [portal.identity for portal in self.portals.values()]
        known = [identity for identity in identities if identity is not None]
        forms: tuple[str, ...] = ()
        if config.portal.identity is not None:
            from portal.app.identity import LOGIN_FORMS

            forms = LOGIN_FORMS
        return replace(
            self.parts.http,
            allowed_hosts=(
                *settings.allowed_hosts,
                *self.addresses.hostnames,
                *(host for identity in known for host in identity.hosts),
            ),
            allowed_origins=(*settings.allowed_origins, *(origin for one in known for origin in one.origins)),
            forms=forms,
        )

    def _own_url(self, portal: Portal) -> str:
        """The origin of a portal's own host name, "" without one."""
        section = self.config.portal.identity
        return host_url(portal.definition, section.public_url if section is not None else "")

    def _issuer(self, portal: Portal) -> str:
        """How a portal names itself in what it signs; "" before it is known where the instance listens."""
        if own := self._own_url(portal):
            return own
        origin = self.config.portal.public_url or self._origin
        return origin + portal.definition.prefix if origin else ""

    def _name_issuer(self, portal: Portal) -> None:
        if portal.identity is not None:
            portal.identity.assertions.issuer = self._issuer(portal)


@asynccontextmanager
async def serving(instance: Instance, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Listen until the block ends. The origin where the instance listens.

    Raises:
        UnsafeBind: others can reach the address, and nobody signs in.
        OSError: the address cannot be had.
    """
    identity = instance.config.portal.identity is not None
    http, stop = instance.edge.settings, instance.close_streams
    async with running(instance.app, host=host, port=port, identity=identity, http=http, on_stop=stop) as origin:
        instance.listening(origin)
        yield origin
