"""Checks of where the portal is reached: its port, the address to listen on, and its public URL."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from portal.config import Config
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.doctor.probes import HttpFacts, probe, reachable, reason_of_failure
from portal.doctor.remotes import certificate_finding, now_utc, proxy_for
from portal.http import UnsafeBind, require_safe_bind

PORT_SECONDS = 3.0
_MOST_PROCESSES = 5_000
_EVERYWHERE = ("0.0.0.0", "::", "")
# Those below the first are for the administrator of the machine.
_FIRST_FREE, _LAST, _USUAL = 1024, 65_535, 8787


@dataclass(frozen=True, slots=True)
class PortFacts:
    """What listens at the portal's place. `problem`: why it cannot be listened on; `by_host`: because of the address,
    and not of the port. `portal`: it is one, with these `servers`, None if it does not say. `pid` and `program`: the
    process, if that is known."""

    host: str
    port: int
    free: bool = True
    problem: str = ""
    by_host: bool = False
    unsafe: str = ""
    portal: bool = False
    servers: frozenset[str] | None = None
    ours: frozenset[str] = frozenset()
    pid: int | None = None
    program: str = ""


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """What answers at the public URL. `unresolved`: its name has no address. `looked`: it was asked, because a portal
    runs that could answer."""

    url: str
    unresolved: str = ""
    looked: bool = False
    answer: HttpFacts = field(default_factory=HttpFacts)


async def port_facts(config: Config) -> PortFacts:
    """Look whether the port can be had, and who has it. It is not listened on."""
    settings = config.portal
    ours = frozenset(id for id, server in config.servers.items() if server.enabled)
    unsafe = ""
    try:
        require_safe_bind(settings.host, identity=settings.identity is not None)
    except UnsafeBind as error:
        unsafe = str(error)
    if not settings.port:
        return PortFacts(settings.host, 0, unsafe=unsafe, ours=ours)
    # A name is looked up, which may take long.
    refused = await asyncio.to_thread(_bind_error, settings.host, settings.port)
    if refused is None:
        return PortFacts(settings.host, settings.port, unsafe=unsafe, ours=ours)
    if refused.errno != errno.EADDRINUSE:
        by_host = refused.errno not in (errno.EACCES, errno.EPERM)
        problem = reason_of_failure(refused)
        return PortFacts(settings.host, settings.port, False, problem, by_host, unsafe, ours=ours)
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host.strip("[]")
    written = f"[{host}]" if ":" in host else host
    answer = await probe(f"http://{written}:{settings.port}", "/healthz", seconds=PORT_SECONDS)
    is_portal, servers = read_health(answer)
    pid, program = listener_of(settings.port)
    return PortFacts(
        settings.host, settings.port, False, "", False, unsafe, is_portal, servers, ours, pid=pid, program=program
    )


def _bind_error(host: str, port: int) -> OSError | None:
    """The error of listening there, None without one."""
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            return error
        except (ValueError, OverflowError):  # no name at all
            return OSError(errno.EINVAL, "")
    return None


def read_health(answer: HttpFacts) -> tuple[bool, frozenset[str] | None]:
    """Whether this is the answer of a portal to `/healthz`, and its servers if it names them. Pure."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False, None
    if answer.status != 200 or not isinstance(found, dict) or found.get("status") not in ("ok", "degraded"):
        return False, None
    servers = found.get("servers")
    return True, frozenset(map(str, servers)) if isinstance(servers, dict) else None


def listener_of(port: int) -> tuple[int | None, str]:
    """The process that listens on a port, and its program; None where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None, ""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    with suppress(OSError):
        for process in [one for one in os.listdir("/proc") if one.isdigit()][:_MOST_PROCESSES]:
            with suppress(OSError):
                folder = f"/proc/{process}/fd"
                if any(os.readlink(f"{folder}/{number}") in wanted for number in os.listdir(folder)):
                    return int(process), Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
    return None, ""


def _listening(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on a port. https://docs.kernel.org/networking/proc_net_tcp.html"""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                found = re.match(r"\s*\d+: [0-9A-F]+:([0-9A-F]{4}) \S+ 0A (?:\S+ ){5}\s*(\d+)", line)
                fields = line.split()
                if found is None and len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                    yield fields[9]
                elif found is not None and int(found[1], 16) == port:
                    yield fields[9]


def port_findings(facts: PortFacts) -> Iterator[Diagnosis]:
    """Everything about the port. Pure."""
    about = f"{facts.host}:{facts.port}"
    if facts.unsafe:
        yield trouble("portal.host", about, facts.unsafe, '"host": "127.0.0.1" in `portal`, or configure `identity`')
    if not facts.port:
        yield ok("portal.port", about, "The portal takes a free port at each start.")
        return
    another = facts.port + 1 if _FIRST_FREE <= facts.port < _LAST else _USUAL
    other = f"codemode serve --port {another}, or another `portal.port`"
    by = f" (process {facts.pid}{f', {facts.program}' if facts.program else ''})" if facts.pid is not None else ""
    if facts.problem:
        fix = "correct `host` in `portal`: an address of this machine, such as 127.0.0.1" if facts.by_host else other
        yield trouble("portal.port", about, f"The portal cannot listen on {about}: {facts.problem}.", fix)
    elif facts.free:
        yield ok("portal.port", about, f"Port {facts.port} is free; no portal runs there.")
    elif not facts.portal:
        yield trouble("portal.port", about, f"Another program has port {facts.port}{by}.", other)
    elif facts.servers is not None and facts.servers != facts.ours:
        text = f"A portal with other servers runs on port {facts.port}{by}."
        yield notice("portal.port", about, text, f"{other}; or restart that one if its file changed")
    else:
        yield ok("portal.port", about, f"This portal runs on port {facts.port}{by}.")


async def public_facts(config: Config, port: PortFacts) -> PublicFacts | None:
    """Look at the public URL, None without one. It is asked only if a portal runs here."""
    url = config.portal.public_url
    if not url:
        return None
    parts = urlsplit(url)
    unresolved = ""
    if not port.portal:
        unresolved = await _unresolved(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        return PublicFacts(url, unresolved)
    return PublicFacts(url, "", True, await probe(url, "/healthz", proxy=proxy_for(url)))


async def _unresolved(host: str, port: int) -> str:
    """Why a name has no address, "" if it has one; that nothing listens there is not asked."""
    why = await reachable(host, port)
    return why if "resolve" in why or "no address" in why or "not known" in why or "no such name" in why else ""


def public_findings(facts: PublicFacts | None) -> Iterator[Diagnosis]:
    """Everything about the public URL. Pure."""
    if facts is None:
        return
    about, answer = facts.url, facts.answer
    if facts.unresolved:
        text = f"The name of {facts.url} has no address here: {facts.unresolved}."
        yield trouble("portal.publicUrl", about, text, "correct `identity.publicUrl`, or the DNS")
        return
    if not facts.looked:
        yield ok("portal.publicUrl", about, "Its name has an address; no portal runs that could answer.")
        return
    if answer.certificate is not None:
        yield certificate_finding(about, urlsplit(facts.url).hostname or "", answer.certificate, now_utc())
    is_portal, _ = read_health(answer)
    if is_portal:
        yield ok("portal.publicUrl", about, "A portal answers there.")
    elif answer.problem:
        text = f"Nobody answers at {facts.url}: {answer.problem}."
        yield trouble("portal.publicUrl", about, text, "correct `identity.publicUrl`, or the proxy in front")
    elif b"does not answer to the host" in answer.body:
        text = f"The portal does not answer to the host name of {facts.url}."
        name = urlsplit(facts.url).hostname
        yield trouble("portal.hosts", about, text, f'"allowedHosts": ["{name}"] in `portal`')
    else:
        text = f"What answers at {facts.url} is no portal (HTTP {answer.status})."
        yield trouble("portal.publicUrl", about, text, "let the proxy in front lead there to the portal, /healthz too")
