"""A small site for a browser: pages under the console's policy, with the real files at the real paths."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page

from portal.pages.assets import ASSET_HEADERS, ASSETS_PATH, CONSOLE_POLICY, HTMX_CONFIG, Assets

VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
  document.documentElement.dataset.violated = "";
});
"""
EVENT_STREAM = "text/event-stream"


def needs_scripts() -> Assets:
    """The files of the pages, or the test is skipped because those of others were not built in; it fails instead where
    npm has to be there."""
    assets = Assets()
    if assets.missing:
        reason = f"without a network the build left out {', '.join(assets.missing)} (make tries again)"
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return assets


@dataclass
class Site:
    """`answers` makes the answer of a path from the body of the request: its type and its text. `policy` is that of
    every page."""

    answers: dict[str, Callable[[str], tuple[str, str]]]
    policy: str = CONSOLE_POLICY
    assets: Assets = field(default_factory=Assets)
    url: str = ""
    leaving: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith(ASSETS_PATH):
            hash, _, name = path.removeprefix(f"{ASSETS_PATH}/").partition("/")
            asset = self.assets.at(hash, name)
            if asset is None:
                return 404, {}, b""
            return 200, {**ASSET_HEADERS, "Content-Type": asset.media_type}, asset.content
        made = self.answers.get(path)
        if made is None:
            return 404, {"Content-Type": "text/plain"}, b""
        media_type, text = made(body)
        return 200, {"Content-Type": media_type, "Content-Security-Policy": self.policy}, text.encode()


def document(assets: Assets, body: str, *, scripts: list[str], sheets: list[str] | None = None) -> str:
    """A whole page, with `scripts` and `sheets` by their paths."""
    links = "".join(f'<link rel="stylesheet" href="{path}">' for path in sheets or [])
    # Not deferred: htmx would begin before its extensions are there.
    tags = "".join(f'<script src="{path}"></script>' for path in scripts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<meta name=\"htmx-config\" content='{HTMX_CONFIG}'>{links}{tags}</head><body>{body}</body></html>"
    )


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """The site at an address of its own. A stream stays open until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("")

        def do_POST(self) -> None:
            self.reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def reply(self, body: str) -> None:
            status, headers, content = site.answer(self.path.partition("?")[0], body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
            if headers.get("Content-Type") == EVENT_STREAM:
                site.leaving.wait()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        site.leaving.set()
        server.shutdown()
        server.server_close()
        thread.join()


def violations(page: Page) -> list[str]:
    """What the policy of the page has blocked, of a page that was given `VIOLATIONS`."""
    found = page.evaluate("window.violations")
    assert isinstance(found, list)
    return [str(one) for one in found]
