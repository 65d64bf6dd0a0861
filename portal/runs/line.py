"""The way from a running program to its client: through a request that waits for the program, as long as there is one.

A program that goes on without a request has nobody to ask. A question of one of its tools then waits for the next
request that comes back for the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from portal.upstream import CallContext


class Line:
    """The requests that wait for one program. The one that came last is used."""

    def __init__(self) -> None:
        self._requests: list[CallContext] = []
        self._changed: asyncio.Future[None] | None = None

    @contextmanager
    def through(self, request: CallContext) -> Iterator[None]:
        """A block in which a request waits for the program. Only one that can be asked questions is used for them."""
        self._requests.append(request)
        self._tell()
        try:
            yield
        finally:
            self._requests = [one for one in self._requests if one is not request]
            self._tell()

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The answer to a question. It is asked again when the request that it was asked through has gone.

        Raises:
            RpcError: the client refuses to answer.
        """
        while True:
            request = next((one for one in reversed(self._requests) if one.on_request is not None), None)
            if request is None or request.on_request is None:
                await self._change()
                continue
            answer = asyncio.ensure_future(request.on_request(method, params))
            try:
                while not answer.done() and request in self._requests:
                    change = asyncio.ensure_future(self._change())
                    await asyncio.wait({answer, change}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                if answer.done() and not (answer.cancelled() and request not in self._requests):
                    return answer.result()
            finally:
                answer.cancel()

    async def log(self, params: Mapping[str, object]) -> None:
        """Send a log message of an upstream; nobody gets it while no request waits."""
        request = self._requests[-1] if self._requests else None
        if request is not None and request.on_log is not None:
            await request.on_log(params)

    async def _change(self) -> None:
        """Returns when there are other requests."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
