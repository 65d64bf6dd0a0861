"""A receiver of OTLP over HTTP that takes nothing that its specification does not allow."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.observe import Traces
from tests.patience import PATIENCE
from tests.portal.upstreams.hosting import _Server
from tests.portal.upstreams.server import listen


@dataclass
class Found:
    """A span that has come, as a test reads it. Ids are hexadecimal."""

    raw: Span
    resource: dict[str, str]

    @property
    def id(self) -> str:
        return bytes(self.raw.span_id).hex()

    @property
    def trace(self) -> str:
        return bytes(self.raw.trace_id).hex()

    @property
    def parent(self) -> str:
        return bytes(self.raw.parent_span_id).hex()

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def kind(self) -> str:
        return str(Span.SpanKind.Name(self.raw.kind)).removeprefix("SPAN_KIND_")

    @property
    def attributes(self) -> dict[str, str | int]:
        return {one.key: _value(one.value) for one in self.raw.attributes}


def _value(value: Any) -> str | int:
    which = value.WhichOneof("value")
    assert which in ("string_value", "int_value"), which
    found = getattr(value, which)
    assert isinstance(found, str | int)
    return found


@dataclass
class Receiver:
    """`answers` are given to the next requests, in order, then 200 with {}. `bodies` are the texts that came."""

    url: str = ""
    spans: list[Found] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: Request) -> Response:
        body = await request.body()
        status, answer = self.answers.pop(0) if self.answers else (200, b"{}")
        async with self.changed:
            self.headers.append(dict(request.headers))
            try:
                text = self._opened(request, body)
                self.bodies.append(text)
                if status == 200:
                    self.spans += read(text)
            except Exception as error:
                self.faults.append(repr(error))
                status, answer = 400, b"{}"
            self.changed.notify_all()
        return Response(answer, status, media_type="application/json")

    def _opened(self, request: Request, body: bytes) -> bytes:
        assert request.method == "POST" and request.headers["content-type"] == "application/json"
        assert request.headers.get("content-encoding") in (None, "gzip")
        return gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body

    async def until(self, holds: Callable[[Receiver], bool]) -> list[Found]:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.faults or holds(self))
        assert self.faults == []
        return self.spans

    async def have(self, count: int) -> list[Found]:
        return await self.until(lambda one: len(one.spans) >= count)


def read(text: bytes) -> list[Found]:
    """The spans of a request, read by OpenTelemetry's own definitions, with nothing that they do not know."""
    document = orjson.loads(text)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                # Ids are hexadecimal in this JSON, and base64 in that of protobuf: the one difference of the two.
                for key, length in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
                    if key in span:
                        assert re.fullmatch(f"[0-9a-f]{{{length}}}", span[key]) and int(span[key], 16), (key, span)
                        span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
                for key in ("startTimeUnixNano", "endTimeUnixNano"):
                    assert isinstance(span[key], str)
                assert isinstance(span["kind"], int)
    message = json_format.ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=False)
    found: list[Found] = []
    for one in message.resource_spans:
        resource = {pair.key: str(_value(pair.value)) for pair in one.resource.attributes}
        assert resource["service.name"]
        for scoped in one.scope_spans:
            assert scoped.scope.name
            for span in scoped.spans:
                assert span.trace_id and span.span_id and span.name and span.kind
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
                keys = [pair.key for pair in span.attributes]
                assert len(keys) == len(set(keys)), keys
                found.append(Found(span, resource))
    return found


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/v1/traces", receiver.take, methods=["POST"])])
    socket = listen(port)
    receiver.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    server = _Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0))
    task = asyncio.create_task(server.serve(sockets=[socket]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield receiver
    finally:
        server.should_exit = server.force_exit = True
        await task


async def sent(traces: Traces) -> None:
    """Return when nothing waits to be sent."""
    async with asyncio.timeout(PATIENCE):
        while len(traces):
            traces.urgent.set()
            await asyncio.sleep(0)
