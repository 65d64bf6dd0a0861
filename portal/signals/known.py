"""All signals of one portal put together: an identity as it came, with everything that is known of it now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from portal.access import Access
from portal.identity import Identity
from portal.signals.assessments import Assessments
from portal.signals.countries import Countries
from portal.signals.evaluations import Evaluations

MAX_KEPT = 4096


class KnownSignals:
    """Implements `Signals`. `holds` says whether a login still does: signed out and removed callers are nobody."""

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
        self._asked: frozenset[tuple[str, str]] = frozenset()
        self._kept: OrderedDict[int, tuple[Identity, Identity]] = OrderedDict()

    async def prepare(self, identity: Identity, access: Access) -> None:
        self._asked = access.evaluations
        if self._evaluations is not None and self._asked:
            await self._evaluations.prepare(self._enriched(identity), self._asked)

    def current(self, identity: Identity) -> Identity | None:
        if not self._holds(identity):
            return None
        now = self._enriched(identity)
        if now is identity:
            return identity
        kept = self._kept.get(id(identity))
        if kept is not None and kept[0] is identity and kept[1] == now:
            return kept[1]
        self._kept[id(identity)] = (identity, now)
        self._kept.move_to_end(id(identity))
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return now

    def _enriched(self, identity: Identity) -> Identity:
        """The same object when nothing is added."""
        added: dict[str, object] = {}
        if self._countries is not None and identity.ip and not identity.country:
            added["country"] = self._countries.of(identity.ip)
        if self._assessments is not None:
            posture, risk = self._assessments.of(identity)
            if posture:
                added["device_posture"] = {**identity.device_posture, **posture}
            if risk:
                added["user_risk"] = risk
        if self._evaluations is not None and self._asked:
            added["evaluations"] = self._evaluations.of(identity, self._asked)
        return replace(identity, **added) if added else identity  # type: ignore[arg-type]
