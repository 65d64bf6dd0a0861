"""For all tests: what was collected stays, so the garbage collector need not look at it again and again."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
