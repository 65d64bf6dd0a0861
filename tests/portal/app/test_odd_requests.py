"""What strangers send to a portal where people sign in: every path by every spelling, every route in every odd form."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Route

from tests.deep import times
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

MIB = 1 << 20
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
FORM, JSON = b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: application/json"


class Reply:
    """`headers` by their names in lower case, the last of each."""

    def __init__(self, raw: bytes) -> None:
        assert raw, "the connection ended without an answer"
        head, _, self.body = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def ask(url: str, method: str, path: bytes, *headers: bytes, body: bytes = b"", size: int | None = None) -> Reply:
    """The answer to a request of these bytes. With a `size` its body is said to have it, and does not come."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length = b"Content-Length: %d" % (len(body) if size is None else size)
    lines = [b"%b %b HTTP/1.1" % (method.encode(), path), b"Host: localhost", b"Connection: close", length, *headers]
    try:
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        async with asyncio.timeout(PATIENCE):
            return Reply(await reader.read())
    finally:
        writer.close()


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[Guarded]:
    async with guarded_portal(folder) as portal:
        yield portal


async def test_whatever_leads_to_an_endpoint_wants_a_credential(tmp_path: Path) -> None:
    async with guarded(tmp_path) as portal:
        for path in (b"/mcp", b"/%6dcp", b"/m%63p", b"/nobody/mcp", b"/no%2dbody/mcp", b"/mcp?codemode=off"):
            for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
                assert (await ask(portal.url, method, path, JSON, body=LIST)).status == 401, (method, path)


SPELLINGS = (
    *(
        b"/mcp%0A",
        b"/mcp%0a%0a",
        b"/mcp%0D%0A",
        b"/mcp%00",
        b"/mcp%20",
        b"/mcp%09",
        b"/mcp/",
        b"//mcp",
        b"/./mcp",
        b"/mcp;x",
    ),
    *(b"/MCP", b"/mcp%2F", b"/%2Fmcp", b"/mcp%3F", b"/mcp%23", b"/x/../mcp", b"/mcp.", b"/mcp%C2%A0", b"/%0Amcp"),
    *(b"/nobody/mcp%0A", b"/nobody//mcp", b"/mcp/mcp/mcp", b"/mcp%E2%80%A8", b"/m%E2%80%8Bcp", b"/mcp%252F"),
)


async def test_no_other_spelling_of_a_path_leads_to_the_endpoint(tmp_path: Path) -> None:
    async with guarded(tmp_path) as portal:
        # With a policy that lets everybody in, a path past the sign-in would be answered by the endpoint.
        portal.rules.allowed = lambda identity: True
        assert (await ask(portal.url, "POST", b"/mcp", JSON, body=LIST)).status != 404
        for path in SPELLINGS:
            answer = await ask(portal.url, "POST", path, JSON, body=LIST)
            assert (answer.status, b'"reason":"http"' in answer.body) == (404, True), path


async def test_a_line_break_behind_any_path_is_another_path(tmp_path: Path) -> None:
    async with guarded(tmp_path) as portal:
        for path in (b"/healthz%0A", b"/token%0A", b"/register%0A", b"/authorize%0A", b"/login%0A", b"/servers%0A"):
            for method, kind in (("GET", JSON), ("POST", FORM), ("POST", JSON)):
                assert (await ask(portal.url, method, path, kind, body=b"{}")).status in (404, 415), path


async def test_who_is_nobody_is_refused_before_a_byte_of_a_body_is_sent(tmp_path: Path) -> None:
    async with guarded(tmp_path) as portal:
        admin = f"/client/v4/accounts/{portal.admin.account_id}/access/service_tokens".encode()
        for method, path, kind, size, status in (
            ("POST", b"/mcp", JSON, 4 * MIB, 401),
            ("POST", b"/nobody/mcp", JSON, 4 * MIB, 401),
            ("POST", admin, JSON, MIB, 401),
            ("PUT", admin + b"/x", JSON, MIB, 401),
            ("POST", b"/register", JSON, MIB, 413),
            ("POST", b"/token", FORM, MIB, 413),
            ("POST", b"/authorize/consent", FORM, MIB, 413),
            ("POST", b"/nowhere", JSON, MIB, 404),
        ):
            answer = await ask(portal.url, method, path, kind, size=size)
            assert answer.status == status, path


QUERIES = (
    *(b"?" + b"a=1&" * 12_000, b"?%", b"?%ff%fe=%00", b"?\xe9=\xff", b"?[]=1&a[b]=2", b"?a=1&a=2&a=3", b"?=&=&;;&&"),
    *(b"?request=" + b"x" * 20_000, b"?code=%00&state=%00&iss=%00", b"?client_id=%ed%a0%80&redirect_uri=%00"),
    *(
        b"?client_id=a&client_id=b",
        b"?elicitationId=%00%ff",
        b"?token=%0d%0aX:%20y&return=//x&target=%5c%5c",
        b"?agent=%00",
    ),
    *(
        b"?codemode=%ff",
        b"?page=1e999&per_page=-1",
        b"?page=%00",
        b"?" + b"a" * 50_000,
        b"?client_id=https://%5b/&response_type=code",
    ),
)
BASIC = [base64.b64encode(text) for text in (b"\xff\xfe:x", b"a", b":", b"%ff%00:%00", b"a:" + b"b" * 9000)]
HEADERS = (
    *((b"Authorization: Basic " + text,) for text in BASIC),
    *(
        (b"Authorization: %b" % text,)
        for text in (b"Basic !", b"Basic \xff", b"Bearer \xff\xfe", b"Bearer", b"\xe9 a.b.c")
    ),
    (b"Authorization: Bearer a", b"Authorization: Bearer b"),
    (b"Authorization: Bearer e30.e30.e30",),
    (b"Cookie: portal_session=\xff\xfe; portal_browser=" + b"x" * 43,),
    (b"Cookie: portal_browser=" + b"A" * 43, b"Cookie: portal_browser=" + b"B" * 43),
    (b"Accept: \xff\xfe", b"Accept-Language: \xff;q=nan", b"Accept-Encoding: \xe9"),
    (b"Sec-Fetch-Mode: navigate", b"Accept: text/html"),
    (b"X-Forwarded-For: \xff, ::1%eth0, nonsense", b"Forwarded: for=\xe9"),
    (b"Mcp-Session-Id: \xff\xe9", b"Mcp-Protocol-Version: \xff", b"Last-Event-Id: \xff"),
    (b"Cf-Access-Client-Id: \xff", b"Cf-Access-Client-Secret: \xe9"),
    (b"Cf-Access-Token: \xff.\xfe.\xe9",),
    (b"Content-Encoding: gzip", b"Expect: 100-continue"),
    (b"Origin: http://localhost", b"Access-Control-Request-Method: \xff"),
    (b"If-None-Match: \xff", b"Range: bytes=\xff-", b"If-Modified-Since: \xe9"),
)
BODIES = (
    *((FORM, b"&".join(b"f%d=x" % n for n in range(many))) for many in (51, 5000)),
    *(
        (FORM, text)
        for text in (b"a=%", b"%ff=%fe&grant_type=%00", b"a=b&a=b", b";;;", b"=&=&=", b"\x00\xff", b"{}", b"&" * 9000)
    ),
    (FORM, b"grant_type=refresh_token&refresh_token=%ed%a0%80&client_id=%00"),
    (FORM, b"grant_type=authorization_code&code=%00&code_verifier=%ff&client_id=https://%5b::1/x"),
    (FORM, b"form_token=%ff&email=%00&password=%ed%a0%80&token=%00&request=%ff"),
    (FORM, b"token=" + b"x" * 60_000),
    (FORM + b"; charset=utf-99", b"a=\xe9"),
    (FORM + b"\r\n" + FORM, b"a=b"),
    (FORM + b"; boundary=x", b"--x\r\n\r\n"),
    *(
        (b"Content-Type: multipart/form-data" + more, b"--x\r\nContent-Disposition: form-data\r\n\r\n")
        for more in (b"", b"; boundary=x")
    ),
    *(
        (b"Content-Type: " + kind, b"{}")
        for kind in (b"", b"\xff", b"text/plain; charset=\xff", b"application/json; charset=utf-16")
    ),
    *(
        (JSON, text)
        for text in (
            b"",
            b"{",
            b"null",
            b"[]",
            b"\xff\xfe{\x00}\x00",
            b'{"a":1e999}',
            b"1" * 5000,
            b'"\\ud800"',
            b"{}{}",
        )
    ),
    (JSON, b'{"redirect_uris":["http://[","\\u0000",7,null,{}],"client_name":["\\ud800"],"contacts":{}}'),
    (JSON, b'{"redirect_uris":' + b"[" * 90 + b"]" * 90 + b"}"),
    (JSON, b'{"name":"\\u0000","hostname":"\\ud800","include":[{"email":{"email":[]}}],"decision":{},"config":[[]]}'),
    (JSON, b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"\\u0000","capabilities":[]}}'),
)


def routes_of(portal: Guarded) -> Iterator[tuple[str, bytes]]:
    """Each method and path of the instance, with something in place of its parameters."""
    account = f"/client/v4/accounts/{portal.admin.account_id}"
    every = {"GET", "POST", "DELETE"}
    own = [(one.path, one.methods or every) for one in portal.identity.routes if isinstance(one, Route)]
    api = [(account + one.path, {str(one.method)}) for one in portal.admin.operations]
    yield from (("GET", b"/healthz"), ("GET", b"/mcp"), ("POST", b"/mcp"), ("DELETE", b"/mcp"), ("PATCH", b"/nothing"))
    for path, methods in [*own, *api]:
        for method in sorted(methods - {"HEAD"}):
            parts = [b"x%ff%00" if part.startswith("{") else part.encode() for part in path.split("/")]
            yield method, b"/".join(parts)


@pytest.mark.parametrize("each", times(1, 12))
async def test_no_request_of_any_form_is_our_fault(each: int, tmp_path: Path) -> None:
    async with guarded(tmp_path) as portal, browser_at(portal.url) as browser, httpx2.AsyncClient() as http:
        await portal.account()
        agent = Agent(portal, http)
        tokens = await agent.log_in(browser)
        api = (await portal.admin.tokens.create_with_all("t", "test")).value
        cookies = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
        queries, headers, bodies = cycle(QUERIES), cycle(HEADERS), cycle(BODIES)
        known = (
            (),
            (b"Cookie: " + cookies.encode(), b"Sec-Fetch-Mode: navigate"),
            (b"Authorization: Bearer " + tokens["access_token"].encode(),),
            (b"Authorization: Bearer " + api.encode(),),
        )
        faults: list[tuple[object, ...]] = []
        kept: set[tuple[str, bytes, str]] = set()

        async def send(method: str, path: bytes, *head: bytes, body: bytes = b"") -> None:
            answer = await ask(portal.url, method, path, *head, body=body)
            if answer.status >= 500:
                faults.append((answer.status, method, path[:80], head, body[:80]))
            cache = answer.headers.get("cache-control", "")
            if "no-store" not in cache and "public" not in cache:
                kept.add((method, path[:40], cache))

        for method, path in routes_of(portal):
            ours = path.startswith(b"/client/")
            rest = b"{}" if method != "GET" else b""
            for who in known[-1:] if ours else known[:-1]:
                if method in ("POST", "PUT", "PATCH"):
                    every = not who and path in (b"/token", b"/revoke", b"/register")
                    for kind, body in BODIES if every else islice(bodies, 3 * each):
                        await send(method, path, *who, kind, body=body)
                for query in islice(queries, each):
                    await send(method, path + query, *who, JSON, body=rest)
                for more in islice(headers, each):
                    await send(method, path, *who, *more, JSON, body=rest)
        assert faults == []
        assert kept == set()
