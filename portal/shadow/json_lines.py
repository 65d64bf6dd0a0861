"""Log lines that are JSON objects: of nginx, Envoy, Caddy, Traefik, clouds' load balancers and gateways. Pure.

No two programs name the members alike. A member is known by its name with what stands around it, in lower case and
without punctuation: Caddy's `request.headers.User-Agent` and nginx's `http_user_agent` are both a user agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import orjson

from portal.exact import parse
from portal.shadow.request import (
    MAX_AGENT,
    MAX_USER,
    LogRequest,
    RequestTarget,
    is_method,
    read_address,
    read_authority,
    read_request_line,
    read_status,
    read_target,
    said,
)
from portal.shadow.times import read_time

MAX_BODY = 64 * 1024
MAX_END = 1024
_LEVELS = 5
_MEMBERS = 400
_GLANCE = 20
_INNER = ("log", "message", "msg", "line", "textPayload")

# Each name of a role, the surest first.
_NAMES: Mapping[str, str] = {
    "host": "httphost requesthost authority clientrequesthost vhost requestheadershost headershost xforwardedhost"
    " requestauthority urldomain domain host servername",
    "url": "urlfull urloriginal requesturl clientrequesturi clientrequesturl url requesturi originalpath"
    " xenvoyoriginalpath uri requestpath clientrequestpath urlpath path target",
    "line": "request requestline httprequest",
    "method": "requestmethod httpmethod clientrequestmethod httprequestmethod method verb",
    "status": "downstreamstatus statuscode responsecode responsestatuscode edgeresponsestatus httpstatuscode"
    " httpresponsestatuscode responsestatus httpstatus elbstatuscode status",
    "time": "timestamp startutc starttime timeiso8601 edgestarttimestamp datetime eventtime time ts msec timelocal",
    "address": "clientip clienthost clientaddr clientaddress requestclientip remoteaddr remoteip remoteaddress"
    " downstreamremoteaddress sourceip srcip realip remotehost cip xforwardedfor",
    "user": "remoteuser clientusername username useremail email authuser user userid username",
    "agent": "httpuseragent clientrequestuseragent useragentoriginal useragent agent",
    "accept": "httpaccept requestaccept accept",
    "answer": "senthttpcontenttype respheaderscontenttype responseheaderscontenttype downstreamcontenttype"
    " origincontenttype responsecontenttype",
    "body": "requestbody postdata requestpayload responsebody",
}
_ROLES = {name: (role, rank) for role, names in _NAMES.items() for rank, name in enumerate(names.split())}
# What may stand around a name: the part of the record it is in.
_AROUND = re.compile(r"(?:jsonpayload|httprequest|requestheaders|headers|request|req|http|fields|attributes|event)")
_PROTOCOL = ("mcpsessionid", "mcpprotocolversion", "mcpmethod", "mcpname")
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
_BYTE_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")


def parse_line(line: str) -> Mapping[str, object] | None:
    """The JSON object in this line; None if there is none. `\\x22`, which nginx writes in place of a quote, is read."""
    text = line.removesuffix(",")
    value = _parsed(text)
    if value is None and "\\x" in text:
        value = _parsed(_BYTE_ESCAPE.sub(r"\\u00\1", text))
    return value if isinstance(value, dict) else None


def is_request(record: Mapping[str, object]) -> bool:
    """Whether this object is about an HTTP request, at a glance: a no may be wrong."""
    for name, value in record.items():
        if isinstance(value, dict):
            if any(_says_request(f"{name}.{below}") for below in list(value)[:_GLANCE]):
                return True
        elif _says_request(name):
            return True
    return False


def read_record(record: Mapping[str, object]) -> LogRequest | None:
    """The request in this object; None if it is about something else."""
    found = _fields(record)
    line = read_request_line(_text(found.get("line")))
    method, target = line if line is not None else ("", RequestTarget())
    named = _text(found.get("method"))
    method = named.upper() if is_method(named.upper()) else method
    if url := _text(found.get("url")):
        written = read_target(url, method)
        target = written if written.host or written.path else target
    host, port = (target.host, target.port) if target.host else read_authority(_text(found.get("host")))
    status = read_status(found.get("status"))
    if not (host or target.path) or not (method or status is not None):
        return None
    accept = found.get("accept")
    return LogRequest(
        host=host,
        port=port,
        path=None if method == "CONNECT" else target.path,
        method=method,
        status=status,
        at=read_time(found.get("time")),
        address=read_address(_text(found.get("address"))),
        user=said(_text(found.get("user")), MAX_USER),
        agent=said(_text(found.get("agent")), MAX_AGENT),
        accept=accept if isinstance(accept, str) and accept and accept != "-" else None,
        answer_type=_text(found.get("answer"))[:200],
        protocol="protocol" in found,
        bodies=(ends(body),) if (body := _text(found.get("body"))) else (),
    )


def inner_line(record: Mapping[str, object]) -> str | None:
    """The line that a collector of logs has put into this object, as Docker and Filebeat do; None if there is none."""
    return next((value for name in _INNER if isinstance(value := record.get(name), str)), None)


def ends(text: str) -> str:
    """The beginning and the end of a body: some clients write `jsonrpc` behind all the rest."""
    return text if len(text) <= MAX_BODY + MAX_END else f"{text[:MAX_BODY]}\n{text[-MAX_END:]}"


def _says_request(name: str) -> bool:
    role = _role(name)
    return role is not None and role[0] in ("line", "method", "status")


def _parsed(text: str) -> object:
    try:
        return orjson.loads(text)
    except ValueError:
        pass
    try:
        return parse(text)
    except ValueError:
        return None


def _fields(record: Mapping[str, object]) -> dict[str, object]:
    """The members whose role is known, by role; of several for one role the one with the surest name."""
    found: dict[str, object] = {}
    ranks: dict[str, int] = {}
    for name, value in _members(record):
        role = _role(name)
        if role is None or value in ("", "-", None):
            continue
        kind, rank = role
        if rank < ranks.get(kind, _MEMBERS):
            found[kind], ranks[kind] = value, rank
    return found


def _members(record: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Names and values of the members at every level, those above first. Of a list the first value counts."""
    level: list[tuple[str, Mapping[str, object]]] = [("", record)]
    left = _MEMBERS
    for _ in range(_LEVELS):
        below: list[tuple[str, Mapping[str, object]]] = []
        for around, members in level:
            for name, value in members.items():
                left -= 1
                if left < 0:
                    return
                if isinstance(value, list):
                    value = value[0] if value else None
                full = f"{around}.{name}" if around else name
                if isinstance(value, dict):
                    below.append((full[:200], value))
                else:
                    yield full[:200], value
        level = below


@lru_cache(maxsize=4096)
def _role(name: str) -> tuple[str, int] | None:
    """The role of a member by its full name, and how sure that is, 0 the surest."""
    plain = _PUNCTUATION.sub("", name.lower())
    if plain.endswith(_PROTOCOL):
        return "protocol", 0
    while plain not in _ROLES:
        around = _AROUND.match(plain)
        if around is None:
            return None
        plain = plain[around.end() :]
    return _ROLES[plain]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
