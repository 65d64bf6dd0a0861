"""The sign-in of a person at a portal elsewhere: through the browser, kept sealed, and renewed by one bridge at a time.

Every MCP client starts a bridge of its own, often several at once and at the same moment. So a sign-in is made under a
lock of the file system: the others wait, and use what it brought. A refresh is made under the lease of the store, as
those of the portal's own logins are (`portal.credentials`).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from portal.config import HttpServer
from portal.credentials import (
    OWN,
    CredentialError,
    GrantedCredential,
    Outbound,
    PortalClient,
    begin_login,
    complete_login,
    read_challenge,
    save_login,
    scope_of,
    stored_logins,
)
from portal.errors import AuthorizationRequired
from portal.state import StateError

if TYPE_CHECKING:
    from portal.state import Store

CLIENT_NAME = "Codemode bridge"
_LOCK_SECONDS = 0.2


class Browser(Protocol):
    """Where a person is sent to sign in, and comes back. `redirect_uri` is at this machine (RFC 8252 7.3)."""

    @property
    def redirect_uri(self) -> str: ...

    async def answer(self, url: str, state: str) -> Mapping[str, str]:
        """Show a page, and wait: the parameters of the redirect that has this state."""


@asynccontextmanager
async def _locked(file: Path, waits: Callable[[], object]) -> AsyncIterator[None]:
    """The lock of this file, until the block ends or the process does. `waits` is called if another one has it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    waited = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    waits()
                waited = True
                await asyncio.sleep(_LOCK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def sign_in_id(url: str) -> str:
    """The id under which the sign-in at a portal is kept: of its address, without the mode that the URL asks for."""
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"portal-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


class PortalSignIn:
    """Implements `SignInCredential`. `folder` has the lock; `open_store` opens the database, which is made with the
    first sign-in if it is not `there`. `browser` is opened for a sign-in, `tell` says to the person what is waited for.
    """

    advice = ""

    def __init__(
        self,
        config: HttpServer,
        folder: Path,
        open_store: Callable[[], AbstractAsyncContextManager[Store]],
        browser: Callable[[], AbstractAsyncContextManager[Browser]],
        tell: Callable[[str], object],
        *,
        there: bool,
    ) -> None:
        self._config = config
        self._lock = folder / f"{config.id}.lock"
        self._open_store = open_store
        self._browser = browser
        self._tell = tell
        self._there = there
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._credential: GrantedCredential | None = None
        # When the sign-in was made that is used.
        self._used: datetime | None = None

    @property
    def present(self) -> bool:
        return self._credential is not None and self._credential.present

    @property
    def secrets(self) -> Sequence[str]:
        return self._credential.secrets if self._credential is not None else ()

    async def headers(self) -> Mapping[str, str]:
        """Implements `Credential`: empty as long as nobody has signed in."""
        if not self._there:
            return {}
        return await (await self._opened()).headers()

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Implements `Credential`."""
        return self._credential is not None and await self._credential.renew(sent, refused)

    async def renewed(self, refused: AuthorizationRequired) -> None:
        """Implements `SignInCredential`."""
        host = urlsplit(self._config.url).netloc.rpartition("@")[2]
        self._there = True
        credential = await self._opened()

        def waits() -> None:
            self._tell(f"waiting for the sign-in at {host} that another bridge has begun")

        async with _locked(self._lock, waits):
            try:
                if await self._newest() in (None, self._used):
                    await self._sign_in(refused, host)
                # Otherwise another bridge has signed in, perhaps while this one waited.
                self._used = await self._newest()
            except CredentialError as error:
                words = f"Signing in at {host} failed: {error}"
                raise AuthorizationRequired(words, status=401, login_helps=False) from error
            except StateError as error:
                words = f"The sign-in at {host} cannot be kept: {error}"
                raise AuthorizationRequired(words, status=401, login_helps=False) from error
            await credential.reload()

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _opened(self) -> GrantedCredential:
        async with self._opening:
            if self._credential is None:
                try:
                    self._store = await self._stack.enter_async_context(self._open_store())
                    self._used = await self._newest()
                except StateError as error:
                    words = f"What is kept of the sign-in cannot be read: {error}"
                    raise AuthorizationRequired(words, login_helps=False) from error
                self._credential = GrantedCredential(self._config, self._store, OWN)
                self._stack.push_async_callback(self._credential.aclose)
            return self._credential

    async def _sign_in(self, refused: AuthorizationRequired, host: str) -> None:
        """
        Raises:
            CredentialError: it failed.
        """
        config, store = self._config, self._store
        assert store is not None
        former = await stored_logins(store, subject=OWN, server=config.id)
        async with Outbound.allowed_by(config.oauth, config.url) as outbound, self._browser() as browser:
            client = PortalClient(CLIENT_NAME, browser.redirect_uri, native=True)
            pending = await begin_login(
                config,
                read_challenge(refused.challenge),
                client,
                outbound,
                store,
                subject=OWN,
                now=datetime.now(UTC),
                scope=scope_of(former),
            )
            self._tell(f"waiting for you to sign in at {host}")
            answer = await browser.answer(pending.url, pending.state)
            found = await complete_login(pending, answer, config.oauth, outbound, store, datetime.now(UTC))
            await save_login(store, *found)
        self._tell(f"signed in at {host}")

    async def _newest(self) -> datetime | None:
        """When somebody has signed in last, if that still holds."""
        assert self._store is not None
        logins = await stored_logins(self._store, subject=OWN, server=self._config.id)
        return max((one.document.granted_at for one in logins if one.document.state == "ready"), default=None)
