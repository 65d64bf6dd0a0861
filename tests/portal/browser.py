"""A real browser for tests: Chromium as the system brings it, driven by playwright, without a network of its own.

Tests that need it go through `needs_browser`, which skips with the reason where Chromium is absent, or fails instead
when `CODEMODE_REQUIRE_BROWSER=1`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from playwright.async_api import Browser as AsyncBrowser
from playwright.async_api import async_playwright, expect
from playwright.sync_api import Browser, sync_playwright

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
    """The same for tests with a loop. What they expect may take long on a machine that has much to do."""
    path = needs_browser()
    expect.set_options(timeout=20_000)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield launched
        finally:
            await launched.close()
