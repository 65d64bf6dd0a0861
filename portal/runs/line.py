"""The way from a running program to its client: through a request that waits for the program, as long as there is one.

A program that goes on without a request has nobody to ask. A question of one of its tools then waits for the next
request that comes back for the program. What comes back may be another program: then the question goes to the client
of that one, through as many programs as wait for each other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from portal.upstream import CallContext


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """A request of a client, for as long as it waits for a program."""

    request: CallContext


class Line:
    """Who waits for one program: requests of clients, and other programs. Who came last is used.

    Where a question goes is looked up in what waits now. No program hands it on to the next one: that might have lost
    its client, while another one has come.
    """

    def __init__(self) -> None:
        self._ways: list[_Way | Line] = []
        self._waits_for: Counter[Line] = Counter()
        self._reached: tuple[_Way, ...] | None = None
        self._changed: asyncio.Future[None] | None = None

    @contextmanager
    def through(self, request: CallContext) -> Iterator[None]:
        """A block in which a client's request waits for the program. Only one that can be asked is asked questions."""
        way = _Way(request)
        self._ways.append(way)
        self._tell()
        try:
            yield
        finally:
            self._ways.remove(way)
            self._tell()

    @contextmanager
    def waited_for_by(self, line: Line) -> Iterator[None]:
        """A block in which the program of `line` waits for this one. However often it does, it is one way."""
        line._waits_for[self] += 1
        if line._waits_for[self] == 1:
            self._ways.append(line)
            self._tell()
        try:
            yield
        finally:
            line._waits_for[self] -= 1
            if not line._waits_for[self]:
                del line._waits_for[self]
                self._ways.remove(line)
                self._tell()

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The answer to a question. It is asked again when the request that it was asked through has gone.

        Raises:
            RpcError: the client refuses to answer.
        """
        while True:
            way = next((one for one in self._clients() if one.request.on_request is not None), None)
            if way is None or way.request.on_request is None:
                await self._change()
                continue
            answer = asyncio.ensure_future(way.request.on_request(method, params))
            try:
                while not answer.done() and way in self._clients():
                    change = asyncio.ensure_future(self._change())
                    await asyncio.wait({answer, change}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                if answer.done() and not (answer.cancelled() and way not in self._clients()):
                    return answer.result()
            finally:
                answer.cancel()

    async def log(self, params: Mapping[str, object]) -> None:
        """Send a log message of an upstream; nobody gets it while no request waits."""
        on_log = next((one.request.on_log for one in self._clients() if one.request.on_log is not None), None)
        if on_log is not None:
            await on_log(params)

    def _clients(self) -> tuple[_Way, ...]:
        """The requests of clients that wait for this program, or for one that does. Who came last is the first."""
        if self._reached is None:
            found: list[_Way] = []
            seen: set[Line] = set()
            todo: list[_Way | Line] = [self]
            while todo:
                one = todo.pop()
                if isinstance(one, _Way):
                    found.append(one)
                elif one not in seen:
                    # Two programs may wait for each other.
                    seen.add(one)
                    todo += one._ways
            self._reached = tuple(found)
        return self._reached

    async def _change(self) -> None:
        """Returns when there may be other requests."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _tell(self) -> None:
        """Others wait for this program, and so for the programs that it waits for."""
        seen: set[Line] = set()
        todo = [self]
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += one._waits_for
                one._reached = None
                if one._changed is not None and not one._changed.done():
                    one._changed.set_result(None)
