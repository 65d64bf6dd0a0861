"""What strangers send to a portal where people sign in: a path by every spelling, and bodies that nobody asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.portal.http.raw import Answer, send
from tests.portal.login.guarded import guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

MIB = 1 << 20
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
FORM, JSON = b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: application/json"


async def ask(
    url: str, method: str, path: bytes, *headers: bytes, body: bytes = b"", size: int | None = None
) -> Answer:
    """The answer to a request of these bytes. With a `size` its body is said to have it, and does not come."""
    length = b"Content-Length: %d" % (len(body) if size is None else size)
    lines = [b"%b %b HTTP/1.1" % (method.encode(), path), b"Host: localhost", b"Connection: close", length, *headers]
    return await send(url, b"\r\n".join(lines) + b"\r\n\r\n" + body)


async def test_whatever_leads_to_an_endpoint_wants_a_credential(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
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
    async with guarded_portal(tmp_path) as portal:
        # With a policy that lets everybody in, a path past the sign-in would be answered by the endpoint.
        portal.rules.allowed = lambda identity: True
        assert (await ask(portal.url, "POST", b"/mcp", JSON, body=LIST)).status != 404
        for path in SPELLINGS:
            answer = await ask(portal.url, "POST", path, JSON, body=LIST)
            assert (answer.status, b'"reason":"http"' in answer.body) == (404, True), path


async def test_a_line_break_behind_any_path_is_another_path(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        for path in (b"/healthz%0A", b"/token%0A", b"/register%0A", b"/authorize%0A", b"/login%0A", b"/servers%0A"):
            for method, kind in (("GET", JSON), ("POST", FORM), ("POST", JSON)):
                assert (await ask(portal.url, method, path, kind, body=b"{}")).status in (404, 415), path


async def test_who_is_nobody_is_refused_before_a_byte_of_a_body_is_sent(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
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
