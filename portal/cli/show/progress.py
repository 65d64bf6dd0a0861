"""What a terminal shows of work that takes longer than a second. Elsewhere, and with --quiet, nothing is shown."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

SECONDS = 1.0
"""What takes less shows nothing: a line that comes and goes at once is only noise."""


class LiveLine(Protocol):
    """The part of rich's live displays that is used here."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class LateLine(AbstractContextManager["LateLine"]):
    """A block during which a line is shown, from some seconds on. The event loop may stand still meanwhile."""

    def __init__(self, line: LiveLine, console: Console, *, quiet: bool, seconds: float) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._ended = False
        self._timer = threading.Timer(seconds, self._show)
        self._timer.daemon = True
        self._shows = not quiet and console.is_terminal and not console.is_dumb_terminal

    def __enter__(self):  # type: ignore[no-untyped-def]  # each kind of line is itself
        if self._shows:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Take the line away, before the block ends. It does not come any more."""
        self._timer.cancel()
        with self._lock:
            if not self._ended:
                self._ended = True
                self._line.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._ended:
                self._line.start()


class WaitLine(LateLine):
    """A text with a spinner: nobody knows how long it takes. `console` is that of standard error."""

    def __init__(self, console: Console, text: str, *, quiet: bool = False, seconds: float = SECONDS) -> None:
        self._status = console.status(Text(text))
        super().__init__(self._status, console, quiet=quiet, seconds=seconds)

    def say(self, text: str) -> None:
        """Show another text from now on."""
        self._status.update(Text(text))


class StepBar(LateLine):
    """A bar: so much is done, of so much as there is. Its numbers are bytes, or things that are counted."""

    def __init__(
        self, console: Console, text: str, *, in_bytes: bool = False, quiet: bool = False, seconds: float = SECONDS
    ) -> None:
        numbers = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), numbers, TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(text, total=None)
        super().__init__(self._progress, console, quiet=quiet, seconds=seconds)

    def at(self, done: int, of: int | None = None, text: str | None = None) -> None:
        """How far it has come. `of` is None as long as nobody knows how much there is."""
        self._progress.update(self._task, completed=done, total=of, description=text)
