"""What a client is told where a cap, or its own part of one, is used up in the middle of MCP: the same as
`portal.http.no_room` says in an answer of HTTP."""

from mcp.shared.exceptions import MCPError

from portal.errors import NO_ROOM
from portal.http import no_room
from portal.shares import Full


def no_room_error(full: Full, what: str, seconds: int) -> MCPError:
    """The error of a request that did nothing. `what` is a plural; `seconds` is when to come back."""
    return MCPError(NO_ROOM, no_room(full, what, seconds).message, full.data(seconds))
