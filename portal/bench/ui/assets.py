"""The files of the page and of its editor, each by its name: no path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

PAGE = (
    "index.html",
    "page.css",
    "api.js",
    "dom.js",
    "json.js",
    "main.js",
    "monaco.js",
    "output.js",
    "plain.js",
    "tools.js",
    "waterfall.js",
)
# By suffix and not by what the system thinks: a wrong type and a browser runs nothing.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_FOREVER = "private, max-age=31536000, immutable"
_SAME = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


def content_security_policy(*, editor: bool) -> str:
    """What the page may load and do: scripts, workers and requests of its own origin, nothing inline.

    The editor places its lines by style attributes and makes its themes' sheets itself: only with it are inline styles
    let through, and the font of its icons, which its sheet carries inside. Images are those a program emitted.
    """
    styles = "'self' 'unsafe-inline'" if editor else "'self'"
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; "
        f"style-src {styles}; font-src {'data:' if editor else chr(39) + 'none' + chr(39)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class _Held:
    content: bytes
    type: str
    etag: str


class Page:
    """Our own files, read once."""

    def __init__(self, *, editor: bool) -> None:
        self._headers = {
            **_SAME,
            "content-security-policy": content_security_policy(editor=editor),
            "cache-control": "no-cache",
        }
        folder = files("portal.bench.ui") / "page"
        self._held = {name: _hold(name, (folder / name).read_bytes()) for name in PAGE}

    async def __call__(self, request: Request) -> Response:
        held = self._held.get(request.path_params.get("name") or "index.html")
        if held is None:
            return Response("There is no such file.", 404, self._headers, "text/plain")
        headers = {**self._headers, "etag": held.etag}
        if request.headers.get("if-none-match") == held.etag:
            return Response(status_code=304, headers=headers)
        return Response(held.content, 200, headers, held.type)


class EditorFiles:
    """The editor's files out of its folder, whose URL carries the version."""

    def __init__(self, folder: Path | None, names: Mapping[str, object]) -> None:
        self._folder = folder
        self._names = frozenset(names)
        # A worker lives by its own policy, not by the page's.
        self._headers = {
            **_SAME,
            "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'",
            "cache-control": _FOREVER,
        }

    async def __call__(self, request: Request) -> Response:
        name = request.path_params["name"]
        if self._folder is None or name not in self._names:
            return Response("There is no such file.", 404, _SAME, "text/plain")
        return FileResponse(self._folder / name, 200, self._headers, TYPES[Path(name).suffix])


def _hold(name: str, content: bytes) -> _Held:
    return _Held(content, TYPES[Path(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
