"""The question the authorization server asks the policies: may this identity use that MCP endpoint at all?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from portal.access import Decision
from portal.identity import Identity

Admit: TypeAlias = Callable[[Identity, str], Awaitable[Decision]]
"""`admit(identity, path)`: the decision of the policies on the endpoint at this path of the portal.

It needs nothing but memory, for it is asked at login, at refresh, and on each request.
"""


def refusal_of(decision: Decision) -> str | None:
    """Why the policies refuse, in a sentence for the client; None if they allow."""
    return None if decision.effect == "allow" else decision.reason
