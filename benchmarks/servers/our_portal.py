"""Our portal assembled as `codemode serve` assembles it. Arguments: the upstreams' URLs; lines of calls go nowhere.
With `--log` and the URL of a database in front of them it writes a log."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from portal.app import Instance, serving
from portal.config import parse_config
from portal.logs import Discard


async def main(arguments: list[str]) -> None:
    settings: dict[str, object] = {}
    if arguments[:1] == ["--log"]:
        settings, arguments = {"logs": {"database": arguments[1]}}, arguments[2:]
    servers = {f"server{index}": {"url": url} for index, url in enumerate(arguments)}
    async with Instance.open(parse_config({"mcpServers": servers, "portal": settings}), Discard()) as instance:
        await instance.servers.settled(30)
        async with serving(instance) as url:
            print(f"{url}/mcp", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
