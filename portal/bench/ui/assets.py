"""The files of the page and of its editor, by name from a fixed list: no path of a request reaches the file system."""

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
# Not the system's table of types: with a wrong type a browser does not run a script.
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
    """The policy of the page: scripts, workers and requests of its own origin, nothing inline.

    Only with the editor are inline styles allowed, because it positions lines by style attributes and creates the style
    sheets of its themes, and the icon font in its style sheet. Images are those that programs emit.
    """
    styles = "'self' 'unsafe-inline'" if editor else "'self'"
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; "
        f"style-src {styles}; font-src {'data:' if editor else chr(39) + 'none' + chr(39)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    type: str
    etag: str


class Page:
    """The page's own files, read once."""

    def __init__(self, *, editor: bool) -> None:
        self._headers = {
            **_SAME,
            "content-security-policy": content_security_policy(editor=editor),
            "cache-control": "public, no-cache",
        }
        folder = files("portal.bench.ui") / "page"
        self._files = {name: _load(name, (folder / name).read_bytes()) for name in PAGE}

    async def __call__(self, request: Request) -> Response:
        file = self._files.get(request.path_params.get("name") or "index.html")
        if file is None:
            return Response("There is no such file.", 404, self._headers, "text/plain")
        headers = {**self._headers, "etag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, 200, headers, file.type)


class EditorFiles:
    """The editor's files from its folder. Their URL contains the version, so browsers may cache them for ever."""

    def __init__(self, folder: Path | None, names: Mapping[str, object]) -> None:
        self._folder = folder
        self._names = frozenset(names)
        # A worker has its own policy, not that of the page.
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


def _load(name: str, content: bytes) -> _File:
    return _File(content, TYPES[Path(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
