"""The client that the official conformance suite starts: a portal whose only server is the suite's, and a call of it.

`python -m tests.portal.credentials.conformance_client URL`. The suite appends the URL, and puts the credentials of the
client into the environment as `MCP_CONFORMANCE_CONTEXT`. It does not say which authorization server knows the client,
which an administrator knows; it is read here from the server's metadata.
"""

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from portal.app import Instance, Parts
from portal.calls import Call
from portal.config import parse_config
from portal.logs import Discard


async def issuer_of(url: str) -> str:
    """The authorization server that the metadata of a server names."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
    async with aiohttp.ClientSession() as session, session.get(place) as answer:
        return str((await answer.json())["authorization_servers"][0])


async def main(url: str) -> None:
    context: dict[str, Any] = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])
    oauth: dict[str, Any] = {
        "grant": "client_credentials",
        "clientId": context["client_id"],
        "issuer": await issuer_of(url),
    }
    if "private_key_pem" in context:
        oauth |= {"privateKey": context["private_key_pem"], "algorithm": context["signing_algorithm"]}
    else:
        oauth |= {"clientSecret": context["client_secret"]}
    config = parse_config({"mcpServers": {"suite": {"url": url, "oauth": oauth}}})
    async with Instance.open(config, Discard(), parts=Parts(code=None)) as instance:
        snapshot = await instance.servers.settled()
        server = snapshot.servers["suite"]
        sys.stderr.write(f"{server.state}: {server.reason}\n")
        with instance.servers.lease() as lease:
            for tool in server.tools[:1]:
                call = Call.tool("suite", str(tool["name"]))
                sys.stderr.write(f"{await lease.connection('suite').request(call.method, call.params)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
