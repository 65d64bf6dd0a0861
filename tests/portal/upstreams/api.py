"""An HTTP API that says what it received, and answers in every way an API does, with the OpenAPI document about it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.portal.upstreams.server import listen

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
JSON: dict[str, Any] = {"application/json": {"schema": {}}}
OK: dict[str, Any] = {"200": {"description": "fine", "content": JSON}}


@dataclass
class Received:
    """A request as it came: the path as it was written, the names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class SampleApi:
    """The API. `document` is what it publishes at `/openapi.json`; `requests` are all but those for the document."""

    document: dict[str, Any] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    fetched: list[Mapping[str, str]] = field(default_factory=list)
    overrides: dict[str, Callable[[Request], Response]] = field(default_factory=dict)
    token: str = ""
    broken: int = 0
    url: str = ""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def document_url(self) -> str:
        return f"{self.url}/openapi.json"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode().partition("?")[0]
        headers = dict(request.headers)
        if path == "/openapi.json":
            self.fetched.append(headers)
            return self._published(headers)
        body = await request.body()
        query = request.scope["query_string"].decode()
        self.requests.append(Received(request.method, path, query, headers, body))
        name = path.removeprefix("/v1/").partition("/")[0]
        if name in self.overrides:
            overridden: Response = self.overrides[name](request)
            return overridden
        answer = getattr(self, f"_{name}", None)
        found: Response = await answer(request) if answer is not None else JSONResponse({"error": "no such path"}, 404)
        return found

    def _published(self, headers: Mapping[str, str]) -> Response:
        if self.broken:
            return Response("broken", self.broken)
        data = json.dumps(self.document).encode()
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(data, media_type="application/json", headers={"etag": tag})

    async def _echo(self, request: Request) -> Response:
        last = self.last
        return JSONResponse(
            {"method": last.method, "path": last.path, "query": last.query, "headers": dict(last.headers)}
        )

    async def _secured(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "token"}, 401, {"www-authenticate": "Bearer"})
        return await self._echo(request)

    async def _pages(self, request: Request) -> Response:
        page, last = int(request.query_params.get("page", "1")), 3
        items = [{"id": page * 10 + at} for at in range(2)]
        headers = {"x-total-count": "6"}
        if page < last:
            headers["link"] = f'<{self.url}/v1/pages?page={page + 1}>; rel="next"'
        return JSONResponse(items, headers=headers)

    async def _value(self, request: Request) -> Response:
        kind = request.url.path.rpartition("/")[2]
        values: Mapping[str, Response] = {
            "object": JSONResponse({"a": [1, 2.5, None]}),
            "number": JSONResponse(42),
            "null": JSONResponse(None),
            "string": JSONResponse("12"),
            "nothing": Response(status_code=204),
            "text": Response("12", media_type="text/plain"),
            "latin": Response("ä".encode("latin-1"), headers={"content-type": "text/csv; charset=iso-8859-1"}),
            "image": Response(PIXEL, media_type="image/png"),
            "audio": Response(b"RIFF", media_type="audio/wav"),
            "pdf": Response(b"%PDF-1.7\xff", media_type="application/pdf"),
            "damaged": Response(b'{"a": ', media_type="application/json"),
            "untyped": Response(b'{"a": 1}'),
            "mistyped": Response(b'{"a": 1}', media_type="text/plain"),
        }
        return values[kind]

    async def _status(self, request: Request) -> Response:
        code = int(request.url.path.rpartition("/")[2])
        body = {"error": {"code": code, "key": request.headers.get("x-api-key", "")}}
        return JSONResponse(body, code, {"retry-after": "7", "x-internal": "not for anybody"})

    async def _slow(self, request: Request) -> Response:
        await self.released.wait()
        return JSONResponse({})

    async def _endless(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            # To this test it has no end: uvicorn does not say that nobody reads any more.
            for _ in range(1_000):
                yield b" " * 65536
                await asyncio.sleep(0)

        return StreamingResponse(pieces(), media_type="application/json")

    async def _bomb(self, request: Request) -> Response:
        packed = gzip.compress(b" " * 50_000_000)
        return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})

    async def _redirect(self, request: Request) -> Response:
        status = int(request.query_params.get("status", "302"))
        return Response(status_code=status, headers={"location": request.query_params["to"]})

    async def _cookies(self, request: Request) -> Response:
        return JSONResponse({"cookie": request.headers.get("cookie", "")}, headers={"set-cookie": "session=mine"})


def query(name: str, schema: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": dict(schema or {"type": "string"}), **options}


def get(name: str, *parameters: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return {"get": {"operationId": name, "parameters": list(parameters), "responses": OK, **options}}


def post(name: str, content: Mapping[str, Any], *parameters: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    body = {"required": True, "content": dict(content)}
    of = {"operationId": name, "parameters": list(parameters), "requestBody": body, "responses": OK, **options}
    return {"post": of}


def in_path(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **options}


FORM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
}
UPLOAD = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "file": {"type": "string", "format": "binary"}},
}
STRINGS = {"type": "array", "items": {"type": "string"}}
ITEM = {"type": "object", "properties": {"id": {"type": "integer"}}}


def sample_document(**more: Any) -> dict[str, Any]:
    """A document about the sample API, at a relative address."""
    listed = {
        "200": {"description": "fine", "content": {"application/json": {"schema": {"type": "array", "items": ITEM}}}}
    }
    paged = {"200": {**listed["200"], "headers": {"Link": {"schema": {"type": "string"}}}}}
    binary = {"200": {"description": "fine", "content": {"*/*": {}}}}
    paths: dict[str, Any] = {
        "/echo/{id}": get(
            "echo",
            in_path("id"),
            query("q"),
            query("many", STRINGS),
            query("piped", STRINGS, style="pipeDelimited", explode=False),
            query("filter", {"type": "object"}, style="deepObject"),
            {"name": "X-Flag", "in": "header", "schema": {"type": "string"}},
            {"name": "crumb", "in": "cookie", "schema": {"type": "string"}},
        ),
        "/echo/json": post("send_json", {"application/json": {"schema": FORM}}),
        "/echo/form": post("send_form", {"application/x-www-form-urlencoded": {"schema": FORM}}),
        "/echo/multipart": post("send_multipart", {"multipart/form-data": {"schema": UPLOAD}}),
        "/echo/text": post("send_text", {"text/plain": {"schema": {"type": "string"}}}),
        "/echo/binary": post(
            "send_binary", {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        ),
        "/pages": get("list_pages", query("page", {"type": "integer"}), responses=listed),
        "/pages/named": get("named_pages", query("page", {"type": "integer"}), responses=paged),
        "/value/{kind}": get("value", in_path("kind"), responses=binary),
        "/value/untyped": get("untyped"),
        "/value/mistyped": get("mistyped"),
        "/status/{code}": get("status", in_path("code")),
        "/slow": {**get("slow"), **post("slow_change", {"application/json": {"schema": FORM}})},
        "/endless": get("endless"),
        "/bomb": get("bomb"),
        "/redirect": get("redirect", query("to"), query("status", {"type": "integer"})),
        "/cookies": get("cookies"),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sample API", "version": "1.0", "description": "Says what it received."},
        "servers": [{"url": "/v1"}],
        "paths": paths,
        **more,
    }


SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "queryKey": {"type": "apiKey", "in": "query", "name": "api_key"},
    "cookieKey": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "basic": {"type": "http", "scheme": "basic"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "login": {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "https://login.example.com/authorize",
                "tokenUrl": "https://login.example.com/token",
                "scopes": {"read": "to read"},
            }
        },
    },
    "certificate": {"type": "mutualTLS"},
}


def secured_document() -> dict[str, Any]:
    """A document whose operations each want another credential."""
    wants: Mapping[str, list[dict[str, list[str]]]] = {
        "by_key": [{"key": []}],
        "by_query": [{"queryKey": []}],
        "by_cookie": [{"cookieKey": []}],
        "by_basic": [{"basic": []}],
        "by_bearer": [{"bearer": []}],
        "by_login": [{"login": ["read"]}],
        "by_either": [{"bearer": []}, {"key": []}],
        "by_both": [{"key": [], "queryKey": []}],
        "by_any": [{}, {"key": []}],
        "by_certificate": [{"certificate": []}],
        "by_nothing": [],
    }
    paths = {f"/secured/{name}": get(name, security=security) for name, security in wants.items()}
    paths["/status/{code}"] = get("status", in_path("code"), security=[{"key": []}])
    paths["/redirect"] = get("redirect", query("to"), query("status", {"type": "integer"}), security=[{"queryKey": []}])
    return sample_document(paths=paths, components={"securitySchemes": SCHEMES})


class _Server(uvicorn.Server):
    """Leaves the signal handlers of the test runner alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def sample_api(document: Mapping[str, Any] | None = None) -> AsyncIterator[SampleApi]:
    """The API, served on a real socket."""
    api = SampleApi(dict(document if document is not None else sample_document()))
    listening = listen(0)
    api.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(api, log_level="critical", timeout_graceful_shutdown=0, timeout_keep_alive=600)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield api
    finally:
        api.released.set()
        server.should_exit = server.force_exit = True
        for connection in list(server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await task
