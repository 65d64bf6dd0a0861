"""How late the event loop is: whatever holds it keeps every caller waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.25


class Lateness:
    """Tells `observe` four times a second how many seconds later than asked for it was woken. Until `close`."""

    def __init__(self, observe: Callable[[float], object]) -> None:
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._timer = self._ask()

    def close(self) -> None:
        self._timer.cancel()

    def _ask(self) -> asyncio.TimerHandle:
        due = self._loop.time() + EVERY_SECONDS
        return self._loop.call_at(due, self._woken, due)

    def _woken(self, due: float) -> None:
        self._observe(max(0.0, self._loop.time() - due))
        self._timer = self._ask()
