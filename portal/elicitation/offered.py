"""The servers of a portal as their page shows them to one person: state, reason, and what the person can do. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from portal.config import HttpServer, ServerConfig
from portal.credentials import OWN, STATES, CredentialDocument, may_log_in, origin_of, state_of
from portal.identity import Identity

if TYPE_CHECKING:
    from portal.state import StoredCredential

MAX_NAME, MAX_TEXT = 100, 400
_CONNECTED = ("ready", "expiring", "refreshing", "unknown")


@dataclass(frozen=True, slots=True)
class OfferedServer:
    """A server that a person may use. `asks` is whether it has refused who shows no login of a person, False if it lets
    them in, None while that is not known. `for_all`: everybody uses the portal's own login at it."""

    id: str
    name: str
    description: str
    config: ServerConfig
    asks: bool | None = None
    for_all: bool = False

    @property
    def takes_logins(self) -> bool:
        """Whether a person may log in to it."""
        return may_log_in(self.config) and not self.for_all


Offered: TypeAlias = Callable[[Identity], Awaitable[Sequence[OfferedServer]]]
"""The servers of the portal that this person may use now, in the portal's order."""


@dataclass(frozen=True, slots=True)
class ServerOnPage:
    """A server on the page.

    `state` is one of `STATES`, "" where no login is needed; `words` say what it means, and `reason` why. `scope` are
    the permissions of the login, `issuer` the origin that gave it. `wanted` is whether the elicitation wants it,
    `why` its reason. `connected` is whether calls to it need nothing more. `can` is what the person can do: log in, do
    so though nobody asks, log out or in again, or nothing. `asks`: it is known to want a login. `chooses` is whether
    they may name permissions.
    """

    id: str
    name: str
    description: str
    state: str = ""
    words: str = "Needs no login."
    reason: str = ""
    scope: str = ""
    issuer: str = ""
    wanted: bool = False
    why: str = ""
    can: Literal["connect", "maybe", "renew", ""] = ""
    asks: bool = False
    chooses: bool = False
    connected: bool = False


def shown_servers(
    offered: Sequence[OfferedServer],
    logins: Sequence[StoredCredential[CredentialDocument]],
    connecting: Collection[str],
    wanted: Mapping[str, str],
    now: datetime,
) -> list[ServerOnPage]:
    """The servers on the page, those that are wanted first. `logins` are those of the person and of the portal itself,
    `connecting` the servers that the person has begun to log in to."""
    shown = [_shown(one, logins, one.id in connecting, wanted.get(one.id), now) for one in offered]
    return sorted(shown, key=lambda server: not server.wanted)


def _shown(
    server: OfferedServer,
    logins: Sequence[StoredCredential[CredentialDocument]],
    connecting: bool,
    why: str | None,
    now: datetime,
) -> ServerOnPage:
    logins = [one for one in logins if one.key.server == server.id]
    portals = next((one for one in logins if one.key.subject == OWN), None)
    theirs = next((one for one in reversed(logins) if one.key.subject != OWN), None)
    config = server.config
    open_to_all = ServerOnPage(
        id=server.id,
        name=name_of(server),
        description=readable(server.description),
        wanted=why is not None,
        why=readable(why or ""),
        connected=True,
    )
    if not isinstance(config, HttpServer) or not may_log_in(config):
        return open_to_all
    if server.for_all:
        if portals is None and server.asks is False:
            return open_to_all
        state = state_of(portals, now)
        connected = state in _CONNECTED
        return replace(open_to_all, state=state, words=STATES[state], reason=_for_all(connected), connected=connected)
    chooses = config.oauth is None or not config.oauth.scope
    if theirs is not None:
        state, missing = state_of(theirs, now), _missing_scope(theirs.document)
        return replace(
            open_to_all,
            state=state,
            words=STATES[state],
            reason=_reason(theirs.document.reason, missing, chooses=chooses),
            scope=readable(theirs.document.scope),
            issuer=readable(origin_of(theirs.key.issuer)),
            can="renew",
            chooses=chooses,
            connected=state in _CONNECTED and not (missing and chooses),
        )
    if why is None and portals is None and server.asks is False:
        return replace(open_to_all, can="maybe", chooses=chooses)
    state = "connecting" if connecting else "absent"
    # A server at which the portal itself has logged in wants logins.
    asks = server.asks is True or portals is not None
    absent = replace(open_to_all, state=state, words=STATES[state], asks=asks, connected=False)
    return replace(absent, can="connect", chooses=chooses)


def name_of(server: OfferedServer | ServerConfig) -> str:
    """What people call a server."""
    return readable(server.name, MAX_NAME) or server.id


def _for_all(connected: bool) -> str:
    """What somebody reads of a login that is the portal's own, which they cannot make."""
    if connected:
        return "The portal has one login for everybody."
    return "The portal has one login for everybody, which an administrator makes."


def _missing_scope(document: CredentialDocument) -> str:
    """What the server wanted beyond the login."""
    return " ".join(sorted(set(document.wanted_scope.split()) - set(document.scope.split())))


def _reason(reason: str, missing: str, *, chooses: bool) -> str:
    """Why a login is not as it should be, or too little; "" for nothing."""
    than = "" if chooses else " than an administrator allows"
    more = f"The server wants more permissions{than}: {missing}." if missing else ""
    return readable(f"{reason} {more}")


def readable(text: str, length: int = MAX_TEXT) -> str:
    """The text of somebody else in one line, without what is not printable, cut to a length."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"
