"""Which credentials there are for each server: the portal's own, and those of each person who has logged in to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet, WeakValueDictionary

import structlog

from portal.bounded import Bounded
from portal.config import HttpServer, OpenApiServer, ServerConfig
from portal.credentials.client_credentials import ClientCredentials, OwnToken
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import CREDENTIAL, OWN, SIGN_IN, CredentialDocument, fits
from portal.objects import IDENTITY_PROVIDER
from portal.state import Follower, StateUnavailable
from portal.upstream import Credential

if TYPE_CHECKING:
    from portal.credentials.by_sign_in import BySignIn
    from portal.state import Store, StoredCredential

    Stored = StoredCredential[CredentialDocument]

MAX_PERSONS = 10_000
"""Persons whose logins a process knows. Beyond it, those of whoever was here longest ago are read again."""
Changed = Callable[[str, str], object]


class ServerCredentials:
    """Makes the credentials of servers. An async context manager; while it is open it follows the store.

    Without a store nobody can log in: tokens are those that the portal gets in its own name. A person is known by
    `Identity.key`.
    """

    def __init__(self, store: Store | None = None, *, people: bool = False) -> None:
        """`people` says that people sign in at the portal, and log in to servers on its page."""
        self._store = store
        self._people = people
        self._own: WeakSet[GrantedCredential] = WeakSet()
        self._clients: WeakValueDictionary[str, ClientCredentials] = WeakValueDictionary()
        self._logins: Bounded[str, Sequence[Stored]] = Bounded(MAX_PERSONS)
        # A reading that a change crosses is over before the change is followed, and so read again.
        self._reading = asyncio.Lock()
        # Those whose login somebody waits for, and how many do. They are followed however many others come.
        self._awaited: Counter[str] = Counter()
        self._changed: Changed = lambda server, subject: None
        self._by_sign_in: WeakSet[BySignIn] = WeakSet()
        self._followers: list[Follower] = []
        self._log = structlog.get_logger("portal.credentials")

    async def __aenter__(self) -> ServerCredentials:
        if self._store is not None:
            providers = Follower(self._store, {IDENTITY_PROVIDER.name}, self._follow_providers, self._unavailable)
            self._followers = [
                Follower(self._store, {CREDENTIAL.name}, self._follow_logins, self._unavailable),
                Follower(self._store, {SIGN_IN.name}, self._follow_sign_ins, self._unavailable),
                providers,
            ]
            # What a provider's setting keeps may have changed while nobody followed.
            providers.again()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for follower in self._followers:
            await follower.aclose()

    def publish_to(self, changed: Changed) -> None:
        """Call `changed` with a server and whoever has logged in to it or out of it, `OWN` for the portal itself."""
        self._changed = changed

    def of(self, config: ServerConfig) -> Credential | None:
        """The portal's own credential for a server; None for a server that has its headers, or none."""
        if not isinstance(config, HttpServer):
            return None
        if config.oauth is not None and config.oauth.grant == "client_credentials":
            own = ClientCredentials(config, config.oauth)
            self._clients[config.id] = own
            return own
        if self._store is None or not may_log_in(config):
            return None
        advice = f"log in with `codemode login {config.id}`"
        if self._people and config.on_behalf:
            advice = (
                "each person logs in to it on the portal's page /servers; "
                f"`codemode login {config.id}` lists its tools for everybody"
            )
        granted = GrantedCredential(config, self._store, OWN, advice)
        self._own.add(granted)
        return granted

    def own_tokens(self) -> Mapping[str, OwnToken]:
        """By server: how it stands with the tokens that the portal has asked for in its own name."""
        return {id: token for id, own in self._clients.items() if (token := own.token) is not None}

    def own_token(self, server: str) -> OwnToken | None:
        """One of `own_tokens`; None for a server for which the portal has asked for none."""
        own = self._clients.get(server)
        return own.token if own is not None else None

    def is_personal(self, config: ServerConfig) -> bool:
        """Whether a person may have a credential of their own for this server."""
        return self._store is not None and (may_log_in(config) or is_by_sign_in(config))

    async def know(self, subject: str) -> None:
        """Read where a person is logged in, unless that is known. It stays known, and follows the store.

        Raises:
            StateUnavailable: it cannot be read.
        """
        if self._store is None or self._logins.get(subject) is not None:
            return
        async with self._reading:
            if subject not in self._logins:
                self._logins[subject] = await self._store.credentials.of_subjects(CREDENTIAL, [subject])

    def knows(self, subject: str) -> bool:
        """Whether it is known where this person is logged in."""
        return subject in self._logins

    def login(self, config: ServerConfig, subject: str) -> str:
        """A text that tells a login of this person at a personal server from another one; "" for none, and for a person
        who is not known. Where tokens come of the sign-in at the portal there is always one: whether it does is found
        out when it is used."""
        if is_by_sign_in(config):
            return "by sign-in"
        stored = self._login(config, subject)
        return f"{stored.key.digest.hex()} {stored.document.granted_at.isoformat()}" if stored is not None else ""

    def of_person(self, config: ServerConfig, subject: str) -> Credential | None:
        """The credential of a login of this person at a server, None without one. Whoever asked for it closes it.

        A server whose tokens come of their sign-in at the portal needs no login: one that is missing is said in the
        errors of its calls. When the person has signed in again, or out everywhere, what came of the former sign-in is
        shown no more.
        """
        if self._store is None or not isinstance(config, HttpServer):
            return None
        if config.oauth is not None and config.oauth.by_sign_in:
            # The room of logins is slow to import, and a portal without people does without it.
            from portal.credentials.by_sign_in import credential_by_sign_in  # noqa: PLC0415

            made = credential_by_sign_in(config, config.oauth, self._store, subject)
            self._by_sign_in.add(made)
            return made
        return GrantedCredential(config, self._store, subject) if self._login(config, subject) is not None else None

    def _login(self, config: ServerConfig, subject: str) -> Stored | None:
        if not isinstance(config, HttpServer):
            return None
        fitting = [
            one
            for one in self._logins.get(subject) or ()
            if one.key.server == config.id and fits(one.key, config.url, config.oauth)
        ]
        return fitting[-1] if fitting else None

    async def _follow_logins(self) -> None:
        for credential in tuple(self._own):
            if await credential.reload():
                self._changed(credential.server, OWN)
        await self._read_again(lambda: list({**dict(self._logins.items()), **self._awaited}))

    async def look_again(self, subject: str) -> None:
        """Read again where a person is logged in: another process may have stored what is not told here yet.

        Raises:
            StateUnavailable: it cannot be read.
        """
        await self._read_again(lambda: [subject] if subject in self._logins or subject in self._awaited else [])

    @contextmanager
    def following(self, subject: str) -> Iterator[None]:
        """A block in which the logins of a person are followed as if the person were the one who was here last."""
        self._awaited[subject] += 1
        try:
            yield
        finally:
            self._awaited[subject] -= 1
            if not self._awaited[subject]:
                del self._awaited[subject]

    async def _read_again(self, whose: Callable[[], Sequence[str]]) -> None:
        if self._store is None:
            return
        async with self._reading:
            before = {subject: self._logins.get(subject) or () for subject in whose()}
            found = await self._store.credentials.of_subjects(CREDENTIAL, before) if before else ()
            logins: dict[str, list[Stored]] = {subject: [] for subject in before}
            for stored in found:
                logins[stored.key.subject].append(stored)
            for subject, now in logins.items():
                if subject in self._logins or subject in self._awaited:
                    self._logins[subject] = now
        for subject, now in logins.items():
            differing = _servers(before[subject]).items() ^ _servers(now).items()
            for server in sorted({server for server, _ in differing}):
                self._changed(server, subject)

    async def _follow_sign_ins(self) -> None:
        for credential in tuple(self._by_sign_in):
            if await credential.reload():
                self._changed(credential.server, credential.subject)

    async def _follow_providers(self) -> None:
        if self._store is not None and (kept := await self._store.credentials.list(SIGN_IN)):
            from portal.credentials.sign_ins import forget_unused  # noqa: PLC0415

            await forget_unused(self._store, kept)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("credentials cannot be read; those that are known go on", reason=str(error))


def _servers(logins: Sequence[Stored]) -> Mapping[str, object]:
    """By server, what is another after a new login."""
    return {one.key.server: (one.key.digest, one.document.granted_at) for one in logins}


def is_by_sign_in(config: ServerConfig) -> bool:
    """Whether the tokens for this server come of a person's sign-in at the portal."""
    return isinstance(config, HttpServer) and config.oauth is not None and config.oauth.by_sign_in


def may_log_in(config: ServerConfig) -> bool:
    """Whether somebody can log in to this server: it is reached by URL, and the document has no other credential."""
    if not isinstance(config, HttpServer) or any(name.lower() == "authorization" for name in config.headers):
        return False
    if urlsplit(config.url).username is not None:
        return False
    if isinstance(config, OpenApiServer) and config.oauth is None:
        # An API says nothing about where one logs in. Whoever writes an `oauth` knows it.
        return False
    return config.oauth is None or config.oauth.grant == "authorization_code"
