"""Our portal assembled as `codemode serve` assembles it. Arguments: the upstreams' URLs; call records go nowhere."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from portal.app import Instance, serving
from portal.config import parse_config
from portal.logs import Discard


async def main(upstreams: list[str]) -> None:
    servers = {f"server{index}": {"url": url} for index, url in enumerate(upstreams)}
    async with Instance.open(parse_config({"mcpServers": servers}), Discard()) as instance:
        await instance.servers.settled(30)
        async with serving(instance) as url:
            print(f"{url}/mcp", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
