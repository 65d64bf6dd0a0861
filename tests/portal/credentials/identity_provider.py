"""An identity provider that a test can bend: it renews ID tokens, and exchanges them for identity assertions."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portal.http import HttpSettings, running
from portal.identity import Identity
from portal.jose import read_keys, verify
from portal.login import ProviderTokens, SignedIn
from tests.portal.credentials.authority import Answer, Authority

CLIENT, CLIENT_SECRET = "the portal", "the secret: of the portal + at the provider"
UPSTREAM_CLIENT = "portal"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"


@dataclass
class IdentityProvider:
    """Knows the people who have signed in, by their refresh tokens. `requests` are the forms that came to its token
    endpoint; `claims` change its next ID tokens; `answer`, if it is set, answers instead. Its tokens live an hour from
    `now`.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    url: str = ""
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}, private=True))
    published: list[ECKey] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    assertion: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    without_id_token: bool = False
    down: str = ""
    answer: Answer | None = None
    refreshes: dict[str, str] = field(default_factory=dict)
    reused: bool = False

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    def id_token(self, claims: dict[str, Any]) -> str:
        """One with these claims beside the usual ones, None for those left out."""
        changed = {"iss": self.url, "aud": CLIENT, "iat": int(time.time()), "exp": self._exp, **claims}
        kept = {name: value for name, value in changed.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, kept, self.key)

    def signed_in(self, sub: str, *, refresh: bool = True, **changes: Any) -> SignedIn:
        """What the portal has when this person has signed in."""
        tokens = ProviderTokens(
            issuer=self.url,
            client_id=CLIENT,
            token_endpoint=f"{self.url}/token",
            id_token=self.id_token({"sub": sub, "nonce": "the nonce"}),
            ends_at=self.now() + timedelta(hours=1),
            access=f"access-of-{sub}-{secrets.token_urlsafe(16)}",
            access_ends_at=self.now() + timedelta(minutes=5),
            refresh=self._refresh(sub) if refresh else "",
        )
        kept = {name: changes.get(name, getattr(tokens, name)) for name in tokens.__slots__}
        return SignedIn(Identity(id=f"idp:{sub}", idp_id="idp"), ProviderTokens(**kept))

    def exchange(self, form: dict[str, str]) -> Response:
        """Its usual answer to an exchange: an identity assertion about the person of the ID token."""
        claims = verify(form["subject_token"], read_keys(self.keys()), {}).claims
        now = int(time.time())
        said = {
            "iss": self.url,
            "sub": claims["sub"],
            "aud": form["audience"],
            "resource": form["resource"],
            "client_id": UPSTREAM_CLIENT,
            "jti": secrets.token_urlsafe(8),
            "iat": now,
            "exp": now + 300,
            "scope": form.get("scope", ""),
        }
        token = jwt.encode({"alg": "ES256", "kid": "one", "typ": "oauth-id-jag+jwt"}, said, self.key)
        body = {"access_token": token, "issued_token_type": ID_JAG, "token_type": "N_A", "expires_in": 300}
        return JSONResponse(body | self.assertion)

    def renew(self, form: dict[str, str]) -> Response:
        """Its usual answer to a refresh token, which works once."""
        sub = self.refreshes.pop(form["refresh_token"], "")
        if not sub:
            self.reused = True
            return JSONResponse({"error": "invalid_grant"}, 400)
        body = {"access_token": f"access-of-{sub}-{secrets.token_urlsafe(16)}", "token_type": "Bearer"}
        body |= {"refresh_token": self._refresh(sub)}
        if not self.without_id_token:
            body |= {"id_token": self.id_token({"sub": sub, **self.claims})}
        return JSONResponse({**body, "expires_in": 300})

    async def usual(self, form: dict[str, str]) -> Response:
        return self.exchange(form) if form["grant_type"] == EXCHANGE else self.renew(form)

    @property
    def exchanges(self) -> list[dict[str, str]]:
        return [form for form in self.requests if form["grant_type"] == EXCHANGE]

    @property
    def renewals(self) -> int:
        return len(self.requests) - len(self.exchanges)

    @property
    def _exp(self) -> int:
        return int((self.now() + timedelta(hours=1)).timestamp())

    def _refresh(self, sub: str) -> str:
        token = secrets.token_urlsafe(16)
        self.refreshes[token] = sub
        return token

    def keys(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in (self.published or [self.key])]}

    async def _metadata(self, request: Request) -> Response:
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse({"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in endpoints.items()}})

    async def _jwks(self, request: Request) -> Response:
        if self.down == "jwks":
            return Response(status_code=503)
        return JSONResponse(self.keys())

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        form["authorization"] = request.headers.get("authorization", "")
        self.requests.append(form)
        return await (self.answer or self.usual)(form)


@asynccontextmanager
async def identity_provider(now: Callable[[], datetime]) -> AsyncIterator[IdentityProvider]:
    found = IdentityProvider(now)
    async with running(found.app(), http=HttpSettings()) as url:
        found.url = url
        yield found


class Trusted(Protocol):
    """An identity provider, as an authorization server sees it."""

    @property
    def url(self) -> str: ...

    def keys(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=Trusted)


class Trusting(Generic[P]):
    """Answers for an authorization server that takes the assertions of an identity provider, and its ID tokens in an
    exchange. A token that it issues is one of the person it was asked for: `people` has their names by token."""

    def __init__(self, issuing: Authority, provider: P) -> None:
        self.issuing = issuing
        self.provider = provider
        self.people: dict[str, str] = {}
        self.used: set[str] = set()
        issuing.answer = self

    async def __call__(self, form: dict[str, str]) -> Response:
        required: dict[str, Any] = {"iss": {"essential": True, "value": self.provider.url}}
        keys = read_keys(self.provider.keys())
        if form["grant_type"] == EXCHANGE:
            if form["subject_token_type"].endswith("access_token"):
                return self._issue(form, form["subject_token"].split("-")[2])
            claims = verify(form["subject_token"], keys, required).claims
            return self._issue(form, str(claims["sub"]), issued_token_type=form["requested_token_type"])
        required |= {"aud": {"essential": True, "value": self.issuing.issuer}}
        required |= {name: {"essential": True} for name in ("jti", "exp", "resource", "client_id")}
        assertion = verify(form["assertion"], keys, required)
        assert assertion.header["typ"] == "oauth-id-jag+jwt" and assertion.claims["jti"] not in self.used
        self.used.add(str(assertion.claims["jti"]))
        return self._issue(form, str(assertion.claims["sub"]))

    def _issue(self, form: dict[str, str], sub: str, **more: str) -> Response:
        token = secrets.token_urlsafe(16)
        self.issuing.tokens[token] = form.get("scope", "")
        self.people[token] = sub
        body = {"access_token": token, "token_type": "Bearer", "expires_in": 1000, "refresh_token": "not kept", **more}
        return JSONResponse(body)
