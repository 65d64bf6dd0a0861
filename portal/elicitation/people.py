"""Logins of people at upstream servers: begun in one browser, finished there by the same person, ended by them.

What is kept between beginning and end is useless to who reads it: the state is a hash, the PKCE verifier is derived
from the browser's cookie, and the client's secret stays where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from portal.config import HttpServer
from portal.credentials import (
    OWN,
    CredentialDocument,
    CredentialError,
    KeptLogin,
    Outbound,
    PendingLogin,
    PortalClient,
    SealedGrant,
    TakenBack,
    begin_login,
    challenge_of,
    complete_login,
    kept_login,
    log_out,
    resumed_login,
    save_login,
    stored_logins,
    take_back,
)
from portal.elicitation.offered import readable
from portal.errors import UpstreamError
from portal.identity import Identity
from portal.objects import Document
from portal.pages import Visitor
from portal.state import CredentialKey, Kind, Store, StoredCredential, Token, utc_now

LASTS = timedelta(minutes=10)
MOST_BEGUN = 20
# Discovery asks several places, one after the other.
BEGINNING_SECONDS = 45.0
# What a person waits for the answer of an authorization server that takes a token back. It is told in any case.
REVOKING_SECONDS = 5.0

Login = StoredCredential[CredentialDocument]


class BegunDocument(Document):
    """A login that was begun in a browser. `for_portal`: it is to be the portal's own."""

    browser: str
    login: KeptLogin
    for_portal: bool = False


BEGUN = Kind("server_login", BegunDocument)


class NoLogin(Exception):
    """A login cannot be begun or finished. The text is a sentence that says why, and what to do."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """A login that has ended here. `taken_back` is what its authorization server has taken back, None where it has not
    answered yet."""

    issuer: str
    scope: str
    taken_back: TakenBack | None


@dataclass(slots=True)
class PeoplesLogins:
    """The logins of people that pass one portal. `store` is the portal's; `aclose` it before the store."""

    store: Store
    now: Callable[[], datetime] = utc_now
    _revoking: set[asyncio.Task[TakenBack]] = field(default_factory=set)

    async def aclose(self) -> None:
        for task in self._revoking:
            task.cancel()
        await asyncio.gather(*self._revoking, return_exceptions=True)

    async def of(self, identity: Identity) -> Sequence[Login]:
        """The logins of a person, and those of the portal itself."""
        theirs = await stored_logins(self.store, subject=identity.key)
        return [*await stored_logins(self.store, subject=OWN), *theirs]

    async def connecting(self, identity: Identity) -> list[str]:
        """The servers that a person has begun to log in to, one for each login."""
        begun = await self.store.tokens.list(BEGUN, identity.key)
        return [one.document.login.server for one in begun if one.used_at is None and not one.document.for_portal]

    async def begin(
        self,
        identity: Identity,
        visitor: Visitor,
        config: HttpServer,
        portal: PortalClient,
        scope: str,
        *,
        for_portal: bool = False,
    ) -> PendingLogin:
        """Where to send this person, in this browser. `scope` is what is wanted beside what the server asks for. With
        `for_portal` the login is to be the portal's own.

        Raises:
            NoLogin: why not.
        """
        if len(await self.connecting(identity)) >= MOST_BEGUN:
            minutes = LASTS.total_seconds() / 60
            raise NoLogin(f"You have begun too many logins. Finish one of them, or wait {minutes:g} minutes.")
        try:
            async with asyncio.timeout(BEGINNING_SECONDS):
                owner = OWN if for_portal else identity.key
                pending = await self._begin(owner, visitor, config, portal, scope)
        except TimeoutError:
            raise NoLogin("Its login did not answer in time. Try again later.") from None
        except (CredentialError, UpstreamError) as error:
            raise NoLogin(_sentence(error)) from error
        await self.store.tokens.issue(
            BEGUN,
            pending.state,
            subject=identity.key,
            document=BegunDocument(browser=visitor.binding, login=kept_login(pending), for_portal=for_portal),
            expires_at=self.now() + LASTS,
        )
        return pending

    async def _begin(
        self, owner: str, visitor: Visitor, config: HttpServer, portal: PortalClient, scope: str
    ) -> PendingLogin:
        challenge = await challenge_of(config)
        if challenge is None:
            raise NoLogin("It lets everybody in; there is nothing to log in to.")
        async with Outbound.allowed_by(config.oauth, config.url) as outbound:
            return await begin_login(
                config,
                challenge,
                portal,
                outbound,
                self.store,
                subject=owner,
                now=self.now(),
                scope=scope,
                verifier_of=lambda state: _verifier(visitor, state),
            )

    async def found(self, state: str, visitor: Visitor) -> Token[BegunDocument] | None:
        """The login of this state, if it was begun in this browser and has not ended."""
        begun = await self.store.tokens.find(BEGUN, state) if state else None
        if begun is None or begun.used_at is not None or not visitor.owns(begun.document.browser):
            return None
        return begun

    async def finish(
        self,
        begun: Token[BegunDocument],
        answer: Mapping[str, str],
        identity: Identity,
        visitor: Visitor,
        config: HttpServer,
        portal: PortalClient,
        still_here: Callable[[], Awaitable[bool]],
    ) -> bool:
        """Store the login that the browser came back with; False if another request was faster, or who made it is not
        `still_here` by then: its tokens are taken back. `answer` are the parameters of the redirect.

        Raises:
            NoLogin: why there is none.
        """
        state = answer["state"]
        used = await self.store.tokens.consume(BEGUN, state)
        if used is None or used.reused:
            return False
        try:
            pending = await resumed_login(
                begun.document.login,
                config,
                portal,
                self.store,
                subject=OWN if begun.document.for_portal else identity.key,
                state=state,
                verifier=_verifier(visitor, state),
            )
            async with Outbound.allowed_by(config.oauth, config.url) as outbound:
                key, document, grant = await complete_login(
                    pending, answer, config.oauth, outbound, self.store, self.now()
                )
        except CredentialError as error:
            raise NoLogin(_sentence(error)) from error
        document = document.model_copy(update={"granted_by": identity.label})
        if not await still_here():
            await self._told(self._discard(key, document, grant, config))
            return False
        await save_login(self.store, key, document, grant)
        structlog.get_logger("portal.credentials").info(
            "logged in to a server",
            who=identity.key,
            server=key.server,
            scope=document.scope,
            issuer=key.issuer,
            ip=visitor.ip,
            for_portal=begun.document.for_portal,
        )
        return True

    async def end(self, identity: Identity, server: str, config: HttpServer | None) -> list[LoggedOut]:
        """Forget a person's logins at a server, and have their tokens taken back. `config` is None for a server that
        is not there any more."""
        return [
            await self._end(one, config) for one in await stored_logins(self.store, subject=identity.key, server=server)
        ]

    async def _end(self, login: Login, config: HttpServer | None) -> LoggedOut:
        taken_back = await self._told(self._taken_back(login, config))
        return LoggedOut(readable(login.key.issuer), readable(login.document.scope), taken_back)

    async def _told(self, telling: Coroutine[object, object, TakenBack]) -> TakenBack | None:
        """What an authorization server has taken back; None where it has not answered yet. It is told in any case."""
        task = asyncio.ensure_future(telling)
        self._revoking.add(task)
        task.add_done_callback(self._revoking.discard)
        await asyncio.wait({task}, timeout=REVOKING_SECONDS)
        return task.result() if task.done() else None

    async def _discard(
        self, key: CredentialKey, document: CredentialDocument, grant: SealedGrant, config: HttpServer
    ) -> TakenBack:
        """Have the tokens of a login taken back that is not stored."""
        login = StoredCredential(key, version=0, document=document, modified_at=self.now(), leased_until=None)
        async with Outbound.allowed_by(config.oauth, config.url) as outbound:
            return await take_back(login, grant, outbound, config.oauth)

    async def _taken_back(self, login: Login, config: HttpServer | None) -> TakenBack:
        oauth = config.oauth if config is not None else None
        async with Outbound.allowed_by(oauth, login.key.resource) as outbound:
            taken_back = await log_out(self.store, login, outbound, oauth)
        structlog.get_logger("portal.credentials").info(
            "logged out of a server",
            who=login.key.subject,
            server=login.key.server,
            scope=login.document.scope,
            issuer=login.key.issuer,
            refresh_token_taken_back=taken_back.refresh,
            access_token_taken_back=taken_back.access,
        )
        return taken_back


def _verifier(visitor: Visitor, state: str) -> str:
    """The PKCE verifier of a login: 64 characters that only this browser's cookie gives (RFC 7636 4.1)."""
    return visitor.sign(f"verifier {state}")


def _sentence(error: Exception) -> str:
    text = readable(str(error))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".")
