"""One running portal: what it is, who may use it, how they sign in, and its MCP endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from portal.access import LiveAccess, PolicyError
from portal.app.access import StoredState, audiences, portal_access
from portal.app.asgi import portal_app
from portal.app.definitions import OWN, PortalDefinition
from portal.app.shared import Shared
from portal.calls import AssertionCredentials, Caller, Gate, PolicyAdmission
from portal.config import IdentitySection
from portal.endpoint import Endpoint

if TYPE_CHECKING:
    from portal.app.identity import PortalIdentity
    from portal.oauth import Assertions

MCP_PATH = "/mcp"


class Portal:
    """Its parts are replaced one by one when the configuration or the store says something else; the endpoint, with
    the sessions that are open on it, stays.

    `access` decides who may do what, and is None where everyone may do everything. `identity` is None where nobody
    signs in. `app` is its ASGI application.
    """

    def __init__(self, shared: Shared, definition: PortalDefinition, access: LiveAccess | None) -> None:
        self.definition = definition
        self.access = access
        self.identity: PortalIdentity | None = None
        self.app: ASGIApp
        self._shared = shared
        self._log = structlog.get_logger("portal.access")
        self._signs_in_as: tuple[IdentitySection, str, str] | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.caller = Caller(
            shared.servers, shared.records, gate=self._gate(), observer=shared.learning, portal=definition.id
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
        config = self._shared.config
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
        from portal.app.identity import IdentitySettings, portal_identity

        shared, parts = self._shared, self._shared.parts
        assert shared.identity is not None and self.access is not None
        settings = IdentitySettings.of(self.definition, section, self.path)
        if parts.adjust_identity is not None:
            settings = parts.adjust_identity(settings)
        given = parts.admission if self.definition.id == OWN else None
        return portal_identity(
            shared.identity,
            settings,
            given or PortalAdmission(shared, self.access),
            scope=self.definition.id,
            announce=shared.announce,
            fetch=parts.fetch,
        )

    def _mount(self) -> None:
        """Build the application again. New requests reach it; those in progress end in the former one."""
        routes: list[BaseRoute] = [Route(self.path, self.endpoint, name="mcp")]
        middleware: Sequence[Middleware] = ()
        if self.identity is not None:
            routes += self.identity.routes
            middleware = [self.identity.middleware()]
        self.app = portal_app(routes, middleware, self.path)

    def _gate(self) -> Gate:
        if self._shared.parts.gate is not None and not self.definition.id:
            return self._shared.parts.gate
        if self.access is None:
            return Gate()
        return Gate(
            admissions=[PolicyAdmission(self.access, self._shared.servers)],
            credentials=[AssertionCredentials(self._assertions)],
        )

    def _assertions(self) -> Assertions | None:
        return self.identity.assertions if self.identity is not None else None

    async def _run(self, started: asyncio.Event) -> None:
        async with self.endpoint.run():
            started.set()
            await self._stop.wait()
