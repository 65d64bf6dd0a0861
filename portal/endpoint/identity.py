"""Who is calling: what whoever authenticated the request has put into its scope. The one place the endpoint asks."""

from starlette.types import Scope

from portal.access.identity import Identity

IDENTITY = "portal.identity"


def principal_of(scope: Scope | None) -> Identity | None:
    """The identity behind a request; None where nobody authenticates."""
    found = scope.get(IDENTITY) if scope is not None else None
    return found if isinstance(found, Identity) else None


def identity_of(scope: Scope | None) -> str:
    """The stable key of the identity behind a request, "" for nobody in particular."""
    principal = principal_of(scope)
    return "" if principal is None else principal.key
