"""Who is calling: the one place the endpoint asks. Nobody is known yet, so everyone is the same empty identity."""

from starlette.types import Scope


def identity_of(scope: Scope | None) -> str:
    """The stable key of the identity behind a request, "" for nobody in particular."""
    return ""
