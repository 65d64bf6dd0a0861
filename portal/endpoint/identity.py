"""Who is calling: the one place the endpoint asks. Nobody is known yet, so everyone is the same empty identity."""

from typing import Any

from mcp.server.context import ServerRequestContext


def identity_of(ctx: ServerRequestContext[Any, Any]) -> str:
    """The stable key of the caller's identity, "" for nobody in particular."""
    return ""
