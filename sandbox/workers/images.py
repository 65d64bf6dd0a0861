"""Builds images and caches them.

A preload runs in a worker of its own, which never runs a program and ends afterwards. So a program that has taken over
a worker cannot change an image in which others run.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from sandbox.engine import Image
from sandbox.errors import EngineError, WorkerDied
from sandbox.workers.frames import Frame, FrameKind, ProtocolViolation, unpack_fault, unpack_named
from sandbox.workers.process import LaneClient, Worker

PATIENCE: Final = 30.0
"""Seconds that a preload may take."""


class Ask(Protocol):
    """Sends a request, which the watchdog times (`Dispatch.ask`)."""

    def __call__(
        self, lane: LaneClient, kind: FrameKind, run: int, payload: bytes, patience: float
    ) -> Awaitable[Frame]: ...


class ImageBuilder:
    """Images by preload. The least recently used are dropped when all together have more than `cap` bytes."""

    def __init__(self, start_worker: Callable[[], Awaitable[Worker]], ask: Ask, cap: int) -> None:
        self._start_worker = start_worker
        self._ask = ask
        self._left = cap
        self._images: OrderedDict[str, Image] = OrderedDict()
        """By digest of the preload."""
        self._building: dict[str, asyncio.Task[Image]] = {}
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ImageBuilder {len(self._images)} images, {len(self._building)} being built>"

    async def build(self, preload: str) -> Image:
        """The image of this preload, from the cache if it is there. Callers at the same time get the same build.

        Raises:
            EngineError: the preload failed, or the worker that evaluated it died.
        """
        key = hashlib.sha256(preload.encode()).hexdigest()
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = asyncio.create_task(self._build(key, preload))
            task.add_done_callback(lambda task: self._store(key, task))
        return await asyncio.shield(task)  # other callers may wait for it too

    async def aclose(self) -> None:
        for task in tuple(self._building.values()):
            task.cancel()
        await asyncio.gather(*self._building.values(), return_exceptions=True)

    def _store(self, key: str, build: "asyncio.Task[Image]") -> None:
        """Cache the result of a build, unless it failed."""
        del self._building[key]
        if build.cancelled() or build.exception() is not None:
            return
        self._images[key] = image = build.result()
        self._left -= len(image.data)
        while self._left < 0 and len(self._images) > 1:
            _, dropped = self._images.popitem(last=False)  # the least recently used
            self._left += len(dropped.data)

    async def _build(self, key: str, preload: str) -> Image:
        async with self._one_at_a_time:
            worker = await self._start_worker()
            try:
                frame = await self._ask(worker.lanes[0], FrameKind.BUILD, 0, preload.encode(), PATIENCE)
                return _read_image(frame)
            except ProtocolViolation as violation:
                raise WorkerDied(f"the worker that built an image was ended: it sent {violation}") from None
            finally:
                worker.kill()


def _read_image(frame: Frame) -> Image:
    if frame.kind is FrameKind.FAULT:
        raise EngineError(unpack_fault(frame.payload)[1])
    if frame.kind is not FrameKind.BUILT:
        raise ProtocolViolation("a reply out of place")
    image_id, (data,) = unpack_named(frame.payload, 1)
    return Image(id=image_id, data=data)
