"""Consoles that text from outside cannot control: programs, tools and results may contain terminal escape sequences."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0 and C1 controls except tab and newline, and the marks that change the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_PADDING = re.compile(r" +\n")


def printable(text: str) -> str:
    """`text` with every character that could control a terminal replaced by U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


class PortalConsole(Console):
    """A console that makes the text of every renderable printable. Control codes of rich itself pass."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


class _Unpadded(io.TextIOBase):
    """A stream that removes the blanks with which rich pads lines to the width of the screen."""

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
    """Consoles for standard output and standard error, each for a terminal or a pipe."""
    return _console(sys.stdout), _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    return PortalConsole(file=stream if stream.isatty() else cast(TextIO, _Unpadded(stream)))
