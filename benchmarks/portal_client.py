"""What the portal benchmarks do to a server: the SDK's own client for latency, bare keep-alive connections for load."""

from __future__ import annotations

import asyncio
import atexit
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mcp import Client

from benchmarks.cases import Case, Measurement, Reading, Unavailable

T = TypeVar("T")
LOAD_SECONDS = 3.0
PROTOCOL = "2026-07-28"


def start(module: str, *arguments: str) -> str:
    """Start a server process; returns the URL it prints. It is ended with this process."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    atexit.register(_end, process)
    if process.stdout is None or not (url := process.stdout.readline().strip()):
        raise Unavailable(f"{module} did not start")
    return url


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


class Loop:
    """An event loop in a thread of its own, so that a synchronous timer can drive an asynchronous client."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(timeout=120)


def calling(url: str, tool: str, arguments: dict[str, Any], *, times: int = 1) -> Callable[[], object]:
    """An operation that calls a tool `times` times, one after another, with the SDK's client over one connection."""
    loop = Loop()
    client = Client(url, cache=None)
    loop.run(client.__aenter__())

    async def once() -> object:
        for _ in range(times):
            result = await client.call_tool(tool, arguments)
            if result.is_error:
                raise RuntimeError(f"{tool} failed: {result.content}")
        return result

    return lambda: loop.run(once())


def latency(url: Callable[[], str], tool: str, arguments: dict[str, Any], *, times: int = 1, rounds: int = 150) -> Case:
    return Case(lambda: calling(url(), tool, arguments, times=times), rounds=rounds)


def load(url: Callable[[], str], tool: str, arguments: dict[str, Any], *, clients: int) -> Reading:
    """Requests a second that `clients` connections get, each sending its next request when it has its answer."""

    def read(once: bool) -> Measurement:
        seconds = 0.2 if once else LOAD_SECONDS
        count, times = Loop().run(pound(url(), tool, arguments, clients, seconds))
        note = f"p50 {statistics.median(times) * 1e3:.2f} ms, p99 {sorted(times)[int(len(times) * 0.99)] * 1e3:.2f} ms"
        return Measurement(count / seconds, count / seconds, "/s", note)

    return Reading(read)


async def pound(
    url: str, tool: str, arguments: dict[str, Any], clients: int, seconds: float
) -> tuple[int, list[float]]:
    times: list[float] = []
    request = wire_request(url, tool, arguments)
    host, port = urlsplit(url).hostname, urlsplit(url).port
    until = time.perf_counter() + seconds

    async def one_client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(request)
            answer = json.loads(await body(reader))
            if "result" not in answer or answer["result"].get("isError"):
                raise RuntimeError(f"{tool} failed under load: {str(answer)[:300]}")
            times.append(time.perf_counter() - began)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one_client())
    return len(times), times


def wire_request(url: str, tool: str, arguments: dict[str, Any]) -> bytes:
    parts = urlsplit(url)
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    }
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }
    content = json.dumps(call).encode()
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {PROTOCOL}\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: {tool}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"the server answered {head[:200]!r}")
    if b"content-length:" in head:
        return await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    found = b"".join(chunks)
    return found.split(b"data: ", 1)[1].split(b"\r\n", 1)[0].split(b"\n", 1)[0] if b"data: " in found else found
