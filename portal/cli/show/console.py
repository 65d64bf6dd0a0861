"""Consoles that text from outside cannot control: programs, tools and results may contain terminal escape sequences."""

from __future__ import annotations

import io
import json as json_text
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Text

from portal.cli.exits import BrokenOutput, Exit

# C0 and C1 controls except tab and newline, and the marks that change the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# Half a character, which no stream can write.
_SURROGATES = re.compile("[\ud800-\udfff]")

_PADDING = re.compile(r" +\n")


def printable(text: str) -> str:
    """`text` with every character that could control a terminal replaced by U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def as_json(value: object, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """JSON that is exact and printable: what could control a terminal, or is not in `encoding`, is escaped."""
    is_unicode = encoding.lower().startswith("utf")
    text = json_text.dumps(value, indent=indent, ensure_ascii=not is_unicode)
    return _SURROGATES.sub(_escaped, _CONTROLS.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class PortalConsole(Console):
    """A console that makes the text of every renderable printable. Control codes of rich itself pass."""

    def print_json(  # type: ignore[override]
        self, json: str | None = None, *, data: object = None, indent: int | None = 2
    ) -> None:
        """Print a value, or a text that is JSON, for programs to read: no character of it is lost or replaced."""
        value = data if json is None else json_text.loads(json)
        text = as_json(value, indent=indent, encoding=self.encoding or "ascii")
        if self.is_terminal:
            self.print(JSONHighlighter()(Text(text)), soft_wrap=True)
        else:
            self.file.write(f"{text}\n")

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
        with _output_errors():
            return self._stream.write(_PADDING.sub("\n", text))

    def flush(self) -> None:
        with _output_errors():
            self._stream.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def _output_errors() -> Iterator[None]:
    """Says that an output cannot be written as an error of the command line, and not as one of codemode."""
    try:
        yield
    except BrokenPipeError as error:
        raise BrokenOutput("", Exit.OUTPUT_CLOSED) from error
    except OSError as error:
        raise BrokenOutput(f"The output cannot be written: {error.strerror or error}.") from error


def consoles() -> tuple[Console, Console]:
    """Consoles for standard output and standard error, each for a terminal or a pipe."""
    return _console(sys.stdout), _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    return PortalConsole(file=stream if stream.isatty() else cast(TextIO, _Unpadded(stream)))
