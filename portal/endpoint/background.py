"""Work that outlives the request which started it, owned by one object that ends it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

CLEAN_SECONDS = 5.0

log = structlog.get_logger("portal.endpoint")


class Background:
    """Tasks that nobody awaits. An exception is logged; `aclose` stops the tasks that still run.

    Work that cleans up is `needed`: `aclose` waits for it, for a few seconds.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._needed: set[asyncio.Task[Any]] = set()
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, Any], *, needed: bool = False) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        if needed:
            self._needed.add(task)
        task.add_done_callback(self._done)

    async def aclose(self) -> None:
        if self._needed:
            await asyncio.wait(tuple(self._needed), timeout=CLEAN_SECONDS)
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._needed.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_work_failed", exc_info=error)
