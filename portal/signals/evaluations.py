"""External evaluation: another service decides whether a caller matches a policy, with signatures both ways.

In Cloudflare's shape: the service gets `{"token": JWT}` signed by us, with the `identity` and a `nonce`. It answers
`{"token": JWT}` signed with a key of its `keys_url`, with `success` and the same `nonce`. It is asked before the
policy decides, and its answer counts for a while. Without a valid answer in time the result is unknown, which matches
no policy.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import orjson
import structlog
from joserfc.jwk import KeySet
from joserfc.jwt import ClaimsOption

from portal.bounded import Bounded
from portal.egress import AddressRule, Fetcher, FetchFailed
from portal.identity import Identity, evaluation_key
from portal.jose import KeyUnknown, TokenInvalid, VerifiedToken, read_keys, verify

SECONDS = 3.0
FRESH_SECONDS = 300.0
RETRY_SECONDS = 10.0
KEYS_SECONDS = 600.0
MAX_BYTES = 64 * 1024
MAX_VALID_SECONDS = 365 * 24 * 3600
MAX_RESULTS = 50_000
MAX_KEY_SETS = 256
_CLAIMS: Mapping[str, ClaimsOption] = {"exp": {"essential": True}}
log = structlog.get_logger("portal.access")

Sign = Callable[[Mapping[str, object]], Awaitable[str]]


class AnswerInvalid(Exception):
    """The answer of the service is not a valid evaluation of this caller. The text is for logs."""


# The key of a result: the service, the caller's key and their address.
_Question: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Result:
    """A service's result for a caller, or None after an attempt that failed. `until` is by the object's clock."""

    success: bool | None
    until: float


class Evaluations:
    """Asks the services and caches their answers. `sign` makes a JWT with a key that the services know.

    Close it at the end.
    """

    def __init__(
        self, sign: Sign, *, fresh_for: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sign = sign
        self._fresh_for = fresh_for
        self._clock = clock
        self._results: Bounded[_Question, _Result] = Bounded(MAX_RESULTS)
        self._requests: dict[_Question, asyncio.Task[None]] = {}
        self._keys: Bounded[str, tuple[KeySet, float]] = Bounded(MAX_KEY_SETS)
        self._fetcher = Fetcher(AddressRule.NOT_LINK_LOCAL, limit=MAX_BYTES, seconds=SECONDS)

    async def aclose(self) -> None:
        for task in tuple(self._requests.values()):
            task.cancel()
        await asyncio.gather(*self._requests.values(), return_exceptions=True)
        await self._fetcher.aclose()

    def of(self, identity: Identity, services: Iterable[tuple[str, str]]) -> Mapping[str, bool]:
        """The results for a caller that are still valid, by `evaluation_key`."""
        now = self._clock()
        results: dict[str, bool] = {}
        for evaluate_url, keys_url in services:
            key = evaluation_key(evaluate_url, keys_url)
            result = self._results.get((key, identity.key, identity.ip))
            if result is not None and result.success is not None and result.until > now:
                results[key] = result.success
        return results

    async def prepare(self, identity: Identity, services: Iterable[tuple[str, str]]) -> None:
        """Ask each service whose answer is missing or too old. Callers who need the same answer share one request."""
        now = self._clock()
        waiting: list[asyncio.Task[None]] = []
        for evaluate_url, keys_url in services:
            key = (evaluation_key(evaluate_url, keys_url), identity.key, identity.ip)
            result = self._results.get(key)
            if result is not None and result.until > now:
                continue
            task = self._requests.get(key)
            if task is None:
                task = self._requests[key] = asyncio.create_task(self._ask(key, identity, evaluate_url, keys_url))
            waiting.append(task)
        if waiting:
            await asyncio.wait(waiting)

    async def _ask(self, key: _Question, identity: Identity, evaluate_url: str, keys_url: str) -> None:
        success: bool | None = None
        valid_seconds = RETRY_SECONDS
        try:
            async with asyncio.timeout(SECONDS):
                success, valid_for = await self._answer(identity, evaluate_url, keys_url)
            valid_seconds = min(self._fresh_for, valid_for)
        except (FetchFailed, AnswerInvalid, TokenInvalid, TimeoutError) as error:
            problem = f"{type(error).__name__}: {error}"[:200]
            log.warning("external_evaluation_failed", url=evaluate_url, problem=problem)
        finally:
            self._requests.pop(key, None)
            self._results[key] = _Result(success, self._clock() + valid_seconds)

    async def _answer(self, identity: Identity, evaluate_url: str, keys_url: str) -> tuple[bool, float]:
        """`success`, and the seconds for which it is valid."""
        nonce = secrets.token_urlsafe(24)
        now = int(time.time())
        document = _identity_document(identity)
        question = await self._sign({"iat": now, "exp": now + 60, "nonce": nonce, "identity": document})
        answer = await self._fetch("POST", evaluate_url, orjson.dumps({"token": question}))
        claims = (await self._verify(answer.get("token"), keys_url)).claims
        if claims.get("nonce") != nonce:
            raise AnswerInvalid("it answers another request")
        if not isinstance(claims.get("success"), bool):
            raise AnswerInvalid("it has no success")
        if not isinstance(claims["exp"], int) or claims["exp"] - now > MAX_VALID_SECONDS:
            raise AnswerInvalid("its exp is missing or too late")
        return claims["success"], max(0.0, claims["exp"] - time.time())

    async def _verify(self, token: object, keys_url: str) -> VerifiedToken:
        keys, until = self._keys.get(keys_url) or (None, 0.0)
        if keys is not None and until > self._clock():
            try:
                return verify(token, keys, _CLAIMS)
            except KeyUnknown:
                # The service has rotated its keys: fetch the current set.
                pass
        keys = read_keys(await self._fetch("GET", keys_url))
        self._keys[keys_url] = (keys, self._clock() + KEYS_SECONDS)
        return verify(token, keys, _CLAIMS)

    async def _fetch(self, method: str, url: str, body: bytes | None = None) -> dict[str, object]:
        headers = {"Content-Type": "application/json"} if body is not None else None
        answer = await self._fetcher.fetch(url, method=method, headers=headers, body=body)
        try:
            document = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise AnswerInvalid("it is not JSON") from None
        if not isinstance(document, dict):
            raise AnswerInvalid("it is not an object")
        return document


def _identity_document(identity: Identity) -> dict[str, object]:
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
