"""What tests of the portal share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor, Limits


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine(Limits()) as engine:
        yield engine


@pytest.fixture
def no_time_for_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt is forgotten, however slowly the test tries: the clock of all rates stands still."""
    monkeypatch.setattr("portal.http.rates.monotonic", lambda: 0.0)


@pytest.fixture
async def code_tool(engine: Engine) -> AsyncIterator[CodeTool]:
    executor = InProcessExecutor(engine)
    try:
        yield CodeTool(executor)
    finally:
        await executor.aclose()
