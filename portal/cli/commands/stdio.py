"""`codemode stdio`: serves the client that started it over standard input and output, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portal.cli.exits import CommandError, Exit
from portal.cli.process import stop_on_signal
from portal.cli.show.announce import BriefLines
from portal.cli.show.console import consoles
from portal.errors import UpstreamError
from portal.http import CODEMODE
from portal.stdio import MAX_BYTES, Exchange, InputPipe, OutputPipe, Relay, standard_streams
from portal.upstream import LineReader, TooLarge

CLOSING_SECONDS = 0.8
"""How long the end may take. Clients kill a program that takes longer than two seconds, and then nobody ends what it
has started."""
MODES = {"code": f"{CODEMODE}=search_and_execute", "tools": f"{CODEMODE}=off"}
Mode = Literal["code", "tools"]


@dataclass(frozen=True, slots=True)
class StdioOptions:
    """The options of `codemode stdio`."""

    config: Path | None
    mode: Mode | None
    portal: str
    url: str
    headers: tuple[str, ...]
    allow_http: bool
    browser: bool


async def stdio(options: StdioOptions) -> Exit:
    """Serve the client until it closes its output or reads no more, or SIGINT or SIGTERM comes."""
    _check(options)
    with standard_streams() as (incoming, outgoing), stop_on_signal() as stop:
        _, stderr = consoles()
        said = BriefLines(stderr)
        output = OutputPipe(outgoing)
        left = asyncio.Event()
        serving = asyncio.create_task(_serve(_exchange(options, said), InputPipe(incoming), output, said, left))
        ends = [asyncio.create_task(one.wait()) for one in (stop, output.gone, left)]
        try:
            await asyncio.wait({serving, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if not left.is_set():
                serving.cancel()
            await asyncio.wait({serving}, timeout=CLOSING_SECONDS)
        finally:
            # What has not ended by now ends at once, child processes too.
            for task in (serving, *ends):
                task.cancel()
            await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()
    return Exit.OK


async def _serve(
    opening: AbstractAsyncContextManager[Exchange],
    incoming: InputPipe,
    output: OutputPipe,
    said: BriefLines,
    left: asyncio.Event,
) -> None:
    """Serve the client until it closes its output, which sets `left`."""
    async with opening as exchange:
        relay = Relay(exchange, output.write, said.say)
        try:
            await relay.run(_lines(incoming))
        except UpstreamError as error:
            raise CommandError(error.full_message, Exit.UPSTREAM) from error
        finally:
            left.set()
            await relay.aclose()


def _exchange(options: StdioOptions, said: BriefLines) -> AbstractAsyncContextManager[Exchange]:
    # Each needs much that the other does not: the client waits for its first answer.
    if options.url:
        from portal.cli.commands.stdio_bridge import portal_elsewhere

        return portal_elsewhere(options, said)
    from portal.cli.commands.stdio_portal import portal_here

    return portal_here(options, said)


def _check(options: StdioOptions) -> None:
    """Refuse options that do not go together."""
    if options.url and (options.config is not None or options.portal):
        raise CommandError("With --url the portal is elsewhere: --config and --portal are of one that runs here.")
    if not options.url and (options.headers or options.allow_http):
        raise CommandError("--header and --allow-http are about a portal elsewhere: name it with --url.")


async def _lines(incoming: InputPipe) -> AsyncIterator[bytes | TooLarge]:
    reader = LineReader(incoming, MAX_BYTES)
    while (line := await reader.next()) is not None:
        yield line
    if reader.given_up:
        raise CommandError(f"The client {reader.given_up}.")
