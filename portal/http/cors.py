"""Cross-origin answers for the web pages whose origins are allowed: browsers ask before they let a page read ours.

Whether an origin is allowed at all is the guard's decision, made before this; here only the headers are added.
"""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http.edge import Edge

METHODS = ("GET", "POST", "DELETE")
EXPOSED = ("Mcp-Session-Id", "Mcp-Protocol-Version", "WWW-Authenticate")


class Cors(CORSMiddleware):
    """Starlette's CORS middleware over the same rules as the guard."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        super().__init__(app, allow_methods=METHODS, allow_headers=["*"], expose_headers=EXPOSED, max_age=600)
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and not _has_origin(scope):
            # No cache keeps the answer to a POST (RFC 9110 section 9.3.3, without a freshness of its own), so it need
            # not say that another origin would have got another one.
            await self.app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        return self._edge.names.origin_allowed(origin)


def _has_origin(scope: Scope) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])
