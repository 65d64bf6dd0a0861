"""Our portal assembled as `codemode serve` assembles it. Arguments: the upstreams' URLs; call records go nowhere."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from portal.app.asgi import running
from portal.app.portal import assemble
from portal.config.config import parse_config


class Discard:
    """Records are made and rendered as always; writing them to a disk is not what is measured."""

    def write(self, line: bytes) -> None:
        return None


async def main(upstreams: list[str]) -> None:
    servers = {f"server{index}": {"url": url} for index, url in enumerate(upstreams)}
    async with assemble(parse_config({"mcpServers": servers}), Discard()) as assembly:
        await assembly.servers.settled(30)
        async with running(assembly.app) as url:
            print(f"{url}/mcp", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
