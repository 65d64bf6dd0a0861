"""Hatchling build hook: puts what is not committed into the wheel, the finished guest and the scripts of the pages.

A compiler is downloaded only when the cache of the guest misses.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


def _module(path: str) -> ModuleType:
    """A module by its file, because the packages themselves cannot be imported yet."""
    name = f"codemode_build_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    def dependencies(self) -> list[str]:
        guest = _module("sandbox/guest/build.py")
        return [] if guest.is_cached() else [guest.ZIGLANG, "pip"]

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        _module("sandbox/guest/build.py").build()
        _module("portal/pages/vendor.py").build()
