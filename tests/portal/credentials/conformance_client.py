"""The client that the official conformance suite starts: a portal whose only server is the suite's, and a call of it.

`python -m tests.portal.credentials.conformance_client URL`. The suite appends the URL, puts the name of the scenario
into the environment as `MCP_CONFORMANCE_SCENARIO`, and what the client is given as `MCP_CONFORMANCE_CONTEXT`. Where a
person would log in, the address is opened here; the suite sends the browser back at once. Where a person has signed in
at an identity provider, the suite gives the ID token.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from portal.app import Instance, Parts
from portal.calls import Call
from portal.config import HttpServer, parse_config
from portal.credentials import (
    OWN,
    CredentialError,
    Outbound,
    PortalClient,
    ServerCredentials,
    begin_login,
    challenge_of,
    complete_login,
    keep_sign_in,
    save_login,
    stored_logins,
)
from portal.errors import AuthorizationRequired
from portal.identity import Identity
from portal.login import ProviderTokens, SignedIn, claims_of_verified, end_of
from portal.logs import Discard
from portal.servers import Servers
from portal.state import Store, plain, utc_now
from tests.portal.upstreams.watching import server_config, watched

CALLBACK = "http://127.0.0.1:3000/callback"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
PROVIDER = "idp"
# A person gives up when the same is asked for again and again.
LOGINS = 3


async def issuer_of(url: str) -> str:
    """The authorization server that the metadata of a server names: an administrator knows which one knows the client,
    and the suite does not say it."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
    async with aiohttp.ClientSession() as session, session.get(place) as answer:
        return str((await answer.json())["authorization_servers"][0])


async def section(url: str, context: dict[str, Any]) -> dict[str, Any] | None:
    """What an administrator writes into `oauth` for what the client is given."""
    if "client_id" not in context:
        return None
    oauth: dict[str, Any] = {"clientId": context["client_id"], "issuer": await issuer_of(url)}
    if "client-credentials" in os.environ["MCP_CONFORMANCE_SCENARIO"]:
        oauth["grant"] = "client_credentials"
    if "idp_id_token" in context:
        oauth |= {"grant": "id_jag", "identityProvider": PROVIDER}
    if "private_key_pem" in context:
        return oauth | {"privateKey": context["private_key_pem"], "algorithm": context["signing_algorithm"]}
    return oauth | {"clientSecret": context["client_secret"]}


async def log_in(server: HttpServer, store: Store) -> None:
    """What `codemode login` does, with a browser that only follows."""
    former = await stored_logins(store, subject=OWN, server=server.id)
    wanted = " ".join(one.document.wanted_scope for one in former)
    challenge = await challenge_of(server)
    if challenge is None:
        return
    portal = PortalClient("Conformance", CALLBACK, DOCUMENT, native=True)
    async with Outbound(server.url) as outbound, aiohttp.ClientSession() as browser:
        pending = await begin_login(
            server, challenge, portal, outbound, store, subject=OWN, now=datetime.now(UTC), scope=wanted
        )
        async with browser.get(pending.url, allow_redirects=False) as redirect:
            answer = dict(parse_qsl(urlsplit(redirect.headers["location"]).query))
        if answer.get("state") != pending.state:
            raise CredentialError("the state is another")
        saved = await complete_login(pending, answer, server.oauth, outbound, store, datetime.now(UTC))
    await save_login(store, *saved)


async def sign_in(store: Store, context: dict[str, Any]) -> str:
    """What a sign-in at the suite's identity provider leaves; the id of the person."""
    client, issuer = str(context["idp_client_id"]), str(context["idp_issuer"])
    config = {"client_id": client, "issuer": issuer, "keep_tokens": True}
    await store.create(plain("identity_provider"), PROVIDER, {"type": "oidc", "config": config}, by="suite")
    claims = claims_of_verified(str(context["idp_id_token"]))
    now = datetime.now(UTC)
    tokens = ProviderTokens(
        issuer=issuer,
        client_id=client,
        token_endpoint=str(context["idp_token_endpoint"]),
        id_token=str(context["idp_id_token"]),
        ends_at=end_of(claims, now),
        access="",
        access_ends_at=None,
    )
    identity = Identity(id=f"{PROVIDER}:{claims['sub']}", idp_id=PROVIDER)
    await keep_sign_in(store, utc_now, SignedIn(identity, tokens))
    return identity.id


async def call_as(subject: str, entry: dict[str, Any], store: Store) -> None:
    """A call by one person, of whom the portal has a sign-in and no login."""
    async with ServerCredentials(store) as credentials:
        credential = credentials.of_person(server_config(entry), subject)
        assert credential is not None
        try:
            async with watched(entry, options={"credential": credential}) as up:
                await up.until(lambda connection: connection.state != "waiting")
                sys.stderr.write(f"{up.connection.state}: {up.connection.reason}\n")
                listed: dict[str, Any] = await up.connection.request("tools/list", {})
                for tool in listed["tools"][:1]:
                    sys.stderr.write(f"{await up.call(str(tool['name']))}\n")
        finally:
            await credential.aclose()


async def call(servers: Servers) -> None:
    server = (await servers.settled()).servers["suite"]
    sys.stderr.write(f"{server.state}: {server.reason}\n")
    with servers.lease() as lease:
        connection = lease.connection("suite")
        for tool in server.tools[:1]:
            asked = Call.tool("suite", str(tool["name"]))
            sys.stderr.write(f"{await connection.request(asked.method, asked.params)}\n")


async def main(url: str) -> None:
    context: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with TemporaryDirectory() as folder:
        entry: dict[str, Any] = {"url": url, "type": "http", "oauth": await section(url, context)}
        document = {"mcpServers": {"suite": entry}, "portal": {"state": f"sqlite:///{folder}/state.db"}}
        config = parse_config(document)
        server = config.servers["suite"]
        assert isinstance(server, HttpServer)
        async with Instance.open(config, Discard(), parts=Parts(code=None)) as instance:
            store = instance.shared.require_store()
            if "idp_id_token" in context:
                await call_as(await sign_in(store, context), entry, store)
                return
            for _ in range(LOGINS):
                try:
                    await call(instance.servers)
                    if instance.servers.snapshot.servers["suite"].state == "ready":
                        return
                except AuthorizationRequired as error:
                    sys.stderr.write(f"{error.full_message}\n")
                await log_in(server, store)
                # The login is taken up within moments, or the server wants another one.
                for _ in range(20):
                    await instance.servers.refresh("suite")
                    if instance.servers.snapshot.servers["suite"].state == "ready":
                        break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
