"""An administrator at the console, in a real Chromium: pages with their complaints, and what axe says of each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.deep import is_deep
from tests.portal.axe import RUN, RUN_COLOURS
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 740}
SIZES = {"wide": WIDE, "narrow": NARROW}
SCHEMES = ("light", "dark")
WHOLE = {("wide", "light"), ("narrow", "dark")}
"""Where all of axe's rules are tried."""
TURNS = ((("wide", "light"), ("narrow", "light")), (("narrow", "dark"), ("wide", "dark")))
"""What is tried of one page and of the next where not all is."""
WITH_AND_WITHOUT_SCRIPTS = pytest.mark.parametrize(
    "scripts", [True, pytest.param(False, marks=pytest.mark.deep)], ids=["scripts", "no scripts"]
)
"""For a walk through the forms of one subject. Walks through several subjects are made without scripts each time."""
PICTURES = Path(folder) if (folder := os.environ.get("CODEMODE_PICTURES")) else None
"""Where pictures of the pages go, for those who look at them."""


@dataclass
class Administered:
    """A page of an administrator. `complaints` are what the browser logged, and what it blocked."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    checked: int = 0
    """How many pages `check` has seen."""

    def listen(self) -> None:
        """Note from now on what the browser complains of."""
        self.page.on("console", _noting(self.complaints))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, path: str) -> None:
        """Open a page of the console, by its path below `/admin`."""
        await self.page.goto(f"{self.url}/admin{path}")

    async def press(self, name: str) -> None:
        """Press a button, and wait for the page that follows."""
        await self.page.get_by_role("button", name=name, exact=True).first.click()
        await self.page.wait_for_load_state("load")

    async def confirm(self, name: str, button: str = "Remove") -> None:
        """Type the name of what cannot be brought back, and press the button."""
        await self.page.get_by_label("To go on, type").fill(name)
        await self.press(button)

    async def check(self, axe: str, folder: Path | None = None, name: str = "") -> None:
        """The page is as axe wants it and fits, wide and narrow, light or dark. With a `folder`, keep pictures.

        Of one page each rule is tried when it is wide and those about colours when it is narrow, both in the light; of
        the next it is the other way round, in the dark. `make test-deep` tries all four of each page.
        """
        await self.page.wait_for_load_state("load")
        turn = tuple(product(SIZES, SCHEMES)) if is_deep() or folder is not None else TURNS[self.checked % len(TURNS)]
        self.checked += 1
        # As the browser's own tools run it: the policy of the page stays in force.
        await self.page.evaluate(axe)
        for size, scheme in turn:
            await self.page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
            await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = await self.page.evaluate(RUN if (size, scheme) in WHOLE else RUN_COLOURS)
            assert not found, "\n".join((f"{self.page.url}, {scheme}, {size}:", *found))
            over = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert over <= 0, (self.page.url, scheme, size, f"{over} px too wide")
            if folder is not None:
                await _keep_picture(self.page, folder, f"{name}-{size}-{scheme}")
        await self.page.set_viewport_size(WIDE)  # type: ignore[arg-type]


async def keep_pictures(page: Page, name: str) -> None:
    """Pictures of a page, light and dark, wide and narrow, where pictures are wanted. It is as wide as before then."""
    if PICTURES is None:
        return
    former = page.viewport_size
    for size, viewport in SIZES.items():
        await page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await _keep_picture(page, PICTURES, f"{name}-{size}-{scheme}")
    if former is not None:
        await page.set_viewport_size(former)


async def _keep_picture(page: Page, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=folder / f"{name}.png", full_page=True)


@asynccontextmanager
async def administrator(
    portal: Guarded, browser: Browser, *, scripts: bool = True, email: str = EMAIL, **options: Any
) -> AsyncIterator[Administered]:
    """An administrator who has signed in and is at the console."""
    await portal.account(email)
    async with opened(portal.url, browser, scripts=scripts, **options) as administered:
        page = administered.page
        await page.goto(f"{portal.url}/admin")
        await page.get_by_label("E-mail").last.fill(email)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(f"{portal.url}/admin**")
        yield administered


@asynccontextmanager
async def opened(url: str, browser: Browser, *, scripts: bool = True, **options: Any) -> AsyncIterator[Administered]:
    """An empty page of a new browser, for the portal at this URL. At the end the browser has complained of nothing."""
    context = await browser.new_context(java_script_enabled=scripts, **options)
    administered = Administered(await context.new_page(), url)
    administered.listen()
    try:
        yield administered
        assert not administered.complaints, "\n".join(administered.complaints)
    finally:
        await context.close()


def _noting(complaints: list[str]) -> Callable[[Any], None]:
    def note(message: Any) -> None:
        # A form that comes back with what is wrong in it has a status of its own.
        is_refused_form = "the server responded with a status of 4" in message.text
        if message.type in ("error", "warning") and "favicon" not in message.text and not is_refused_form:
            complaints.append(f"{message.location.get('url', '')}: {message.text}")

    return note
