"""The portal as one HTTP application. Wiring only: what it serves and how it runs is decided elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import orjson
from mcp_types import INTERNAL_ERROR
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codemode import CodeTool
from portal.access import LiveAccess
from portal.calls import Caller
from portal.config import PortalSettings
from portal.endpoint import Endpoint, health
from portal.http import Cors, Guard, HttpSettings, Refusal, refuse
from portal.http import running as running_app
from portal.http import serve as serve_app
from portal.servers import Servers

if TYPE_CHECKING:
    # Login brings a database and more: a portal without identity starts without them.
    from portal.app.oauth import PortalIdentity


def create_app(
    servers: Servers,
    caller: Caller,
    code_tool: CodeTool | None,
    settings: PortalSettings | None = None,
    http: HttpSettings | None = None,
    identity: PortalIdentity | None = None,
    access: LiveAccess | None = None,
) -> Starlette:
    """The ASGI application of one portal at `settings.path`, with `/healthz` beside it.

    `servers` must be running and stay so for as long as the application; it, `caller` and `code_tool` stay the
    caller's to close. Further portals will be further `Endpoint`s under `/<portal id>/mcp`. With `identity` people and
    programs sign in, and nobody else reaches the endpoint. With `access` its policies decide
    each request for the identity in its scope (`portal.endpoint.identity`); `caller` then has an `AccessGate` over it.
    """
    settings = settings or PortalSettings()
    http = http or http_settings(settings, identity)
    endpoint = Endpoint(servers, caller, code_tool, settings, http, access)

    async def healthz(request: Request) -> Response:
        # Which servers there are is not for everyone.
        told = health(servers.snapshot) if access is None else {"status": "ok"}
        return Response(orjson.dumps(told), media_type="application/json")

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = f"The MCP endpoint of this portal is {settings.path}, its health is at /healthz."
        message = f"{request.method} {request.url.path[:100]}: {error.detail}. {known}"
        return refuse(Refusal(error.status_code, "http", message, headers=error.headers or {}))

    async def crashed(request: Request, error: Exception) -> Response:
        return refuse(Refusal(500, "crash", "The portal failed on this request. Its log says why.", INTERNAL_ERROR))

    async def turned_away(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return refuse(error)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with endpoint.run():
            yield

    app = Starlette(
        routes=[
            Route(settings.path, endpoint, name="mcp"),
            Route("/healthz", healthz, methods=["GET"]),
            *(identity.routes if identity is not None else ()),
        ],
        middleware=[
            Middleware(Guard, settings=http),
            Middleware(Cors, settings=http),
            *([identity.middleware()] if identity is not None else ()),
        ],
        exception_handlers={HTTPException: refused, Refusal: turned_away, Exception: crashed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.close_streams = endpoint.close_streams
    app.state.decide_code_mode = endpoint.decide_code_mode
    app.state.http = http
    return app


def http_settings(settings: PortalSettings, identity: PortalIdentity | None = None) -> HttpSettings:
    """The settings of the HTTP edge that a portal's configuration carries, and what its login needs."""
    return HttpSettings(
        allowed_hosts=(*settings.allowed_hosts, *(identity.hosts if identity is not None else ())),
        allowed_origins=(*settings.allowed_origins, *(identity.origins if identity is not None else ())),
        forms=identity.forms if identity is not None else (),
    )


async def serve(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    identity: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve what `create_app` made, as `portal.http.serve` does and with its errors."""
    await serve_app(
        app,
        host=host,
        port=port,
        identity=identity,
        http=app.state.http,
        on_ready=on_ready,
        on_stop=app.state.close_streams,
    )


def running(
    app: Starlette, *, host: str = "127.0.0.1", port: int = 0, identity: bool = False
) -> AbstractAsyncContextManager[str]:
    """Serve what `create_app` made inside a running program. The context gives the base URL."""
    return running_app(
        app, host=host, port=port, identity=identity, http=app.state.http, on_stop=app.state.close_streams
    )
