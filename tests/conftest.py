"""For all tests: what is collected stays, so the garbage collector need not look at it again and again."""

from __future__ import annotations

import gc


def pytest_sessionstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()
