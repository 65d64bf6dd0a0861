"""A person is sent to the browser, and comes back to an address of this machine (RFC 8252 7.3)."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.cli.exits import CommandError, Exit
from portal.http import HttpSettings, running
from portal.pages import words_page

CALLBACK_PATH = "/callback"
# The same each time, because authorization servers compare the whole address; another one if it is taken.
CALLBACK_PORT = 8791
LOGIN_SECONDS = 600.0


async def show_login(url: str, where: Console, stderr: Console, *, browser: bool) -> None:
    """Show a page in the browser, and its address on `where`."""
    # In a thread: a browser of the terminal runs until it is left.
    opened = browser and await asyncio.to_thread(webbrowser.open, url)
    stderr.print("Your browser shows the login. If not, open:" if opened else "Open this in your browser:")
    where.print(Text(url), soft_wrap=True)


@dataclass(slots=True)
class LoginCallback:
    """Where the browser comes back to. `url` is the redirect URI."""

    url: str = ""
    _answers: asyncio.Queue[Mapping[str, str]] = field(default_factory=asyncio.Queue)

    async def endpoint(self, request: Request) -> Response:
        await self._answers.put(dict(request.query_params))
        return words_page("Back to the terminal", "The login goes on there. You can close this window.")

    async def answer(self, state: str) -> Mapping[str, str]:
        """The parameters of the redirect that has this state. Others are passed over: anybody can make one.

        Raises:
            CommandError: nobody came back in time.
        """
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                while (answer := await self._answers.get()).get("state") != state:
                    pass
        except TimeoutError:
            text = f"Nobody came back from the login within {LOGIN_SECONDS / 60:g} minutes. Run the command again."
            raise CommandError(text, Exit.UPSTREAM) from None
        return answer


@asynccontextmanager
async def callback_at(configured: int = 0) -> AsyncIterator[LoginCallback]:
    """The address, listening until the block ends: at this port, or at any if it is 0.

    Raises:
        CommandError: the port cannot be had.
    """
    callback = LoginCallback()
    app = Starlette(routes=[Route(CALLBACK_PATH, callback.endpoint)])
    async with AsyncExitStack() as stack:
        for port in (configured,) if configured else (CALLBACK_PORT, 0):
            try:
                url = await stack.enter_async_context(running(app, port=port, http=HttpSettings()))
                break
            except OSError as error:
                if port in (configured, 0):
                    text = f"Port {port} of this machine cannot be listened on: {error.strerror}."
                    raise CommandError(text) from error
        callback.url = url + CALLBACK_PATH
        yield callback
