"""The decision about a request: made once, kept in its scope, and refused in one way."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from portal.access.access import Standing
from portal.access.policies import LOGIN_ENDED, Decision
from portal.errors import DENIED
from portal.http import Refusal

_STANDING = "portal.standing"


def keep_standing(scope: MutableMapping[str, Any], standing: Standing) -> None:
    """Keep what was decided about the caller of a request for all that answer it."""
    scope[_STANDING] = standing


def standing_of(scope: MutableMapping[str, Any] | None) -> Standing | None:
    """What was decided about the caller of a request; None if nobody has decided."""
    found = scope.get(_STANDING) if scope is not None else None
    return found if isinstance(found, Standing) else None


def portal_decision(standing: Standing | None) -> Decision:
    """May somebody use the portal at all? `standing` is None where the login has ended."""
    return LOGIN_ENDED if standing is None else standing.portal


def denied(decision: Decision, **more: object) -> Refusal:
    """The refusal of a request by policy: 403, with the policy and `more` for programs."""
    return Refusal(403, "denied", decision.reason, DENIED, data={"policy": decision.policy, **more})
