"""The logins in use: for programs that run and streams that stay open after the request that started them.

A request is checked when it comes in. What it started goes on, and must end when its person signs out everywhere, its
grant is revoked or its service token is deleted. The store tells of that, within half a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from weakref import ref

import structlog

from portal.access import Access, NoSignals, Signals
from portal.identity import Identity, caller_document, caller_from
from portal.login import ADMINISTRATOR, EVERYWHERE, IDP, SESSION
from portal.oauth.grants import ACCESS, CODE, REFRESH
from portal.oauth.service_tokens import SERVICE_TOKEN
from portal.state import Follower, StateUnavailable, Store

SETTLED_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Login:
    identity: ref[Identity]
    family: str
    ended: bool = False


class Logins:
    """The identities that were let in, by object, each with the family of its tokens ("" for a service token).

    `changed` is called when some of them have ended.
    """

    kinds: AbstractSet[str] = frozenset({ACCESS.name, REFRESH.name, SERVICE_TOKEN.name})
    """What the store tells when some of them may have ended."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed
        # For as long as something uses them. With a bound, whoever comes in from many addresses would push out a login
        # whose stream is open, and nobody would end that.
        self._in_use: dict[int, _Login] = {}
        self._log = structlog.get_logger("portal.oauth")
        self._followers = (
            Follower(store, self.kinds, self._end_revoked, self._not_ended),
            Follower(store, {ADMINISTRATOR.name}, self._end_departed, self._not_ended),
        )

    async def aclose(self) -> None:
        for follower in self._followers:
            await follower.aclose()

    async def settled(self, seconds: float = SETTLED_SECONDS) -> None:
        """Return when each login that the store says has ended has ended here too, or after `seconds`."""
        await asyncio.gather(*(follower.settled(seconds) for follower in self._followers))

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` when logins have ended."""
        self._changed = changed

    def note(self, identity: Identity, family: str) -> None:
        """This identity was let in, by a token of this family or by a service token. Others cannot be revoked."""
        if (family or identity.service_token_id) and self._of(identity) is None:
            key = id(identity)
            self._in_use[key] = _Login(ref(identity, partial(self._unused, key)), family)

    def holds(self, identity: Identity) -> bool:
        """Whether the login of this identity has not ended."""
        login = self._of(identity)
        return login is None or not login.ended

    def document_of(self, identity: Identity) -> dict[str, object]:
        """The login of an identity as JSON, for `again`: what was said of the caller, and the family of the tokens."""
        login = self._of(identity)
        return {**caller_document(identity), "family": "" if login is None else login.family}

    async def again(self, document: Mapping[str, object]) -> Identity | None:
        """The identity of a login that was written down, known again; None if the login has ended meanwhile. What it is
        allowed now is for the policies to say.

        Raises:
            ValueError: it is not such a document.
        """
        family = document.get("family")
        if not isinstance(family, str):
            raise ValueError("not the document of a login")
        identity = caller_from(document)
        # Noted first: whatever ends the login from here on ends this identity.
        self.note(identity, family)
        if family and family not in await self._families([identity.id]):
            return None
        if identity.service_token_id and identity.service_token_id not in await self._service_tokens():
            return None
        return identity if self.holds(identity) else None

    async def lasts(self, subject: str, family: str) -> bool:
        """Whether the login of this subject with tokens of this family has not ended; "" for a service token, and for
        callers who cannot be signed out."""
        if family:
            return family in await self._families([subject])
        token = subject.removeprefix("service:")
        return token == subject or token in await self._service_tokens()

    def _of(self, identity: Identity) -> _Login | None:
        login = self._in_use.get(id(identity))
        return login if login is not None and login.identity() is identity else None

    def _unused(self, key: int, identity: ref[Identity]) -> None:
        if (login := self._in_use.get(key)) is not None and login.identity is identity:
            del self._in_use[key]

    def _not_ended(self, error: StateUnavailable) -> None:
        # Tokens cannot be checked either then: nothing new comes in meanwhile.
        self._log.debug("logins that were revoked cannot be ended; trying again", reason=str(error))

    async def _end_departed(self) -> None:
        await end_departed(self._store)

    async def _end_revoked(self) -> None:
        # Only those of before the reading: a login that comes in during it may be newer than what is read.
        in_use = [
            (identity, login)
            for login in tuple(self._in_use.values())
            if not login.ended and (identity := login.identity()) is not None
        ]
        if not in_use:
            return
        alive = await self._families({identity.id for identity, login in in_use if login.family})
        service_tokens = await self._service_tokens()
        ended = [
            login
            for identity, login in in_use
            if (login.family not in alive if login.family else identity.service_token_id not in service_tokens)
        ]
        for login in ended:
            login.ended = True
        if ended:
            self._changed()

    async def _families(self, subjects: Iterable[str]) -> set[str]:
        """The families of these subjects that have a token."""
        return {
            token.family
            for subject in subjects
            for kind in (ACCESS, REFRESH)
            for token in await self._store.tokens.list(kind, subject)
        }

    async def _service_tokens(self) -> set[str]:
        return {stored.id for stored in await self._store.list(SERVICE_TOKEN)}


async def end_departed(store: Store) -> int:
    """End the sessions and grants of deleted local accounts, and return how many tokens that were."""
    known = {f"{IDP}:{stored.id}" for stored in await store.list(ADMINISTRATOR)}
    tokens = store.tokens
    held = {session.subject for session in await tokens.list(SESSION)}
    held |= {token.subject for kind in (CODE, ACCESS, REFRESH) for token in await tokens.list(kind)}
    departed = [subject for subject in held if subject.startswith(f"{IDP}:") and subject not in known]
    return sum([await store.tokens.revoke_subject(subject, kinds=EVERYWHERE) for subject in departed])


class LoginSignals:
    """Implements `Signals`: nobody for a login that has ended, otherwise what `inner` returns."""

    def __init__(self, logins: Logins, inner: Signals | None = None) -> None:
        self._logins = logins
        self._inner = inner or NoSignals()

    async def prepare(self, identity: Identity, access: Access) -> None:
        await self._inner.prepare(identity, access)

    def current(self, identity: Identity) -> Identity | None:
        return self._inner.current(identity) if self._logins.holds(identity) else None
