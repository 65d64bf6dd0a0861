"""The decision about a request: made once, stored in its ASGI scope, and refused in one form."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from portal.access.access import Standing
from portal.access.policies import LOGIN_ENDED, Decision
from portal.errors import DENIED
from portal.http import Refusal

_STANDING = "portal.standing"


def keep_standing(scope: MutableMapping[str, Any], standing: Standing) -> None:
    """Store the decisions about the caller in the scope of the request, for every handler of it."""
    scope[_STANDING] = standing


def standing_of(scope: MutableMapping[str, Any] | None) -> Standing | None:
    """The decisions about the caller of a request, or None if none were made."""
    standing = scope.get(_STANDING) if scope is not None else None
    return standing if isinstance(standing, Standing) else None


def portal_decision(standing: Standing | None) -> Decision:
    """The decision whether a caller may use the portal. `standing` is None if the login has ended."""
    return LOGIN_ENDED if standing is None else standing.portal


def denied(decision: Decision, **more: object) -> Refusal:
    """The refusal of a request by policy: 403, with the policy and `more` for programs."""
    return Refusal(403, "denied", decision.reason, DENIED, data={"policy": decision.policy, **more})
