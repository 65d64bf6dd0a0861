"""The backend of the async tests, and the portal most of them share: two upstreams, workers, a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.end_to_end.whole import Whole, whole
from tests.portal.upstreams.hosting import Hosted, hosted


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


@pytest.fixture
async def portal(upstream: Hosted) -> AsyncIterator[Whole]:
    async with whole({"one": {"url": upstream.url}}) as portal:
        yield portal


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Whole]:
    """One portal like that for the tests of a module that change nothing of it, nor of its upstream."""
    async with hosted() as upstream, whole({"one": {"url": upstream.url}}) as portal:
        yield portal
