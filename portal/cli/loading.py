"""Says on a terminal that a command is being loaded, where that takes longer than a second: its modules are heavy.

One process runs one command and has one terminal, so there is one `loading`. Nothing is imported for it.
"""

from __future__ import annotations

import os
import sys
import threading

SECONDS = 1.0
_LINE = "Loading ..."


class Loading:
    """A line on standard error from a second after `begin` until `done`. `text` is what it says."""

    def __init__(self, text: str = _LINE, seconds: float = SECONDS) -> None:
        self._text = text
        self._seconds = seconds
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._shown = False

    def begin(self) -> None:
        """Show the line in a second, if there is a terminal that can erase it again."""
        if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            return
        self._timer = threading.Timer(self._seconds, self._show)
        self._timer.daemon = True
        self._timer.start()

    def done(self) -> None:
        """Erase the line. It does not come any more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._shown:
                self._shown = False
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def _show(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._shown = True
                sys.stderr.write(self._text)
                sys.stderr.flush()


loading = Loading()
