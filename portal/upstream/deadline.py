"""The time one call may take: a limit without progress, and an absolute maximum."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType

from portal.upstream.context import CallContext


class Deadline:
    """An async context manager. After `idle` seconds without progress, or `maximum` in all, it raises TimeoutError.

    The idle time does not count while the downstream client answers a question: a person may take a while.
    """

    def __init__(self, idle: float, maximum: float) -> None:
        self._idle = idle
        self._maximum = maximum
        self._timeout = asyncio.timeout(None)
        self._latest = 0.0
        self._asking = 0
        self._over = False

    async def __aenter__(self) -> Deadline:
        self._latest = asyncio.get_running_loop().time() + self._maximum
        await self._timeout.__aenter__()
        self._restart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        await self._timeout.__aexit__(kind, error, traceback)

    @property
    def spent(self) -> str:
        """The limit that was reached, as words for a message."""
        if asyncio.get_running_loop().time() >= self._latest:
            return f"no answer within {self._maximum:g} s"
        return f"no answer and no progress for {self._idle:g} s"

    def watching(self, context: CallContext) -> CallContext:
        """The same context, with progress and questions also reported to this deadline."""
        on_progress, on_request = context.on_progress, context.on_request
        if on_progress is None and on_request is None:
            return context

        async def forward_progress(progress: float, total: float | None, message: str | None) -> None:
            self._restart()
            assert on_progress is not None
            await on_progress(progress, total, message)

        async def forward_request(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
            assert on_request is not None
            self._asking += 1
            self._restart()
            try:
                return await on_request(method, params)
            finally:
                self._asking -= 1
                self._restart()

        return replace(
            context,
            on_progress=forward_progress if on_progress is not None else None,
            on_request=forward_request if on_request is not None else None,
        )

    def _restart(self) -> None:
        # A question may be answered after the call it belongs to has ended.
        if not self._over and not self._timeout.expired():
            idle_at = asyncio.get_running_loop().time() + self._idle
            self._timeout.reschedule(self._latest if self._asking else min(idle_at, self._latest))
