"""A portal as its user runs it: `codemode serve` in a process of its own, read by its log."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portal.home import CODE_MODE
from tests.forked import Forked, forked
from tests.patience import PATIENCE


class Served:
    """A running portal: its URLs and what it logged."""

    def __init__(self, process: Forked) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._arrived: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def url(self) -> str:
        """The plain MCP URL."""
        return str(self.event("listening")["url"])

    @property
    def code_url(self) -> str:
        """The MCP URL in code mode."""
        return self.url + CODE_MODE

    def event(self, name: str) -> dict[str, Any]:
        """The first event of this name, waiting for it to be logged."""
        while True:
            for event in self.events:
                if event.get("event") == name:
                    return event
            self.next_event()

    def next_event(self) -> dict[str, Any]:
        """The next event, waiting for it to be logged; it joins `events`."""
        arrived = self._arrived.get(timeout=PATIENCE)
        if arrived is None:
            raise AssertionError(f"the portal ended; it had logged {self.events[-20:]}")
        self.events.append(arrived)
        return arrived

    def rest(self) -> None:
        """All that it logs until its end join `events`."""
        while (arrived := self._arrived.get(timeout=PATIENCE)) is not None:
            self.events.append(arrived)

    def stop(self) -> int:
        """End it as a service manager would; its exit code."""
        return self.process.stop()

    def _read(self) -> None:
        for line in self.process.stderr:
            try:
                self._arrived.put(json.loads(line))
            except ValueError:
                self._arrived.put({"event": "text", "text": line.rstrip("\n")})
        self._arrived.put(None)


@contextmanager
def serving(document: Mapping[str, Any], folder: Path, *options: str) -> Iterator[Served]:
    """Run `codemode serve` over this configuration document until the block ends; its servers have settled."""
    file = folder / "codemode.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with forked("serve", "--config", str(file), "--port", "0", *options) as process:
        served = Served(process)
        try:
            served.event("listening")
            served.event("servers settled")
            yield served
        finally:
            served.stop()
