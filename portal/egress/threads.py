"""A few threads for calls that can only block: a library of the system, a protocol without an asynchronous client.

The loop's own threads are for everybody's work. What may be slow or hostile blocks here, among its own kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """At most `most` calls at once, each in a thread of its own; further ones wait in order.

    A call keeps its place until it ends, also when its caller has given up. The process ends without waiting for any.
    """

    def __init__(self, most: int, name: str) -> None:
        self._places = asyncio.Semaphore(most)
        self._name = name

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: BaseException | None) -> None:
            self._places.release()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

        def run() -> None:
            outcome: tuple[T | None, BaseException | None]
            try:
                outcome = work(), None
            except BaseException as error:  # Whatever it is, it is the caller's.
                outcome = None, error
            # The loop may have ended meanwhile: then nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, *outcome)

        try:
            Thread(target=run, name=self._name, daemon=True).start()
        except BaseException:
            self._places.release()
            raise
        return await future
