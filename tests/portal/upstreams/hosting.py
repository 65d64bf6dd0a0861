"""Runs test upstreams: inside the test on a real socket, or as a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tests.portal.upstreams.server import Behaviour, Upstream, listen, sse_app
from tests.zygote import quick_entry

ROOT = Path(__file__).resolve().parents[3]


class Hosted:
    """An upstream served inside the test. `stop` and `restart` act as on a real server: same port, no memory.

    `wrap` puts something in front of it.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        transport: str = "http",
        wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        **options: Any,
    ) -> None:
        self.behaviour = behaviour
        self.upstream = Upstream(behaviour)
        self._transport = transport
        self._wrap = wrap
        self._options = options
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/{'sse' if self._transport == 'sse' else 'mcp'}"

    async def start(self) -> None:
        if self._transport == "sse":
            app: Any = sse_app(self.upstream)
        else:
            app = self.upstream.server.streamable_http_app(**self._options)
        listening = listen(self._port)
        self._port = listening.getsockname()[1]
        # Idle connections stay: on a busy machine this loop may be late for longer than the client's own limit.
        config = uvicorn.Config(
            self._wrap(app), log_level="critical", timeout_graceful_shutdown=0, timeout_keep_alive=600
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            await asyncio.sleep(0)

    async def stop(self) -> None:
        assert self._server is not None and self._task is not None
        self._server.should_exit = self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._task

    async def restart(self) -> None:
        await self.stop()
        self.upstream = Upstream(self.behaviour)
        await self.start()


class _Server(uvicorn.Server):
    """Leaves the signal handlers of the test runner alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def hosted(
    behaviour: Behaviour | None = None, *, transport: str = "http", **options: Any
) -> AsyncIterator[Hosted]:
    """`options` are those of the SDK's `streamable_http_app`, and `wrap`."""
    host = Hosted(behaviour or Behaviour(), transport=transport, **options)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def stdio_entry(*switches: str) -> dict[str, Any]:
    """A configuration entry that starts the server over stdio, without its imports (tests/zygote.py)."""
    return quick_entry("tests.portal.upstreams.server", "stdio", *switches)


def real_stdio_entry(*switches: str) -> dict[str, Any]:
    """The same as any program is started, where that is the subject."""
    return {
        "command": sys.executable,
        "args": ["-m", "tests.portal.upstreams.server", "stdio", *switches],
        "env": {"PYTHONPATH": str(ROOT)},
    }


@asynccontextmanager
async def served_process(
    transport: str, *switches: str, port: int = 0
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The server as a process; its URL and the process, which is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.portal.upstreams.server",
        transport,
        "--port",
        str(port),
        *switches,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
