"""`codemode serve`: serves the portal until it is interrupted, and tells the operator what happens."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from rich.console import Console

from portal.app import Instance, serving
from portal.cli.exits import CommandError, Exit
from portal.cli.following import follow_file
from portal.cli.lineage import begin_serving
from portal.cli.process import allow_many_descriptors, collect_garbage_seldom, stop_on_signal
from portal.cli.session import load, usable
from portal.cli.show.announce import Announcer, announcer_for
from portal.cli.show.call_lines import CallLines
from portal.cli.show.console import consoles
from portal.config import Config
from portal.http import UnsafeBind, require_safe_bind
from portal.logs import configure_logging
from portal.servers import Servers

SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """The address to listen on. Port 0 takes a free port."""

    host: str
    port: int


async def serve(config: Path | None, host: str | None, port: int | None) -> Exit:
    """Serve the configured servers until SIGINT or SIGTERM."""
    _, stderr = consoles()
    file, document = load(config, stderr, quiet=not stderr.is_terminal)
    begin_serving(file)
    address = Address(host or document.portal.host, document.portal.port if port is None else port)
    return await serve_document(document, address, stderr, file=file)


async def serve_document(document: Config, address: Address, stderr: Console, *, file: Path | None = None) -> Exit:
    """Serve a configuration. If its `file` is given, changes of the file are applied."""
    try:
        require_safe_bind(address.host, identity=document.portal.identity is not None)
    except UnsafeBind as error:
        raise CommandError(str(error)) from error
    document = usable(document, address.host, address.port, file)
    terminal = stderr.is_terminal
    configure_logging(level=document.portal.log_level, terminal=terminal)
    announcer = announcer_for(stderr, structlog.get_logger("codemode"))
    collect_garbage_seldom()
    allow_many_descriptors()
    announcer.notes(document.notes)
    with stop_on_signal() as stop, announcer.preparing():
        sink = CallLines(sys.stderr, stderr if terminal else None)
        async with Instance.open(document, sink, announcer.tell_operator) as instance:
            assert instance.programs is not None
            announcer.prepared(instance.programs.prepared_in, instance.programs.unconfined)
            await _listen(instance, address, announcer, file, stop)
    announcer.stopped()
    return Exit.OK


async def _listen(
    instance: Instance, address: Address, announcer: Announcer, file: Path | None, stop: asyncio.Event
) -> None:
    unsubscribe = instance.servers.subscribe(announcer.servers_changed)
    background = [asyncio.create_task(_announce_settled(instance.servers, announcer))]
    try:
        async with serving(instance, host=address.host, port=address.port) as base:
            if file is not None:
                port = urlsplit(base).port or address.port
                here = partial(usable, host=address.host, port=port, file=file)
                background.append(asyncio.create_task(follow_file(file, instance, announcer, here)))
            own, *others = instance.urls(base)
            announcer.listening(own.urls[0], {portal.name: portal.urls for portal in others})
            await _offer_claim(instance, base, announcer)
            await stop.wait()
            announcer.stopping()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"Cannot listen on {address.host} port {address.port}: {reason}. Choose another with --port."
        raise CommandError(message) from error
    finally:
        unsubscribe()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _offer_claim(instance: Instance, base: str, announcer: Announcer) -> None:
    """Show the operator where the first administrator signs up, once the address is known."""
    identity = instance.own.identity
    claim = await identity.claim_path() if identity is not None else None
    if claim is not None:
        origin = instance.config.portal.public_url or base
        announcer.tell_operator(
            f"This portal has no administrator yet. Claim it, once, within 24 hours: {origin}{claim}"
        )


async def _announce_settled(servers: Servers, announcer: Announcer) -> None:
    announcer.settled(await servers.settled(SETTLE_SECONDS))
