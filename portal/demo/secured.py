"""Example upstream that checks who calls: `python -m portal.demo.secured --portal URL --audience NAME [--port PORT]`.

It takes the portal's word and nobody else's: each call must carry a `Cf-Access-Jwt-Assertion` signed by the portal,
for this audience, not expired. It prints its URL as the first line of standard output; port 0 takes a free one.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from typing import Any

import jwt
import uvicorn
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, CallToolResult, ListToolsResult, TextContent, Tool

HEADER = "cf-access-jwt-assertion"
WHO_AM_I = Tool(name="who_am_i", description="Says who is calling.", input_schema={"type": "object"})


class Callers:
    """Reads assertions of one portal. Its public keys are fetched when a key id is new, and kept."""

    def __init__(self, portal: str, audience: str) -> None:
        self._issuer = portal
        self._audience = audience
        self._keys = jwt.PyJWKClient(f"{portal}/cdn-cgi/access/certs")

    async def who(self, assertion: str) -> dict[str, Any]:
        """The claims about the caller.

        Raises:
            jwt.PyJWTError: the assertion is missing or does not hold.
        """
        key = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, assertion)
        claims: dict[str, Any] = jwt.decode(
            assertion,
            key,
            algorithms=["ES256"],
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["exp", "iat", "sub"]},
        )
        return claims


def build_server(callers: Callers) -> Server[Any]:
    """Anybody may list the tools: the portal does so before anybody has signed in. Calling one takes an identity."""

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[WHO_AM_I])

    async def call_tool(context: Any, params: Any) -> CallToolResult:
        try:
            claims = await callers.who(context.request.headers.get(HEADER, ""))
        except jwt.PyJWTError:
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
    asked = parser.parse_args()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", asked.port))
    listening.listen(128)
    server = build_server(Callers(asked.portal, asked.audience))
    app = server.streamable_http_app(host="127.0.0.1")
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
