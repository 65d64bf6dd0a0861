"""`codemode login`, `logout` and `credentials`: the portal's own logins at upstream servers.

The login is kept in the database of the configuration; a portal that runs on it uses it at once.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from portal.cli.callback import callback_at, show_login
from portal.cli.database import open_database
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.config import Config, HttpServer, OpenApiServer, ServerConfig
from portal.credentials import (
    LEAD,
    OWN,
    STATES,
    CredentialDocument,
    CredentialError,
    CredentialsInvalid,
    Ending,
    Outbound,
    PortalClient,
    begin_login,
    challenge_of,
    complete_login,
    ending,
    ends_at,
    log_out,
    may_log_in,
    save_login,
    scope_of,
    state_of,
    stored_logins,
)
from portal.errors import UpstreamError
from portal.logs import configure_logging
from portal.objects import SERVER
from portal.servers import server_config
from portal.state import StateError, Store, StoredCredential


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """The options of `codemode login`."""

    server: str
    config: Path | None
    state: str | None
    scope: str
    browser: bool
    create: bool


async def log_in(options: LoginOptions) -> Exit:
    """Log in to a server. The address to open goes to standard output; then the browser is waited for."""
    stdout, stderr = consoles()
    configure_logging(level="critical", terminal=stderr.is_terminal)
    _, document = load(options.config, stderr)
    by = f"command line: {_user()}"
    if options.server in document.servers:
        _require_login(document.servers[options.server])
    async with open_database(options.state, options.config, stderr, create=options.create) as (store, _):
        server = await _server(document, store, options.server)
        former = await stored_logins(store, subject=OWN, server=server.id)
        wanted = scope_of(former, options.scope)
        try:
            with WaitLine(stderr, f"Asking {server.id} who lets people in ..."):
                challenge = await challenge_of(server)
            if challenge is None:
                stderr.print(f"{server.id} lets everybody in; there is nothing to log in to.", highlight=False)
                return Exit.OK
            async with (
                Outbound.allowed_by(server.oauth, server.url) as outbound,
                callback_at(_port_of(server)) as callback,
            ):
                portal = PortalClient(document.portal.name, callback.url, native=True)
                now = datetime.now(UTC)
                pending = await begin_login(
                    server, challenge, portal, outbound, store, subject=OWN, now=now, scope=wanted
                )
                stderr.print(Text(f"Logging in at {pending.metadata.issuer}."), soft_wrap=True)
                await show_login(pending.url, stdout, stderr, browser=options.browser)
                with WaitLine(stderr, "Waiting for the browser ..."):
                    answer = await callback.answer(pending.state)
                key, found, grant = await complete_login(
                    pending, answer, server.oauth, outbound, store, datetime.now(UTC)
                )
            await save_login(store, key, found.model_copy(update={"granted_by": by}), grant)
        except CredentialError as error:
            raise CommandError(f"{server.id}: {error}", Exit.UPSTREAM) from error
        except UpstreamError as error:
            raise CommandError(f"{server.id}: {error.full_message}", Exit.UPSTREAM) from error
    ends = "" if found.expires_at is None or grant.refresh else f" until {_time(found.expires_at)}"
    scope = f" for {found.scope}" if found.scope else ""
    stderr.print(Text(f"Logged in to {server.id}{scope}{ends}."), soft_wrap=True)
    return Exit.OK


async def log_out_of(server_id: str, config: Path | None, state: str | None) -> Exit:
    """End the login at a server, there and here."""
    _, stderr = consoles()
    configure_logging(level="critical", terminal=stderr.is_terminal)
    _, document = load(config, stderr)
    async with open_database(state, config, stderr) as (store, _):
        found = document.servers.get(server_id) or await _stored_server(store, server_id)
        logins = await stored_logins(store, subject=OWN, server=server_id)
        if not logins:
            raise CommandError(f"Nobody is logged in to {server_id!r}. `codemode credentials` lists the logins.")
        oauth = found.oauth if isinstance(found, HttpServer) else None
        for stored in logins:
            # Where its server is does not matter any more: the credential itself says who gave it.
            async with Outbound.allowed_by(oauth, stored.key.resource) as outbound:
                with WaitLine(stderr, f"Ending the login at {server_id} ..."):
                    taken_back = await log_out(store, stored, outbound, oauth)
            there = (
                "and its authorization server has taken the token back"
                if taken_back
                else (
                    "but its authorization server was not told, or does not take tokens back; the token ends by itself"
                )
            )
            stderr.print(Text(f"Logged out of {server_id}, {there}."), soft_wrap=True)
    return Exit.OK


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


async def list_credentials(config: Path | None, state: str | None, *, as_json: bool) -> Exit:
    """Print the logins, the portal's own and those of people, with their states."""
    stdout, stderr = consoles()
    async with open_database(state, config, stderr) as (store, document):
        logins = await stored_logins(store)
    now = datetime.now(UTC)
    lead = timedelta(seconds=document.portal.credential_notices.lead) if document is not None else LEAD
    if as_json:
        stdout.print_json(data={"credentials": [_as_json(one, now, lead) for one in logins]})
    elif not logins:
        stdout.print("Nobody is logged in anywhere. `codemode login SERVER` logs in.", highlight=False, markup=False)
    else:
        stdout.print(_table(logins, now, lead))
    return Exit.OK


async def _stored_server(store: Store, id: str) -> HttpServer | None:
    """The stored server of this id; None if there is none, or it cannot be used."""
    try:
        stored = await store.get(SERVER, id)
        return server_config(stored, await store.secret(SERVER, id)) if stored is not None else None
    except (CredentialsInvalid, StateError, ValidationError):
        return None


async def _server(document: Config, store: Store, name: str) -> HttpServer:
    """The server to log in to, of the document or of the database.

    Raises:
        CommandError: there is none, or nobody can log in to it.
    """
    server = document.servers.get(name)
    if server is None and (stored := await store.get(SERVER, name)) is not None:
        try:
            server = server_config(stored, await store.secret(SERVER, name))
        except (CredentialsInvalid, StateError, ValidationError) as error:
            raise CommandError(f"The stored server {name!r} cannot be used.") from error
    if server is None:
        known = [id for id, one in document.servers.items() if may_log_in(one)]
        raise CommandError(f"There is no server {name!r} to log in to. {meant(name, known)}")
    return _require_login(server)


def _require_login(server: ServerConfig) -> HttpServer:
    if not isinstance(server, HttpServer):
        raise CommandError(f"{server.id} is a program of this machine; there is nothing to log in to.")
    if not may_log_in(server):
        if isinstance(server, OpenApiServer) and server.oauth is None:
            raise CommandError(
                f"{server.id} is an API, which does not say where one logs in: give it an `oauth`, or write a token "
                "into its `credentials` or `headers`."
            )
        how = "a client of its own (`oauth`)" if server.oauth is not None else "a credential in its `headers` or `url`"
        raise CommandError(f"{server.id} has {how}, and needs no login.")
    return server


def _port_of(server: HttpServer) -> int:
    return (server.oauth.callback_port or 0) if server.oauth is not None else 0


def _table(logins: Sequence[StoredCredential[CredentialDocument]], now: datetime, lead: timedelta) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("server", "whose", "state", "until", "scope", "issuer"):
        table.add_column(heading, overflow="fold")
    for one in logins:
        document, state = one.document, state_of(one, now)
        meaning = (document.reason or STATES[state]) + _WARNINGS[ending(one, now, lead)]
        until = _time(document.expires_at) if document.expires_at is not None else ""
        whose = one.key.subject or "the portal's"
        table.add_row(*map(Text, (one.key.server, whose, f"{state}: {meaning}", until, document.scope, one.key.issuer)))
    return table


# What is said of a login that no refresh keeps, after its state.
_WARNINGS: Mapping[Ending, str] = {"no": "", "soon": "; it ends soon, log in again", "ended": "; it has ended"}


def _as_json(one: StoredCredential[CredentialDocument], now: datetime, lead: timedelta) -> Mapping[str, object]:
    document, at = one.document, ends_at(one, now)
    return {
        "server": one.key.server,
        "subject": one.key.subject or None,
        "state": state_of(one, now),
        "reason": document.reason or None,
        "scope": document.scope,
        "issuer": one.key.issuer,
        "resource": one.key.resource,
        "grantedAt": document.granted_at.isoformat(),
        "grantedBy": document.granted_by,
        "expiresAt": document.expires_at.isoformat() if document.expires_at is not None else None,
        "endsAt": at.isoformat() if at is not None else None,
        "ending": ending(one, now, lead),
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
