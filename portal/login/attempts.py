"""How often passwords and PINs may be tried: by one address, and for one account."""

from __future__ import annotations

from portal.http import Rate

TOO_OFTEN = "Too many attempts. Wait a minute and try again."
"""The sentence for a person whose attempt is not made."""


class Attempts:
    """One for all portals of an instance: what somebody tries at one portal counts at the others, because their local
    accounts are the same."""

    def __init__(self) -> None:
        self._by_address = Rate(burst=20, per_minute=20)
        self._by_account = Rate(burst=6, per_minute=2)

    def allows(self, ip: str, account: str = "") -> bool:
        """Count an attempt from this address, for this account if one is named; whether it may be made."""
        return self._by_address.allows(ip) and (not account or self._by_account.allows(account))

    def forgive(self, account: str) -> None:
        """Forget the attempts for an account, after one that succeeded."""
        self._by_account.forgive(account)
