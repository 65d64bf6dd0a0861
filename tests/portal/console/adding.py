"""What several tests of the console add before they look at it, on its own pages."""

from __future__ import annotations

from tests.portal.console.browsing import Administered


async def add(admin: Administered, url: str, id: str = "notes", **chosen: str) -> None:
    """Add a server, and read its lists."""
    page = admin.page
    await admin.open("/new-server")
    await page.get_by_label("HTTP URL").fill(url)
    await page.get_by_label("Server ID").fill(id)
    for label, value in chosen.items():
        await page.locator(f"#{label}").select_option(value)
    await admin.press("Add the server")
    await page.get_by_text("The server is added.").wait_for()
    await admin.press("Sync capabilities")
