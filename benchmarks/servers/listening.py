"""Starting a server process on a free port and saying its URL on standard output once it listens."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp


def listen(app: ASGIApp, path: str = "/mcp") -> None:
    """Serve `app` on a loopback port the system picks; print the URL first. Returns when the process is told to end."""
    # With the protocol unnamed asyncio leaves Nagle on, and every answer waits for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
