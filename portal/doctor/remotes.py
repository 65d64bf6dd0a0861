"""Checks of servers by URL: they answer, their certificate lasts, their clock is right, and the login is taken."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from portal.config import Config, HttpServer, OpenApiServer
from portal.credentials import ClientCredentials, State, may_log_in
from portal.doctor.attempts import SLOW_SECONDS, ConnectionAttempt, attempt
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.doctor.logins import LoginFacts, StoredLogins
from portal.doctor.probes import CertificateFacts, HttpFacts, probe
from portal.egress import is_loopback_host

ENDING = timedelta(days=14)
# A clock of a network is right within a second; tokens are taken within a minute or so.
SKEW_NOTICE, SKEW_TROUBLE = 30.0, 120.0
LoginKind = Literal["none", "login", "people", "own_client", "by_sign_in"]
_BAD_STATES: tuple[State, ...] = ("needs_reauth", "misconfigured")


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What there is of a server by URL. `kind`: how one is let in; `login` is what is stored of the portal's own.
    `has_store`: there is a database for logins."""

    id: str
    host: str
    tried: ConnectionAttempt
    probed: HttpFacts
    kind: LoginKind
    login: LoginFacts = LoginFacts()
    has_store: bool = False
    via_proxy: bool = False
    secure: bool = False


async def remote_facts(server: HttpServer, config: Config, logins: StoredLogins, seconds: float) -> RemoteFacts:
    """Look at the server, with the portal's own login if there is one that still lives. None is renewed."""
    where = place_of(server)
    parts = urlsplit(where)
    proxy = proxy_for(where)
    kind = kind_of_login(server, config)
    login, token = await logins.of(server) if kind in ("login", "people") else (LoginFacts(), None)
    own = None
    if kind == "own_client" and server.oauth is not None:
        # A token in the portal's own name is another one, and takes nothing from that of a running portal.
        own = ClientCredentials(server, server.oauth)
    try:
        tried, probed = await asyncio.gather(
            attempt(server, seconds=seconds, credential=own or token), _probed(where, proxy)
        )
    finally:
        if own is not None:
            await own.aclose()
    return RemoteFacts(
        server.id,
        parts.hostname or "",
        tried,
        probed,
        kind,
        login,
        config.portal.has_store,
        bool(proxy),
        parts.scheme == "https",
    )


def place_of(server: HttpServer) -> str:
    """Where its host is to be seen: at its URL; of an API without one at that of its document, "" for a file."""
    return server.url or (server.document_url if isinstance(server, OpenApiServer) else "")


async def _probed(url: str, proxy: str) -> HttpFacts:
    return await probe(url, proxy=proxy) if url else HttpFacts()


def proxy_for(url: str) -> str:
    """The proxy of the environment for this URL, "" without one; as connections to servers choose it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or is_loopback_host(host) or urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def kind_of_login(server: HttpServer, config: Config) -> LoginKind:
    if server.oauth is not None and server.oauth.grant == "client_credentials":
        return "own_client"
    if server.oauth is not None and server.oauth.by_sign_in:
        return "by_sign_in"
    if not may_log_in(server):
        return "none"
    return "people" if config.portal.identity is not None and server.on_behalf else "login"


def remote_findings(facts: RemoteFacts, now: datetime) -> Iterator[Diagnosis]:
    """Everything about a server by URL. Pure."""
    certificate = facts.probed.certificate
    yield from _answered(facts)
    if certificate is not None:
        yield certificate_finding(facts.id, facts.host, certificate, now)
    if facts.probed.ahead is not None:
        yield _clock(facts.id, facts.probed.ahead)
    yield from _login(facts)


def _answered(facts: RemoteFacts) -> Iterator[Diagnosis]:
    tried = facts.tried
    if tried.ready:
        what = f"It lists {tried.offers} within {tried.seconds:.1f} s."
        if tried.seconds > SLOW_SECONDS:
            yield notice("remote.answers", facts.id, f"{what} That is slow.")
        else:
            yield ok("remote.answers", facts.id, what)
        return
    if tried.refused:
        # It answers; whether the login is right is another check.
        yield ok("remote.answers", facts.id, "It answers, and asks for a login.")
        return
    certificate = facts.probed.certificate
    if certificate is not None and certificate.wrong:
        text = f"It cannot be reached: its certificate is {certificate.wrong}."
        yield trouble("remote.answers", facts.id, text, _certificate_fix(facts.host, certificate))
        return
    # Some reasons of connections are the name of a class.
    more = f": {facts.probed.problem}" if facts.probed.problem and "(Client" in tried.reason else ""
    why = f"{tried.reason.rstrip('.')}{more}"
    yield trouble("remote.answers", facts.id, f"{why[:1].upper()}{why[1:]}.", _reach_fix(facts))


def _reach_fix(facts: RemoteFacts) -> str:
    status = facts.tried.status
    if "its document" in facts.tried.reason:
        return "correct its `openapi`, `url` or `server`, as the reason says"
    if status in (404, 405, 406):
        return "correct the path in its `url`"
    if facts.via_proxy:
        return f"correct its `url`, or export NO_PROXY={facts.host} if it is reached without the proxy"
    if facts.probed.status is not None:
        return "correct its `url`; something answers at the host"
    return "correct its `url`, start it, or set HTTPS_PROXY if it is reached through a proxy"


def certificate_finding(about: str, host: str, certificate: CertificateFacts, now: datetime) -> Diagnosis:
    """Whether a certificate is valid, and for long enough. Pure."""
    issuer = certificate.issuer or "an authority without a name"
    ends = f"{certificate.ends:%Y-%m-%d}" if certificate.ends is not None else "an unknown day"
    if certificate.wrong:
        what = {
            "expired": f"Its certificate ended on {ends} (issued by {issuer}).",
            "of an unknown authority": f"Its certificate is issued by {issuer}, which this machine does not know.",
            "for another name": f"Its certificate is for {', '.join(certificate.names) or 'another name'}, not {host}.",
        }.get(certificate.wrong, f"Its certificate is {certificate.wrong} (issued by {issuer}).")
        return trouble("remote.certificate", about, what, _certificate_fix(host, certificate))
    if certificate.ends is not None and certificate.ends - now < ENDING:
        text = f"Its certificate ends on {ends} (issued by {issuer})."
        return notice("remote.certificate", about, text, "have its operator renew it before")
    return ok("remote.certificate", about, f"Its certificate is valid until {ends} (issued by {issuer}).")


def _certificate_fix(host: str, certificate: CertificateFacts) -> str:
    if certificate.wrong == "of an unknown authority":
        return (
            "export SSL_CERT_FILE=/path/to/bundle.pem, a file with that authority (your company's, or the one of a "
            "proxy that reads along) and the ordinary ones"
        )
    if certificate.wrong == "for another name":
        names = ", ".join(certificate.names)
        return f"write a name of the certificate into its `url`{f' ({names})' if names else ''}"
    if certificate.wrong == "not yet valid":
        return "set the clock of this machine right: timedatectl set-ntp true"
    return "have its operator renew the certificate"


def _clock(about: str, ahead: float) -> Diagnosis:
    words = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) < SKEW_NOTICE:
        return ok("remote.clock", about, "Its clock and this machine's agree.")
    text = f"Its clock is {words}; tokens are refused when clocks differ."
    fix = "timedatectl set-ntp true, or have its operator set the clock there"
    if abs(ahead) < SKEW_TROUBLE:
        return notice("remote.clock", about, text, fix)
    return trouble("remote.clock", about, text, fix)


def _login(facts: RemoteFacts) -> Iterator[Diagnosis]:
    about, refused = facts.id, facts.tried.refused
    if facts.kind in ("login", "people"):
        yield from _kept_login(facts)
    elif facts.kind == "by_sign_in":
        yield ok("remote.login", about, "Each person is let in by their own sign-in at the portal.")
    elif facts.kind == "own_client" and refused:
        text = f"The portal's own client is not let in: {_short(facts.tried.reason)}"
        yield trouble("remote.login", about, text, "correct `oauth` in its entry")
    elif facts.kind == "own_client" and facts.tried.ready:
        yield ok("remote.login", about, "The portal's own client is let in.")
    elif facts.kind == "none" and (refused or facts.tried.status in (401, 403)):
        text = f"It refuses the credential in its `headers`, `url` or `oauth`: {_short(facts.tried.reason)}"
        yield trouble("remote.login", about, text, "put a new one where the configuration takes it from")


def _kept_login(facts: RemoteFacts) -> Iterator[Diagnosis]:
    about, login = facts.id, facts.login
    command = f"codemode login {about}"
    if login.problem:
        yield trouble("remote.login", about, f"Its login cannot be read: {login.problem}.", command)
    elif login.state == "absent":
        yield from _no_login(facts, f"{command} --create")
    elif login.state in _BAD_STATES:
        yield trouble("remote.login", about, f"Its login does not work: {_short(login.reason or login.state)}", command)
    elif login.state == "unknown":
        text = "Its authorization server did not answer when the token was to be renewed; the next call asks again."
        yield notice("remote.login", about, text, f"{command}, if that goes on")
    elif login.ending == "ended":
        yield trouble("remote.login", about, "Its login has ended.", command)
    elif facts.tried.refused and login.shown:
        text = f"It refuses the login of the portal: {_short(facts.tried.reason)}"
        yield trouble("remote.login", about, text, command)
    elif login.ending == "soon":
        when = f" on {login.ends:%Y-%m-%d}" if login.ends is not None else ""
        yield notice("remote.login", about, f"Its login ends soon{when}, and is not renewed by itself.", command)
    elif login.shown and facts.tried.ready:
        yield ok("remote.login", about, "Logged in, and the server takes it.")
    elif not login.shown:
        yield ok("remote.login", about, "Logged in; the token has ended, and is renewed with the next call.")


def _no_login(facts: RemoteFacts, command: str) -> Iterator[Diagnosis]:
    if not facts.tried.refused:
        return
    if facts.kind == "people":
        # Without a login of the portal the others are asked for theirs when they come.
        text = "Each person logs in to it on the portal's page /servers; a login of the portal lists its tools for all."
        yield notice("remote.login", facts.id, text, command)
    elif not facts.has_store:
        text = "It asks for a login, and the configuration has no database to keep one."
        fix = f'"portal": {{"state": "sqlite:///codemode.db"}} in the configuration, then {command}'
        yield trouble("remote.login", facts.id, text, fix)
    else:
        yield trouble("remote.login", facts.id, "It asks for a login, and the portal has none.", command)


def _short(text: str) -> str:
    return f"{text[:200].rstrip('.')}."


def remotes_of(servers: Sequence[object]) -> list[HttpServer]:
    """Those by URL, and not disabled."""
    return [one for one in servers if isinstance(one, HttpServer) and one.enabled]


def now_utc() -> datetime:
    return datetime.now(UTC)
