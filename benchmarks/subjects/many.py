"""The cost of many callers and many portals over 20 servers of 50 tools, over HTTP.

Every caller may use different tools, so no two share a view. Each request runs a program that searches.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2

from benchmarks.cases import Case, Measurement, Reading
from codemode import CodeTool
from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.identity import Group, Identity
from portal.logs import Discard
from sandbox import WorkerExecutor
from tests.portal.access.guarded import Guarded, group, guarded
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

SERVERS, TOOLS, BUILT_IN = 20, 50, 14
PROGRAM = 'return (await codemode.search("tool 7", {limit: 5})).length'
GROUPS = 11  # each group is denied a different half of the tools: 2,048 different callers


def cases() -> Mapping[str, Case | Reading]:
    return {
        "views_memory": Reading(lambda once: asyncio.run(views(20 if once else 2_000))[0]),
        "views_first": Reading(lambda once: asyncio.run(views(20 if once else 200))[1]),
        "portals_memory": Reading(lambda once: asyncio.run(portals(once))[0]),
        "portals_request": Reading(lambda once: asyncio.run(portals(once))[1]),
    }


async def views(count: int) -> tuple[Measurement, Measurement]:
    """The growth of memory with many callers, and by how much a caller's first request is slower than the second."""
    async with AsyncExitStack() as stack:
        upstreams = await _upstreams(stack)
        executor = await stack.enter_async_context(WorkerExecutor())
        portal = await stack.enter_async_context(guarded(upstreams, _policies(), code_tool=CodeTool(executor)))
        portal.callers.update({f"c{number}": _caller(number) for number in range(count + 30)})
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=60))
        for number in range(30):  # the servers are indexed, the workers are warm
            await _run(http, portal, count + number)
        before = _resident()
        first, second = [], []
        for number in range(count):
            first.append(await _run(http, portal, number))
            second.append(await _run(http, portal, number))
        growth = _resident() - before
    extra = sorted(first_time - second_time for first_time, second_time in zip(first, second, strict=True))
    median = statistics.median(extra)
    worst = extra[len(extra) * 99 // 100]
    note = f"p99 {worst * 1e3:.1f} ms; the second takes {statistics.median(second) * 1e3:.1f} ms"
    return Measurement(growth, growth, "B", f"{count:,} callers"), Measurement(extra[0], median, "s", note)


async def portals(once: bool) -> tuple[Measurement, Measurement]:
    """The growth of memory with many portals, and the ratio of request times to one of many and to a single portal."""
    count = 5 if once else 100
    async with AsyncExitStack() as stack:
        upstreams = await _upstreams(stack)
        async with _instance(upstreams, 0) as (http, url):
            alone_time = await _listing_times(http, url, ["/mcp"])
            alone_memory = _resident()
        async with _instance(upstreams, count) as (http, url):
            paths = [f"/p{number}/mcp" for number in range(count)]
            many_time = await _listing_times(http, url, ["/mcp", *paths])
            growth = _resident() - alone_memory
        for upstream in upstreams.values():
            listings = upstream.upstream.journal.entries.count("tools/list")
            if listings > 2:  # one for each of the two instances
                raise RuntimeError(f"a server was listed {listings} times")
    ratio = many_time / alone_time
    note = f"{many_time * 1e3:.2f} ms, and {alone_time * 1e3:.2f} ms alone"
    return Measurement(growth, growth, "B", f"{count} portals"), Measurement(ratio, ratio, "x", note)


async def _upstreams(stack: AsyncExitStack) -> dict[str, Hosted]:
    upstreams = {}
    for number in range(SERVERS):
        behaviour = Behaviour(name=f"u{number}", tools=TOOLS - BUILT_IN)
        upstreams[f"s{number}"] = await stack.enter_async_context(hosted(behaviour))
    return upstreams


def _policies() -> dict[str, Any]:
    everyone = [{"id": "in", "decision": "allow", "include": [{"everyone": {}}]}]
    halves = [
        {
            "id": f"half{number}",
            "decision": "deny",
            "include": [group(f"g{number}")],
            "tools": {"names": [f"tool{tool:03}" for tool in range(TOOLS) if tool >> (number % 6) & 1 == number // 6]},
        }
        for number in range(GROUPS)
    ]
    servers = [{"id": f"s{number}", "policies": everyone} for number in range(SERVERS)]
    return {"portal": {"policies": everyone, "tool_policies": halves}, "servers": servers}


def _caller(number: int) -> Identity:
    groups = tuple(Group(name=f"g{place}") for place in range(GROUPS) if number >> place & 1)
    return Identity(id=f"c{number}", email=f"c{number}@example.com", idp_id="okta", groups=groups)


async def _run(http: httpx2.AsyncClient, portal: Guarded, number: int) -> float:
    return await _request(http, portal.code(f"c{number}"), "tools/call", name="code", arguments={"code": PROGRAM})


async def _request(http: httpx2.AsyncClient, url: str, method: str, **params: object) -> float:
    """The seconds of a request. Raises RuntimeError for any answer but a result."""
    version = "2026-07-28"
    meta = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version, "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = str(params["name"])
    start = time.perf_counter()
    answer = await http.post(url, headers=headers, json=body)
    elapsed = time.perf_counter() - start
    if answer.status_code != 200 or '"isError":true' in answer.text or '"error"' in answer.text[:200]:
        raise RuntimeError(f"{url}: {answer.status_code} {answer.text[:500]}")
    return elapsed


@asynccontextmanager
async def _instance(upstreams: Mapping[str, Hosted], count: int) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """An instance with the document's own portal and `count` others, each over some of the servers."""
    document = {
        "mcpServers": {name: {"url": upstream.url} for name, upstream in upstreams.items()},
        "portals": {
            f"p{number}": {
                "name": f"Portal {number}",
                "servers": [f"s{(number + place) % SERVERS}" for place in range(1 + number % SERVERS)],
            }
            for number in range(count)
        },
    }
    async with Instance.open(parse_config(document, env={}), Discard(), parts=Parts(code=None)) as instance:
        await instance.servers.settled(60)
        async with serving(instance) as url, httpx2.AsyncClient(timeout=60) as http:
            yield http, url


async def _listing_times(http: httpx2.AsyncClient, url: str, paths: list[str]) -> float:
    """The median time of `tools/list` at the first of these portals, after one request to each."""
    for path in paths:
        await _request(http, url + path, "tools/list")
    return statistics.median([await _request(http, url + paths[0], "tools/list") for _ in range(60)])


def _resident() -> int:
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
