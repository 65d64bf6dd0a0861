"""Links of the admin API with which an administrator logs the portal itself in to a server. Each ends after a while.

A link gives no rights: who opens it must be signed in at the portal as an administrator. The store has only a hash of
the secret in the link.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import AwareDatetime

from portal.objects import Document
from portal.state import Kind, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portal.state import Store, Stored

VALID = timedelta(minutes=15)


class LoginRequestDocument(Document):
    """The login at `server` that `requested_by` began, until `expires_at`. `scope` is what is wanted beside what the
    server asks for."""

    server: str
    scope: str = ""
    requested_by: str
    expires_at: AwareDatetime


LOGIN_REQUEST = Kind("upstream_login_request", LoginRequestDocument)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """`secret` is what the link has in it."""

    secret: str = field(repr=False)
    document: LoginRequestDocument


async def request_login(store: Store, server: str, scope: str, *, by: str, now: datetime) -> LoginRequest:
    """A new request, in place of all others for the server."""
    secret = secrets.token_urlsafe(32)
    document = LoginRequestDocument(server=server, scope=scope, requested_by=by, expires_at=now + VALID)
    async with store.transaction() as transaction:
        for stored in await transaction.list(LOGIN_REQUEST):
            if stored.document.server == server or stored.document.expires_at <= now:
                await transaction.delete(LOGIN_REQUEST, stored.id, by=by)
        await transaction.create(LOGIN_REQUEST, _id(secret), document, by=by)
    return LoginRequest(secret, document)


async def find_login_request(store: Store, secret: str, now: datetime) -> LoginRequestDocument | None:
    """The request whose link has this secret in it; None if there is none, or its time is over."""
    found = await store.get(LOGIN_REQUEST, _id(secret))
    return found.document if found is not None and found.document.expires_at > now else None


async def end_login_request(store: Store, secret: str, *, by: str) -> None:
    """Let the link work no longer."""
    with suppress(NotFound):
        await store.delete(LOGIN_REQUEST, _id(secret), by=by)


async def open_login_requests(store: Store, now: datetime) -> Sequence[Stored[LoginRequestDocument]]:
    """The requests whose time is not over."""
    return [one for one in await store.list(LOGIN_REQUEST) if one.document.expires_at > now]


def _id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
