"""Front doors that import a room's modules only when one of their names is used, for rooms that are slow to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(door: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of the package `door` (PEP 562), where `modules` gives the module of each name."""

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {door!r} has no attribute {name!r}")
        return getattr(import_module(f"{door}.{modules[name]}"), name)

    return load
