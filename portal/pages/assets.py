"""The scripts and style sheets of pages that have some: ours and those of others, each at a URL with its hash.

They are read once, by name from a fixed list: no path of a request reaches the file system. What others wrote comes
from npm at build (`vendor.py`) and is served only as long as it is what was pinned. One that is missing costs what it
does: pages work without any script.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.pages.vendor import PACKAGES, VENDORED

ASSETS_PATH = "/admin/assets"
OWN = ("charts.css", "charts.js", "htmx-guard.js", "live.js")
"""In the folder of the templates."""
HTMX_SCRIPTS = ("htmx.min.js", "hx-sse.min.js", "htmx-guard.js", "live.js")
"""In this order, in the head, and without `defer`: a deferred htmx begins before its extensions are there, so that now
and then a page is without its stream, or without the guard."""
CHART_SCRIPTS = ("uplot.min.js", "charts.js")
"""May be deferred. With them goes `uplot.min.css`."""
# Not the system's table of types: with a wrong type a browser does not run a script.
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
HTMX_CONFIG = '{"includeIndicatorCSS": false, "extensions": "sse, guard", "mode": "same-origin"}'
"""The content of a page's `<meta name="htmx-config">`. No style sheet of htmx's own, and no extension but these two."""
ASSET_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A script that is opened by itself is a page.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
CONSOLE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
    "trusted-types htmx-guard"
)
"""The policy of a page with htmx (CSP Level 3, Trusted Types): no text becomes a script, and only `htmx-guard.js` may
make markup of one."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served. `hash` is of its content, and part of its URL."""

    content: bytes
    media_type: str
    hash: str


class Assets:
    """The files by name, read when it is made. `folder` has those of others."""

    def __init__(self, folder: Path = VENDORED) -> None:
        pinned = {file.name: file.sha256 for package in PACKAGES for file in package.files if _served(file.name)}
        own = files("portal.pages") / "templates"
        read = {name: (own / name).read_bytes() for name in OWN} | _genuine(folder, pinned)
        self._assets = {name: _asset(name, content) for name, content in read.items()}
        self._missing = tuple(sorted(pinned.keys() - read.keys()))

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of files that were not built in, or are not what was pinned. Pages leave them out."""
        return self._missing

    def named(self, name: str) -> Asset | None:
        """The file of this name, None if there is none."""
        return self._assets.get(name)

    def at(self, hash: str, name: str) -> Asset | None:
        """What is served at `{ASSETS_PATH}/{hash}/{name}`: None also for a hash that is not that of the content, which
        would stay in a cache for ever under the wrong URL."""
        asset = self._assets.get(name)
        return asset if asset is not None and asset.hash == hash else None

    def path(self, name: str) -> str:
        """The path of a file below the portal, "" if it is missing."""
        asset = self._assets.get(name)
        return f"{ASSETS_PATH}/{asset.hash}/{name}" if asset is not None else ""

    def paths(self, *names: str) -> list[str]:
        """The paths of those of `names` that are there, in this order: all or none, because one of them alone (htmx
        without its guard, a chart without its library) does nothing or harm."""
        found = [self.path(name) for name in names]
        return found if all(found) else []


@cache
def shipped_assets() -> Assets:
    """The files of this installation, which every portal of a process shares."""
    return Assets()


def assets_route(assets: Assets) -> Route:
    """Where the files are served. Everybody may have them: they are the same in every portal of this version."""

    async def serve(request: Request) -> Response:
        asset = assets.at(request.path_params["hash"], request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        return Response(asset.content, headers=ASSET_HEADERS, media_type=asset.media_type)

    return Route(f"{ASSETS_PATH}/{{hash}}/{{name}}", serve, methods=["GET"])


def part_or_page(request: Request, answer: Response) -> Response:
    """The answer to a request of htmx for a part of a page. Where it is no part, because its person has no session any
    more, may not see it, or it is gone, htmx loads the page itself, which says so. Other answers stay as they are."""
    if request.headers.get("hx-request") == "true" and (
        answer.status_code in (403, 404) or "location" in answer.headers
    ):
        return Response(status_code=204, headers={"HX-Refresh": "true", "Cache-Control": "no-store"})
    return answer


def _served(name: str) -> bool:
    return Path(name).suffix in _TYPES


def _genuine(folder: Path, pinned: Mapping[str, str]) -> dict[str, bytes]:
    read: dict[str, bytes] = {}
    for name, sha256 in pinned.items():
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() == sha256:
            read[name] = content
    return read


def _asset(name: str, content: bytes) -> Asset:
    return Asset(content, _TYPES[Path(name).suffix], hashlib.sha256(content).hexdigest()[:32])
