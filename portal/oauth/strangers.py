"""How much people who have not signed in may store: clients that they register, and requests that wait for a person.

One for all portals of an instance. These counts end with the process; clients that nobody has used are counted in the
store (`Clients.register`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from portal.http import Rate
from portal.shares import Lent, Shares, network_of

CONSENT_LIFETIME = timedelta(minutes=15)
MOST_CONSENTS, CONSENTS_EACH = 10_000, 1_000
A_DAY_EACH, A_MINUTE_EACH, A_MINUTE = 500, 10, 60
MINUTE_SECONDS, DAY_SECONDS = 60, 86_400


@dataclass(frozen=True, slots=True)
class Later(Exception):
    """Too much was registered. `own` is whether by this network, or by all together; `seconds` is when there is room
    again."""

    own: bool
    seconds: int


class Strangers:
    """The bounds of one instance."""

    def __init__(self) -> None:
        self.consents = Lent(Shares(MOST_CONSENTS, CONSENTS_EACH), CONSENT_LIFETIME.total_seconds())
        self._registrations = Rate(burst=20, per_minute=A_MINUTE_EACH)
        self._registrations_of_a_day = Rate(burst=A_DAY_EACH, per_minute=A_DAY_EACH * MINUTE_SECONDS / DAY_SECONDS)
        self._registrations_of_all = Rate(burst=5 * A_MINUTE, per_minute=A_MINUTE)
        self._requests = Rate(burst=120, per_minute=240)

    def may_ask(self, ip: str) -> bool:
        """Count a request for authorization from this address; whether it is read."""
        return self._requests.allows(network_of(ip))

    def register(self, ip: str) -> None:
        """Count a registration from this address.

        Raises:
            Later: it is not to be made now.
        """
        network = network_of(ip)
        for rate in (self._registrations, self._registrations_of_a_day):
            if not rate.allows(network):
                raise Later(own=True, seconds=rate.retry_after)
        if not self._registrations_of_all.allows(""):
            raise Later(own=False, seconds=self._registrations_of_all.retry_after)

    def wait_for_consent(self, ip: str) -> None:
        """Count a request that is kept until a person answers it.

        Raises:
            Full: there is no room for it.
        """
        self.consents.take(network_of(ip))
