"""One running portal: what it is, who may use it, how they sign in, and its MCP endpoint."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from portal.access import LiveAccess, PolicyError
from portal.app.access import StoredState, audiences, portal_access, served_for_all
from portal.app.asgi import portal_app
from portal.app.definitions import OWN, PortalDefinition
from portal.app.shared import Shared
from portal.calls import (
    ApprovalAdmission,
    AskingRules,
    AssertionCredentials,
    Caller,
    Gate,
    GatewayScreening,
    PlanApprovals,
    PolicyAdmission,
    QuotaAdmission,
)
from portal.config import CodeModePolicy, IdentitySection, ServerConfig
from portal.endpoint import ApprovalPrompts, Endpoint, LoginPage, PersonServers
from portal.identity import NOBODY, Identity, OnBehalf
from portal.logs import PortalEvents

if TYPE_CHECKING:
    from portal.app.identity import PortalIdentity
    from portal.oauth import Assertions
    from portal.runs import PersonRuns

MCP_PATH = "/mcp"


class Portal:
    """Its parts are replaced one by one when the configuration or the store says something else; the endpoint, with
    the sessions that are open on it, stays.

    `access` decides who may do what, and is None where everyone may do everything. `identity` is None where nobody
    signs in. `address` is how it names itself, "" before it is known where the instance listens. `app` is its ASGI
    application. `secure_web_gateway` is whether all its servers are in the gateway.
    """

    def __init__(self, shared: Shared, definition: PortalDefinition, access: LiveAccess | None) -> None:
        self.definition = definition
        self.secure_web_gateway = definition.secure_web_gateway
        self.access = access
        self.identity: PortalIdentity | None = None
        self.address = ""
        self._servers_path = ""
        self.app: ASGIApp
        self._shared = shared
        self._log = structlog.get_logger("portal.access")
        self._signs_in_as: tuple[IdentitySection, str, str] | None = None
        self._served_for_all = served_for_all(definition, shared.config, StoredState())
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.caller = Caller(
            shared.servers,
            shared.records,
            gate=self._gate(),
            observer=shared.learning,
            portal=definition.id,
            on_behalf=self._on_behalf,
            contents=shared.kept,
            flows=shared.flows,
            on_run_end=None if shared.approvals is None else shared.approvals.run_ended,
        )
        settings = shared.config.portal.model_copy(update={"name": definition.name})
        self.endpoint = Endpoint(
            shared.servers,
            self.caller,
            shared.runner,
            settings,
            shared.edge.settings,
            access,
            shared.contents,
            part=definition.servers is not None,
            login_pages=self._login_page,
            person_servers=self._person_servers(),
            meanings=shared.meanings,
            events=PortalEvents(shared.events, definition.id),
            on_trace=shared.traces.begin,
            watched=shared.runs,
            cold=shared.parts.cold,
            mark=shared.mark,
            store=shared.store,
            logins=None if shared.identity is None else shared.identity.logins,
            durable=shared.parked,
            approvals=ApprovalPrompts(shared.approvals, self._approval_page),
            plan_approvals=self._plan_approvals(),
        )
        self._mount()

    @property
    def path(self) -> str:
        """Where its MCP endpoint is, below its prefix."""
        return MCP_PATH if self.definition.id else self._shared.config.portal.path

    async def start(self) -> None:
        """Serve until `aclose`."""
        started = asyncio.Event()
        self._task = asyncio.create_task(self._run(started), name=f"portal {self.definition.id}")
        ready = asyncio.create_task(started.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def aclose(self) -> None:
        """End its sessions and streams. Calls upstream that are under way are cancelled with them."""
        self.endpoint.close_streams()
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self.identity is not None:
            await self.identity.aclose()

    async def apply(self, definition: PortalDefinition, stored: StoredState) -> None:
        """Take up what the configuration and the store say of everything but the policies."""
        self.definition = definition
        self.secure_web_gateway = definition.secure_web_gateway
        config = self._shared.config
        self._served_for_all = served_for_all(definition, config, stored)
        self.endpoint.apply(definition.name, definition.instructions, definition.code_mode, config.portal.runs)
        await self._apply_identity(config.portal.identity)
        if self.identity is not None:
            self.identity.assertions.audiences = audiences(config, stored.objects.servers)

    def decide(self, stored: StoredState) -> None:
        """Decide by what the configuration and the store say now. Policies that cannot be compiled are not taken up:
        the former ones go on deciding, and the log says why."""
        if self.access is None or self.access is self._shared.parts.access:
            return
        try:
            access = portal_access(self.definition, self._shared.config, stored)
        except PolicyError as error:
            self._log.error(
                "changed policies are not taken up; the former ones hold",
                portal=self.definition.id,
                reason=str(error),
            )
            return
        self.access.replace(access)
        self.log_warnings()

    def log_warnings(self) -> None:
        """Log what was configured and has no effect, or not the intended one."""
        if self.access is None or self.access is self._shared.parts.access:
            return
        for warning in self.access.current.warnings:
            self._log.warning("policy_warning", portal=self.definition.id, warning=warning)

    async def _apply_identity(self, section: IdentitySection | None) -> None:
        """Make the login again if its section, or the name or host name of the portal, is another."""
        if section is None:
            return
        signs_in_as = section, self.definition.name, self.definition.hostname
        if signs_in_as == self._signs_in_as:
            return
        former = self.identity
        self.identity = self._identity_of(section)
        self._signs_in_as = signs_in_as
        self._mount()
        if former is not None:
            await former.aclose()

    def _identity_of(self, section: IdentitySection) -> PortalIdentity:
        """The login and the authorization server that this section asks for.

        Raises:
            ValueError: the section cannot be used.
        """
        from portal.app.admission import PortalAdmission
        from portal.app.console import ConsoleDoor
        from portal.app.identity import IdentitySettings, portal_identity
        from portal.app.offered import offered_servers
        from portal.home import no_console
        from portal.oauth import SERVERS_PATH

        shared, parts = self._shared, self._shared.parts
        assert shared.identity is not None and shared.choices is not None and self.access is not None
        assert shared.approvals is not None
        settings = IdentitySettings.of(self.definition, section, self.path)
        if parts.adjust_identity is not None:
            settings = parts.adjust_identity(settings)
        self._servers_path = SERVERS_PATH
        given = parts.admission if self.definition.id == OWN else None
        return portal_identity(
            shared.identity,
            settings,
            given or PortalAdmission(shared, self.access),
            scope=self.definition.id,
            announce=shared.announce,
            offered=offered_servers(self.access, shared.servers, lambda: self._served_for_all),
            choices=shared.choices,
            runs=self._runs_of,
            approvals=shared.approvals,
            fetch=parts.fetch,
            code_mode=self._code_mode,
            find_server=self._find_server,
            events=PortalEvents(shared.events, self.definition.id),
            console=ConsoleDoor(shared).path_for if self.definition.id == OWN else no_console,
        )

    def _runs_of(self, person: str) -> PersonRuns:
        """The runs at this portal of the person with this key."""
        from portal.runs import PersonRuns, RunHistory

        shared = self._shared
        history = RunHistory(shared.runs, shared.log, shared.kept)
        return PersonRuns(history, shared.runs, person, self.definition.id, shared.parked, shared.parts.now)

    def _mount(self) -> None:
        """Build the application again. New requests reach it; those in progress end in the former one."""
        routes: list[BaseRoute]
        if self.identity is not None:
            routes = [*self._console(self.identity), *self.identity.routes_of(self.path, self.endpoint)]
        else:
            routes = [
                Route(self.path, self.endpoint, name="mcp"),
                Route("/", self._public_home, methods=["GET"]),
            ]
        self.app = portal_app(routes, self.path)

    def _console(self, identity: PortalIdentity) -> list[BaseRoute]:
        """The routes of the console, which is at the document's own portal."""
        from portal.app.console import ConsoleDoor
        from portal.home import Connecting, connecting, server_name
        from portal.http import PortalAddress

        def connect(address: PortalAddress) -> Connecting:
            name = server_name(self.definition.name, "codemode")
            return connecting(address.url(self.path), self._code_mode(), name)

        return ConsoleDoor(self._shared).routes(identity.login, connect) if self.definition.id == OWN else []

    async def _public_home(self, request: Request) -> Response:
        # The libraries of the pages are loaded with the first one.
        from portal.home import public_home

        definition, headers = self.definition, request.headers
        origin = f"{request.scope['scheme']}://{headers.get('host', '')}"
        endpoint = origin + request.scope.get("root_path", "") + self.path
        return public_home(definition.name, endpoint, self._code_mode(), definition.id)

    def _code_mode(self) -> CodeModePolicy:
        """What the portal's owner has decided by now. Without anything that runs programs there is no code mode."""
        return self.definition.code_mode if self._shared.runner is not None else CodeModePolicy.OFF

    def _find_server(self, id: str) -> ServerConfig | None:
        found = self._shared.servers.snapshot.servers.get(id)
        return found.config if found is not None else None

    def _gate(self) -> Gate:
        if self._shared.parts.gate is not None and not self.definition.id:
            return self._shared.parts.gate
        # After the policies: a call that they deny is not counted.
        quotas = QuotaAdmission(self._shared.quotas, self.definition.id)
        gateway = self._screening()
        if self.access is None:
            return Gate(admissions=[quotas], screenings=[gateway], programs=[gateway])
        # It waits for people. What decides by the moment decides after them, and once more.
        shared, id = self._shared, self.definition.id
        asking = AskingRules(self.access, shared.servers, id, shared.flows, gateway)
        approvals = ApprovalAdmission(asking, shared.approvals, shared.servers, id, self._approval_page)
        return Gate(
            admissions=[approvals, PolicyAdmission(self.access, self._shared.servers), quotas],
            screenings=[gateway],
            programs=[gateway],
            credentials=[AssertionCredentials(self._assertions)],
        )

    def _screening(self) -> GatewayScreening:
        shared = self._shared
        return GatewayScreening(shared.gateway, shared.servers, self.definition.id, lambda: self.secure_web_gateway)

    def _plan_approvals(self) -> PlanApprovals | None:
        """What asks people about plans; None where no call of this portal can wait for a person."""
        approvals, gate = self._shared.approvals, self._shared.parts.gate
        if approvals is None or self.access is None or (gate is not None and not self.definition.id):
            return None
        return PlanApprovals(approvals, self.definition.id, self._approval_page, self._screening().shown)

    def _approval_page(self, id: str) -> str:
        """Where people decide about an approval."""
        return f"{self.address}/approve/{id}"

    def _on_behalf(self, caller: Identity | None) -> OnBehalf:
        """Whose logins at the servers the calls of a caller use: their own, where people sign in."""
        if self.identity is None or caller is None or not caller.key:
            return NOBODY
        advice = f"log in at {self.address}{self._servers_path}" if caller.logged_in else ""
        return OnBehalf(caller.key, self._served_for_all, advice)

    def _person_servers(self) -> PersonServers | None:
        choices = self._shared.choices
        if choices is None or self.access is None:
            return None
        from portal.app.offered import offered_servers
        from portal.app.person_servers import PortalServers
        from portal.elicitation import PeoplesLogins, PeoplesServers

        shared, id = self._shared, self.definition.id
        logins = PeoplesLogins(shared.require_store().scoped(id), shared.parts.now)
        offered = offered_servers(self.access, shared.servers, lambda: self._served_for_all)
        return PortalServers(PeoplesServers(offered, logins, choices, id))

    async def _login_page(self, scope: Scope, person: Identity, wanted: Mapping[str, str]) -> LoginPage:
        """The page for a person who has to log in to the servers that are wanted, each with the reason."""
        from portal.elicitation import elicitation_url

        identity = self.identity
        assert identity is not None, "only where people sign in has a call a person behind it"
        if not wanted:
            return LoginPage(f"{self.address}{self._servers_path}", secrets.token_urlsafe(16))
        id = await identity.elicitations.open(person, wanted)
        return LoginPage(elicitation_url(identity.login.visitors.origins.address(scope), id), id)

    def _assertions(self) -> Assertions | None:
        return self.identity.assertions if self.identity is not None else None

    async def _run(self, started: asyncio.Event) -> None:
        async with self.endpoint.run():
            started.set()
            await self._stop.wait()
