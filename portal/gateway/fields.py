"""What rules may ask about: the facts of one value on its way, and the fields that name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from portal.identity import Identity

Direction = Literal["outgoing", "incoming"]
_SAME = ("==", "!=", "in")
ALL_OPERATORS = (*_SAME, "contains", "matches")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is reached: its host in lower case and its parents, and the URL without user and query.

    All are empty for a server that is no URL: a program.
    """

    host: str = ""
    domains: tuple[str, ...] = ()
    uri: str = ""
    path: str = ""
    method: str = ""


NO_ADDRESS = ServerAddress()


@lru_cache(maxsize=4096)
def address_of(url: str) -> ServerAddress:
    """The address of a server by its URL, "" for one that has none."""
    if not url:
        return NO_ADDRESS
    parts = urlsplit(url)
    host = normal_host(parts.hostname or "")
    labels = host.split(".")
    domains = tuple(".".join(labels[at:]) for at in range(len(labels)))
    port = f":{parts.port}" if parts.port is not None else ""
    return ServerAddress(host, domains, f"{parts.scheme}://{host}{port}{parts.path}", parts.path, "POST")


def normal_host(host: str) -> str:
    """A host name as it is compared: lower case, in ASCII, without the dot at its end."""
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFacts:
    """What is known of a value on its way. `address` is None if the server is not known any more."""

    direction: Direction
    method: str
    portal: str = ""
    server: str = ""
    name: str = ""
    address: ServerAddress | None = NO_ADDRESS
    identity: Identity


Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the language. `of` gives its values, one for a field without `several`; None for "cannot be known".

    `family` is the member of a rule whose expression has it. `normal` is how a text is compared with it;
    `values` are the only ones it can have, () if it may have any.
    """

    name: str
    family: str
    of: Callable[[ValueFacts], Texts | None]
    several: bool = False
    operators: tuple[str, ...] = ALL_OPERATORS
    normal: Callable[[str], str] = str
    values: Texts = ()

    @property
    def shown(self) -> str:
        """As it is written."""
        return f"{self.name}[*]" if self.several else self.name

    @property
    def is_of_search(self) -> bool:
        """Whether its value is what a search for secrets says."""
        return self.name == DLP_PROFILES


def _of_address(part: Callable[[ServerAddress], Texts]) -> Callable[[ValueFacts], Texts | None]:
    return lambda facts: None if facts.address is None else part(facts.address)


def _named(facts: ValueFacts, method: str) -> Texts:
    return (facts.name if facts.method == method else "",)


def _groups(identity: Identity) -> Texts:
    return tuple(text for group in identity.groups for text in (group.id, group.name, group.email) if text)


DLP_PROFILES = "dlp.profiles"
_TRAFFIC = (
    Field("http.request.host", "traffic", _of_address(lambda one: (one.host,)), normal=normal_host),
    Field("http.request.domains", "traffic", _of_address(lambda one: one.domains), several=True, normal=normal_host),
    Field("http.request.uri", "traffic", _of_address(lambda one: (one.uri,))),
    Field("http.request.uri.path", "traffic", _of_address(lambda one: (one.path,))),
    Field("http.request.method", "traffic", _of_address(lambda one: (one.method,))),
    Field("mcp.portal.id", "traffic", lambda facts: (facts.portal,)),
    Field("mcp.server.id", "traffic", lambda facts: (facts.server,)),
    Field("mcp.method", "traffic", lambda facts: (facts.method,)),
    Field("mcp.tool.name", "traffic", lambda facts: _named(facts, "tools/call")),
    Field("mcp.prompt.name", "traffic", lambda facts: _named(facts, "prompts/get")),
    Field("mcp.resource.uri", "traffic", lambda facts: _named(facts, "resources/read")),
    Field(
        "mcp.direction", "traffic", lambda facts: (facts.direction,), operators=_SAME, values=("outgoing", "incoming")
    ),
    Field(DLP_PROFILES, "traffic", lambda facts: None, several=True, operators=("==", "in")),
)
_IDENTITY = (
    Field("identity.email", "identity", lambda facts: (facts.identity.email.lower(),), normal=str.lower),
    Field("identity.name", "identity", lambda facts: (facts.identity.name,)),
    Field("identity.id", "identity", lambda facts: (facts.identity.key,)),
    Field("identity.groups", "identity", lambda facts: _groups(facts.identity), several=True),
    Field("identity.groups.id", "identity", lambda facts: tuple(one.id for one in facts.identity.groups), several=True),
    Field(
        "identity.groups.name", "identity", lambda facts: tuple(one.name for one in facts.identity.groups), several=True
    ),
    Field(
        "identity.groups.email",
        "identity",
        lambda facts: tuple(one.email.lower() for one in facts.identity.groups),
        several=True,
        normal=str.lower,
    ),
)
_POSTURE = (
    Field(
        "device_posture.checks.passed",
        "device_posture",
        lambda facts: tuple(id for id, passed in facts.identity.device_posture.items() if passed),
        several=True,
    ),
)
FIELDS: Mapping[str, Field] = {field.name: field for field in (*_TRAFFIC, *_IDENTITY, *_POSTURE)}
"""Every field, by the name that an expression has for it."""
