"""Engines shared by the tests of this floor, and the backend the async ones run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sandbox import Engine, Limits


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def engines() -> Iterator[Callable[[Limits], Engine]]:
    """One engine for each set of limits, closed at the end."""
    made: dict[Limits, Engine] = {}

    def engine(limits: Limits) -> Engine:
        if limits not in made:
            made[limits] = Engine(limits, slots=16)
        return made[limits]

    yield engine
    for one in made.values():
        one.close()
