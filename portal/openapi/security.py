"""Security schemes and requirements: which credentials an operation wants, never what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portal.openapi.document import OpenApiDocument, described, members, text
from portal.openapi.operation import FlowKind, Location, OAuthFlow, Requirement, SchemeKind, SecurityScheme
from portal.openapi.parameters import OWN_HEADERS

MOST_SCHEMES = 200
MOST_ALTERNATIVES = 50
_FLOWS: Final[tuple[FlowKind, ...]] = (
    *("authorizationCode", "clientCredentials", "deviceAuthorization", "password", "implicit"),
)
_PLACES: Final[tuple[Location, ...]] = ("header", "query", "cookie")


def read_schemes(document: OpenApiDocument) -> dict[str, SecurityScheme]:
    """The security schemes that can be read, by name."""
    where = ("components", "securitySchemes")
    declared = members(document.root.get("components")).get("securitySchemes")
    found: dict[str, SecurityScheme] = {}
    for name, value in list(members(declared).items())[:MOST_SCHEMES]:
        holder = document.follow(value, (*where, str(name)))
        scheme = None if holder is None else _scheme(document, holder, (*where, str(name)))
        if scheme is not None and isinstance(name, str):
            found[name] = scheme
    return found


def read_requirements(
    document: OpenApiDocument, value: object, where: tuple[str, ...]
) -> tuple[Requirement, ...] | None:
    """The alternatives of a `security`; None, and said, if there is none that can be read."""
    if not isinstance(value, list):
        if value is not None:
            document.gap(where, f"must be a list, found {described(value)}")
        return None
    found: list[Requirement] = []
    for number, one in enumerate(value[:MOST_ALTERNATIVES]):
        if not isinstance(one, dict):
            document.gap((*where, str(number)), f"must be an object, found {described(one)}")
            continue
        found.append({str(name): _scopes(scopes) for name, scopes in one.items()})
    return tuple(found) if found or not value else None


def _scopes(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _scheme(document: OpenApiDocument, holder: Mapping[str, object], where: tuple[str, ...]) -> SecurityScheme | None:
    kind, description = holder.get("type"), text(holder.get("description"))
    if kind == "apiKey":
        name = text(holder.get("name"))
        location = next((place for place in _PLACES if place == holder.get("in")), None)
        if location is None or not name or (location != "query" and not _may_be_sent(name)):
            document.gap(where, "is an API key without a name and a place (header, query or cookie) for it")
            return None
        return SecurityScheme("apiKey", description, name=name, location=location)
    if kind == "http":
        word = text(holder.get("scheme")).strip().lower()
        known: dict[str, SchemeKind] = {"basic": "basic", "bearer": "bearer"}
        if not word:
            document.gap(where, "is an http scheme that says no scheme, such as bearer")
            return None
        return SecurityScheme(known.get(word, "http"), description, scheme=word)
    if kind == "oauth2":
        return SecurityScheme("oauth2", description, flows=_flows(holder.get("flows")))
    if kind == "openIdConnect":
        return SecurityScheme("openIdConnect", description, discovery_url=text(holder.get("openIdConnectUrl")))
    if kind == "mutualTLS":
        return SecurityScheme("mutualTLS", description)
    said = repr(kind[:40]) if isinstance(kind, str) else described(kind)
    document.gap(where, f"is a security scheme of the type {said}, which OpenAPI 3 does not have")
    return None


def _flows(value: object) -> tuple[OAuthFlow, ...]:
    found: list[OAuthFlow] = []
    for kind in _FLOWS:
        flow = members(value).get(kind)
        if isinstance(flow, dict):
            scopes = {str(name): text(meaning) for name, meaning in members(flow.get("scopes")).items()}
            start, token, refresh = (text(flow.get(key)) for key in ("authorizationUrl", "tokenUrl", "refreshUrl"))
            found.append(OAuthFlow(kind, start, token, refresh, scopes))
    return tuple(found)


def _may_be_sent(name: str) -> bool:
    return name.lower() not in OWN_HEADERS and name.isascii() and name.isprintable() and not set(name) & set(' :;,="')
