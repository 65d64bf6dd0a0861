"""`Cf-Access-Jwt-Assertion`: who calls, told to the upstream servers that ask for it, signed by the portal.

A server checks signature (keys at `/cdn-cgi/access/certs`), issuer (the portal's origin), audience (its own) and
expiry, and knows the person without ever holding a credential of theirs. It may pass the assertion on to another
application of the portal as `Cf-Access-Token`, where a policy of decision `non_identity` with `linked_app_token` lets
it in: as that application, not as the person.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portal.identity import Identity
from portal.oauth.signing import SigningKeys

CERTS_PATH = "/cdn-cgi/access/certs"
HEADER = "Cf-Access-Jwt-Assertion"
LASTS_SECONDS = 300
KEPT_SECONDS = 60.0
MAX_KEPT = 10_000
MAX_TOKEN = 16 * 1024


class Assertions:
    """Signs and checks them. `audiences` is the audience of each server that asks; `issuer` the portal's origin, which
    a portal on a free port of loopback learns when it listens."""

    def __init__(self, keys: SigningKeys, issuer: str, audiences: Mapping[str, str]) -> None:
        self.issuer = issuer
        self.audiences = dict(audiences)
        self._keys = keys
        self._kept: OrderedDict[tuple[int, str, str], tuple[float, Identity, str]] = OrderedDict()

    async def headers(self, identity: Identity, server: str) -> dict[str, str]:
        """What to send with a call of this caller to this server: nothing where the server does not ask."""
        audience = self.audiences.get(server)
        if not audience or not self.issuer:
            return {}
        key = id(identity), audience, self.issuer
        kept = self._kept.get(key)
        if kept is None or kept[1] is not identity or time.monotonic() > kept[0]:
            token = await self._keys.sign(claims_of(identity, self.issuer, audience, int(time.time())))
            self._kept[key] = kept = time.monotonic() + KEPT_SECONDS, identity, token
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return {HEADER: kept[2]}

    async def linked(self, token: str) -> Identity | None:
        """The application that passes an assertion of ours on; None when it is not one."""
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


def claims_of(identity: Identity, issuer: str, audience: str, now: int) -> dict[str, Any]:
    """The claims, named as Cloudflare Access names them. A service token has no subject, but a common name."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": [audience],
        "iat": now,
        "nbf": now,
        "exp": now + LASTS_SECONDS,
        "type": "app",
        "sub": identity.id,
    }
    told = {
        "email": identity.email,
        "name": identity.name if identity.id else "",
        "common_name": identity.common_name,
        "country": identity.country,
        "idp": {"id": identity.idp_id, "type": identity.idp_type} if identity.idp_id else None,
        "groups": [{"id": group.id, "name": group.name, "email": group.email} for group in identity.groups],
        "amr": list(identity.auth_methods),
    }
    return claims | {name: value for name, value in told.items() if value}
