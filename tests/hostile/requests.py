"""Requests that an attacker would try, as hypothesis strategies: right in most places and wrong in some.

A request that is wrong everywhere is refused at the first check. One fault in a request that is right otherwise gets as
far as that fault.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from urllib.parse import quote, quote_from_bytes

import orjson
from hypothesis import strategies as st

from tests.hostile.client import Header, RawRequest

METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"BREW", b"get")
ODD_TEXTS = (
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "null",
        "true",
        "..",
        "../../etc/passwd",
        "%",
        "*",
        "{}",
        "[]",
        "'",
        '"',
        "<b>",
        "a" * 5000,
    ),
    *("\x00", "a\x00b", "\n", "a\r\nb: c", "\x7f", "\u202e", "\ufeff", "\U0001f600", "ß", "\u0130", "\u2028"),
    *(
        "https://[",
        "https://example.com:99999/",
        "http://127.0.0.1:3333/callback",
        "javascript:alert(1)",
        "//evil.example",
    ),
    *(
        "9" * 400,
        "1e400",
        "NaN",
        "2026-11-29T00:00:00Z",
        "authorization_code",
        "refresh_token",
        "code",
        "S256",
        "allow",
    ),
)
FIELDS = (
    *("client_id", "client_secret", "grant_type", "code", "code_verifier", "redirect_uri", "refresh_token"),
    *("resource", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "nonce"),
    *("prompt", "request", "token", "token_type_hint", "email", "password", "pin", "return", "answer"),
    *("form_token", "key", "agent", "elicitationId", "iss", "server", "name", "id", "codemode", "error"),
    *("optimize_context", "page", "per_page", "client_assertion", "redirect_uris", "client_name", "contacts"),
)
MCP_METHODS = (
    *("initialize", "tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/read"),
    *("resources/templates/list", "resources/subscribe", "resources/unsubscribe", "completion/complete", "ping"),
    *("logging/setLevel", "subscriptions/listen", "server/discover", "notifications/initialized"),
    *("notifications/cancelled", "notifications/progress", "nothing", ""),
)
KINDS = (
    *(b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"text/plain"),
    *(b"application/json; charset=\xff", b"multipart/form-data", b"/", b"\xff", b"text/plain; charset=\xff"),
    *(b"application/json; charset=utf-16", b"application/x-www-form-urlencoded; charset=utf-99"),
    *(
        b"application/x-www-form-urlencoded; boundary=x",
        b"application/x-www-form-urlencoded\r\nContent-Type: text/plain",
    ),
)
LONG_QUERIES = (b"a=1&" * 12_000, b"a" * 50_000, b"request=" + b"x" * 20_000)
ODD_QUERIES = (
    *(b"&%&=&%zz=%ff&x", b"%", b"%ff%fe=%00", b"\xe9=\xff", b"[]=1&a[b]=2", b"a=1&a=2&a=3", b"=&=&;;&&"),
    *(b"code=%00&state=%00&iss=%00", b"client_id=%ed%a0%80&redirect_uri=%00", b"client_id=a&client_id=b"),
    *(b"elicitationId=%00%ff", b"agent=%00", b"token=%0d%0aX:%20y&return=//x&target=%5c%5c", b"codemode=%ff"),
    *(b"page=1e999&per_page=-1", b"page=%00", b"client_id=https://%5b/&response_type=code"),
)
VERSIONS = ("2026-07-28", "2025-11-25", "2025-03-26", "2024-11-05", "1", "")

odd_text = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=20))


def careless(text: str) -> bytes:
    """UTF-8, with lone surrogates as a careless client writes them."""
    return text.encode("utf-8", "surrogatepass")


odd_bytes = st.one_of(
    odd_text.map(careless),
    st.sampled_from([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\x80" * 9]),
)
# No integers past 64 bits, which orjson does not write: those are among the odd bodies.
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), odd_text)
names = st.one_of(st.sampled_from(FIELDS), odd_text)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)


def as_json(value: object) -> bytes:
    """The JSON of a value; of text with lone surrogates, what a careless client sends."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return careless(repr(value))


odd_bodies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(
                b"",
                b"{",
                b"[]",
                b"null",
                b'"',
                b"{}" * 3,
                b"[" * 101 + b"]" * 101,
                b"[" * 5000,
                b"[{}]",
                b'{"a":1,"a":2}',
            ),
            *(b"NaN", b"1e400", b"9" * 5000, b'"\\ud800"', b'{"jsonrpc":"2.0","method":"tools/list","id":1e999}'),
            *(
                b"\xef\xbb\xbf{}",
                b"\xff\xfe{\x00}\x00",
                b'{"\x00":1}',
                b"&" * 200,
                b"=&=&=",
                b"a=1&" * 2000,
                b"%00=%ff&%",
            ),
            *(
                b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
                b"--x\r\n\r\n",
                b"[" + b"[]," * 9000 + b"[]]",
            ),
            *(b"a=%", b"%ff=%fe&grant_type=%00", b"a=b&a=b", b";;;", b"\x00\xff", b"token=" + b"x" * 60_000),
            b"grant_type=refresh_token&refresh_token=%ed%a0%80&client_id=%00",
            b"grant_type=authorization_code&code=%00&code_verifier=%ff&client_id=https://%5b::1/x",
            b"form_token=%ff&email=%00&password=%ed%a0%80&token=%00&request=%ff",
            b"&".join(b"f%d=x" % number for number in range(5000)),
            b'{"redirect_uris":["http://[","\\u0000",7,null,{}],"client_name":["\\ud800"],"contacts":{}}',
            b'{"redirect_uris":' + b"[" * 90 + b"]" * 90 + b"}",
            b'{"name":"\\u0000","hostname":"\\ud800","include":[{"email":{"email":[]}}],"decision":{},"config":[[]]}',
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"\\u0000","capabilities":[]}}',
        ]
    ),
)


def encoded(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """A form or a query."""
    return b"&".join(f"{quote(name, errors='replace')}={quote_from_bytes(value)}".encode() for name, value in pairs)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A JSON-RPC message whose params are right, or odd."""
    message: dict[str, object] = {
        "jsonrpc": draw(st.sampled_from(["2.0", "2.0", "2.0", "1.0", 2])),
        "id": draw(st.one_of(st.integers(0, 9), st.integers(0, 9), odd_text, scalars)),
        "method": draw(st.sampled_from(MCP_METHODS)),
    }
    params: dict[str, object] = draw(st.dictionaries(names, values, max_size=3))
    params |= draw(
        st.sampled_from(
            [
                {},
                {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
                {"name": "fix_echo", "arguments": {"text": "hello"}},
                {"name": "code", "arguments": {"code": "return 1"}},
                {"uri": "test://static"},
                {"ref": {"type": "ref/prompt", "name": "fix_greet"}, "argument": {"name": "who", "value": "a"}},
                {"notifications": {"toolsListChanged": True}},
            ]
        )
    )
    if draw(st.booleans()):
        params["_meta"] = draw(
            st.one_of(
                st.just(
                    {
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientInfo": {"name": "a", "version": "1"},
                        "io.modelcontextprotocol/clientCapabilities": {},
                    }
                ),
                values,
            )
        )
    message["params"] = draw(st.one_of(st.just(params), st.just(params), st.just(params), values))
    for name in draw(st.lists(st.sampled_from(["jsonrpc", "id", "method", "params"]), max_size=1)):
        del message[name]
    return as_json(message)


@dataclass(frozen=True)
class Door:
    """A path of the portal with `{}` for each parameter, the methods it takes, and whether it takes forms."""

    path: str
    methods: tuple[str, ...]
    form: bool


@dataclass(frozen=True)
class Known:
    """What an attacker knows of a portal: its doors, values of fields that are right there, headers that let somebody
    in, and the account of the admin API."""

    doors: tuple[Door, ...]
    fields: Mapping[str, str]
    credentials: tuple[tuple[Header, ...], ...]
    account: str


class Fault(Enum):
    """What is wrong with a request."""

    METHOD, PARAMETER, SUFFIX, VALUES, MANY, MISSING, TWICE, QUERY, BODY, KIND, HEADER = range(11)


@st.composite
def requests(draw: st.DrawFn, known: Known) -> RawRequest:
    """A request for one of the doors, with a fault or two."""
    door = draw(st.sampled_from(known.doors))
    faults = draw(st.sets(st.sampled_from(Fault), max_size=2))
    method = draw(st.sampled_from(door.methods)).encode()
    if Fault.METHOD in faults:
        method = draw(st.sampled_from(METHODS))
    path = draw(paths(door, known, faults))
    pairs = draw(fields(known, faults))
    query, body, kind = b"", b"", b""
    if method in (b"GET", b"HEAD", b"DELETE"):
        query = encoded(pairs)
    elif door.form:
        body, kind = encoded(pairs), b"application/x-www-form-urlencoded"
    else:
        body, kind = draw(documents(door, pairs)), b"application/json"
    if Fault.QUERY in faults:
        query = draw(
            st.one_of(
                odd_bytes.map(lambda value: quote_from_bytes(value).encode()),
                st.sampled_from(LONG_QUERIES + ODD_QUERIES),
                st.sampled_from([query + b"&" + odd for odd in ODD_QUERIES]),
            )
        )
    if Fault.BODY in faults:
        body = draw(odd_bodies)
    if Fault.KIND in faults:
        kind = draw(st.sampled_from([*KINDS, b""]))
    headers = [*draw(ordinary_headers(door, known)), *([(b"Content-Type", kind)] if kind else [])]
    if Fault.HEADER in faults:
        headers += chain.from_iterable(draw(st.lists(odd_headers, min_size=1, max_size=2)))
    return RawRequest(method, path + (b"?" + query if query else b""), headers, body)


@st.composite
def paths(draw: st.DrawFn, door: Door, known: Known, faults: Collection[Fault]) -> bytes:
    path, *parts = door.path.split("{}")
    for place, part in enumerate(parts):
        right = known.account if place == 0 and path.endswith("/accounts/") else "fix"
        value = draw(odd_bytes) if Fault.PARAMETER in faults and draw(st.booleans()) else right.encode()
        path += quote_from_bytes(value, safe="") + part
    if Fault.SUFFIX in faults:
        path += draw(st.sampled_from(["/", "%0A", "%00", "%20", ";x", "//", "/..", "%2f", "?", "#", "%"]))
    return path.encode()


@st.composite
def fields(draw: st.DrawFn, known: Known, faults: Collection[Fault]) -> list[tuple[str, bytes]]:
    """What a form or a query has in it. Most doors know a few fields only, and refuse none that they do not know."""
    pairs = [(name, value.encode()) for name, value in known.fields.items()]
    if Fault.MISSING in faults:
        pairs = draw(st.permutations(pairs))[: draw(st.integers(0, len(pairs)))]
    if Fault.VALUES in faults:
        odd = draw(st.lists(st.tuples(names, st.one_of(odd_bytes, odd_text.map(careless))), min_size=1, max_size=4))
        pairs = [*(pair for pair in pairs if pair[0] not in dict(odd)), *odd]
    if Fault.TWICE in faults and pairs:
        pairs = [*pairs, draw(st.sampled_from(pairs))]
    if Fault.MANY in faults:
        count = draw(st.sampled_from([45, 51, 60, 1001]))
        pairs = [*pairs, *((f"field{number}", b"x") for number in range(count))]
    return pairs


@st.composite
def documents(draw: st.DrawFn, door: Door, pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """A JSON body for this door."""
    if door.path.endswith("/mcp"):
        return draw(messages())
    known = {name: value.decode("utf-8", "replace") for name, value in pairs}
    return as_json(known | draw(st.dictionaries(names, values, max_size=2)))


@st.composite
def ordinary_headers(draw: st.DrawFn, door: Door, known: Known) -> list[Header]:
    """Those of a client at an address of its own, which shows one of the credentials or none."""
    headers: list[Header] = [(b"X-Forwarded-For", f"2001:db8:{draw(st.integers(1, 65535)):x}::1".encode())]
    headers += draw(st.sampled_from([(), *known.credentials]))
    headers.append((b"Accept", draw(st.sampled_from([b"application/json, text/event-stream", b"text/html"]))))
    if door.path.endswith("/mcp") and draw(st.booleans()):
        headers.append((b"MCP-Protocol-Version", draw(st.sampled_from(VERSIONS)).encode()))
    return headers


_ODD_HEADERS: tuple[Header, ...] = (
    (b"Content-Length", b"-1"),
    (b"Content-Length", b"99999999999"),
    (b"Content-Length", b"5"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Content-Encoding", b"gzip"),
    (b"Expect", b"100-continue"),
    (b"Range", b"bytes=0-1"),
    (b"If-None-Match", b"\xff"),
    (b"Host", b"evil.example"),
    (b"Origin", b"null"),
    (b"Origin", b"\xff\xfe"),
    (b"Cookie", b"=;=; \x80=\xff; codemode_session=" + b"a" * 3000),
    (b"Authorization", b"Basic !!!"),
    (b"Authorization", b"Basic " + b"/w==" * 10),
    (b"Authorization", b"Bearer"),
    (b"Authorization", b"\xff \xff"),
    (b"CF-Access-Token", b"a.b.c"),
    (b"CF-Access-Client-Id", b"\x80"),
    (b"Mcp-Session-Id", b"00000000000000000000000000000000"),
    (b"Mcp-Session-Id", b"\xff"),
    (b"Mcp-Method", b"tools/list"),
    (b"Mcp-Name", b"=?base64?!!!?="),
    (b"Mcp-Param-X", b"\xff\x01"),
    (b"Last-Event-ID", b"-1/9"),
    (b"Sec-Fetch-Mode", b"navigate"),
    (b"X-Forwarded-For", b"unknown, \xff, ::ffff:1.2.3.4.5"),
    (b"X-Forwarded-Proto", b"gopher"),
    (b"Accept-Language", b"," * 500),
    (b"Access-Control-Request-Method", b"POST"),
    (b"Authorization", b"Basic \xff"),
    *((b"Authorization", b"Basic " + base64.b64encode(text)) for text in (b"\xff\xfe:x", b"a", b":", b"%ff%00:%00")),
    (b"Authorization", b"Basic " + base64.b64encode(b"a:" + b"b" * 9000)),
    (b"Authorization", b"Bearer \xff\xfe"),
    (b"Authorization", b"Bearer e30.e30.e30"),
    (b"Authorization", b"\xe9 a.b.c"),
    (b"Cookie", b"portal_session=\xff\xfe; portal_browser=" + b"x" * 43),
    (b"Accept", b"\xff\xfe"),
    (b"Accept-Language", b"\xff;q=nan"),
    (b"Accept-Encoding", b"\xe9"),
    (b"X-Forwarded-For", b"\xff, ::1%eth0, nonsense"),
    (b"Forwarded", b"for=\xe9"),
    (b"MCP-Protocol-Version", b"\xff"),
    (b"Last-Event-ID", b"\xff"),
    (b"CF-Access-Token", b"\xff.\xfe.\xe9"),
    (b"Access-Control-Request-Method", b"\xff"),
    (b"Range", b"bytes=\xff-"),
    (b"If-Modified-Since", b"\xe9"),
)
_ODD_TOGETHER: tuple[tuple[Header, ...], ...] = (
    ((b"Authorization", b"Bearer a"), (b"Authorization", b"Bearer b")),
    ((b"Cookie", b"portal_browser=" + b"A" * 43), (b"Cookie", b"portal_browser=" + b"B" * 43)),
    ((b"Sec-Fetch-Mode", b"navigate"), (b"Accept", b"text/html")),
    ((b"CF-Access-Client-Id", b"\xff"), (b"CF-Access-Client-Secret", b"\xe9")),
    ((b"Content-Encoding", b"gzip"), (b"Expect", b"100-continue")),
    ((b"Origin", b"http://localhost"), (b"Access-Control-Request-Method", b"\xff")),
)
odd_headers = st.sampled_from([*((header,) for header in _ODD_HEADERS), *_ODD_TOGETHER])
"""One header, or several that are odd together."""
