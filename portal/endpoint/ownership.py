"""Whose a URI is, of all servers of a portal. Pure.

A URI can hold what is meant for its own server alone. So it is never tried on one server after another, and no server
gets it because it says that it takes everything. `owner_of` has the order of the claims.
"""

import re
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

RESERVED = "mcp-server"
"""The scheme under which the portal itself names servers, and the host of `ui` URIs of that kind. No server can claim
it."""
SHARED_SCHEMES = frozenset(
    "about blob content data file ftp ftps git http https javascript mailto sftp ssh tel ui urn ws wss".split()
)
"""Schemes that say nothing about the kind of server. A claim to a URI of theirs needs the host as well."""
MAX_TEMPLATE, MAX_VARIABLES = 1024, 16
"""Characters and variables of a template. A longer one is listed, and owns nothing."""
MAX_MATCHING = 100_000
"""Characters of a URI, times variables, that the templates of one server are compared with: some milliseconds. The
templates after that are not compared."""
_EACH = 250
"""The least that a template counts as: it has to be parsed before it is compared for the first time."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_HOST_ENDS = re.compile(r"[/?#]")
_SEGMENT_ENDS = re.compile(r"[:/]")
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443", "ftp": ":21"}
_LEADS = frozenset("/?#")
"""Operators of an expression before which a host has ended: what they expand to begins with the same character."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """`server` is the id of the server that a URI belongs to, None if there is no such server. `listed`: it lists the
    URI. `among` are the servers that have equal claims, so that nobody can tell whose it is."""

    server: str | None = None
    listed: bool = False
    among: tuple[str, ...] = ()


NOBODY = Ownership()


class NormalUri(NamedTuple):
    """A URI in its normal form (RFC 3986, section 6.2.2): two spellings of one URI are equal.

    `host` is the authority of a URI that has one, with `//` in front, else its first segment, as in `urn:isbn:`; "" if
    it has neither. `scheme` is "" if it has none.
    """

    uri: str
    scheme: str
    host: str


def place_of(uri: str) -> NormalUri:
    found = _SCHEME.match(uri)
    if found is None:
        return NormalUri(uri, "", "")
    scheme, rest = found[1].lower(), _percent_normal(uri[found.end() :])
    if not rest.startswith("//"):
        return NormalUri(f"{scheme}:{rest}", scheme, _first_segment(rest))
    host, rest = _divided(rest[2:])
    host = _normal_host(scheme, host)
    tail = re.search(r"[?#]", rest)
    path, rest = (rest, "") if tail is None else (rest[: tail.start()], rest[tail.start() :])
    return NormalUri(f"{scheme}:{host}{_without_dots(path)}{rest}", scheme, host)


def is_reserved(uri: str) -> bool:
    """Whether a URI, or a template, is one of those with which the portal itself names a server."""
    text = uri[: len("ui://") + len(RESERVED) + 1].lower()
    return text.startswith((f"{RESERVED}:", f"ui://{RESERVED}/"))


class ServerClaims:
    """What one server says is its own, read once for its lists: `uris`, in the spelling of the server; `others`, the
    normal form of those that have another one; `hosts`, the schemes and hosts at which it lists a URI or has a
    template, and `listed_schemes` the schemes of these; `schemes`, all that it uses."""

    def __init__(self, server: str, uris: Iterable[str], templates: Iterable[str]) -> None:
        self.server = server
        self.uris = frozenset(uri for uri in uris if not is_reserved(uri))
        places = [place_of(uri) for uri in self.uris]
        self.others = frozenset(place.uri for place in places) - self.uris
        placed: dict[tuple[str, str], list[_Template]] = {}
        loose: dict[str, list[_Template]] = {}
        self._anywhere: list[_Template] = []
        for text in templates:
            template = _Template.read(text) if len(text) <= MAX_TEMPLATE and not is_reserved(text) else None
            if template is None:
                continue
            if template.host:
                placed.setdefault((template.scheme, template.host), []).append(template)
            elif template.scheme:
                loose.setdefault(template.scheme, []).append(template)
            else:
                self._anywhere.append(template)
        self._placed, self._loose = placed, loose
        hosts = {(place.scheme, place.host) for place in places if place.host}
        self.hosts = frozenset(hosts | placed.keys())
        listed = {place.scheme for place in places if place.scheme} | {scheme for scheme, _ in placed}
        self.listed_schemes = frozenset(listed)
        self.schemes = frozenset(listed | loose.keys())

    def best(self, place: NormalUri) -> "_Rank | None":
        """The rank of the most specific matching template that has this scheme and host literally."""
        templates = self._placed.get((place.scheme, place.host), ())
        return max((template.rank for template in _matching(place, templates)), default=None)

    def loose(self, place: NormalUri) -> "tuple[int, _Rank] | None":
        """The same for its templates that have only the scheme literally, with `says` in front."""
        templates = _matching(place, self._loose.get(place.scheme, ()))
        return max(((template.says, template.rank) for template in templates), default=None)

    def uses(self, scheme: str) -> bool:
        """Whether it uses a scheme otherwise than with templates that match everything in it."""
        return scheme in self.listed_schemes or any(one.says for one in self._loose.get(scheme, ()))

    def matches(self, place: NormalUri) -> bool:
        """Whether any of its templates matches, however little it says."""
        templates = (
            *self._placed.get((place.scheme, place.host), ()),
            *self._loose.get(place.scheme, ()),
            *self._anywhere,
        )
        return any(True for _ in _matching(place, templates))


def owner_of(
    uri: str,
    claims: Collection[ServerClaims],
    *,
    seen: Container[str] | None = None,
    only: str | None = None,
    settled: bool = True,
) -> Ownership:
    """Whose a URI is, by the first of these claims that somebody has:

    1. It lists the URI, in this spelling or else in another one of the same URI.
    2. A template of it matches that has scheme and host literally. The most specific one counts.
    3. It is the only server that lists something, or has such a template, at this scheme and host.
    4. A template of it matches that has the scheme literally, if that is a scheme of its own kind, and nobody else uses
       the scheme. With a literal part behind the host, templates of others that do not match do not matter. One that
       matches everything of the scheme stands back behind others. Of several servers they must be equally specific.
    5. It is the only server that uses the scheme, if that is a scheme of its own kind.
    6. It is the only server that has resources at all (`only`), and a template of it matches.

    `claims` are those of all servers of the portal, in its order, whether or not the caller may use them: what belongs
    to one that the caller may not use is nobody else's. `seen` are the servers that the caller has, None for all. Of
    several with equal claims by 1, 2 or 4 the first of these has it, so that servers of the same kind can stand side by
    side, each for its own people.

    Without `settled` there are servers of which nothing is known yet, and the claims after 2 count for nothing.
    """
    place = place_of(uri)
    listing = [one.server for one in claims if uri in one.uris]
    if not listing:
        listing = [one.server for one in claims if place.uri in one.uris or place.uri in one.others]
    if listing:
        return Ownership(_first(listing, seen), listed=True)
    if placed := {one.server: rank for one in claims if (rank := one.best(place)) is not None}:
        most = max(placed.values())
        return Ownership(_first([server for server, rank in placed.items() if rank == most], seen))
    if not settled:
        return NOBODY
    if at_host := [one.server for one in claims if (place.scheme, place.host) in one.hosts]:
        return _alone(at_host, seen)
    if place.scheme and place.scheme not in SHARED_SCHEMES:
        if (owner := _by_scheme(place, claims, seen)) is not None:
            return owner
    if only is not None and any(one.server == only and one.matches(place) for one in claims):
        return Ownership(only)
    return NOBODY


def _by_scheme(place: NormalUri, claims: Collection[ServerClaims], seen: Container[str] | None) -> Ownership | None:
    """Whose a URI is by its scheme (4 and 5 of `owner_of`), None if nobody uses that."""
    using = [one.server for one in claims if place.scheme in one.schemes]
    matching = {one.server: said for one in claims if (said := one.loose(place)) is not None}
    if not matching:
        return _alone(using, seen) if using else None
    most, _ = max(matching.values())
    matching = {server: said for server, said in matching.items() if most == 0 or said[0] > 0}
    for one in claims:
        # Others may have any URI of the scheme, except where a literal part of the path keeps them apart.
        other = one.listed_schemes if most == _PART else (place.scheme,) if one.uses(place.scheme) else ()
        if one.server not in matching and place.scheme in other:
            return _alone(using, seen)
    if len(set(matching.values())) > 1:
        return _alone(list(matching), seen)
    return Ownership(_first(list(matching), seen))


def _first(servers: list[str], seen: Container[str] | None) -> str:
    return next((server for server in servers if seen is None or server in seen), servers[0])


def _alone(servers: list[str], seen: Container[str] | None) -> Ownership:
    if len(servers) == 1:
        return Ownership(servers[0])
    return Ownership(among=tuple(server for server in servers if seen is None or server in seen))


_Rank = tuple[int, int, bool]
_EVERYTHING, _SEGMENTS, _PART = range(3)


@dataclass(frozen=True)
class _Template:
    """A template in the normal form of its literal text. `prefix` is that text before the first expression. `scheme`
    and `host` are "" unless they are literal. `says`, of one without a host: whether it matches everything of its
    scheme, or so many segments, or has a literal part behind the host. `rank` grows with how much it says: literal
    characters in front, in all, and whether no variable of it takes several segments."""

    text: str
    scheme: str
    host: str
    prefix: str
    says: int
    rank: _Rank
    variables: int

    @classmethod
    def read(cls, text: str) -> "_Template | None":
        """None if it has too many variables, or is no template."""
        pieces = _pieces(text)
        expressions = [piece for literal, piece in pieces if not literal]
        variables = sum(piece.count(",") + 1 for piece in expressions)
        if not expressions or variables > MAX_VARIABLES:
            return None
        first = _percent_normal(pieces[0][1]) if pieces[0][0] else ""
        found = _SCHEME.match(first)
        scheme = found[1].lower() if found is not None else ""
        lead = next(piece[:1] for literal, piece in pieces if not literal)
        prefix, host = first, ""
        if found is not None:
            prefix, host = _literal_host(scheme, first[found.end() :], lead)
        rest = [_percent_normal(piece) if literal else f"{{{piece}}}" for literal, piece in pieces[bool(first) :]]
        if scheme and not host and prefix.startswith(f"{scheme}://"):
            rest = _lower_host(rest)
        literals = len(prefix) + sum(len(piece) for literal, piece in pieces[bool(first) :] if literal)
        leads = sum(piece[:1] in "/?#.;&" for piece in expressions if piece)
        several = any("*" in piece or piece[:1] in ("+", "#") for piece in expressions)
        says = _PART if _says_part(rest) else _EVERYTHING if several else _SEGMENTS
        return cls(
            text=prefix + "".join(rest),
            scheme=scheme,
            host=host,
            prefix=prefix,
            says=says,
            rank=(len(prefix) + (lead in _LEADS), literals + leads, not several),
            variables=variables,
        )

    @cached_property
    def parsed(self) -> UriTemplate | None:
        try:
            return UriTemplate.parse(self.text, max_length=2 * MAX_TEMPLATE, max_variables=MAX_VARIABLES)
        except InvalidUriTemplate:
            return None


def _matching(place: NormalUri, templates: Iterable[_Template]) -> Iterator[_Template]:
    left = MAX_MATCHING
    for template in templates:
        if not place.uri.startswith(template.prefix):
            continue
        left -= _EACH + (len(place.uri) + 1) * (template.variables + 1)
        if left < 0:
            return
        if template.parsed is not None and template.parsed.match(place.uri) is not None:
            yield template


def _pieces(template: str) -> list[tuple[bool, str]]:
    """The literal text of a template and the insides of its expressions, in order; True for a literal."""
    pieces: list[tuple[bool, str]] = []
    end = 0
    for found in _EXPRESSION.finditer(template):
        if found.start() > end:
            pieces.append((True, template[end : found.start()]))
        pieces.append((False, found[1]))
        end = found.end()
    if end < len(template):
        pieces.append((True, template[end:]))
    return pieces


def _literal_host(scheme: str, rest: str, lead: str) -> tuple[str, str]:
    """The normal form of a template's text before its first expression, and its host, "" if that is not complete there.
    `lead` is the first character of the expression."""
    if not rest.startswith("//"):
        return f"{scheme}:{rest}", _first_segment(rest)
    host, path = _divided(rest[2:])
    if not path and lead not in _LEADS:
        return f"{scheme}://{host.lower()}", ""
    host = _normal_host(scheme, host)
    return f"{scheme}:{host}{path}", host


def _lower_host(rest: list[str]) -> list[str]:
    """The pieces after the first, with the literal text in lower case where it is part of the host."""
    lower: list[str] = []
    for position, piece in enumerate(rest):
        if piece.startswith("{"):
            if piece[1:2] in _LEADS:
                return lower + rest[position:]
            lower.append(piece)
            continue
        end = _HOST_ENDS.search(piece)
        if end is not None:
            host = piece[: end.start()].lower()
            return [*lower, host + piece[end.start() :], *rest[position + 1 :]]
        lower.append(piece.lower())
    return lower


def _says_part(rest: list[str]) -> bool:
    """Whether the pieces after the first have a literal letter or digit behind the host, or the first segment."""
    behind = False
    for piece in rest:
        if piece.startswith("{"):
            behind = behind or piece[1:2] in _LEADS
            continue
        end = None if behind else _HOST_ENDS.search(piece)
        if not behind and end is None:
            continue
        if any(char.isalnum() for char in piece[end.end() if end is not None else 0 :]):
            return True
        behind = True
    return False


def _first_segment(rest: str) -> str:
    end = _SEGMENT_ENDS.search(rest)
    return rest[: end.end()] if end is not None and end.start() else ""


def _divided(text: str) -> tuple[str, str]:
    """The host at the beginning, and what follows it."""
    end = _HOST_ENDS.search(text)
    return (text, "") if end is None else (text[: end.start()], text[end.start() :])


def _normal_host(scheme: str, host: str) -> str:
    host = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ":")).removesuffix(":")
    return f"//{host}"


def _percent_normal(text: str) -> str:
    """The text without needless percent-encoding. What is left of that is in capitals."""

    def normal(found: "re.Match[str]") -> str:
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else found[0].upper()

    return _PERCENT.sub(normal, text) if "%" in text else text


def _without_dots(path: str) -> str:
    """A path without the segments `.` and `..` (RFC 3986, section 5.2.4)."""
    if "/." not in path:
        return path
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
