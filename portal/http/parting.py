"""The last word to clients whose requests are cut off because the server ends."""

import asyncio
from collections.abc import Callable

from mcp_types import CONNECTION_CLOSED
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.refusal import Refusal, refuse


class Parting:
    """Wrap an ASGI application: a request cancelled while `ending()` is answered, and no fault of the application's."""

    def __init__(self, app: ASGIApp, ending: Callable[[], bool]) -> None:
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._ending():
                raise
            if started:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            message = "The portal is being stopped and has ended this request. Calls that it had made may have run."
            await refuse(Refusal(503, "stopping", message, CONNECTION_CLOSED))(scope, receive, send)
