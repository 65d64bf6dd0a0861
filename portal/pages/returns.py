"""Where a browser goes after signing in: a path of this portal, never another site."""

from __future__ import annotations

from urllib.parse import urlsplit

HOME = "/"
MAX_LENGTH = 2048


def safe_return(target: str) -> str:
    """The target when it is a path with query on this portal; otherwise the home page.

    Browsers read `\\` as `/` and drop tabs and line breaks, so whatever holds one is no path of ours.
    """
    if not target or len(target) > MAX_LENGTH or not target.isascii() or not target.isprintable():
        return HOME
    if not target.startswith("/") or target.startswith("//") or "\\" in target or " " in target:
        return HOME
    parts = urlsplit(target)
    return HOME if parts.scheme or parts.netloc else target
