"""What takes long to make and is only read, made once for the whole run: pytest's workers share a module's tests."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

import pytest


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[], str]) -> str:
    """The text that `make` returns. The first worker that asks for this name calls it, and the others wait."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return make()
    file = folders.getbasetemp().parent / name
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(make(), encoding="utf-8")
        return file.read_text(encoding="utf-8")
