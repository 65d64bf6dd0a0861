"""What the tests of the console share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.portal.browser import browser_of_a_module


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def _one_browser(anyio_backend: str) -> AsyncIterator[None]:
    async with browser_of_a_module():
        yield
