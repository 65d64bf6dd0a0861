"""Starts the example servers: two as programs over stdio, one as an HTTP server of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from portal.errors import StartError

START_SECONDS = 120.0
# Long enough for real work, short enough to watch a program run into it.
CPU_SECONDS = 1.0


@asynccontextmanager
async def example_upstreams() -> AsyncIterator[dict[str, object]]:
    """Start the helpdesk and yield a configuration document over all three servers; the portal starts the other two.

    Raises StartError if the helpdesk does not start.
    """
    # -P: the servers must not import modules from the current folder.
    helpdesk = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "portal.demo.helpdesk", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert helpdesk.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                url = (await helpdesk.stdout.readline()).decode().strip()
        except TimeoutError:
            message = (
                f"The example helpdesk did not start within {START_SECONDS:g} s. Is this machine very busy? Try again."
            )
            raise StartError(message) from None
        if not url:
            raise StartError("The example helpdesk did not start. Its own message is above.")
        yield document(url)
    finally:
        if helpdesk.returncode is None:
            helpdesk.terminate()
        await helpdesk.wait()


def document(helpdesk_url: str) -> dict[str, object]:
    """The configuration an operator would write for these servers."""
    return {
        "mcpServers": {
            "shop": {"command": sys.executable, "args": ["-P", "-m", "portal.demo.shop"]},
            "helpdesk": {"type": "http", "url": helpdesk_url},
            "shipping": {"command": sys.executable, "args": ["-P", "-m", "portal.demo.shipping"]},
        },
        "portal": {"name": "codemode-demo", "limits": {"cpu_time": CPU_SECONDS}},
        # The same servers, curated for support staff, who only read.
        "portals": {
            "support": {
                "name": "Support",
                "instructions": "Look up orders and parcels for a customer. Nothing here changes anything.",
                "servers": [
                    {
                        "server_id": "shop",
                        "default_disabled": True,
                        "updated_tools": _only("get_order", "get_customer"),
                    },
                    {"server_id": "shipping", "default_disabled": True, "updated_tools": _only("track")},
                ],
            }
        },
    }


def _only(*tools: str) -> list[dict[str, object]]:
    return [{"name": name, "enabled": True} for name in tools]
