"""The access token of one credential in this process: shown until near its end, replaced by one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.credentials.errors import CredentialError, NoAnswer
from portal.errors import AuthorizationRequired

# The part of a token's life after which it is replaced.
RENEW_AT = 0.8
# A token this close to its end may end on its way to the server.
_MARGIN_SECONDS = 5.0
# Seconds until an authorization server is asked again after it failed.
AFTER_NO_ANSWER, AFTER_REFUSAL = 5.0, 30.0


@dataclass(frozen=True, slots=True)
class Held:
    """A token, the scope it was asked for with, and two times of the clock: when it is due for renewal, and when it
    ends. Without a known lifetime it serves until the server refuses it."""

    access: str = field(repr=False)
    scope: str
    due: float
    ends: float

    @classmethod
    def of(cls, access: str, scope: str, lifetime: float | None, issued: float) -> Held:
        """A token that was issued at this time of the clock, for so many seconds."""
        if lifetime is None:
            return cls(access, scope, float("inf"), float("inf"))
        due, ends = lifetime * RENEW_AT, max(lifetime - _MARGIN_SECONDS, lifetime / 2)
        return cls(access, scope, issued + due, issued + ends)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.access}"}


class TokenSource:
    """Holds a token, and has `fetch` get the next one. `clock` gives seconds. `failed` is called after each failure.

    While a token lives, nobody waits: when it is due, the next caller only starts the request. Otherwise all callers
    wait for the same request, and none of them can cancel it. After a failure the next request is made only when some
    seconds have passed; until then every caller gets the same error.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Held]],
        clock: Callable[[], float],
        log: Any,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self.held: Held | None = None
        self._fetch = fetch
        self._clock = clock
        self._log = log
        self._failed = failed
        self._fetching: asyncio.Task[Held] | None = None
        self._failure: CredentialError | None = None
        self._again = float("-inf")

    @property
    def failure(self) -> CredentialError | None:
        """Why the last request failed; None if it did not."""
        return self._failure

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def token(self) -> Held:
        """A token that lives.

        Raises:
            AuthorizationRequired: there is none. The text says why.
        """
        held, now = self.held, self._clock()
        if held is None or now >= held.ends:
            return await self.next()
        if now >= held.due and now >= self._again:
            self._start()
        return held

    async def next(self) -> Held:
        """The token of the request that is under way, or of a new one. Raises as `token`."""
        if self._fetching is None and self._failure is not None and self._clock() < self._again:
            raise _required(self._failure)
        try:
            return await asyncio.shield(self._start())
        except CredentialError as error:
            raise _required(error) from error

    def forget(self) -> None:
        """Show this token no longer."""
        self.held = None

    def retry(self) -> None:
        """Something has changed: do not wait before the next request."""
        self._failure, self._again = None, float("-inf")

    def _start(self) -> asyncio.Task[Held]:
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, task: asyncio.Task[Held]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.held, self._failure = task.result(), None
            return
        if isinstance(error, CredentialError):
            self._failure = error
            self._log.warning("no access token for a server", reason=str(error))
        else:
            self._failure = CredentialError(f"asking for an access token failed ({type(error).__name__})")
            self._log.error("asking for an access token failed", exc_info=error)
        self._again = self._clock() + (AFTER_NO_ANSWER if isinstance(error, NoAnswer) else AFTER_REFUSAL)
        self._failed()


def _required(error: CredentialError) -> AuthorizationRequired:
    return AuthorizationRequired(f"there is no access token for it: {error}")
