"""A portal within the process of `codemode stdio`: that of a configuration, without a port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from portal.app import Instance, Parts
from portal.cli.exits import CommandError
from portal.cli.following import follow_file
from portal.cli.lineage import begin_serving
from portal.cli.process import allow_many_descriptors, collect_garbage_seldom
from portal.cli.session import load, usable
from portal.cli.show.announce import BriefLines
from portal.http import HttpSettings
from portal.logs import Discard, configure_logging
from portal.servers import Snapshot
from portal.state import background
from portal.stdio import Exchange, InProcess

if TYPE_CHECKING:
    from portal.cli.commands.stdio import StdioOptions

# The client is there for as long as this process.
_IDLE_SECONDS = 10 * 365 * 86_400.0


@asynccontextmanager
async def portal_here(options: StdioOptions, said: BriefLines) -> AsyncIterator[Exchange]:
    """The portal of the configuration, until the block ends; its servers are connecting.

    Raises:
        CommandError: it cannot be served so. The message says what to do.
    """
    from portal.cli.commands.stdio import MODES

    file, document = load(options.config, said.console)
    settings = document.portal
    if settings.identity is not None:
        where = settings.public_url or f"http://127.0.0.1:{settings.port}"
        path = f"/{options.portal}/mcp" if options.portal else settings.path
        raise CommandError(
            f"People sign in at the portal of {file} (`portal.identity`), which `codemode serve` serves: "
            f"connect to it with `codemode stdio --url {where}{path}`."
        )
    if options.portal and options.portal not in document.portals:
        known = ", ".join(document.portals) or "none"
        raise CommandError(f"{file} has no portal {options.portal!r}; its further portals are: {known}.")
    begin_serving(file)
    document = usable(document, file=file)
    # What is asked of it, and what comes of that, is the client's to tell its person.
    configure_logging(level="debug" if settings.log_level == "debug" else "warning", terminal=True)
    collect_garbage_seldom()
    allow_many_descriptors()
    said.notes(document.notes)
    parts = Parts(http=HttpSettings(session_idle=_IDLE_SECONDS), cold=True)
    async with Instance.open(document, Discard(), said.say, parts) as instance:
        unsubscribe = instance.servers.subscribe(said.servers_changed)
        # Of those that failed at once.
        said.servers_changed(Snapshot(), instance.servers.snapshot)
        following = follow_file(file, instance, said, partial(usable, file=file))
        async with background(following):
            path = f"/{options.portal}/mcp" if options.portal else settings.path
            here = InProcess(instance.app, path, MODES[options.mode or "code"])
            try:
                yield here
            finally:
                unsubscribe()
                instance.close_streams()
                await here.aclose()
