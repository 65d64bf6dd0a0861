"""All signals of one portal: adds the current signals to the identity of a login."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portal.access import Access
from portal.bounded import Bounded
from portal.identity import Identity
from portal.signals.assessments import Assessments
from portal.signals.countries import Countries
from portal.signals.evaluations import Evaluations

MAX_IDENTITIES = 4096
MAX_SERVICES = 256


class KnownSignals:
    """Implements `Signals`. `holds` says whether a login is still valid; if not, there is no caller."""

    def __init__(
        self,
        *,
        countries: Countries | None = None,
        assessments: Assessments | None = None,
        evaluations: Evaluations | None = None,
        holds: Callable[[Identity], bool] = lambda identity: True,
    ) -> None:
        self._countries = countries
        self._assessments = assessments
        self._evaluations = evaluations
        self._holds = holds
        # The services of every access that was prepared, the portal's and the applications': each may decide next.
        self._services: Bounded[tuple[str, str], bool] = Bounded(MAX_SERVICES)
        # By the id() of an identity: that identity, so that no other object gets its id, and the enriched one.
        self._enriched: Bounded[int, tuple[Identity, Identity]] = Bounded(MAX_IDENTITIES)

    async def prepare(self, identity: Identity, access: Access) -> None:
        for service in access.evaluations:
            self._services[service] = True
        if self._evaluations is not None and access.evaluations:
            await self._evaluations.prepare(self._enrich(identity), access.evaluations)

    def current(self, identity: Identity) -> Identity | None:
        if not self._holds(identity):
            return None
        now = self._enrich(identity)
        if now is identity:
            return identity
        before = self._enriched.get(id(identity))
        if before is not None and before[0] is identity and before[1] == now:
            return before[1]
        self._enriched[id(identity)] = (identity, now)
        return now

    def _enrich(self, identity: Identity) -> Identity:
        """The identity with its signals: the same object if there are none."""
        signals: dict[str, object] = {}
        if self._countries is not None and identity.ip and not identity.country:
            signals["country"] = self._countries.of(identity.ip)
        if self._assessments is not None:
            posture, risk = self._assessments.of(identity)
            if posture:
                signals["device_posture"] = {**identity.device_posture, **posture}
            if risk:
                signals["user_risk"] = risk
        if self._evaluations is not None and len(self._services):
            services = [service for service, _ in self._services.items()]
            signals["evaluations"] = self._evaluations.of(identity, services)
        return replace(identity, **signals) if signals else identity  # type: ignore[arg-type]
