"""Consoles that nothing foreign can steer: programs, tools and their results may carry terminal escape sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0 and C1 controls but tab and newline, and the marks that reorder the text around them.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


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


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error."""
    return PortalConsole(), PortalConsole(stderr=True)
