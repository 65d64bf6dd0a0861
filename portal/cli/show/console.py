"""Consoles that nothing foreign can steer: programs, tools and their results may carry terminal escape sequences."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0 and C1 controls but tab and newline, and the marks that reorder the text around them.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_PADDING = re.compile(r" +\n")


def printable(text: str) -> str:
    """`text` with everything that could steer a terminal replaced by U+FFFD."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


class PortalConsole(Console):
    """A console whose text is made printable whatever renderable it came from; rich's own control codes pass."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


class _Unpadded(io.TextIOBase):
    """A stream whose lines lose the blanks that fill them up to the width of a screen."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def write(self, text: str) -> int:
        return self._stream.write(_PADDING.sub("\n", text))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error, each for people on a terminal or for a pipe."""
    return _console(sys.stdout), _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    return PortalConsole(file=stream if stream.isatty() else cast(TextIO, _Unpadded(stream)))
