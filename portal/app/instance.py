"""Everything one process serves: the portals, and below them what they share.

    instance   configuration, store, upstream connections, workers, records, learned types, pins, admin API
      portals  definition, access, login, MCP endpoint: one object each (`portal.app.portal`)

A change of the configuration file or of the store is taken up by `apply` and by following the store; both make the
same reading of both, one after the other.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from socket import gethostname
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from codemode import FairThreads, Meanings
from portal.access import LiveAccess, PolicyError
from portal.app.access import ACCESS_KINDS, StoredState, portal_access, read_stored
from portal.app.asgi import Addresses, instance_app
from portal.app.code import Programs
from portal.app.definitions import OWN, PortalDefinition, definitions, host_url
from portal.app.detection import FollowedProfiles, open_detection
from portal.app.document_stamps import DocumentStamps
from portal.app.flows import flow_settings
from portal.app.gateway import checked_rules, rulebook
from portal.app.itself import OwnAddress, leads_to, mark_of
from portal.app.observing import Observing
from portal.app.portal import Portal
from portal.app.quotas import quotas_in_force
from portal.app.reload import takeable
from portal.app.shared import Parts, Shared
from portal.app.upstreams import open_upstreams
from portal.approvals import Approvals
from portal.config import Config, IdentitySection, ServerConfig
from portal.egress import resolver_here
from portal.endpoint import health, status
from portal.errors import ConfigError, StartError
from portal.flows import Flows
from portal.gateway import HttpRuleRefused
from portal.http import Edge, HttpSettings, Proxies, running
from portal.identity import Identity
from portal.logs import EventLog, RecordSink, set_level
from portal.quotas import counts_kept
from portal.servers import Servers, StoredServers
from portal.shares import holder_of
from portal.state import Follower, StateError, StateUnavailable, background

if TYPE_CHECKING:
    from portal.admin import Admin
    from portal.app.signals import SignalSources
    from portal.runs import DurableRuns, RunOutcome
    from portal.state import RunClaim

PURGE_SECONDS = 900.0
DRAIN_SECONDS = 5.0
"""How long parked runs that go on have to end or to park again when the instance stops."""
PURGE_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PortalUrls:
    """The name of a portal and the URLs of its MCP endpoint: by path, and under its host name if it has one."""

    name: str
    urls: tuple[str, ...]


class Instance:
    """Use `Instance.open`. `config` is the configuration in force; `app` the ASGI application."""

    def __init__(self, config: Config, announce: Callable[[str], object], parts: Parts) -> None:
        meanings = Meanings.installed()
        programs = Programs(meanings) if parts.code == "workers" else None
        self.shared = Shared(config, parts, announce, Edge(parts.http), programs, meanings)
        if parts.quotas is not None:
            self.shared.quotas = parts.quotas
        self.portals: dict[str, Portal] = {}
        self.addresses = Addresses(())
        self.app: Starlette
        self.admin: Admin | None = None
        self._signals: SignalSources | None = None
        self._profiles: FollowedProfiles | None = None
        self._stored_servers: StoredServers | None = None
        self._follower: Follower | None = None
        self._stamps = DocumentStamps()
        self._stamps_follower: Follower | None = None
        self._observing: Observing
        self._stored = StoredState()
        self._origin = ""
        self._host: str | None = None
        self._address = OwnAddress.of(config, port=0)
        self._applying = asyncio.Lock()
        self._log = structlog.get_logger("portal.app")

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.shared.config

    @property
    def servers(self) -> Servers:
        return self.shared.servers

    @property
    def programs(self) -> Programs | None:
        """The workers that run programs, or None if something else runs them."""
        return self.shared.programs

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
            except (StateError, HttpRuleRefused) as error:
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
            self._check(takes)
            try:
                self.shared.edge.replace(self._edge_settings(takes))
                if self.shared.programs is not None:
                    await self.shared.programs.apply(takes)
            except (StartError, ValueError) as error:
                raise ConfigError(str(error), file="the changed configuration") from error
            set_level(takes.portal.log_level)
            self.shared.config = takes
            self._take_stamps()
            await self._observing.apply()
            self._notice_again()
            try:
                await self._take_up_document(takes)
                await self._refresh()
            except StateUnavailable:
                if self._follower is not None:
                    self._follower.again()
                raise
            except (PolicyError, ValueError) as error:
                raise ConfigError(f"portal.identity: {error}", file="the changed configuration") from error
        return waiting

    async def _take_up_document(self, config: Config) -> None:
        """Take up the labels, profiles, rules, quotas and servers of the document, in this order: no call of a new
        server is made before what guards it holds.

        Raises:
            StateUnavailable: something of it has to wait for the store. What needs no store is taken up all the same.
        """
        assert self._profiles is not None
        self._take_up_flows()
        trouble: StateUnavailable | None = None
        try:
            await self._profiles.configure(config)
        except StateUnavailable as error:
            trouble = error
        self._apply_quotas()
        self._take_up_rules()
        for definition in definitions(config, self._stored.objects.portals, self._stored.login_name).values():
            if (portal := self.portals.get(definition.id)) is not None:
                portal.secure_web_gateway = definition.secure_web_gateway
        if self._stored_servers is not None:
            await self._stored_servers.configure(config.servers)
        else:
            await self.servers.apply(config.servers)
        if trouble is not None:
            raise trouble

    def _check(self, config: Config) -> None:
        """Refuse a configuration whose policies or rules cannot be compiled, before any of it is taken up."""
        try:
            checked_rules(config, self.shared.gateway.detector)
        except HttpRuleRefused as error:
            raise ConfigError(str(error), file="the changed configuration") from error
        if config.portal.identity is None:
            return
        found = definitions(config, self._stored.objects.portals, self._stored.login_name)
        try:
            for id in (OWN, *config.portals):
                portal_access(found[id], config, self._stored)
        except PolicyError as error:
            raise ConfigError(f"portal.identity: {error}", file="the changed configuration") from error

    def listening(self, origin: str, host: str | None = None) -> None:
        """The address is known now: what a portal without a public URL tells its servers of itself. `host` is where it
        listens if not where the configuration says."""
        self._origin, self._host = origin, host
        for portal in self.portals.values():
            self._name_issuer(portal)
        self._configure_delivery()
        self._locate()
        self._notice_again()

    def urls(self, origin: str) -> list[PortalUrls]:
        """Where each portal's MCP endpoint is, the document's own first; `origin` is where the instance listens."""
        base = self.config.portal.public_url or origin
        found: list[PortalUrls] = []
        for portal in self.portals.values():
            definition, own = portal.definition, self._own_url(portal)
            by_path = [base + definition.prefix + portal.path] if definition.prefix or not definition.id else []
            found.append(PortalUrls(definition.name, (*by_path, *([own + portal.path] if own else []))))
        return found

    def close_streams(self) -> None:
        """Begin to shut down: end the streams that would otherwise stay open, and the waits for parked programs."""
        if self.shared.parked is not None:
            self.shared.parked.send_away()
        for portal in self.portals.values():
            portal.endpoint.close_streams()
        if self.admin is not None:
            self.admin.close_streams()

    @property
    def own(self) -> Portal:
        """The document's own portal."""
        return self.portals[OWN]

    def _parked(self) -> DurableRuns | None:
        """What has parked runs go on at the portals of this instance, once it is entered; None without a store."""
        if self.shared.store is None:
            return None
        from portal.app.ended_runs import EndedRuns
        from portal.runs import DurableRuns

        ended = EndedRuns(self.shared, self.portals)
        return DurableRuns(
            self.shared.store,
            self._resume,
            owner=secrets.token_hex(16),
            portals=lambda: frozenset(self.portals),
            known=self._known,
            on_end=ended.note,
            in_log=ended.in_log,
            logins=None if self.shared.identity is None else self.shared.identity.logins,
            clock=self.shared.parts.now,
        )

    def _known(self) -> frozenset[str] | None:
        """All portals that there are, also those that cannot be used. Where nobody signs in those of the store are not
        known."""
        if self.config.portal.identity is None:
            return None
        return frozenset(definitions(self.config, self._stored.objects.portals, self._stored.login_name))

    async def _resume(self, claim: RunClaim) -> RunOutcome:
        """Go on with a parked run at the portal that it is of."""
        portal = self.portals.get(claim.run.portal)
        if portal is None:
            from portal.runs import NextAttempt

            return NextAttempt()
        return await portal.endpoint.resume(claim)

    @asynccontextmanager
    async def _going_on(self) -> AsyncIterator[None]:
        """A block in which parked runs go on, and people are told that calls wait for them."""
        async with AsyncExitStack() as stack:
            if self.config.portal.identity is not None:
                from portal.app.notices import approval_notices

                self.shared.notices = await stack.enter_async_context(approval_notices(self.shared, self.portals))
            if (parked := self.shared.parked) is not None:
                await stack.enter_async_context(parked)
                stack.push_async_callback(parked.aclose, DRAIN_SECONDS)
            yield

    # Starting

    async def _start(self, sink: RecordSink, stack: AsyncExitStack) -> None:
        config = self.config
        stack.enter_context(resolver_here().lasting())
        # asyncio's own executor serves first come first: the large programs of one person would keep everybody waiting.
        asyncio.get_running_loop().set_default_executor(FairThreads())
        self.shared.edge.replace(self._edge_settings(config))
        if self.shared.meanings is not None:
            stack.push_async_callback(asyncio.to_thread, self.shared.meanings.close)
        if self.shared.programs is not None:
            stack.push_async_callback(self.shared.programs.aclose)
            await self.shared.programs.apply(config)
        if config.portal.has_store:
            from portal.app.store import open_store

            self.shared.store = await stack.enter_async_context(open_store(config.portal.state, self.shared.parts.now))
        self._take_stamps()
        self.shared.flows = await stack.enter_async_context(Flows(self.shared.parts.now, self.shared.store))
        self._take_up_flows()
        learning, pins = self.shared.parts.learning, self.shared.parts.pins
        from portal.app.store import open_contents, open_log

        if self.shared.parts.records is None:
            self.shared.log = await stack.enter_async_context(open_log(config, lambda: self.config.portal.logs))
        kept = open_contents(config, self.shared.log, lambda: self.config.portal.logs)
        self.shared.kept = await stack.enter_async_context(kept)
        if self.shared.parts.events is not None:
            self.shared.events = self.shared.parts.events
        elif self.shared.log is not None:
            self.shared.events = await stack.enter_async_context(EventLog(self.shared.log))
        if (store := self.shared.store) is not None:
            # Those that serve one database are one instance.
            self.shared.mark = mark_of(config)
            approvals = Approvals(store, self.shared.events, self.shared.parts.now)
            self.shared.approvals = await stack.enter_async_context(approvals)
        opened = open_upstreams(
            config, sink, self.shared.store, self.shared.log, learning=learning, pins=pins, instance=self.shared.mark
        )
        upstreams = await stack.enter_async_context(opened)
        self.shared.servers, self.shared.learning = upstreams.servers, upstreams.learning
        self.shared.credentials = upstreams.credentials
        self._observing = Observing(self.shared, self.portals, self.shared.parts.records or upstreams.records)
        self.shared.records = self._observing.records
        await stack.enter_async_context(self._observing)
        if (store := self.shared.store) is not None:
            from portal.credentials import CredentialNotices

            await stack.enter_async_context(
                CredentialNotices(
                    store,
                    lambda: self.config.portal.credential_notices,
                    lambda: self.own.definition.name if OWN in self.portals else self.config.portal.name,
                    self.shared.credentials.own_tokens,
                    now=self.shared.parts.now,
                )
            )
        detection = open_detection(config, self.shared.store, self.shared.parts.detection_rules)
        self.shared.detector, self._profiles = await stack.enter_async_context(detection)
        self.shared.gateway.detector = self.shared.parts.detector or self.shared.detector
        await stack.enter_async_context(background(self._forget_read()))
        if self.shared.store is not None and self.shared.log is not None:
            from portal.export import ExportJobs

            jobs = ExportJobs(self.shared.store, self.shared.log, lambda: self.config.portal.exports)
            self.shared.exports = await stack.enter_async_context(jobs)
        routes: list[BaseRoute] = []
        if config.portal.identity is not None:
            routes = await self._start_identity(config.portal.identity, stack)
        self.shared.parked = self._parked()
        self._stamps_follower = self._follower_of_stamps()
        stack.push_async_callback(self._close)
        await self._refresh()
        await stack.enter_async_context(self._going_on())
        if self.shared.store is not None:
            await stack.enter_async_context(counts_kept(self.shared.store, self.shared.quotas))
        routes += self._observing.routes()
        self.app = instance_app(self.shared.edge, routes, lambda: self.addresses, self._health, self._error_page)

    async def _start_identity(self, section: IdentitySection, stack: AsyncExitStack) -> list[BaseRoute]:
        from portal.app.admin import open_admin
        from portal.app.identity import SharedIdentity
        from portal.app.signals import SignalSources
        from portal.elicitation import Choices
        from portal.home import Holdings

        store, now = self.shared.require_store(), self.shared.parts.now
        self.shared.identity = shared = SharedIdentity.over(store, now, self.shared.parts.passwords)
        stack.push_async_callback(shared.aclose)
        shared.logins.on_change(self._logins_ended)
        self.shared.choices = await stack.enter_async_context(Choices(store))

        async def sign(claims: Mapping[str, object]) -> str:
            return await shared.keys.sign({"iss": self._issuer(self.own), **claims})

        self._signals = SignalSources(store, sign, self._callers_changed, now)
        stack.push_async_callback(self._signals.aclose)
        stored = StoredServers(store, self.servers, self.config.servers, self._why_unfit)
        self._stored_servers = await stack.enter_async_context(stored)
        holdings = Holdings.over(
            store, now, ended=shared.logins.settled, find_server=self._find_server, programs=self._programs_of
        )
        stack.push_async_callback(holdings.aclose)
        self.admin = self.shared.admin = await open_admin(self.shared, stored, self.portals, holdings)
        await stack.enter_async_context(background(self._forget_expired()))
        self._follower = Follower(store, ACCESS_KINDS, self._follow, self._unavailable)
        stack.push_async_callback(self._follower.aclose)
        self.admin.settings.in_force = self._in_force
        return [self.admin.route()]

    async def _close(self) -> None:
        if self.admin is not None:
            self.admin.close_streams()
        # The followers first: they could begin a portal that nobody closes any more.
        for follower in (self._follower, self._stamps_follower):
            if follower is not None:
                await follower.aclose()
        await asyncio.gather(*(portal.aclose() for portal in self.portals.values()))

    # Following

    async def _in_force(self, seconds: float) -> None:
        """Return when the portals decide by what is stored and revoked logins have ended, or after `seconds`."""
        assert self._follower is not None and self.shared.identity is not None
        assert self._profiles is not None
        await asyncio.gather(
            self._follower.settled(seconds),
            self.shared.identity.logins.settled(seconds),
            self._profiles.settled(seconds),
            self.shared.flows.settled(seconds),
        )

    async def _follow(self) -> None:
        """Take up what the store says now. What cannot be used changes nothing, and the log says why."""
        try:
            async with self._applying:
                await self._refresh()
        except (PolicyError, ValueError) as error:
            self._log.error("what is stored is not taken up; what was known goes on deciding", reason=str(error))

    @property
    def _may_ask(self) -> bool:
        """Whether anything here may ask people for approvals."""
        decides = self.config.portal.identity is not None or self.shared.parts.access is not None
        return self.shared.store is not None and decides

    def _take_stamps(self) -> None:
        """Have stamps of what the document says now. What the database says of them is followed."""
        if self._may_ask:
            self._stamps.take(self.config)
            self._stored = replace(self._stored, stamps=self._stamps.in_force)

    async def _settle_stamps(self) -> None:
        """Tell the database what the document says. If it is away, the follower does so later, and what asks people has
        stamps that nothing had before."""
        if self._stamps_follower is None or not self._stamps.is_waiting:
            return
        try:
            await self._stamps.settle(self.shared.require_store())
        except StateUnavailable as error:
            self._unavailable(error)
            self._stamps_follower.again()

    def _follower_of_stamps(self) -> Follower | None:
        if not self._may_ask:
            return None
        from portal.state import DOCUMENT_STAMPS

        return Follower(self.shared.require_store(), {DOCUMENT_STAMPS}, self._follow_stamps, self._unavailable)

    async def _follow_stamps(self) -> None:
        """Take up the stamps that another process has made, or tell the database of those of this one."""
        async with self._applying:
            are_others = await self._stamps.settle(self.shared.require_store())
        if are_others:
            await self._follow()

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("the store cannot be read; what was known goes on deciding", reason=str(error))

    async def _refresh(self) -> None:
        """Read the store, and make the portals what configuration and store say."""
        section = self.config.portal.identity
        await self._settle_stamps()
        self._stored = replace(self._stored, stamps=self._stamps.in_force)
        if section is not None:
            stored = await read_stored(self.shared.require_store())
            self._stored = replace(stored, stamps=self._stamps.in_force)
        self._take_up_flows()
        if section is not None:
            from portal.app.admin import configure_admin

            assert self._signals is not None
            if await self._signals.apply(section):
                self._connect_signals(self.portals.values())
                self._callers_changed()
            assert self.admin is not None
            configure_admin(self.admin.settings, self.config)
        self._apply_quotas()
        # Before the portals, so that none has the gateway without its rules.
        self._take_up_rules()
        wanted = definitions(self.config, self._stored.objects.portals, self._stored.login_name)
        for id in [id for id in self.portals if id not in wanted]:
            await self.portals.pop(id).aclose()
            if self.shared.parked is not None:
                self.shared.parked.portals_removed((id,))
        for definition in wanted.values():
            try:
                await self._take_up(definition)
            except (PolicyError, ValueError) as error:
                if not definition.from_store:
                    raise
                # It must not keep the portals after it from what configuration and store say.
                self._log.error("a stored portal cannot be used", portal=definition.id, reason=str(error))
            # Compiling the policies of many portals must not hold the event loop.
            await asyncio.sleep(0)
        self.addresses = Addresses(self.portals.values())
        self.shared.edge.replace(self._edge_settings(self.config))
        self._configure_delivery()
        self._locate()

    def _apply_quotas(self) -> None:
        quotas = self.shared.quotas
        wanted = quotas_in_force(self.config.portal.quotas, self._stored, quotas.quotas)
        if wanted != quotas.quotas:
            quotas.apply(wanted)

    def _take_up_rules(self) -> None:
        self.shared.gateway.replace(rulebook(self.config, self._stored, self.shared.gateway.detector))

    def _take_up_flows(self) -> None:
        flows, settings = self.shared.flows, flow_settings(self.config, self._stored)
        if settings != flows.settings:
            flows.settings = settings
            for mistake in settings.mistakes():
                self._log.warning("a data-flow rule may have a mistake", reason=mistake)

    def _locate(self) -> None:
        """Note where the instance is reached now. A server that leads back to it there is not served any more."""
        # Until it listens only its names are its own: a program that embeds it may listen anywhere.
        port = urlsplit(self._origin).port if self._origin else 0
        portals = {id: portal.definition.hostname for id, portal in self.portals.items() if id != OWN}
        address = OwnAddress.of(self.config, self._host, port, (gethostname(),), portals)
        if address != self._address:
            self._address = address
            if self._stored_servers is not None:
                self._stored_servers.again()

    def _why_unfit(self, server: ServerConfig, is_stored: bool) -> str:
        """Why a server is not served although the document or the store has it, or ""."""
        if is_stored and any(one.id == server.id for one in self.config.omissions):
            return "the configuration has a server of this id, which is left out itself; rename one of the two"
        return "it is this portal itself" if leads_to(server, self._address) else ""

    async def _take_up(self, definition: PortalDefinition) -> None:
        """Make the portal of this definition, or let the one that is there be like it.

        Raises:
            PolicyError: its policies cannot be compiled when it is made: it is not there then.
            ValueError: its login cannot be made. A portal that was there before goes on with its former one.
        """
        if (portal := self.portals.get(definition.id)) is not None:
            try:
                await portal.apply(definition, self._stored)
            finally:
                # A login that cannot be made must not keep changed policies from holding.
                portal.decide(self._stored)
        else:
            # Its policies are compiled as it is made.
            portal = Portal(self.shared, definition, self._access_of(definition))
            self._connect_signals([portal])
            try:
                await portal.start()
                await portal.apply(definition, self._stored)
            except BaseException:
                await portal.aclose()
                raise
            self.portals[definition.id] = portal
            portal.log_warnings()
        self._name_issuer(portal)

    def _access_of(self, definition: PortalDefinition) -> LiveAccess | None:
        if self.shared.parts.access is not None and definition.id == OWN:
            return self.shared.parts.access
        if self.config.portal.identity is None and definition.servers is None:
            return None
        return LiveAccess(portal_access(definition, self.config, self._stored))

    def _connect_signals(self, portals: Iterable[Portal]) -> None:
        """Let the decisions of these portals ask the sources that are open now."""
        shared = self.shared.identity
        if self._signals is None or shared is None:
            return
        from portal.oauth import LoginSignals

        for portal in portals:
            if portal.access is not None:
                portal.access.signals = LoginSignals(shared.logins, self._signals.known())

    def _logins_ended(self) -> None:
        self._callers_changed()
        if self.shared.identity is not None:
            # What they began ends too, also a program that only computes and makes no call that could be denied.
            self.shared.runs.end_logged_out(self.shared.identity.logins.holds)

    def _callers_changed(self) -> None:
        for portal in self.portals.values():
            if portal.access is not None:
                portal.access.changed()

    def _find_server(self, id: str) -> ServerConfig | None:
        found = self.servers.snapshot.servers.get(id)
        return found.config if found is not None else None

    def _programs_of(self, identity: Identity) -> int:
        """How many programs of a person are under way, at all portals."""
        holder = holder_of(identity)
        return sum(portal.endpoint.programs_of(holder) for portal in self.portals.values())

    async def _forget_expired(self) -> None:
        """Delete tokens that have expired or whose account is gone, and clients that nobody uses, now and every quarter
        of an hour: each login leaves some, and strangers leave more."""
        from portal.home import held_since
        from portal.login import People
        from portal.oauth import end_departed, forget_clients

        store = self.shared.require_store()
        people, adopted = People(store, self.shared.parts.now), False
        while True:
            pause = PURGE_SECONDS
            try:
                await store.tokens.purge(self.shared.parts.now())
                await end_departed(store)
                await forget_clients(store, self.shared.parts.now())
                if not adopted:
                    # Those who signed in before sign-ins were noted.
                    await people.adopt(await held_since(store))
                    adopted = True
                await people.trim()
            except StateUnavailable as error:
                self._log.debug("expired tokens could not be deleted", reason=str(error))
                pause = PURGE_AGAIN_SECONDS
            except StateError as error:
                self._log.error("expired tokens could not be deleted", reason=str(error))
            await asyncio.sleep(pause)

    async def _forget_read(self) -> None:
        """Drop what was read of what is labelled and does not count any more, every quarter of an hour."""
        while True:
            await asyncio.sleep(PURGE_SECONDS)
            try:
                await self.shared.flows.purge()
            except StateUnavailable as error:
                self._log.debug("what was read and counts no more could not be deleted", reason=str(error))

    def _health(self) -> Mapping[str, object]:
        # Where policies decide, only those they let in may know which servers there are.
        store = self.shared.store.health if self.shared.store is not None else None
        if self.own.access is not None:
            return {"status": status(store)}
        return health(self.servers.snapshot, len(self.config.omissions), store)

    async def _error_page(self, scope: Scope, status: int, body: bytes) -> Response:
        from portal.app.error_pages import error_page

        return await error_page(self, scope, status, body)

    # Addresses

    def _edge_settings(self, config: Config) -> HttpSettings:
        settings, identities = config.portal, [portal.identity for portal in self.portals.values()]
        known = [identity for identity in identities if identity is not None]
        forms: tuple[str, ...] = ()
        oauth: tuple[str, ...] = ()
        uploads: re.Pattern[str] | None = None
        proxies: Proxies = self.shared.parts.http.proxies
        if (section := config.portal.identity) is not None:
            from portal.admin import UPLOADS
            from portal.app.identity import LOGIN_FORMS, OAUTH_ENDPOINTS

            forms, oauth, uploads = LOGIN_FORMS, OAUTH_ENDPOINTS, UPLOADS
            proxies = tuple(ip_network(proxy) for proxy in section.trusted_proxies)
        return replace(
            self.shared.parts.http,
            allowed_hosts=(
                *settings.allowed_hosts,
                *self.addresses.hostnames,
                *(host for identity in known for host in identity.hosts),
            ),
            allowed_origins=(*settings.allowed_origins, *(origin for one in known for origin in one.origins)),
            forms=forms,
            oauth=oauth,
            uploads=uploads,
            proxies=proxies,
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

    def _configure_delivery(self) -> None:
        """Let the admin API know where people are sent."""
        identity = self.own.identity
        if self.admin is None or identity is None:
            return
        from portal.app.admin import configure_delivery

        origin = self.config.portal.public_url or self._origin
        configure_delivery(self.admin.settings, identity, origin, self.own.definition.hostname)

    def _notice_again(self) -> None:
        if self.shared.notices is not None:
            self.shared.notices.again()

    def _name_issuer(self, portal: Portal) -> None:
        portal.address = self._issuer(portal)
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
    edge, stop = instance.shared.edge, instance.close_streams
    async with running(instance.app, host=host, port=port, identity=identity, http=edge, on_stop=stop) as origin:
        instance.listening(origin, host)
        yield origin
