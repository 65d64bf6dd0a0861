"""What a request to an API shows to be let in: which of the document's security schemes the configuration can satisfy.

Pure. A value is sent in the place that its scheme names, and nowhere else.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from portal.config import OpenApiServer
from portal.openapi import Api, ApiOperation, Requirement, SecurityScheme
from portal.upstream.transports.api_request import NEVER_SENT, TOKEN

_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_OF_LOGINS = ("oauth2", "openIdConnect")
_IN_AUTHORIZATION = ("basic", "bearer", "http", *_OF_LOGINS)
# They answer a challenge of the server, which a value in a configuration cannot.
_CHALLENGED = ("digest", "hoba", "mutual", "negotiate", "scram-sha-1", "scram-sha-256", "ntlm", "dpop", "gnap")


@dataclass(frozen=True, slots=True)
class SchemeValues:
    """What one request shows. With `by_login` it is also what the server's `oauth` gives. `missing` are the schemes of
    which one was wanted and none can be satisfied."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: tuple[str, ...] = field(default=(), repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)
    by_login: bool = False
    missing: tuple[str, ...] = ()


def scheme_values(operation: ApiOperation, api: Api, config: OpenApiServer) -> SchemeValues:
    """What a request for this operation shows: the first of its alternatives that the configuration satisfies.

    An alternative that wants nothing is the last choice. If there is none at all the request shows what every request
    shows, and the API says what it thinks of that: documents ask for more than their APIs.
    """
    if not operation.security:
        # A document without a single scheme says nothing about the login that somebody has configured.
        return SchemeValues(by_login=config.oauth is not None and not api.schemes)
    for requirement in operation.security:
        if requirement and (found := _satisfied(requirement, api, config)) is not None:
            return found
    if any(not requirement for requirement in operation.security):
        return SchemeValues()
    missing = [name for requirement in operation.security for name in requirement]
    return SchemeValues(missing=tuple(dict.fromkeys(missing)))


def _satisfied(requirement: Requirement, api: Api, config: OpenApiServer) -> SchemeValues | None:
    headers: dict[str, str] = {}
    query: list[str] = []
    cookies: list[str] = []
    by_login = False
    for name in requirement:
        scheme = api.schemes.get(name)
        value = config.credentials.get(name)
        if scheme is None:
            return None
        if value and scheme.kind == "apiKey":
            if not _may_be_named(scheme):
                return None
            if scheme.location == "query":
                query.append(f"{quote(scheme.name, safe='')}={quote(value, safe='')}")
            elif scheme.location == "cookie":
                cookies.append(f"{scheme.name}={value if _COOKIE_VALUE.fullmatch(value) else quote(value, safe='')}")
            else:
                headers[scheme.name.lower()] = value
        elif value and scheme.kind in _IN_AUTHORIZATION and scheme.scheme not in _CHALLENGED:
            headers["authorization"] = _authorization(scheme, value)
        elif _in_headers(scheme, config):
            continue
        elif config.oauth is not None and scheme.kind in (*_OF_LOGINS, "bearer"):
            by_login = True
        else:
            return None
    return SchemeValues(headers, tuple(query), tuple(cookies), by_login)


def _may_be_named(scheme: SecurityScheme) -> bool:
    """Whether a key can be sent under its name: the document might name a header that belongs to the connection."""
    name = scheme.name.lower()
    if scheme.location == "query":
        return bool(name)
    return TOKEN.fullmatch(name) is not None and (name not in NEVER_SENT or name == "authorization")


def _authorization(scheme: SecurityScheme, value: str) -> str:
    if scheme.kind == "basic":
        pair = value if ":" in value else f"{value}:"
        return f"Basic {b64encode(pair.encode()).decode()}"
    word = scheme.scheme if scheme.kind == "http" and scheme.scheme else "Bearer"
    return value if value.lower().startswith(f"{word.lower()} ") else f"{word} {value}"


def _in_headers(scheme: SecurityScheme, config: OpenApiServer) -> bool:
    """Whether every request shows it already."""
    written = {name.lower() for name in config.headers}
    if scheme.kind == "apiKey":
        sent = "cookie" if scheme.location == "cookie" else scheme.name.lower()
        return scheme.location != "query" and sent in written
    if scheme.kind in _IN_AUTHORIZATION:
        return "authorization" in written or (scheme.kind == "basic" and urlsplit(config.url).username is not None)
    return False


def in_words(name: str, api: Api) -> str:
    """A security scheme for people: its name, and what it wants."""
    scheme = api.schemes.get(name)
    if scheme is None:
        return f"`{name[:80]}`, which its document does not describe"
    what = {
        "apiKey": f"a key in its {scheme.location} `{scheme.name[:80]}`",
        "basic": "a user and a password, as user:password",
        "bearer": "a bearer token",
        "http": f"what the scheme {scheme.scheme[:40]} takes",
        "oauth2": "an access token",
        "openIdConnect": "an access token",
        "mutualTLS": "a client certificate, which the portal does not show",
    }[scheme.kind]
    return f"`{name[:80]}` ({what})"


def advice(missing: Sequence[str], api: Api) -> str:
    """What an administrator does about schemes of which none can be satisfied."""
    named = " or ".join(in_words(name, api) for name in missing[:3])
    first = next((name for name in missing if name in api.schemes), "name")
    said = f'it wants {named}: write its value into `credentials`, as "{first[:80]}": "${{TOKEN}}" with TOKEN in the '
    said += "environment"
    schemes = [api.schemes[name] for name in missing if name in api.schemes]
    places = [place for scheme in schemes for place in _places(scheme)]
    return f"{said}; or give it an `oauth` with {', '.join(places[:3])}" if places else said


def _places(scheme: SecurityScheme) -> list[str]:
    """Where tokens for it are asked for, as members of `oauth`."""
    if scheme.kind == "openIdConnect" and scheme.discovery_url:
        return [f"the `issuer` of {scheme.discovery_url[:200]}"]
    for flow in scheme.flows:
        if flow.kind == "clientCredentials" and flow.token_url:
            return ["`grant`: client_credentials", f"`tokenEndpoint`: {flow.token_url[:200]}"]
        if flow.kind == "authorizationCode" and flow.token_url:
            return [
                f"`tokenEndpoint`: {flow.token_url[:200]}",
                f"`authorizationEndpoint`: {flow.authorization_url[:200]}",
            ]
    return []


def remarks(api: Api, config: OpenApiServer) -> list[str]:
    """What an administrator should know of the document's schemes and the credentials in the configuration."""
    known = ", ".join(sorted(api.schemes)[:10]) or "none"
    lines = [
        f"`credentials.{name[:80]}` is of no use: the document's security schemes are {known}"
        for name in config.credentials
        if name not in api.schemes
    ]
    lines += [
        f"the security scheme {in_words(name, api)} is one that the portal does not have"
        for name, scheme in api.schemes.items()
        if scheme.kind == "mutualTLS" or scheme.scheme in _CHALLENGED
    ]
    unmet = [scheme_values(one, api, config).missing for one in api.operations]
    if count := sum(bool(missing) for missing in unmet):
        schemes = list(dict.fromkeys(name for missing in unmet for name in missing))
        who = "1 operation has" if count == 1 else f"{count:,} operations have"
        lines.append(f"{who} no credential: {advice(schemes, api)}")
    return lines
