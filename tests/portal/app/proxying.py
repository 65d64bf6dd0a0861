"""A way to a portal that nobody can see from its address: a proxy at another port, with or without a redirect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from portal.http import HttpSettings, running

_HOP = {"host", "connection", "content-length", "transfer-encoding"}


@asynccontextmanager
async def proxied(url: str, moved: str = "") -> AsyncIterator[str]:
    """The address of a proxy in front of this origin. A request at `moved` is sent on to its MCP endpoint."""
    async with aiohttp.ClientSession() as session:

        async def forward(request: Request) -> Response:
            if request.url.path == moved:
                return RedirectResponse("/mcp", 307)
            headers = {name: value for name, value in request.headers.items() if name not in _HOP}
            answer = await session.request(
                request.method,
                url + request.url.path,
                headers=headers,
                data=await request.body(),
                params=request.query_params,
            )
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return StreamingResponse(answer.content.iter_any(), answer.status, kept)

        app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST", "DELETE"])])
        async with running(app, http=HttpSettings()) as origin:
            yield origin
