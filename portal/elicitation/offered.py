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
    """A server that a person may use. `answers`: it lists its tools to who shows no login of a person."""

    id: str
    name: str
    description: str
    config: ServerConfig
    answers: bool = False


Offered: TypeAlias = Callable[[Identity], Awaitable[Sequence[OfferedServer]]]
"""The servers of the portal that this person may use now, in the portal's order."""


@dataclass(frozen=True, slots=True)
class ServerOnPage:
    """A server on the page.

    `state` is one of `STATES`, "" where no login is needed; `words` say what it means, and `reason` why. `scope` are
    the permissions of the login, `issuer` the origin that gave it. `wanted` is whether the elicitation wants it,
    `why` its reason. `connected` is whether calls to it need nothing more. `can` is what the person can do: log in, do
    so though nobody asks, log out or in again, or nothing. `chooses` is whether they may name permissions.
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
        name=readable(server.name, MAX_NAME) or server.id,
        description=readable(server.description),
        wanted=why is not None,
        why=readable(why or ""),
        connected=True,
    )
    if not isinstance(config, HttpServer) or not may_log_in(config):
        return open_to_all
    if not config.on_behalf:
        if portals is None and server.answers:
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
    if why is None and portals is None and server.answers:
        return replace(open_to_all, can="maybe", chooses=chooses)
    state = "connecting" if connecting else "absent"
    return replace(open_to_all, state=state, words=STATES[state], can="connect", chooses=chooses, connected=False)


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
