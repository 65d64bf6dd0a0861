"""FastMCP as a portal: a proxy over upstream servers with its CodeMode transform. Arguments: the upstreams' URLs."""

from __future__ import annotations

import sys

from fastmcp.experimental.transforms.code_mode import CodeMode
from fastmcp.server import create_proxy

from benchmarks.servers.listening import listen

if __name__ == "__main__":
    upstreams = {f"server{index}": {"url": url} for index, url in enumerate(sys.argv[1:])}
    portal = create_proxy({"mcpServers": upstreams}, name="fastmcp")
    portal.add_transform(CodeMode(max_tool_calls=None))
    listen(portal.http_app())
