"""A real browser for tests: Chromium as the system brings it, driven by playwright, without a network of its own.

Tests that need it go through `needs_browser`, which skips with the reason where Chromium is absent, or fails instead
when `CODEMODE_REQUIRE_BROWSER=1`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
from playwright.async_api import Browser as AsyncBrowser
from playwright.async_api import async_playwright, expect
from playwright.sync_api import Browser, sync_playwright

from tests.patience import PATIENCE

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def needs_browser() -> str:
    """The path of Chromium; of its headless shell where there is one, which takes half the time."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = "no chromium on PATH (Debian: apt-get install chromium-headless-shell)"
        if os.environ.get("CODEMODE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    path = needs_browser()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield launched
        finally:
            launched.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[AsyncBrowser]:
    """The same for tests with a loop. What they expect may take long on a machine that has much to do.

    Where `browser_of_a_module` is in use, all its tests get one browser, each with contexts of its own.
    """
    path = needs_browser()
    expect.set_options(timeout=1000 * PATIENCE)
    if _kept is None:
        async with _launched(path) as launched:
            yield launched
    else:
        launched = await _kept.browser(path)
        try:
            yield launched
        finally:
            for context in launched.contexts:
                await context.close()


@asynccontextmanager
async def browser_of_a_module() -> AsyncIterator[None]:
    """A block whose tests share a loop and the browser, which starts with the first that asks for it.

    Starting Chromium and what drives it takes as long as most of the tests.
    """
    global _kept
    async with AsyncExitStack() as stack:
        _kept = _Kept(stack)
        try:
            yield
        finally:
            _kept = None


class _Kept:
    """A browser that stays until the stack is closed, and is replaced if it has ended before."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._launched: AsyncBrowser | None = None

    async def browser(self, path: str) -> AsyncBrowser:
        if self._launched is None or not self._launched.is_connected():
            self._launched = await self._stack.enter_async_context(_launched(path))
        return self._launched


_kept: _Kept | None = None


@asynccontextmanager
async def _launched(path: str) -> AsyncIterator[AsyncBrowser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield launched
        finally:
            await launched.close()
