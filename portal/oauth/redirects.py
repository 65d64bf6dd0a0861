"""Redirect URIs: which ones a client may have, and which one a request means. Pure.

Exact, character by character as they were sent (RFC 9700 section 4.1.3), with the one exception of RFC 8252 section
7.3: any port on loopback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

from portal.http import is_loopback
from portal.oauth.settings import OAuthSettings, Registration

MAX_LENGTH = 2048
# So often may an escape stand for an escape.
MAX_ESCAPES = 4
# Schemes that run or read something in the browser instead of calling an application.
NEVER = frozenset({"javascript", "data", "file", "blob", "about", "vbscript", "view-source", "filesystem", "ws", "wss"})
_WITH_PORT = re.compile(r"(http://(?:\[[0-9A-Fa-f:.]+\]|[^/?:\[\]]+))(?::[0-9]{1,5})?((?:[/?].*)?)")
_WITHOUT_PATH = re.compile(r"(https?://[^/?#]+)(/?)((?:\?.*)?)")


def split_redirect(uri: str) -> SplitResult | None:
    """The parts of a URI that could be a redirect at all (RFC 6749 section 3.1.2); None for others."""
    if len(uri) > MAX_LENGTH or not uri.isascii() or not uri.isprintable() or set(uri) & set(' "<>\\^`{|}'):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    if not parts.scheme or parts.scheme.lower() in NEVER or parts.fragment or "#" in uri or "@" in parts.netloc:
        return None
    if parts.scheme == "https":
        return parts if parts.hostname else None
    if parts.scheme == "http":
        return parts if parts.hostname and is_loopback(parts.hostname) else None
    # An application's own scheme (RFC 8252 section 7.1).
    return parts if "://" in uri or ":/" in uri else None


def may_have(uri: str, rules: Registration, *, publisher: str = "") -> bool:
    """Whether a client may have this redirect URI. A client document may name its own publisher's origin."""
    parts = split_redirect(uri)
    if parts is None:
        return False
    if rules.any_on_localhost and parts.hostname == "localhost" and parts.scheme in ("http", "https"):
        return True
    if rules.any_on_loopback and _loopback_address(parts):
        return True
    if publisher and (uri == publisher or uri.startswith((f"{publisher}/", f"{publisher}?"))):
        return True
    return any(_matches(entry, uri) for entry in rules.allowed_uris)


def may_come_back(uri: str, settings: OAuthSettings) -> bool:
    """Whether a client that comes back to this redirect URI may use the portal: one that registers itself, or one whose
    document is at the same origin."""
    if settings.client_documents and uri.startswith("https://"):
        return True
    return settings.registration.enabled and may_have(uri, settings.registration)


def find_redirect(requested: str, registered: Iterable[str]) -> str | None:
    """The URI to redirect to for a request that names this one; None if it is none of a client's."""
    known = tuple(registered)
    return requested if requested in known or any(_differs_in_port(requested, one) for one in known) else None


def is_registered(requested: str, registered: Iterable[str]) -> bool:
    """Whether the redirect URI of a request is one of a client's."""
    return find_redirect(requested, registered) is not None


def other_spelling(uri: str) -> str | None:
    """The same URI of the web with a slash in place of no path, or without it; None if it has a path.

    Registrations were kept in one of the two spellings once, whichever the client had sent.
    """
    found = _WITHOUT_PATH.fullmatch(uri)
    return f"{found[1]}{'' if found[2] else '/'}{found[3]}" if found is not None else None


def stays_here(uri: str) -> bool:
    """Whether the answer goes to a program on the computer of the browser."""
    parts = split_redirect(uri)
    return parts is not None and parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")


def _differs_in_port(requested: str, registered: str) -> bool:
    """Whether two redirects on loopback are the same text but for their port."""
    one, other = _without_port(requested), _without_port(registered)
    return one is not None and one == other


def _without_port(uri: str) -> tuple[str, str] | None:
    """The texts around the port of a redirect on loopback; None for any other URI."""
    found = _WITH_PORT.fullmatch(uri)
    parts = split_redirect(uri)
    if found is None or parts is None or not is_loopback(parts.hostname or ""):
        return None
    return found[1], found[2]


def _loopback_address(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    is_name = host == "localhost" or host.endswith(".localhost") or host.endswith(".")
    return parts.scheme in ("http", "https") and not is_name and is_loopback(host)


def _matches(entry: str, uri: str) -> bool:
    if not entry.endswith("*"):
        return entry == uri
    prefix = entry[:-1]
    # `https://example.com*` would take example.com.evil.net too: the prefix must reach past the host.
    past_host = prefix.partition("://")[2]
    own_scheme = not prefix.lower().startswith(("http://", "https://")) and prefix.endswith("://")
    return ("/" in past_host or own_scheme) and uri.startswith(prefix) and not _has_dots(uri)


def _has_dots(uri: str) -> bool:
    """Whether a browser, or the server behind it, may take the path for another one: it has dot segments, as they are
    or in escapes (RFC 3986 section 5.2.4)."""
    path = uri.partition("://")[2].partition("?")[0]
    for _ in range(MAX_ESCAPES):
        if path == (path := unquote(path)):
            break
    return any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", path))
