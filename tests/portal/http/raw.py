"""A client that writes the bytes it is given over a connection of its own, on the test's event loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.patience import PATIENCE


class Answer:
    """`headers` by their names in lower case, the last of each."""

    def __init__(self, raw: bytes) -> None:
        assert raw, "the connection ended without an answer"
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def error(self) -> dict[str, object]:
        """The error of a JSON-RPC answer that names no request."""
        message = json.loads(self.body)
        assert message["jsonrpc"] == "2.0" and message["id"] is None
        error: dict[str, object] = message["error"]
        return error


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the server at `url`."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def send(url: str, *parts: bytes | str) -> Answer:
    """The answer to what these parts are together, read until the server closes the connection."""
    async with connected(url) as (reader, writer):
        for part in parts:
            writer.write(part.encode() if isinstance(part, str) else part)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            return Answer(await reader.read())
