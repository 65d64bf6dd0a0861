"""One request, as each kind of log writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from portal.shadow import LogFile, LogRequest

Writer = Callable[[LogRequest], str]
SECRET = "planted-5ecret"
QUERY = f"?token={SECRET}"
BODY = json.dumps({"method": "tools/call", "params": {"name": SECRET}, "jsonrpc": "2.0", "id": 1})


def read(data: bytes, chunk: int = 1 << 20) -> tuple[list[LogRequest], LogFile]:
    """The requests in a log, which comes in chunks of this many bytes."""
    log = LogFile("a.log")
    found = [request for at in range(0, len(data), chunk) for request in log.feed(data[at : at + chunk])]
    return [*found, *log.end()], log


def url(request: LogRequest, scheme: str = "https") -> str:
    return f"{scheme}://{request.host}{request.path}{QUERY}"


def moment(request: LogRequest, form: str) -> str:
    return datetime.fromtimestamp(request.at or 0, UTC).strftime(form)


def escaped(text: str) -> str:
    """As Apache and nginx escape a header."""
    return "".join(
        letter
        if " " <= letter <= "~" and letter not in '"\\'
        else "".join(f"\\x{byte:02x}" for byte in letter.encode())
        for letter in text
    )


def combined(request: LogRequest, target: str = "") -> str:
    time = moment(request, "%d/%b/%Y:%H:%M:%S +0000")
    line = f"{request.method} {target or request.path}{'' if target else QUERY} HTTP/1.1"
    tail = f'"https://example.com/{QUERY}" "{escaped(request.agent) or "-"}"'
    return f'{request.address} - {request.user or "-"} [{time}] "{line}" {request.status} 17 {tail}'


def with_site(request: LogRequest) -> str:
    return f"{request.host}:443 {combined(request)}"


def forward_proxy(request: LogRequest) -> str:
    return combined(request, url(request))


def squid(request: LogRequest) -> str:
    head = f"{request.at:.3f}    310 {request.address} TCP_MISS/{request.status} 1034"
    return f"{head} {request.method} {url(request)} {request.user or '-'} HIER_DIRECT/203.0.113.9 application/json"


def squid_connect(request: LogRequest) -> str:
    head = f"{request.at:.3f}    310 {request.address} TCP_TUNNEL/{request.status} 1034"
    return f"{head} CONNECT {request.host}:443 {request.user or '-'} HIER_DIRECT/203.0.113.9 -"


def load_balancer(request: LogRequest) -> str:
    time = moment(request, "%Y-%m-%dT%H:%M:%S.000000Z")
    line = f"{request.method} https://{request.host}:443{request.path}{QUERY} HTTP/1.1"
    head = f"https {time} app/lb/50dc {request.address}:2817 10.0.0.1:80 0.1 0.2 0.0 {request.status} 200 34 366"
    return (
        f'{head} "{line}" "{escaped(request.agent) or "-"}" ECDHE TLSv1.2 arn:aws "Root=1-58" "{request.host}" "arn" 0'
    )


def nginx(request: LogRequest) -> str:
    return json.dumps(
        {
            "time_iso8601": moment(request, "%Y-%m-%dT%H:%M:%S+00:00"),
            "remote_addr": request.address,
            "remote_user": request.user,
            "host": "machine-7",
            "http_host": request.host,
            "request": f"{request.method} {request.path}{QUERY} HTTP/1.1",
            "status": str(request.status),
            "http_user_agent": request.agent,
            "http_referer": f"https://example.com/{QUERY}",
            "http_authorization": f"Bearer {SECRET}",
        }
    )


def envoy(request: LogRequest) -> str:
    return json.dumps(
        {
            "start_time": moment(request, "%Y-%m-%dT%H:%M:%S.000Z"),
            "method": request.method,
            "path": f"{request.path}{QUERY}",
            "authority": f"{request.host}:443",
            "response_code": request.status,
            "downstream_remote_address": f"{request.address}:41342",
            "user_agent": request.agent,
            "user": request.user,
        }
    )


def caddy(request: LogRequest) -> str:
    headers = {"User-Agent": [request.agent], "Accept": ["text/event-stream"], "Cookie": [SECRET]}
    inner = {
        "client_ip": request.address,
        "method": request.method,
        "host": request.host,
        "uri": f"{request.path}{QUERY}",
        "headers": headers,
    }
    return json.dumps(
        {"level": "info", "ts": request.at, "request": inner, "user_id": request.user, "status": request.status}
    )


def traefik(request: LogRequest) -> str:
    return json.dumps(
        {
            "ClientAddr": f"{request.address}:5443",
            "ClientHost": request.address,
            "ClientUsername": request.user or "-",
            "DownstreamStatus": request.status,
            "RequestHost": request.host,
            "RequestMethod": request.method,
            "RequestPath": f"{request.path}{QUERY}",
            "StartUTC": moment(request, "%Y-%m-%dT%H:%M:%S.000000000Z"),
            "request_User-Agent": request.agent,
            "request_Authorization": SECRET,
        }
    )


def elastic(request: LogRequest) -> str:
    return json.dumps(
        {
            "@timestamp": moment(request, "%Y-%m-%dT%H:%M:%S.000Z"),
            "host": {"name": "machine-7"},
            "http": {"request": {"method": request.method}, "response": {"status_code": request.status}},
            "url": {"domain": request.host, "path": request.path, "query": QUERY},
            "source": {"ip": request.address},
            "user": {"name": request.user},
            "user_agent": {"original": request.agent},
        }
    )


def docker(request: LogRequest) -> str:
    return json.dumps({"log": f"{with_site(request)}\n", "stream": "stdout", "time": "2026-11-29T22:50:24Z"})


def iis(request: LogRequest) -> str:
    agent = "+".join(quote(word, safe="") for word in request.agent.split(" "))
    return (
        "#Version: 1.0\n#Fields: date time cs-host cs-method cs-uri-stem cs-uri-query c-ip cs-username cs(User-Agent) "
        f"sc-status\n{moment(request, '%Y-%m-%d %H:%M:%S')} {request.host} {request.method} {request.path} "
        f"token={SECRET} {request.address} {request.user or '-'} {agent or '-'} {request.status}"
    )


def cloudfront(request: LogRequest) -> str:
    fields = (
        *(moment(request, "%Y-%m-%d"), moment(request, "%H:%M:%S"), request.address, request.method),
        *("d111.cloudfront.net", request.path or "", str(request.status), quote(request.agent) or "-"),
        *(f"token={SECRET}", SECRET, request.host, request.user or "-"),
    )
    names = (
        "date time c-ip cs-method cs(Host) cs-uri-stem sc-status cs(User-Agent) cs-uri-query cs(Cookie) x-host-header"
    )
    return f"#Version: 1.0\n#Fields: {names} cs-username\n" + "\t".join(fields).replace(
        "d111.cloudfront.net", request.host
    )


def har(request: LogRequest, body: str = BODY, answer: str = "") -> str:
    headers = {"user-agent": request.agent, "accept": "application/json, text/event-stream", "authorization": SECRET}
    entry = {
        "startedDateTime": moment(request, "%Y-%m-%dT%H:%M:%S.000Z"),
        "request": {
            "method": request.method,
            "url": url(request),
            "headers": [{"name": name, "value": value} for name, value in headers.items()],
            "cookies": [{"name": "session", "value": SECRET}],
            "postData": {"mimeType": "application/json", "text": body},
        },
        "response": {
            "status": request.status,
            "headers": [],
            "content": {"mimeType": "application/json", "text": answer},
        },
    }
    pages = [{"id": "page_1", "title": "a { \\ ] page"}]
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "x", "v": {}}, "pages": pages, "entries": [entry]}}
    )


# Which parts of a request each log keeps.
EVERYTHING = ("host", "path", "method", "status", "at", "address", "user", "agent")
WRITERS: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "combined": (combined, ("path", "method", "status", "at", "address", "user")),
    "with_site": (with_site, ("host", "path", "method", "status", "at", "address", "user")),
    "forward_proxy": (forward_proxy, ("host", "path", "method", "status", "at", "address", "user")),
    "squid": (squid, ("host", "path", "method", "status", "at", "address", "user")),
    "squid_connect": (squid_connect, ("host", "status", "at", "address", "user")),
    "load_balancer": (load_balancer, ("host", "path", "method", "status", "at", "address")),
    "nginx": (nginx, EVERYTHING),
    "envoy": (envoy, EVERYTHING),
    "caddy": (caddy, EVERYTHING),
    "traefik": (traefik, EVERYTHING),
    "elastic": (elastic, EVERYTHING),
    "docker": (docker, ("host", "path", "method", "status", "at", "address", "user")),
    "iis": (iis, EVERYTHING),
    "cloudfront": (cloudfront, EVERYTHING),
    "har": (har, ("host", "path", "method", "status", "at", "agent")),
}
