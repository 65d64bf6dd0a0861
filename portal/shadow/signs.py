"""What of a request says that it is MCP, and how certain that is. Pure.

certain    a method or the protocol version in a body, or a header of MCP
likely     POST to the path of an endpoint, or two signs that do not depend on each other
possible   one sign: the name of the host, the path, or the name of the client
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from portal.shadow.known_hosts import KnownEndpoint, known_endpoint
from portal.shadow.request import LogRequest


class Certainty(StrEnum):
    """How certain it is that a request is MCP, the most certain first."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


RANK = {certainty: rank for rank, certainty in enumerate(Certainty)}


class Sign(StrEnum):
    """Something in a request that MCP has."""

    METHOD = "method in a body"
    VERSION = "protocol version in a body"
    HEADER = "MCP header"
    SERVED = "server of a portal"
    KNOWN_HOST = "known host"
    HOST_NAME = "host name"
    PATH = "path"
    EVENT_STREAM = "event stream"
    CLIENT = "MCP client"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found in one request. `methods` and `versions` are those of its bodies."""

    certainty: Certainty
    signs: frozenset[Sign]
    methods: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    endpoint: KnownEndpoint | None = None


METHODS = (
    *("initialize", "notifications/initialized", "server/discover", "subscriptions/listen"),
    *("tools/call", "tools/list", "resources/list", "resources/read", "resources/templates/list"),
    *("resources/subscribe", "prompts/list", "prompts/get", "sampling/createMessage", "roots/list"),
    *("completion/complete", "elicitation/create", "logging/setLevel", "tasks/get", "tasks/list", "tasks/result"),
)
PROTOCOL_HEADERS = frozenset({"mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"})
_METHOD = re.compile(rf'"method"\s{{0,8}}+:\s{{0,8}}+"({"|".join(METHODS)})"')
_VERSION = re.compile(r'protocolVersion"\s{0,8}+:\s{0,8}+"(202[4-9]-[01]\d-[0-3]\d)"', re.ASCII)
_JSON_RPC = re.compile(r'"jsonrpc"\s{0,8}+:\s{0,8}+"2\.0"')
# Of these another protocol over JSON-RPC, that of editors and language servers, has the same name.
_SHARED_METHODS = frozenset({"initialize"})

# What clients call themselves. The first kind speaks nothing but MCP, the second other protocols as well.
_MCP_CLIENT = re.compile(r"(?<![a-z0-9])mcp(?![a-z0-9])|modelcontextprotocol", re.I)
_AGENT = re.compile(r"(?:^|[ (])(?:claude-code|claude-user|cursor|codex|windsurf|visual studio code|vscode)\b", re.I)

_LAST = frozenset({"mcp", "sse"})
_BELOW = frozenset({"sse", "message", "messages", "http", "stream", "v1", "v2"})
_NOBODY_THERE = frozenset({404, 405, 410, 501})

# Whatever has a sign in itself has one of these in its line, in lower case, or a letter of one as an escape.
_WORDS = ("mcp", "/sse", "modelcontext", "jsonrpc", "\\u00", "\\x")
_ESCAPES = ("%6d", "%4d", "%63", "%43", "%70", "%50", "%73", "%53", "%65", "%45", "%2fsse")


def may_have_signs(line: str, words: Iterable[str] = ()) -> bool:
    """Whether this line may have a sign, or one of `words`. Quick, and never wrong about a no."""
    lowered = line.lower()
    for word in (*_WORDS, *words, *(_ESCAPES if "%" in lowered else ())):
        if word in lowered:
            return True
    return False


def judge(request: LogRequest, *, served: bool = False) -> Evidence | None:
    """What of this request says that it is MCP; None if nothing does. `served` says that a portal has this server."""
    methods, versions = _in_bodies(request.bodies)
    endpoint = known_endpoint(request.host, request.path)
    streams = "event-stream" in f"{request.accept} {request.answer_type}".lower()
    speaks_only_mcp = _MCP_CLIENT.search(request.agent) is not None
    signs = {
        Sign.METHOD: bool(methods),
        Sign.VERSION: bool(versions),
        Sign.HEADER: request.protocol,
        Sign.SERVED: served,
        Sign.KNOWN_HOST: endpoint is not None,
        Sign.HOST_NAME: is_mcp_name(request.host),
        Sign.PATH: is_mcp_path(request.path, request.method) or (endpoint is not None and bool(endpoint.path)),
        Sign.EVENT_STREAM: streams,
        Sign.CLIENT: speaks_only_mcp or _AGENT.search(request.agent) is not None,
    }
    found = frozenset(sign for sign, there in signs.items() if there)
    certainty = _certainty(request, found, speaks_only_mcp=speaks_only_mcp)
    return None if certainty is None else Evidence(certainty, found, methods, versions, endpoint)


def is_mcp_name(host: str) -> bool:
    """Whether a part of this host's name is `mcp`, or begins or ends with it, as in `shop-mcp.example.com`."""
    *parts, _ = host.split(".")
    return any(part == "mcp" or part.startswith("mcp-") or part.endswith("-mcp") for part in parts)


def is_mcp_path(path: str | None, method: str) -> bool:
    """Whether an MCP endpoint may have this path. With GET it has to end as one: `/docs/mcp/intro` is a page."""
    if not path:
        return False
    segments = [segment for segment in unquote(path).lower().split("/") if segment]
    if not segments:
        return False
    if segments[-1] in _LAST or (segments[-1] in _BELOW and "mcp" in segments[-2:-1]):
        return True
    return method in ("POST", "DELETE") and "mcp" in segments


def _in_bodies(bodies: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    methods: set[str] = set()
    versions: set[str] = set()
    for body in bodies:
        if not _JSON_RPC.search(body):
            continue
        named = set(_VERSION.findall(body))
        called = set(_METHOD.findall(body))
        versions |= named
        methods |= called if named else called - _SHARED_METHODS
    return frozenset(methods), frozenset(versions)


def _certainty(request: LogRequest, signs: frozenset[Sign], *, speaks_only_mcp: bool) -> Certainty | None:
    if signs & {Sign.METHOD, Sign.VERSION, Sign.HEADER}:
        return Certainty.CERTAIN
    by_host = bool(signs & {Sign.SERVED, Sign.KNOWN_HOST, Sign.HOST_NAME})
    posts = request.method == "POST" and not (posts_nowhere(request) or _takes_no_stream(request))
    among_others = Sign.EVENT_STREAM in signs or Sign.CLIENT in signs or posts
    if (Sign.PATH in signs or by_host) and among_others and not posts_nowhere(request):
        return Certainty.LIKELY
    return Certainty.POSSIBLE if Sign.PATH in signs or by_host or speaks_only_mcp else None


def posts_nowhere(request: LogRequest) -> bool:
    """Whether the server says that nothing takes this POST."""
    return request.method == "POST" and request.status in _NOBODY_THERE


def _takes_no_stream(request: LogRequest) -> bool:
    """Whether the log says what the client accepts, and that is no event stream, which a POST of MCP has to accept."""
    accept = request.accept
    return accept is not None and "event-stream" not in accept.lower() and "*/*" not in accept
