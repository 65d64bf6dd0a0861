"""Parses the page's request to run a program. Every member is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from portal.http import Refusal

Mode = Literal["live", "mock"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A program to run. In the mode "mock", `mocks` answer its calls; in "live", the servers do."""

    code: str
    mode: Mode
    mocks: Mapping[str, object] | None = None


def parse_run(body: bytes) -> RunRequest:
    """The request in the body of a POST. Raises `Refusal` (400) if it is not valid."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _wrong(f"The body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _wrong('The body is an object: {"code": "...", "mode": "live"}.')
    if others := sorted(set(document) - {"code", "mode", "mocks"}):
        raise _wrong(f"There is nothing called {others[0][:60]!r} in a run: it takes code, mode and mocks.")
    code, mode, mocks = document.get("code"), document.get("mode", "live"), document.get("mocks")
    if not isinstance(code, str):
        raise _wrong("`code` is the program, as text.")
    if mode not in ("live", "mock"):
        raise _wrong('`mode` is "live" or "mock".')
    if mode == "live" and mocks is not None:
        raise _wrong("A live run takes no mocks.")
    if mode == "mock" and not isinstance(mocks, dict):
        raise _wrong("A mocked run needs `mocks`, an object.")
    return RunRequest(code, mode, mocks)


def _wrong(message: str) -> Refusal:
    return Refusal(400, "request", message)
