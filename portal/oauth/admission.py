"""The question the authorization server asks the policies: may this identity use that MCP endpoint at all?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from portal.access import Decision
from portal.identity import Identity

Admit: TypeAlias = Callable[[Identity, str], Awaitable[Decision]]
"""`admit(identity, path of the endpoint)`. Asked with what is in memory: at login, at refresh, and on each request."""


def refusal_of(decision: Decision) -> str | None:
    """The sentence for somebody who may not; None for who may."""
    return None if decision.effect == "allow" else decision.reason
