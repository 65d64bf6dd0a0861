"""Example upstream that knows its callers: `python -m portal.demo.secured --portal URL --audience NAME [--port PORT]`.

It trusts only the portal: each call must have a `Cf-Access-Jwt-Assertion` that the portal signed for this audience and
that has not expired. It prints its URL as the first line of standard output. Port 0 takes a free port.
"""

from __future__ import annotations

import argparse
import socket
import sys

import uvicorn
from aiohttp import ClientError, ClientSession
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, CallToolResult, ListToolsResult, TextContent, Tool
from starlette.requests import Request

HEADER = "cf-access-jwt-assertion"
WHO_AM_I = Tool(name="who_am_i", description="Says who is calling.", input_schema={"type": "object"})


class AssertionInvalid(Exception):
    """The assertion is missing, or not valid here."""


class Callers:
    """Reads the assertions of one portal. Its public keys are fetched when a key id is new."""

    def __init__(self, portal: str, audience: str) -> None:
        self._certs = f"{portal}/cdn-cgi/access/certs"
        self._keys = KeySet([])
        self._required = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": portal},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            # Empty for a service token.
            sub={"essential": True, "allow_blank": True},
        )

    async def claims(self, assertion: str) -> dict[str, object]:
        """The claims about the caller.

        Raises:
            AssertionInvalid: the assertion is missing or not valid.
        """
        try:
            claims = (await self._decode(assertion)).claims
            self._required.validate(claims)
        except (JoseError, ClientError, TimeoutError, LookupError, ValueError, TypeError, RecursionError) as error:
            raise AssertionInvalid(str(error)) from error
        return claims

    async def _decode(self, assertion: str) -> jwt.Token:
        try:
            return jwt.decode(assertion, self._keys, algorithms=["ES256"])
        except InvalidKeyIdError:
            # The key is new, or not one of the portal's.
            self._keys = KeySet.import_key_set(await self._fetch())
            return jwt.decode(assertion, self._keys, algorithms=["ES256"])

    async def _fetch(self) -> KeySetSerialization:
        async with ClientSession(raise_for_status=True) as http, http.get(self._certs) as answer:
            keys: KeySetSerialization = await answer.json()
            return keys


def build_server(callers: Callers) -> Server[object]:
    """The MCP server. A call needs an identity. Listing does not: the portal lists tools before anybody signs in."""

    async def list_tools(context: object, params: object) -> ListToolsResult:
        return ListToolsResult(tools=[WHO_AM_I])

    async def call_tool(context: ServerRequestContext[object, Request], params: object) -> CallToolResult:
        try:
            claims = await callers.claims(context.request.headers.get(HEADER, "") if context.request else "")
        except AssertionInvalid:
            raise MCPError(INVALID_REQUEST, "Calls are taken from people who signed in at the portal.") from None
        who = claims.get("email") or claims.get("common_name") or claims["sub"]
        return CallToolResult(content=[TextContent(type="text", text=f"You are {who}.")])

    return Server("secured", on_list_tools=list_tools, on_call_tool=call_tool)


def main() -> None:
    """Serve on loopback until interrupted, after printing the URL."""
    parser = argparse.ArgumentParser(description="An MCP server that knows who calls.")
    parser.add_argument("--portal", required=True, help="origin of the portal, such as https://portal.example.com")
    parser.add_argument("--audience", required=True, help="what the portal calls this server: `assertionAudience`")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", options.port))
    listening.listen(128)
    server = build_server(Callers(options.portal, options.audience))
    app = server.streamable_http_app(host="127.0.0.1")
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
