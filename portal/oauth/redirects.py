"""Redirect URIs: which ones a client may have, and which one a request means. Pure.

Exact, character by character once both are in their normal spelling, with the one exception of RFC 8252 section 7.3:
any port on loopback.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from portal.http import is_loopback, normal_origin, normal_url
from portal.oauth.settings import OAuthSettings, Registration

MAX_LENGTH = 2048
# Schemes that run or read something in the browser instead of calling an application.
NEVER = frozenset({"javascript", "data", "file", "blob", "about", "vbscript", "view-source", "filesystem", "ws", "wss"})


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
    origin = normal_origin(f"{parts.scheme}://{parts.netloc}".lower())
    if publisher and origin is not None and origin == normal_origin(publisher.lower()):
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
    uri = normal_url(requested)
    if uri is None:
        return None
    known = [normal_url(one) or one for one in registered]
    return uri if uri in known or any(_differs_in_port(uri, one) for one in known) else None


def is_registered(requested: str, registered: Iterable[str]) -> bool:
    """Whether the redirect URI of a request is one of a client's."""
    return find_redirect(requested, registered) is not None


def same_redirect(requested: str, registered: Iterable[str]) -> str | None:
    """The URI of these that a request names, as it is registered, whatever its spelling; None if it names none."""
    wanted = normal_url(requested)
    return next((one for one in registered if one == requested or (wanted and normal_url(one) == wanted)), None)


def stays_here(uri: str) -> bool:
    """Whether the answer goes to a program on the computer of the browser."""
    parts = split_redirect(uri)
    return parts is not None and parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")


def _differs_in_port(requested: str, registered: str) -> bool:
    """Whether two redirects on loopback are the same but for their port."""
    one, other = split_redirect(requested), split_redirect(registered)
    if one is None or other is None or other.scheme != "http" or not is_loopback(other.hostname or ""):
        return False
    return (one.scheme, one.hostname, one.path, one.query) == (other.scheme, other.hostname, other.path, other.query)


def _loopback_address(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    is_name = host == "localhost" or host.endswith(".localhost") or host.endswith(".")
    return parts.scheme in ("http", "https") and not is_name and is_loopback(host)


def _matches(entry: str, uri: str) -> bool:
    uri = normal_url(uri) or uri
    if not entry.endswith("*"):
        return (normal_url(entry) or entry) == uri
    prefix = entry[:-1]
    # `https://example.com*` would take example.com.evil.net too: the prefix must reach past the host.
    past_host = prefix.partition("://")[2]
    own_scheme = not prefix.lower().startswith(("http://", "https://")) and prefix.endswith("://")
    return ("/" in past_host or own_scheme) and uri.startswith(normal_url(prefix) or prefix)
