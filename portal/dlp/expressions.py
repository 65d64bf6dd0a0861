"""RE2, the engine of all patterns that look through whole texts: in linear time, whatever the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module, util
from typing import Protocol, cast

from portal.dlp.findings import HOW_TO_INSTALL, DetectionUnavailable

_MEMORY = 8 * 1024 * 1024


class Hit(Protocol):
    def span(self) -> tuple[int, int]: ...


class Compiled(Protocol):
    """A pattern of RE2."""

    @property
    def programsize(self) -> int: ...

    def search(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Hit | None: ...

    def finditer(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Iterator[Hit]: ...


def detection_installed() -> bool:
    """Whether the extra is installed."""
    return all(util.find_spec(name) is not None for name in ("kingfisher_sdk", "re2"))


def compiler() -> Callable[[str], Compiled]:
    """What compiles a pattern; it raises ValueError, with RE2's words, for one that does not compile.

    Raises:
        DetectionUnavailable: the extra is not installed.
    """
    if util.find_spec("re2") is None:
        raise DetectionUnavailable(f"detection is not installed: {HOW_TO_INSTALL}")
    re2 = import_module("re2")

    def compiled(pattern: str) -> Compiled:
        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        try:
            return cast("Compiled", re2.compile(pattern, options))
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None

    return compiled
