"""Hostile bodies and hostile answers: how late the portal's event loop is meanwhile.

The portal runs in this process and the hostile server in another. What counts is what the portal's own work makes the
loop late (`tests.hostile.lateness`). The client is on the same loop, so it reads answers without parsing them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import aiohttp

from benchmarks.cases import Case, Measurement, Reading
from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.logs import Discard
from tests.hostile import unparsed
from tests.hostile.lateness import Lateness, lateness
from tests.hostile.upstream import hostile_upstream

SECONDS = 6.0
ANSWERS = (
    *("blocks", "blocks_of_numbers", "fewer_texts", "fewer_blocks", "empty_lists", "fewer_lists", "fewer_rows", "keys"),
    *("text", "text_of_lists", "error_with_data", "deep", "informational", "chunks_of_a_byte", "bomb"),
    *("empty_lines", "comments", "progress", "notifications", "batches"),
)
BODIES = (b"[" + b"[]," * 1_398_000 + b"[]]", b"[" + b"{}," * 1_398_000 + b"{}]", b"[" * 4_194_304, b'{"a":' * 800_000)


def cases() -> Mapping[str, Case | Reading]:
    return {
        "answers_p99": Reading(lambda once: asyncio.run(_measured(_answers, once))),
        "bodies_p99": Reading(lambda once: asyncio.run(_measured(_bodies, once))),
    }


Attack = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


async def _measured(attack: Callable[[], Attack], once: bool) -> Measurement:
    async with _portal() as url, aiohttp.ClientSession() as http:
        await unparsed.call(http, url, "hostile_fine")
        next_one = attack()
        async with lateness() as late:
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - began < (0.3 if once else SECONDS):
                await next_one(http, url)
    return _measurement(late)


def _measurement(late: Lateness) -> Measurement:
    return Measurement(late.p99, late.p99, "s", f"most {late.worst * 1e3:.1f} ms, {len(late.late)} beats")


def _answers() -> Attack:
    """The answers one after another. A server that is disconnected for one is connected to again meanwhile."""
    names = cycle(ANSWERS)

    async def attack(http: aiohttp.ClientSession, url: str) -> None:
        await unparsed.call(http, url, f"hostile_{next(names)}")

    return attack


def _bodies() -> Attack:
    """Bodies of 4 MiB, from whom nobody knows."""
    bodies = cycle(BODIES)

    async def attack(http: aiohttp.ClientSession, url: str) -> None:
        head = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        # A portal that refuses before it has read all closes the connection.
        try:
            async with http.post(url, data=next(bodies), headers=head) as answer:
                await unparsed.read(answer)
        except aiohttp.ClientError:
            await asyncio.sleep(0)

    return attack


@asynccontextmanager
async def _portal() -> AsyncIterator[str]:
    async with hostile_upstream(timeout=2) as entry:
        document: dict[str, Any] = {"mcpServers": {"hostile": entry}}
        config = parse_config(document, env={})
        async with Instance.open(config, Discard(), lambda text: None, Parts()) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                yield f"{url}/mcp"
