"""What tests of the portal share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from codemode import CodeTool, common_preload
from portal.dlp import predefined_rules
from sandbox import Engine, InProcessExecutor, Limits
from tests.once import once


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine(Limits(), common=common_preload()) as engine:
        yield engine


@pytest.fixture(scope="session")
def detection_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled rules of detection, made once for all of pytest's workers."""

    def compiled() -> str:
        folder = tmp_path_factory.mktemp("rules")
        predefined_rules(folder)
        return str(folder)

    return Path(once(tmp_path_factory, "dlp-rules", compiled))


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
