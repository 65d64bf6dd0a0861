"""`Cf-Access-Jwt-Assertion`: tells the upstream servers that ask for it who calls, signed by the portal.

A server checks signature (keys at `/cdn-cgi/access/certs`), issuer (the portal's origin), audience (its own) and
expiry, and knows the person without ever having one of their credentials. It may pass the assertion on to another
application of the portal as `Cf-Access-Token`, where a policy of decision `non_identity` with `linked_app_token` lets
it in: as that application, not as the person.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portal.bounded import Bounded
from portal.identity import Identity
from portal.oauth.signing import SigningKeys

CERTS_PATH = "/cdn-cgi/access/certs"
HEADER = "Cf-Access-Jwt-Assertion"
VALID_SECONDS = 300
KEPT_SECONDS = 60.0
MAX_KEPT = 10_000
MAX_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Signed:
    """An assertion about an identity, to be used again until a time of the monotonic clock."""

    token: str
    identity: Identity
    until: float


class Assertions:
    """Signs and verifies assertions.

    `audiences` has the audience of each server that asks for them. `issuer` is the portal's origin; a portal on a free
    port of loopback knows it once it listens, and signs nothing before.
    """

    def __init__(self, keys: SigningKeys, issuer: str, audiences: Mapping[str, str]) -> None:
        self.issuer = issuer
        self.audiences = dict(audiences)
        self._keys = keys
        # By the id of an identity, audience and issuer. The entry holds the identity, so that no other can get its id.
        self._signed: Bounded[tuple[int, str, str], _Signed] = Bounded(MAX_KEPT)

    async def headers(self, identity: Identity, server: str) -> dict[str, str]:
        """The headers of a call by this caller to this server: empty if the server does not ask for assertions."""
        audience = self.audiences.get(server)
        if not audience or not self.issuer:
            return {}
        key = id(identity), audience, self.issuer
        signed = self._signed.get(key)
        if signed is None or signed.identity is not identity or time.monotonic() > signed.until:
            token = await self._keys.sign(claims_of(identity, self.issuer, audience, int(time.time())))
            signed = self._signed[key] = _Signed(token, identity, time.monotonic() + KEPT_SECONDS)
        return {HEADER: signed.token}

    async def linked(self, token: str) -> Identity | None:
        """The application that passes on this assertion of ours, or None if the assertion is not valid."""
        servers = {audience: server for server, audience in self.audiences.items()}
        if not self.issuer or not servers or not 0 < len(token) <= MAX_TOKEN:
            return None
        claims = await self._keys.verify(token, issuer=self.issuer, audience=list(servers))
        if claims is None:
            return None
        audience = claims["aud"]
        names = audience if isinstance(audience, list) else [audience]
        return Identity(linked_apps=tuple(servers[name] for name in names if name in servers))

    def routes(self) -> list[Route]:
        return [Route(CERTS_PATH, self._certs, methods=["GET"])]

    async def _certs(self, request: Request) -> Response:
        return JSONResponse(await self._keys.key_set(), headers={"Cache-Control": "public, max-age=300"})


def claims_of(identity: Identity, issuer: str, audience: str, now: int) -> dict[str, object]:
    """The claims, named as in Cloudflare Access. A service token has an empty subject and a common name."""
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": [audience],
        "iat": now,
        "nbf": now,
        "exp": now + VALID_SECONDS,
        "type": "app",
        "sub": identity.id,
    }
    optional = {
        "email": identity.email,
        "name": identity.name if identity.id else "",
        "common_name": identity.common_name,
        "country": identity.country,
        "idp": {"id": identity.idp_id, "type": identity.idp_type} if identity.idp_id else None,
        "groups": [{"id": group.id, "name": group.name, "email": group.email} for group in identity.groups],
        "amr": list(identity.auth_methods),
    }
    return claims | {name: value for name, value in optional.items() if value}
