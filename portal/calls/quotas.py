"""Admission by quotas: a call is made only while there are fewer than a quota allows.

It is asked after the policies, so that a call that may not be made at all is not counted, and before everything that
takes long. A call that is refused after that, by a pin or a screening, or that fails, is counted.
"""

from __future__ import annotations

from portal.calls.gate import Call, Denial
from portal.errors import OverQuota
from portal.quotas import CountedCall, Quotas
from portal.shares import holder_of
from portal.upstream import CallContext

# The portal makes these by itself, for all of its clients or after they are gone.
_UNCOUNTED = frozenset({"resources/unsubscribe", "logging/setLevel"})


class QuotaAdmission:
    """`portal` is the id of the portal whose calls it admits."""

    def __init__(self, quotas: Quotas, portal: str) -> None:
        self._quotas = quotas
        self._portal = portal

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        """Nothing denies it.

        Raises:
            OverQuota: as many calls as a quota allows have been made.
        """
        quotas = self._quotas
        if not quotas.active or call.method in _UNCOUNTED:
            return None
        caller = context.principal
        tool = call.name if call.method == "tools/call" else ""
        counted = CountedCall(holder_of(caller), caller is not None and not caller.key, self._portal, call.server, tool)
        if (over := quotas.take(counted)) is not None:
            raise OverQuota(over.reason, policy=over.quota.policy, seconds=over.seconds, server=call.server)
        return None
