"""The access token of one credential in this process: shown until near its end, replaced by one request at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.credentials.errors import CredentialError, LoginNeeded, NoAnswer, NoStore
from portal.errors import AuthorizationRequired

# The part of a token's life after which it is replaced.
RENEW_AT = 0.8
# A token this close to its end may end on its way to the server.
_MARGIN_SECONDS = 5.0
# Seconds until an authorization server is asked again after it failed; each failure after it doubles them.
AFTER_NO_STORE = 0.5
AFTER_NO_ANSWER, AFTER_REFUSAL, LONGEST_PAUSE = 5.0, 30.0, 300.0
# A server that refuses a token as soon as it is issued does not want it. Each such token in a row lengthens the pause.
REFUSED_AGAIN_SECONDS, LONGEST_REFUSAL = 5.0, 60.0
# Tokens that were shown of late: an answer that is under way may repeat them.
_REMEMBERED = 4


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
    """Holds a token, and has `fetch` get the next one. `failed` is called after each failure.

    `clock` gives the time that tokens live by, `steady` one that is never set. Closing waits `patience` seconds for a
    request that is under way, then cuts it off.

    While a token lives, nobody waits: when it is due, the next caller only starts the request. Otherwise all callers
    wait for the same request, and none of them can cancel it. After a failure the next request is made only when some
    seconds have passed; until then every caller gets the same error.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Held]],
        clock: Callable[[], float],
        log: Any,
        *,
        steady: Callable[[], float] = time.monotonic,
        failed: Callable[[], object] = lambda: None,
        patience: float = 0.0,
    ) -> None:
        self._held: Held | None = None
        self._fetch = fetch
        self._clock = clock
        self._steady = steady
        self._log = log
        self._failed = failed
        self._patience = patience
        self._shown: deque[str] = deque(maxlen=_REMEMBERED)
        self._fetching: asyncio.Task[Held] | None = None
        self._failure: CredentialError | None = None
        self._failures = 0
        self._again = float("-inf")
        self._dropped = float("-inf")
        self._refusal = REFUSED_AGAIN_SECONDS
        self._closed = False

    @property
    def held(self) -> Held | None:
        return self._held

    @held.setter
    def held(self, held: Held | None) -> None:
        self._held = held
        if held is not None and held.access not in self._shown:
            self._shown.append(held.access)

    @property
    def failure(self) -> CredentialError | None:
        """Why the last request brought no token; None if it did, or none was made."""
        return self._failure

    @property
    def shown(self) -> Sequence[str]:
        """The tokens that were held last."""
        return tuple(self._shown)

    async def aclose(self) -> None:
        """Make no more requests."""
        self._closed = True
        if (task := self._fetching) is not None:
            await asyncio.wait({task}, timeout=self._patience)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def replaces(self, sent: Mapping[str, str]) -> bool:
        """Whether another token is held by now than the one in the headers that were sent."""
        return self.held is not None and sent != self.held.headers

    async def token(self) -> Held:
        """A token that lives.

        Raises:
            AuthorizationRequired: there is none. The text says why.
        """
        held = self.held
        if held is None or self._clock() >= held.ends:
            return await self.next()
        if self._clock() >= held.due and self._steady() >= self._again and not self._closed:
            self._start()
        return held

    async def next(self) -> Held:
        """The token of the request that is under way, or of a new one. Raises as `token`."""
        if self._fetching is None and self._failure is not None and self._steady() < self._again:
            raise _required(self._failure)
        if self._fetching is None and self._closed:
            raise _required(_CLOSED)
        task = self._start()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # That of the request is no cancellation of its callers.
            if task.cancelled() and self._closed:
                raise _required(_CLOSED) from None
            raise
        except Exception as error:  # Of whatever kind: `_ended` has logged it, and a call needs a reason of ours.
            raise _required(self._failure or CredentialError("asking for it failed")) from error

    def drop(self) -> bool:
        """Show the token no longer, because the server refuses it. False if it is too early for yet another one."""
        if self.held is None:
            return True
        now = self._steady()
        if now < self._dropped + self._refusal:
            return False
        # Tokens that are refused again and again are asked for more and more rarely.
        longer = min(self._refusal * 2, LONGEST_REFUSAL)
        self._refusal = longer if now < self._dropped + 10 * LONGEST_REFUSAL else REFUSED_AGAIN_SECONDS
        self._dropped = now
        self.held = None
        return True

    def retry(self) -> None:
        """Something has changed: do not wait before the next request."""
        self._failure, self._failures, self._again = None, 0, float("-inf")
        self._dropped, self._refusal = float("-inf"), REFUSED_AGAIN_SECONDS

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
            self.held, self._failure, self._failures = task.result(), None, 0
            return
        if isinstance(error, NoStore):
            # The portal's own database: it says when it is in trouble, and nobody is asked less often for it.
            self._failure, self._again = error, self._steady() + AFTER_NO_STORE
            self._failed()
            return
        if isinstance(error, CredentialError):
            self._failure = error
            self._log.warning("no access token for a server", reason=str(error))
        else:
            self._failure = CredentialError(f"asking for it failed unexpectedly ({type(error).__name__})")
            self._log.error("asking for an access token failed", exc_info=error)
        first = AFTER_NO_ANSWER if isinstance(error, NoAnswer) else AFTER_REFUSAL
        self._again = self._steady() + min(first * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._failed()


_CLOSED = CredentialError("the portal has closed this connection")


def _required(error: CredentialError) -> AuthorizationRequired:
    text = f"there is no access token for it: {error}"
    return AuthorizationRequired(text, login_helps=isinstance(error, LoginNeeded))
