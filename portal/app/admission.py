"""Admission to one portal and to the applications that have people sign in through it."""

from __future__ import annotations

import structlog

from portal.access import (
    ADDRESS,
    LOGIN_ENDED,
    Access,
    BestCase,
    Decision,
    LiveAccess,
    PolicyError,
    Standing,
    portal_decision,
    refused_for_identity,
)
from portal.app.access import application_access, application_decision, could_enter, read_stored
from portal.app.shared import Shared
from portal.identity import Identity
from portal.objects import APP as APPLICATIONS
from portal.pages import APP


class PortalAdmission:
    """Decides by the current configuration and store of the instance."""

    def __init__(self, shared: Shared, access: LiveAccess) -> None:
        self._shared = shared
        self._access = access
        self._best_case = BestCase(access.current, ADDRESS)
        self._log = structlog.get_logger("portal.access")

    async def admit(self, identity: Identity, place: str) -> Decision:
        if place.startswith(APP):
            return await self._admit_to_application(identity, place.removeprefix(APP))
        return portal_decision(await self.decide(identity))

    async def decide(self, identity: Identity) -> Standing | None:
        return await self._access.decide(identity)

    async def refused_for_identity(self, identity: Identity, place: str) -> bool:
        try:
            access = await self._application(place.removeprefix(APP)) if place.startswith(APP) else self._access.current
        except PolicyError:
            return identity.logged_in
        return refused_for_identity(access, self._access.signals.current(identity) or identity)

    async def could_enter(self, identity: Identity) -> bool:
        if self._best_case.access is not self._access.current:
            self._best_case = BestCase(self._access.current, ADDRESS)
        return could_enter(identity, self._best_case, await self._shared.require_store().list(APPLICATIONS))

    async def _admit_to_application(self, identity: Identity, id: str) -> Decision:
        try:
            access = await self._application(id)
        except PolicyError as error:
            self._log.error("an application's policies cannot be used", reason=str(error))
            return Decision("deny", "The policies of this application cannot be used.")
        await self._access.signals.prepare(identity, access)
        current = self._access.signals.current(identity)
        return LOGIN_ENDED if current is None else application_decision(access, current)

    async def _application(self, id: str) -> Access:
        """The access of an application, compiled each time: logins to it are rare, and a change must apply at once."""
        return application_access(id, self._shared.config, await read_stored(self._shared.require_store()))
