"""Which credential each server has, and who hears when somebody has logged in or out."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet

import structlog

from portal.config import HttpServer, ServerConfig
from portal.credentials.client_credentials import ClientCredentials
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import CREDENTIAL, OWN, SIGN_IN
from portal.objects import IDENTITY_PROVIDER
from portal.state import Follower, StateUnavailable
from portal.upstream import Credential

if TYPE_CHECKING:
    from portal.credentials.by_sign_in import BySignIn
    from portal.state import Store


class ServerCredentials:
    """Makes the credentials of servers. An async context manager; while it is open it follows the store.

    Without a store nobody can log in: tokens are those that the portal gets in its own name.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._granted: WeakSet[GrantedCredential] = WeakSet()
        self._by_sign_in: WeakSet[BySignIn] = WeakSet()
        self._changed: Callable[[str], object] = lambda server: None
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

    def publish_to(self, changed: Callable[[str], object]) -> None:
        """Call `changed` with the id of a server after somebody has logged in to it or out of it."""
        self._changed = changed

    def of(self, config: ServerConfig) -> Credential | None:
        """The credential that all connections to a server share; None for a server that has its headers, or none."""
        if not isinstance(config, HttpServer):
            return None
        if config.oauth is not None and config.oauth.grant == "client_credentials":
            return ClientCredentials(config, config.oauth)
        if self._store is None or not may_log_in(config):
            return None
        granted = GrantedCredential(config, self._store, OWN, f"log in with `codemode login {config.id}`")
        self._granted.add(granted)
        return granted

    def of_person(self, config: ServerConfig, subject: str) -> Credential | None:
        """The credential of one person, for a server whose tokens come of their sign-in at the portal; None for every
        other server. `subject` is the id of the person's identity.

        It is for connections of this person alone, in which it takes the place of `of(config)`, and is closed after
        them. It needs no login: one that is missing is said in the errors of its calls. When the person has signed in
        again, or out everywhere, what came of the former sign-in is shown no more, and `publish_to` tells the server.
        """
        if not isinstance(config, HttpServer) or self._store is None:
            return None
        if config.oauth is None or not config.oauth.by_sign_in:
            return None
        # The room of logins is slow to import, and a portal without people does without it.
        from portal.credentials.by_sign_in import credential_by_sign_in  # noqa: PLC0415

        made = credential_by_sign_in(config, config.oauth, self._store, subject)
        self._by_sign_in.add(made)
        return made

    async def _follow_logins(self) -> None:
        for credential in tuple(self._granted):
            if await credential.reload():
                self._changed(credential.server)

    async def _follow_sign_ins(self) -> None:
        for credential in tuple(self._by_sign_in):
            if await credential.reload():
                self._changed(credential.server)

    async def _follow_providers(self) -> None:
        if self._store is not None and await self._store.credentials.list(SIGN_IN):
            from portal.credentials.sign_ins import forget_unused  # noqa: PLC0415

            await forget_unused(self._store)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.error("credentials cannot be read; those that are known go on", reason=str(error))


def may_log_in(config: ServerConfig) -> bool:
    """Whether somebody can log in to this server: it is reached by URL, and the document has no other credential."""
    if not isinstance(config, HttpServer) or any(name.lower() == "authorization" for name in config.headers):
        return False
    if urlsplit(config.url).username is not None:
        return False
    return config.oauth is None or config.oauth.grant == "authorization_code"
