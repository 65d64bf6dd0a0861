"""Where a browser goes after signing in: a path of the portal it signed in to, never another portal or site."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from portal.config import RESERVED_IDS

HOME = "/"
MAX_LENGTH = 2048


def safe_return(target: str, prefix: str) -> str:
    """The target if it is a path, with its query, of the portal with this prefix; otherwise the portal's home page.

    At the root of an origin other portals begin as well: a portal's own paths are those whose first segment no portal
    may have as its id.

    Browsers read `\\` as `/`, drop tabs and line breaks, and resolve `..` and `%2e%2e` before they ask: a target with
    one of these is refused.
    """
    home = prefix + HOME
    if len(target) > MAX_LENGTH or not target.isascii() or not target.isprintable():
        return home
    if not target.startswith(prefix + HOME) or target.startswith("//") or "\\" in target or " " in target:
        return home
    path = urlsplit(target).path
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        return home
    first, _, _ = path.removeprefix(prefix + HOME).partition("/")
    return target if not first or first in RESERVED_IDS else home
