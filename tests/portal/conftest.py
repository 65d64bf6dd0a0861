"""What tests of the portal share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor, Limits


@pytest.fixture
async def code_tool() -> AsyncIterator[CodeTool]:
    engine = Engine(Limits())
    executor = InProcessExecutor(engine)
    try:
        yield CodeTool(executor)
    finally:
        await executor.aclose()
        engine.close()
