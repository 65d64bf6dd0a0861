"""A thread that guests may run on, an engine, and a check after every test that no isolate was left open."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox import Engine, Limits
from tests.sandbox.programs import Programs

_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


@pytest.fixture(scope="session", autouse=True)
def _all_engines() -> Iterator[None]:
    original = Engine.__init__

    def remembering(self: Engine, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _ENGINES.add(self)

    Engine.__init__ = remembering  # type: ignore[method-assign]
    yield
    Engine.__init__ = original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_isolate_is_left_open() -> Iterator[None]:
    yield
    assert [engine.live_isolates for engine in _ENGINES if engine.live_isolates] == []


@pytest.fixture(scope="session")
def on_guest_thread() -> Iterator[Callable[..., Any]]:
    """Calls a function on a thread with a stack deep enough for guests."""
    before = threading.stack_size(16 << 20)
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(int).result()
        threading.stack_size(before)
        yield lambda function, *args: pool.submit(function, *args).result()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine(slots=16) as engine:
        yield engine


@pytest.fixture(scope="session")
def programs(engine: Engine, on_guest_thread: Callable[..., Any]) -> Programs:
    return Programs(engine, on_guest_thread)


@pytest.fixture
def with_limits(on_guest_thread: Callable[..., Any]) -> Iterator[Callable[..., Programs]]:
    """Programs under other limits: `with_limits(cpu_time=0.1).run(...)`."""
    made: list[Engine] = []

    def make(**limits: Any) -> Programs:
        made.append(Engine(Limits(**limits), slots=4))
        return Programs(made[-1], on_guest_thread)

    yield make
    for engine in made:
        engine.close()
