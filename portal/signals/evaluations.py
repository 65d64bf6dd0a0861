"""External evaluation: a service of somebody else decides whether a caller matches a rule, signed both ways.

As in Cloudflare Access: the service gets `{"token": JWT}` signed by us, with the `identity` and a `nonce`; it answers
`{"token": JWT}` signed with a key of its `keys_url`, with `success` and the same `nonce`. It is asked before the
decision, and its answer is used for a while. Without a valid answer in time, no policy takes the caller for a match.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
import jwt
import orjson
import structlog

from portal.bounded import Bounded
from portal.egress import NoAnswer, fetch, open_session
from portal.identity import Identity, evaluation_key

SECONDS = 3.0
FRESH_SECONDS = 300.0
RETRY_SECONDS = 10.0
KEYS_SECONDS = 600.0
MAX_BYTES = 64 * 1024
MAX_VALID_SECONDS = 365 * 24 * 3600
MAX_ANSWERS = 50_000
MAX_KEY_SETS = 256
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "EdDSA")
log = structlog.get_logger("portal.access")

Sign = Callable[[Mapping[str, Any]], Awaitable[str]]


# The service, the caller's key and their address: what an answer is about.
_Question: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether the caller matches, None without a valid answer, and until when of the clock this is used."""

    success: bool | None
    until: float


class Evaluations:
    """Asks the services, and keeps their answers for at most `fresh_for` seconds.

    `sign` makes a JWT of claims, with a key that the services know. Close it at the end. Of more than `MAX_ANSWERS`
    answers, those used least recently are forgotten.
    """

    def __init__(
        self, sign: Sign, *, fresh_for: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sign = sign
        self._fresh_for = fresh_for
        self._clock = clock
        self._answers: Bounded[_Question, _Answer] = Bounded(MAX_ANSWERS)
        self._asking: dict[_Question, asyncio.Task[None]] = {}
        self._keys: Bounded[str, tuple[jwt.PyJWKSet, float]] = Bounded(MAX_KEY_SETS)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def of(self, identity: Identity, services: Iterable[tuple[str, str]]) -> Mapping[str, bool]:
        """The fresh answers about a caller, by `evaluation_key`, of these services: (evaluate URL, keys URL)."""
        now = self._clock()
        answers: dict[str, bool] = {}
        for evaluate_url, keys_url in services:
            key = evaluation_key(evaluate_url, keys_url)
            answer = self._answers.get((key, identity.key, identity.ip))
            if answer is not None and answer.success is not None and answer.until > now:
                answers[key] = answer.success
        return answers

    async def prepare(self, identity: Identity, services: Iterable[tuple[str, str]]) -> None:
        """Ask these services about a caller where no answer is fresh. Callers who wait for the same answer share it."""
        now = self._clock()
        waiting: list[asyncio.Task[None]] = []
        for evaluate_url, keys_url in services:
            question = (evaluation_key(evaluate_url, keys_url), identity.key, identity.ip)
            answer = self._answers.get(question)
            if answer is not None and answer.until > now:
                continue
            task = self._asking.get(question)
            if task is None:
                asking = self._ask(question, identity, evaluate_url, keys_url)
                task = self._asking[question] = asyncio.create_task(asking)
            waiting.append(task)
        if waiting:
            # Not `gather`: a caller that is cancelled must not take the answer from the others.
            await asyncio.wait(waiting)

    async def _ask(self, question: _Question, identity: Identity, evaluate_url: str, keys_url: str) -> None:
        success: bool | None = None
        seconds = RETRY_SECONDS
        try:
            async with asyncio.timeout(SECONDS):
                success, valid_for = await self._answer(identity, evaluate_url, keys_url)
            seconds = min(self._fresh_for, valid_for)
        except (NoAnswer, TimeoutError, jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"[:200]
            log.warning("external_evaluation_failed", url=evaluate_url, problem=problem)
        finally:
            self._asking.pop(question, None)
            self._answers[question] = _Answer(success, self._clock() + seconds)

    async def _answer(self, identity: Identity, evaluate_url: str, keys_url: str) -> tuple[bool, float]:
        """Whether the caller matches, and for how many seconds that is valid."""
        nonce = secrets.token_urlsafe(24)
        now = int(time.time())
        token_of_ours = await self._sign(
            {"iat": now, "exp": now + 60, "nonce": nonce, "identity": _described(identity)}
        )
        answer = await self._fetch("POST", evaluate_url, {"token": token_of_ours})
        token = answer.get("token")
        if not isinstance(token, str):
            raise NoAnswer("it has no token")
        claims = jwt.decode(
            token,
            await self._key(keys_url, token),
            algorithms=list(ALGORITHMS),
            options={"require": ["exp"], "verify_aud": False},
        )
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise NoAnswer("its nonce is not the one of our question")
        if not isinstance(claims.get("success"), bool):
            raise NoAnswer("its success is missing, or not true or false")
        # PyJWT also accepts numbers written as text, and years that no clock reaches.
        if not isinstance(claims["exp"], int) or claims["exp"] - now > MAX_VALID_SECONDS:
            raise NoAnswer("it does not say until when it is valid")
        return claims["success"], max(0.0, claims["exp"] - time.time())

    async def _key(self, keys_url: str, token: str) -> Any:
        kid = jwt.get_unverified_header(token).get("kid")
        keys, until = self._keys.get(keys_url) or (None, 0.0)
        key = _key_of(keys, kid)
        if key is None or until <= self._clock():
            keys = jwt.PyJWKSet.from_dict(await self._fetch("GET", keys_url, None))
            self._keys[keys_url] = (keys, self._clock() + KEYS_SECONDS)
            key = _key_of(keys, kid)
        if key is None:
            raise NoAnswer("it is signed by a key that keys_url does not list")
        return key

    async def _fetch(self, method: str, url: str, body: Any) -> dict[str, Any]:
        if self._session is None:
            self._session = open_session()
        answer = orjson.loads(await fetch(self._session, method, url, limit=MAX_BYTES, json=body))
        if not isinstance(answer, dict):
            raise NoAnswer("it is not a JSON object")
        return answer


def _key_of(keys: jwt.PyJWKSet | None, kid: str | None) -> Any:
    """The key of this id, or None. Without an id, the only key of the set, if there is only one."""
    if keys is None:
        return None
    if kid is None:
        return keys.keys[0] if len(keys.keys) == 1 else None
    return next((key for key in keys.keys if key.key_id == kid), None)


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
