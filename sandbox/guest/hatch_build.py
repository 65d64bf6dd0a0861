"""Hatchling build hook: puts the finished guest into the wheel, downloading a compiler only when the cache misses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _build_module() -> ModuleType:
    path = Path(__file__).resolve().with_name("build.py")
    spec = importlib.util.spec_from_file_location("codemode_guest_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    def dependencies(self) -> list[str]:
        module = _build_module()
        return [] if module.is_cached() else [module.ZIGLANG, "pip"]

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        _build_module().build()
