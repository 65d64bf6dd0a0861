"""Our portal assembled as `codemode serve` assembles it. Arguments: the upstreams' URLs; lines of calls go nowhere.
With `--logged` in front of them it writes a log."""

from __future__ import annotations

import asyncio
import sys
from tempfile import mkdtemp

import uvloop

from portal.app import Instance, serving
from portal.config import parse_config
from portal.logs import Discard


async def main(arguments: list[str]) -> None:
    logged = arguments[:1] == ["--logged"]
    servers = {f"server{index}": {"url": url} for index, url in enumerate(arguments[logged:])}
    database = f"sqlite:///{mkdtemp(prefix='codemode-bench-')}/logs.db"
    settings = {"logs": {"database": database}} if logged else {}
    async with Instance.open(parse_config({"mcpServers": servers, "portal": settings}), Discard()) as instance:
        await instance.servers.settled(30)
        async with serving(instance) as url:
            print(f"{url}/mcp", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
