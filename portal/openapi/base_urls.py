"""Base URLs: the addresses that paths are added to, with their variables."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from portal.openapi.document import OpenApiDocument, described, members, text
from portal.openapi.operation import BaseUrl, UrlVariable

MOST_SERVERS = 100
MOST_CHARACTERS = 2_000
"""Of an address, and of the default of each of its variables."""
_VARIABLE = re.compile(r"\{([^{}]*)\}")


def read_base_urls(
    document: OpenApiDocument, value: object, where: tuple[str, ...], location: str
) -> tuple[BaseUrl, ...]:
    """The base URLs of a `servers`; () if there is none that can be read."""
    if value is None:
        return ()
    if not isinstance(value, list):
        document.gap(where, f"must be a list, found {described(value)}")
        return ()
    found: list[BaseUrl] = []
    for number, one in enumerate(value[:MOST_SERVERS]):
        url = _base_url(document, one, (*where, str(number)), location)
        if url is not None:
            found.append(url)
    return tuple(found)


def without_servers(location: str) -> tuple[BaseUrl, ...]:
    """The base URL of a document that has none: the root of where it is."""
    return (BaseUrl(_absolute("/", location)),)


def _base_url(document: OpenApiDocument, value: object, where: tuple[str, ...], location: str) -> BaseUrl | None:
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        document.gap(where, "must be an object with a url")
        return None
    variables = {
        name: variable
        for name, one in members(value.get("variables")).items()
        if isinstance(name, str) and (variable := _variable(one)) is not None
    }
    url = text(value["url"]).strip()
    if len(url) > MOST_CHARACTERS:
        document.gap(where, f"is an address of more than {MOST_CHARACTERS:,} characters")
        return None
    used = dict.fromkeys(_VARIABLE.findall(url))
    missing = [name for name in used if name not in variables]
    if missing:
        document.gap(where, f"has no default for the variable {missing[0][:60]!r}")
        return None
    base = BaseUrl(_absolute(url, location), text(value.get("description")), {name: variables[name] for name in used})
    if any(len(one.default) > MOST_CHARACTERS for one in base.variables.values()):
        document.gap(where, f"has a variable whose default has more than {MOST_CHARACTERS:,} characters")
        return None
    problem = _problem(base.by_default)
    if problem:
        document.gap(where, problem)
        return None
    return base


def _variable(value: object) -> UrlVariable | None:
    values = value.get("enum") if isinstance(value, dict) else None
    allowed = tuple(str(one) for one in values if isinstance(one, str | int)) if isinstance(values, list) else ()
    default = value.get("default") if isinstance(value, dict) else None
    if isinstance(default, str | int) and not isinstance(default, bool):
        return UrlVariable(str(default), allowed, text(members(value).get("description")))
    return UrlVariable(allowed[0], allowed, text(members(value).get("description"))) if allowed else None


def _absolute(url: str, location: str) -> str:
    if "://" not in url.partition("?")[0] and not url.startswith("{") and location:
        try:
            # An address of nothing would be the document itself.
            url = urljoin(location, url or "/")
        except ValueError:
            # What is wrong with it is said by its reader.
            pass
    return url.rstrip("/")


def _problem(url: str) -> str:
    """Why this cannot be the beginning of an address, "" if it can. A path alone can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme and parts.scheme not in ("http", "https"):
        return f"is an address of the scheme {parts.scheme[:20]!r}; it must be http or https"
    if parts.scheme and not parts.hostname:
        return "is an address without a host"
    if port == 0 or parts.query or parts.fragment or parts.username is not None:
        return "is an address with a query, a fragment, a user or the port 0"
    return "has characters that no address has" if re.search(r"[\s\x00-\x1f\x7f\\]", url) else ""
