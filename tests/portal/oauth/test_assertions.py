"""What upstream servers are told of who calls, how they check it, and what comes of passing it on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from portal.calls.assertions import AssertionCredentials
from portal.calls.gate import Call
from portal.identity import Identity
from portal.oauth.assertions import HEADER, claims_of
from portal.upstream import CallContext
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ADA = Identity(id="local:1", email="ada@example.com", idp_id="local", idp_type="local")
AUDIENCE = "f" * 64


async def told(portal: Guarded, server: str = "tickets", identity: Identity = ADA) -> str:
    """The assertion a call carries, "" without one."""
    portal.identity.assertions.issuer = portal.url
    credentials = AssertionCredentials(lambda: portal.identity.assertions)
    headers = await credentials.headers(Call.tool(server, "list"), CallContext(principal=identity))
    return headers.get(HEADER, "")


def checked(token: str, portal: Guarded, audience: str = AUDIENCE) -> dict[str, Any]:
    """As an upstream server does it, with the keys from the portal's address."""
    key = jwt.PyJWKClient(f"{portal.url}/cdn-cgi/access/certs").get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=portal.url)
    return claims


async def test_a_server_that_asks_is_told_who_calls_and_can_check_it(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, audiences={"tickets": AUDIENCE}) as portal:
        claims = await asyncio.to_thread(checked, await told(portal), portal)
        assert (claims["sub"], claims["email"], claims["type"]) == ("local:1", "ada@example.com", "app")
        assert claims["exp"] - claims["iat"] <= 300
        assert await told(portal, "weather") == ""
        with pytest.raises(jwt.InvalidAudienceError):
            await asyncio.to_thread(checked, await told(portal), portal, "0" * 64)


async def test_keys_rotate_and_the_former_one_stays_published_for_a_while(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, audiences={"tickets": AUDIENCE}) as portal:
        keys = portal.identity.shared.keys
        first = await keys.current()
        portal.clock.ahead = timedelta(days=43)
        second = await keys.current()
        assert first.kid != second.kid
        assert [key["kid"] for key in (await keys.key_set())["keys"]] == [second.kid, first.kid]
        assert all("d" not in key for key in (await keys.key_set())["keys"])
        portal.clock.ahead = timedelta(days=51)
        assert [key["kid"] for key in (await keys.key_set())["keys"]] == [second.kid]


async def test_no_private_key_is_stored_readably(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        private = (await portal.identity.shared.keys.current()).private
        assert "PRIVATE KEY" in private
        assert private not in repr(await portal.identity.shared.keys.current())
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert private.splitlines()[1].encode() not in kept
        assert b"PRIVATE KEY" not in kept


async def test_an_application_may_pass_its_assertion_on_and_comes_in_as_itself(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, audiences={"tickets": AUDIENCE}) as portal:
        token = await told(portal)
        portal.rules.allowed = lambda identity: "tickets" in identity.linked_apps
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await Agent(portal, http).use(**{"Cf-Access-Token": token})).status_code == 200
            identity = portal.rules.asked[-1]
            assert (identity.id, identity.email, identity.linked_apps) == ("", "", ("tickets",))
            portal.rules.allowed = lambda identity: bool(identity.email)
            assert (await Agent(portal, http).use(**{"Cf-Access-Token": token})).status_code == 403


def signed_with_text(claims: dict[str, Any], kid: str, secret: str) -> str:
    """HS256 with the public key as its secret: what a verifier takes that lets the token choose the algorithm."""
    head = unsigned(claims, {"alg": "HS256", "kid": kid})[:-1]
    mac = hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, ""])


async def test_an_assertion_that_does_not_hold_is_nobodys(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, audiences={"tickets": AUDIENCE}) as portal:
        assert await portal.identity.assertions.linked(await told(portal))
        keys, now = portal.identity.shared.keys, int(time.time())
        good = claims_of(ADA, portal.url, AUDIENCE, now)
        key = await keys.current()
        public = json.dumps(key.public)
        forged = [
            unsigned(good, {"alg": "none", "kid": key.kid}),
            unsigned(good, {"alg": "None", "kid": key.kid}),
            signed_with_text(good, key.kid, public),
            await keys.sign({**good, "aud": ["0" * 64]}),
            await keys.sign({name: value for name, value in good.items() if name != "aud"}),
            await keys.sign({**good, "iss": "https://evil.example"}),
            await keys.sign({**good, "exp": now - 10}),
            await keys.sign({**good, "nbf": now + 600}),
            await keys.sign({**good, "exp": "9999999999"}),
            await keys.sign({**good, "exp": now + 48 * 3600}),
            await keys.sign({name: value for name, value in good.items() if name != "exp"}),
            jwt.encode(good, key.private, "ES256", headers={"kid": key.kid, "crit": ["bork"], "bork": True}),
            jwt.encode(good, key.private, "ES256", headers={"kid": "0" * 32}),
            jwt.encode(good, key.private, "ES256"),
            (await keys.sign(good))[:-4] + "AAAA",
            "x",
        ]
        assert [await portal.identity.assertions.linked(token) for token in forged] == [None] * len(forged)
        assert await portal.identity.assertions.linked(await keys.sign(good)) is not None
