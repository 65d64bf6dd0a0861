"""Runs a short program in a fresh isolate for the tests of the web globals: its value, or what it logged."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from sandbox import Completed, Engine, LogLine, Outcome, Suspended

DATA = Path(__file__).parent / "web_data"
NOW = 1_700_000_000_000.0
SEED = bytes(range(32))


@cache
def _engine() -> Engine:
    return Engine(slots=16)


@cache
def _thread() -> ThreadPoolExecutor:
    """Guests need a deeper stack than a main thread has."""
    before = threading.stack_size(16 << 20)
    pool = ThreadPoolExecutor(max_workers=1)
    pool.submit(int).result()
    threading.stack_size(before)
    return pool


def _run(source: str, seed: bytes) -> tuple[Outcome, list[LogLine]]:
    now = NOW
    logs: list[LogLine] = []
    with _engine().isolate() as isolate:
        found = isolate.start(source, now, seed)
        logs += found.logs
        while isinstance(found, Suspended):
            assert found.wake_at is not None, "the program waits for a call"
            now = max(now, found.wake_at)
            found = isolate.resume((), now)
            logs += found.logs
    return found, logs


def outcome(source: str, given: Any = None, *, seed: bytes = SEED) -> tuple[Outcome, list[LogLine]]:
    """Runs `source`, which sees `given` as the constant `given`; time passes only while it waits for a timer."""
    return _thread().submit(_run, f"const given = {json.dumps(given)};\n{source}", seed).result()


def value(source: str, given: Any = None, *, seed: bytes = SEED) -> Any:
    found, _ = outcome(source, given, seed=seed)
    assert isinstance(found, Completed), found
    return found.value


def logged(source: str, given: Any = None) -> list[tuple[str, str]]:
    found, logs = outcome(source, given)
    assert isinstance(found, Completed), found
    return [(line.level, line.text) for line in logs]


def thrown(expression: str, given: Any = None) -> list[Any]:
    """`[name, message, code]` of what evaluating `expression` throws, [] when it does not."""
    source = (
        f"let found = [];\ntry {{ {expression}; }} catch (e) {{ found = [e.name, e.message, e.code ?? null]; }}\nfound"
    )
    found = value(source, given)
    assert isinstance(found, list)
    return found
