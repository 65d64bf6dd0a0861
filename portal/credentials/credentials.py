"""Which credential each server has, and who hears when somebody has logged in or out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet, WeakValueDictionary

import structlog

from portal.config import HttpServer, ServerConfig
from portal.credentials.client_credentials import ClientCredentials, OwnToken
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import CREDENTIAL, OWN
from portal.state import Follower, StateUnavailable
from portal.upstream import Credential

if TYPE_CHECKING:
    from portal.state import Store


class ServerCredentials:
    """Makes the credentials of servers. An async context manager; while it is open it follows the store.

    Without a store nobody can log in: tokens are those that the portal gets in its own name.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._granted: WeakSet[GrantedCredential] = WeakSet()
        self._own: WeakValueDictionary[str, ClientCredentials] = WeakValueDictionary()
        self._changed: Callable[[str], object] = lambda server: None
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

    def publish_to(self, changed: Callable[[str], object]) -> None:
        """Call `changed` with the id of a server after somebody has logged in to it or out of it."""
        self._changed = changed

    def of(self, config: ServerConfig) -> Credential | None:
        """The credential that all connections to a server share; None for a server that has its headers, or none."""
        if not isinstance(config, HttpServer):
            return None
        if config.oauth is not None and config.oauth.grant == "client_credentials":
            own = ClientCredentials(config, config.oauth)
            self._own[config.id] = own
            return own
        if self._store is None or not may_log_in(config):
            return None
        granted = GrantedCredential(config, self._store, OWN, f"log in with `codemode login {config.id}`")
        self._granted.add(granted)
        return granted

    def own_tokens(self) -> Mapping[str, OwnToken]:
        """By server: how it stands with the tokens that the portal has asked for in its own name."""
        return {id: token for id, own in self._own.items() if (token := own.token) is not None}

    async def _follow(self) -> None:
        for credential in tuple(self._granted):
            if await credential.reload():
                self._changed(credential.server)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.error("credentials cannot be read; those that are known go on", reason=str(error))


def may_log_in(config: ServerConfig) -> bool:
    """Whether somebody can log in to this server: it is reached by URL, and the document has no other credential."""
    if not isinstance(config, HttpServer) or any(name.lower() == "authorization" for name in config.headers):
        return False
    if urlsplit(config.url).username is not None:
        return False
    return config.oauth is None or config.oauth.grant == "authorization_code"
