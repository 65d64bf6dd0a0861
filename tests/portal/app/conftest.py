"""What the tests of instances share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from codemode import CodeTool
from sandbox import Engine, InProcessExecutor, Limits


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def code_tool() -> AsyncIterator[CodeTool]:
    engine = Engine(Limits())
    executor = InProcessExecutor(engine)
    try:
        yield CodeTool(executor)
    finally:
        await executor.aclose()
        engine.close()
