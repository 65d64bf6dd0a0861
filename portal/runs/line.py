"""The way from a running program to its client: through a request that waits for the program, as long as there is one.

A program that goes on without a request has nobody to ask. A question of one of its tools then waits for the next
request that comes back for the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from portal.upstream import CallContext


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """A request that waits for the program. `line` is that of the program behind it, None for a client's own."""

    request: CallContext
    line: Line | None


class Line:
    """The requests that wait for one program. The one that came last is used."""

    def __init__(self) -> None:
        self._ways: list[_Way] = []
        self._changed: asyncio.Future[None] | None = None

    @contextmanager
    def through(self, request: CallContext, line: Line | None = None) -> Iterator[None]:
        """A block in which a request waits for the program. Only one that can be asked questions is used for them.

        `line` is that of the program that makes the request, if it is a program. Where that one's own questions come
        through here, the request is not used: two programs that wait for each other have no client between them.
        """
        if line is not None and line._passes(self):
            yield
            return
        way = _Way(request, line)
        self._ways.append(way)
        self._tell()
        try:
            yield
        finally:
            self._ways.remove(way)
            self._tell()

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The answer to a question. It is asked again when the request that it was asked through has gone.

        Raises:
            RpcError: the client refuses to answer.
        """
        while True:
            way = next((one for one in reversed(self._ways) if one.request.on_request is not None), None)
            if way is None or way.request.on_request is None:
                await self._change()
                continue
            answer = asyncio.ensure_future(way.request.on_request(method, params))
            try:
                while not answer.done() and way in self._ways:
                    change = asyncio.ensure_future(self._change())
                    await asyncio.wait({answer, change}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                if answer.done() and not (answer.cancelled() and way not in self._ways):
                    return answer.result()
            finally:
                answer.cancel()

    async def log(self, params: Mapping[str, object]) -> None:
        """Send a log message of an upstream; nobody gets it while no request waits."""
        request = self._ways[-1].request if self._ways else None
        if request is not None and request.on_log is not None:
            await request.on_log(params)

    def _passes(self, line: Line) -> bool:
        """Whether questions of this program may come through `line`."""
        seen: set[int] = set()
        todo = [self]
        while todo:
            one = todo.pop()
            if one is line:
                return True
            if id(one) not in seen:
                seen.add(id(one))
                todo += [way.line for way in one._ways if way.line is not None]
        return False

    async def _change(self) -> None:
        """Returns when there are other requests."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
