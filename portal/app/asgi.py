"""An instance as one ASGI application: the HTTP edge, the admin API, and the way of each request to its portal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson
from mcp_types import INTERNAL_ERROR
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.app.definitions import PortalDefinition
from portal.http import (
    BrowserPages,
    ClientGone,
    Cors,
    Edge,
    ErrorPage,
    Guard,
    Refusal,
    answer_to,
    refuse,
    split_host,
    unavailable,
    unrouted,
)
from portal.sdk import match_whole_paths
from portal.state import StateUnavailable

WELL_KNOWN = "/.well-known/"
ADMIN_PATH = "/client/"
"""Where the admin API is, if there is one."""
FAVICON_PATH = "/favicon.ico"
"""Where browsers look for an icon by themselves, beside JSON and pages that name none."""


class Served(Protocol):
    """A portal as the way to it needs it."""

    @property
    def definition(self) -> PortalDefinition: ...

    @property
    def app(self) -> ASGIApp: ...


class Addresses:
    """Which portal a request is for: by host name, else by the first segment of its path, else the document's own."""

    def __init__(self, portals: Iterable[Served]) -> None:
        self._by_host: dict[str, Served] = {}
        self._by_prefix: dict[str, Served] = {}
        self._own: Served | None = None
        for portal in portals:
            definition = portal.definition
            if not definition.id:
                self._own = portal
                continue
            if definition.hostname:
                self._by_host[definition.hostname] = portal
            if definition.prefix:
                self._by_prefix[definition.prefix] = portal

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The host names of portals beside the document's own."""
        return tuple(self._by_host)

    def find(self, host: str, path: str) -> tuple[Served, str, str]:
        """The portal, its `root_path`, and the path below it that is asked for, with the `root_path` in front."""
        name = split_host(host)
        if name is not None and (portal := self._by_host.get(name[0])) is not None:
            return portal, "", path
        prefix, within = split_prefix(path)
        if (portal := self._by_prefix.get(prefix)) is not None:
            return portal, prefix, within
        assert self._own is not None, "every instance has the document's own portal"
        return self._own, "", path


def split_prefix(path: str) -> tuple[str, str]:
    """The prefix that a path begins with (`/docs`), and the path as its portal knows it.

    Clients look for the documents of `/docs/mcp` at `/.well-known/{name}/docs/mcp` (RFC 8414 section 3.1, RFC 9728
    section 3.1), which is `/docs/.well-known/{name}/mcp`.
    """
    if path.startswith(WELL_KNOWN):
        name, _, rest = path.removeprefix(WELL_KNOWN).partition("/")
        segment, slash, below = rest.partition("/")
        return f"/{segment}", f"/{segment}{WELL_KNOWN}{name}{slash}{below}"
    segment, _, _ = path.removeprefix("/").partition("/")
    return f"/{segment}", path


class PortalDispatcher:
    """The ASGI application that hands each request to its portal, whichever there are at that moment."""

    def __init__(self, addresses: Callable[[], Addresses]) -> None:
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        portal, prefix, path = self._addresses().find(host.decode("latin-1"), scope["path"])
        if prefix and path == prefix and scope.get("method") in ("GET", "HEAD"):
            # What people type. The home page, like every path of the portal, has a slash after the prefix.
            await RedirectResponse(f"{prefix}/")(scope, receive, send)
            return
        await portal.app({**scope, "root_path": prefix, "path": path}, receive, send)


def instance_app(
    edge: Edge,
    routes: Iterable[BaseRoute],
    addresses: Callable[[], Addresses],
    health: Callable[[], Mapping[str, object]],
    error_page: ErrorPage,
) -> Starlette:
    """The application of an instance. Every path that is none of its `routes` belongs to a portal.

    `error_page` makes the page for an error that is shown to a person.
    """

    async def healthz(request: Request) -> Response:
        return Response(orjson.dumps(health()), media_type="application/json")

    async def favicon(request: Request) -> Response:
        # The libraries of the pages are loaded with the first one.
        from portal.pages import icon

        return icon()

    app = _ForPeople(
        error_page,
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route(FAVICON_PATH, favicon, methods=["GET"]),
            *routes,
        ],
        middleware=[Middleware(Guard, edge=edge), Middleware(Cors, edge=edge)],
        exception_handlers=error_handlers("/mcp"),
    )
    app.router.redirect_slashes = False
    match_whole_paths(app)
    app.router.default = PortalDispatcher(addresses)
    return app


class _ForPeople(Starlette):
    """An application whose errors are pages for people, those of its failures too. So the pages are outside of all."""

    def __init__(self, error_page: ErrorPage, **options: Any) -> None:
        super().__init__(**options)
        self._error_page = error_page

    def build_middleware_stack(self) -> ASGIApp:
        return BrowserPages(super().build_middleware_stack(), page=self._error_page)


def portal_app(routes: Iterable[BaseRoute], path: str) -> ASGIApp:
    """The application of one portal, below its `root_path`. A failure of the portal goes on to the instance, which
    answers for all of them."""
    router = Router(list(routes), redirect_slashes=False)
    match_whole_paths(router)
    handlers = error_handlers(path)
    return ExceptionMiddleware(router, {error: handlers[error] for error in handlers if error is not Exception})


def error_handlers(path: str) -> Mapping[object, Callable[[Request, Exception], Awaitable[Response]]]:
    """How errors of an application are answered; `path` is where its MCP endpoint is.

    Where a browser shows an error to a person, `BrowserPages` makes a page of it.
    """

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        here = request.scope.get("root_path", "") + path
        known = f"The MCP endpoint of this portal is {here}, its health is at /healthz."
        if request.url.path.startswith(ADMIN_PATH):
            known = "The admin API is where people sign in: it needs `identity` in `portal`."
        message = f"{unrouted(error.status_code, request.method, request.url.path)} {known}"
        return refuse(Refusal(error.status_code, "http", message, headers=error.headers or {}))

    async def crashed(request: Request, error: Exception) -> Response:
        return refuse(Refusal(500, "crash", "The portal failed on this request. Its log says why.", INTERNAL_ERROR))

    async def turned_away(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return answer_to(request.scope, error)

    async def left(request: Request, error: Exception) -> Response:
        # Nobody reads it: the client has gone.
        return Response(status_code=400)

    async def without_store(request: Request, error: Exception) -> Response:
        assert isinstance(error, StateUnavailable)
        return answer_to(request.scope, unavailable(error.words, error.seconds, error.ran))

    return {
        HTTPException: refused,
        Refusal: turned_away,
        ClientGone: left,
        StateUnavailable: without_store,
        Exception: crashed,
    }
