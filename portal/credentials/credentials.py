"""Which credentials there are for each server: the portal's own, and those of each person who has logged in to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet, WeakValueDictionary

import structlog

from portal.bounded import Bounded
from portal.config import HttpServer, ServerConfig
from portal.credentials.client_credentials import ClientCredentials, OwnToken
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import CREDENTIAL, OWN, CredentialDocument, fits
from portal.state import Follower, StateUnavailable
from portal.upstream import Credential

if TYPE_CHECKING:
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

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._own: WeakSet[GrantedCredential] = WeakSet()
        self._clients: WeakValueDictionary[str, ClientCredentials] = WeakValueDictionary()
        self._logins: Bounded[str, Sequence[Stored]] = Bounded(MAX_PERSONS)
        # A reading that a change crosses is over before the change is followed, and so read again.
        self._reading = asyncio.Lock()
        self._changed: Changed = lambda server, subject: None
        self._follower: Follower | None = None
        self._log = structlog.get_logger("portal.credentials")

    async def __aenter__(self) -> ServerCredentials:
        if self._store is not None:
            self._follower = Follower(self._store, {CREDENTIAL.name}, self._follow, self._unavailable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._follower is not None:
            await self._follower.aclose()

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
        granted = GrantedCredential(config, self._store, OWN, f"log in with `codemode login {config.id}`")
        self._own.add(granted)
        return granted

    def own_tokens(self) -> Mapping[str, OwnToken]:
        """By server: how it stands with the tokens that the portal has asked for in its own name."""
        return {id: token for id, own in self._clients.items() if (token := own.token) is not None}

    def is_personal(self, config: ServerConfig) -> bool:
        """Whether a person may have a credential of their own for this server."""
        return self._store is not None and may_log_in(config)

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
        who is not known."""
        stored = self._login(config, subject)
        return f"{stored.key.digest.hex()} {stored.document.granted_at.isoformat()}" if stored is not None else ""

    def of_person(self, config: ServerConfig, subject: str) -> Credential | None:
        """The credential of a login of this person at a server, None without one. Whoever asked for it closes it."""
        if self._store is None or not isinstance(config, HttpServer) or self._login(config, subject) is None:
            return None
        return GrantedCredential(config, self._store, subject)

    def _login(self, config: ServerConfig, subject: str) -> Stored | None:
        if not isinstance(config, HttpServer):
            return None
        fitting = [
            one
            for one in self._logins.get(subject) or ()
            if one.key.server == config.id and fits(one.key, config.url, config.oauth)
        ]
        return fitting[-1] if fitting else None

    async def _follow(self) -> None:
        for credential in tuple(self._own):
            if await credential.reload():
                self._changed(credential.server, OWN)
        await self._read_again(lambda: [subject for subject, _ in self._logins.items()])

    async def look_again(self, subject: str) -> None:
        """Read again where a person is logged in: another process may have stored what is not told here yet.

        Raises:
            StateUnavailable: it cannot be read.
        """
        await self._read_again(lambda: [subject] if subject in self._logins else [])

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
                if subject in self._logins:
                    self._logins[subject] = now
        for subject, now in logins.items():
            differing = _servers(before[subject]).items() ^ _servers(now).items()
            for server in sorted({server for server, _ in differing}):
                self._changed(server, subject)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.error("credentials cannot be read; those that are known go on", reason=str(error))


def _servers(logins: Sequence[Stored]) -> Mapping[str, object]:
    """By server, what is another after a new login."""
    return {one.key.server: (one.key.digest, one.document.granted_at) for one in logins}


def may_log_in(config: ServerConfig) -> bool:
    """Whether somebody can log in to this server: it is reached by URL, and the document has no other credential."""
    if not isinstance(config, HttpServer) or any(name.lower() == "authorization" for name in config.headers):
        return False
    if urlsplit(config.url).username is not None:
        return False
    return config.oauth is None or config.oauth.grant == "authorization_code"
