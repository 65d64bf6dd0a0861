"""How often passwords and PINs may be tried, by one network and for one account; how many sign-ins are under way."""

from __future__ import annotations

from portal.http import Rate
from portal.shares import Lent, Shares, network_of

TOO_OFTEN = "Too many attempts. Wait a minute and try again."
"""The sentence for a person whose attempt is not made."""
TOO_MANY_ATTEMPTS = "too many attempts"
"""The reason in the log."""
TOO_MANY = "Too many sign-ins have begun and not ended. Wait ten minutes and try again."
"""The sentence for a person whose sign-in is not begun."""
MOST_UNDER_WAY, UNDER_WAY_EACH, UNDER_WAY_SECONDS = 10_000, 500, 600


class Attempts:
    """One for all portals of an instance: what somebody tries at one portal counts at the others, because their local
    accounts are the same."""

    def __init__(self) -> None:
        self._by_address = Rate(burst=20, per_minute=20)
        self._by_account = Rate(burst=6, per_minute=2)
        self._under_way = Lent(Shares(MOST_UNDER_WAY, UNDER_WAY_EACH), UNDER_WAY_SECONDS)

    def allows(self, ip: str, account: str = "") -> bool:
        """Count an attempt from this address, for this account if one is named; whether it may be made."""
        return self._by_address.allows(network_of(ip)) and (not account or self._by_account.allows(account))

    def begin(self, ip: str) -> None:
        """Count a sign-in that is kept until its person comes back: from a provider, or with a PIN.

        Raises:
            Full: there is no room for it.
        """
        self._under_way.take(network_of(ip))

    def forgive(self, account: str) -> None:
        """Forget the attempts for an account, after one that succeeded."""
        self._by_account.forgive(account)
