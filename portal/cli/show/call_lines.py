"""Call records on standard error: short lines on a terminal, JSON lines otherwise."""

from __future__ import annotations

from typing import TextIO

import orjson
from rich.console import Console
from rich.text import Text

from portal.cli.show.report import milliseconds

OUTCOME_STYLE = {"ok": "green", "tool_error": "yellow", "denied": "yellow", "cancelled": "dim"}


class CallLines:
    """A sink of call records: short lines on `console`, or the records on `stream` if there is no console."""

    def __init__(self, stream: TextIO, console: Console | None) -> None:
        self._stream = stream
        self._console = console

    def write(self, line: bytes) -> None:
        if self._console is None:
            self._stream.write(line.decode().rstrip("\n") + "\n")
            self._stream.flush()
        else:
            self._console.print(call_line(line))


def call_line(line: bytes) -> Text:
    """A call record as a short line."""
    record = orjson.loads(line)
    if record["event"] != "call":
        return Text(" ".join(f"{key}={value}" for key, value in record.items()), style="yellow")
    outcome = str(record["outcome"])
    return Text.assemble(
        (str(record["time"])[11:19], "dim"),
        " ",
        (f"{outcome:<11}", OUTCOME_STYLE.get(outcome, "red")),
        f" {record['server']}.{record['name']} ",
        (milliseconds(record["duration_ms"]), "dim"),
        (f"  run {record['run_id']}" if record.get("run_id") else "", "dim"),
    )
