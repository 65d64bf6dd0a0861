"""External evaluation: somebody else's service is asked whether a caller matches, signed both ways.

As Cloudflare has it: the service gets `{"token": JWT}` signed by us, with the `identity` and a `nonce`; it answers
`{"token": JWT}` signed with a key of its `keys_url`, with `success` and the same `nonce`. Asked ahead of the decision,
believed for a while; an answer that is missing, late or not its own is none, which no policy takes for a match.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import orjson
import structlog

from portal.egress import NoAnswer, fetch, open_session
from portal.identity import Identity, evaluation_key

SECONDS = 3.0
FRESH_SECONDS = 300.0
RETRY_SECONDS = 10.0
KEYS_SECONDS = 600.0
MAX_BYTES = 64 * 1024
MAX_LASTS = 365 * 24 * 3600
MAX_KEPT = 50_000
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "EdDSA")
log = structlog.get_logger("portal.access")

Sign = Callable[[Mapping[str, Any]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Kept:
    success: bool | None
    until: float


class Evaluations:
    """Asks and remembers. `sign` makes a JWT of claims with a key the services know; close it at the end."""

    def __init__(
        self, sign: Sign, *, fresh_for: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sign = sign
        self._fresh_for = fresh_for
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._keys: dict[str, tuple[jwt.PyJWKSet, float]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def of(self, identity: Identity, asked: Iterable[tuple[str, str]]) -> Mapping[str, bool]:
        """What is known of a caller, by `evaluation_key`."""
        now = self._clock()
        known: dict[str, bool] = {}
        for evaluate_url, keys_url in asked:
            key = evaluation_key(evaluate_url, keys_url)
            kept = self._kept.get((key, identity.key, identity.ip))
            if kept is not None and kept.success is not None and kept.until > now:
                known[key] = kept.success
        return known

    async def prepare(self, identity: Identity, asked: Iterable[tuple[str, str]]) -> None:
        """Ask what is not known yet or any more; everyone who waits for the same answer waits for one question."""
        now = self._clock()
        waiting: list[asyncio.Task[None]] = []
        for evaluate_url, keys_url in asked:
            about = (evaluation_key(evaluate_url, keys_url), identity.key, identity.ip)
            kept = self._kept.get(about)
            if kept is not None and kept.until > now:
                continue
            task = self._asking.get(about)
            if task is None:
                task = self._asking[about] = asyncio.create_task(self._ask(about, identity, evaluate_url, keys_url))
            waiting.append(task)
        if waiting:
            await asyncio.wait(waiting)

    async def _ask(self, about: tuple[str, str, str], identity: Identity, evaluate_url: str, keys_url: str) -> None:
        success: bool | None = None
        lasts = RETRY_SECONDS
        try:
            async with asyncio.timeout(SECONDS):
                success, told = await self._answer(identity, evaluate_url, keys_url)
            lasts = min(self._fresh_for, told)
        except (NoAnswer, TimeoutError, jwt.PyJWTError, ValueError, OverflowError) as error:
            problem = f"{type(error).__name__}: {error}"[:200]
            log.warning("external_evaluation_failed", url=evaluate_url, problem=problem)
        finally:
            self._asking.pop(about, None)
            self._kept[about] = _Kept(success, self._clock() + lasts)
            self._kept.move_to_end(about)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    async def _answer(self, identity: Identity, evaluate_url: str, keys_url: str) -> tuple[bool, float]:
        """(success, seconds it is good for)."""
        nonce = secrets.token_urlsafe(24)
        now = int(time.time())
        question = await self._sign({"iat": now, "exp": now + 60, "nonce": nonce, "identity": _described(identity)})
        answered = await self._fetch("POST", evaluate_url, {"token": question})
        token = answered.get("token")
        if not isinstance(token, str):
            raise NoAnswer("it has no token")
        claims = jwt.decode(
            token,
            await self._key(keys_url, token),
            algorithms=list(ALGORITHMS),
            options={"require": ["exp"], "verify_aud": False},
        )
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise NoAnswer("it answers another question")
        if not isinstance(claims.get("success"), bool):
            raise NoAnswer("it has no success")
        # PyJWT takes numbers written as text, and years that no clock reaches.
        if not isinstance(claims["exp"], int) or claims["exp"] - now > MAX_LASTS:
            raise NoAnswer("it does not say until when it is good")
        return claims["success"], max(0.0, claims["exp"] - time.time())

    async def _key(self, keys_url: str, token: str) -> Any:
        wanted = jwt.get_unverified_header(token).get("kid")
        keys, until = self._keys.get(keys_url, (None, 0.0))
        found = _key_of(keys, wanted)
        if found is None or until <= self._clock():
            keys = jwt.PyJWKSet.from_dict(await self._fetch("GET", keys_url, None))
            self._keys[keys_url] = (keys, self._clock() + KEYS_SECONDS)
            found = _key_of(keys, wanted)
        if found is None:
            raise NoAnswer("it is signed by a key that keys_url does not list")
        return found

    async def _fetch(self, method: str, url: str, body: Any) -> dict[str, Any]:
        if self._session is None:
            self._session = open_session()
        found = orjson.loads(await fetch(self._session, method, url, limit=MAX_BYTES, json=body))
        if not isinstance(found, dict):
            raise NoAnswer("it is no object")
        return found


def _key_of(keys: jwt.PyJWKSet | None, wanted: str | None) -> Any:
    """The key a token names; one that names none may mean the only one there is."""
    if keys is None:
        return None
    if wanted is None:
        return keys.keys[0] if len(keys.keys) == 1 else None
    return next((key for key in keys.keys if key.key_id == wanted), None)


def _described(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "email": identity.email,
        "name": identity.name,
        "idp": {"id": identity.idp_id, "type": identity.idp_type},
        "groups": [{"id": group.id, "name": group.name, "email": group.email} for group in identity.groups],
        "amr": list(identity.auth_methods),
        "ip": identity.ip,
        "geo": {"country": identity.country},
        "device_posture": dict(identity.device_posture),
        "service_token_id": identity.service_token_id,
        "common_name": identity.common_name,
    }
