"""The HTTP application of the bench: the page, its editor and its API. Wiring only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from portal.bench.ui.access import TokenRequired
from portal.bench.ui.assets import EditorFiles, Page
from portal.bench.ui.bench import BenchPage
from portal.bench.ui.editor import MONACO
from portal.bench.ui.run_request import parse_run
from portal.bench.ui.stream import ProgressStream
from portal.exact import encode
from portal.http import BrowserPages, Edge, Guard, HttpSettings, Refusal, body_of, refuse, unrouted
from portal.sdk import match_whole_paths

HTTP = HttpSettings(body_limit=2 * 1024 * 1024)
MAX_QUERY = 300
EDITOR_PATH = f"/editor/{MONACO.version}"


def create_bench_app(
    bench: BenchPage, token: str, *, editor: Path | None, no_editor: str = "", http: HttpSettings = HTTP
) -> Starlette:
    """The page at `/` and its API below `/api`, which needs the token.

    `editor` is the folder of the editor's files. Without it the page has a text field and shows the reason `no_editor`.
    """
    api = Mount(
        "/api",
        routes=[
            Route("/state", _State(bench, editor is not None, no_editor), methods=["GET"]),
            Route("/declarations", _Declarations(bench), methods=["GET"]),
            Route("/search", _Search(bench), methods=["GET"]),
            Route("/run", _Run(bench)),
        ],
        middleware=[Middleware(TokenRequired, token=token)],
    )
    page = Page(editor=editor is not None)
    app = Starlette(
        routes=[
            api,
            Route(EDITOR_PATH + "/{name:path}", EditorFiles(editor, MONACO.files).__call__, methods=["GET"]),
            Route("/", page.__call__, methods=["GET"]),
            Route("/{name}", page.__call__, methods=["GET"]),
        ],
        middleware=[Middleware(BrowserPages, page=_error_page), Middleware(Guard, edge=Edge(http))],
        exception_handlers={Refusal: _refused, HTTPException: _not_there},
    )
    app.router.redirect_slashes = False
    match_whole_paths(app)
    app.state.http = http
    app.state.close_streams = bench.stop
    return app


class _JsonEndpoint(ABC):
    """An endpoint that answers GET with JSON or text nobody keeps."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.answer(Request(scope, receive))
        response.headers["cache-control"] = "no-store"
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)

    @abstractmethod
    async def answer(self, request: Request) -> Response:
        """The answer to a request."""


class _State(_JsonEndpoint):
    def __init__(self, bench: BenchPage, editor: bool, no_editor: str) -> None:
        self._bench = bench
        self._editor: dict[str, object] = {"path": EDITOR_PATH} if editor else {"path": None, "reason": no_editor}

    async def answer(self, request: Request) -> Response:
        return _json({**await self._bench.state(), "editor": self._editor})


class _Declarations(_JsonEndpoint):
    def __init__(self, bench: BenchPage) -> None:
        self._bench = bench

    async def answer(self, request: Request) -> Response:
        return _json(await self._bench.declarations())


class _Search(_JsonEndpoint):
    def __init__(self, bench: BenchPage) -> None:
        self._bench = bench

    async def answer(self, request: Request) -> Response:
        return _json(await self._bench.search(request.query_params.get("q", "")[:MAX_QUERY]))


class _Run:
    def __init__(self, bench: BenchPage) -> None:
        self._bench = bench

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        body = body_of(scope, receive)
        request = parse_run(await body.read(HTTP.body_limit, ""))
        self._bench.admit()
        await ProgressStream(lambda emit: self._bench.run(request, emit))(scope, receive, send)


def _json(value: object) -> Response:
    return Response(encode(value, orjson.OPT_NON_STR_KEYS, str), media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refuse(error)


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{unrouted(error.status_code, request.method, request.url.path)} The page of the bench is at /."
    return refuse(Refusal(error.status_code, "http", message, headers=error.headers or {}))


async def _error_page(scope: Scope, status: int, body: bytes) -> Response:
    """The page for a person who opened an address of the bench that is none, or is for its page alone."""
    from portal.pages import Design, Surroundings, notice  # noqa: PLC0415  the first error loads them

    return notice(status, body, Surroundings(Design(name="Codemode bench"), home="/"))
