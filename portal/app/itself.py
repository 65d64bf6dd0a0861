"""Finds the entries of a configuration that lead back to the portal which reads it. Pure.

The document of an MCP client names this portal as a server, as soon as the client is connected to it. The portal that
reads the same document would wait for itself, or show every tool twice.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from portal.app.bridges import Command, bridged_program, program_name, upstream_urls
from portal.config import Config, Omission, ServerConfig, StdioServer
from portal.http import is_loopback

_PORTS = {"http": 80, "https": 443}
_EVERY_ADDRESS = {"0.0.0.0", "::", ""}
# How a program in a container of this machine reaches the machine.
_FROM_CONTAINERS = {"host.docker.internal", "host.containers.internal"}
_COMMANDS = {"codemode", "codemode-portal"}


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """Where an instance is reached: it listens on `host` and `port` (0 if the port is not known yet), and its MCP
    endpoints have these `paths`, also below the origins in `public`. `names` are those of the machine.
    `document` is the file of its configuration, None where that is not known."""

    host: str
    port: int
    paths: frozenset[str]
    public: frozenset[tuple[str, int]]
    names: frozenset[str] = frozenset()
    document: Path | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        host: str | None = None,
        port: int | None = None,
        names: Iterable[str] = (),
        stored: Mapping[str, str] | None = None,
        document: Path | None = None,
    ) -> OwnAddress:
        """The address of the instance of this configuration. `host` and `port` override the configured ones; `stored`
        are the portals of its database: their host names, "" without one, by id. `document` is its file."""
        settings, portals = config.portal, {id: entry.hostname for id, entry in config.portals.items()}
        portals = {**(stored or {}), **portals}
        public = urlsplit(settings.public_url)
        origins = [settings.public_url] if settings.public_url else []
        for hostname in filter(None, portals.values()):
            # By a proxy, on the port of https, or as the public URL is.
            port_of_public = f":{public.port}" if public.port else ""
            origins += [f"https://{hostname}", f"{public.scheme or 'https'}://{hostname}{port_of_public}"]
        found = (_place(urlsplit(origin)) for origin in origins)
        return cls(
            (settings.host if host is None else host).strip("[]").lower(),
            settings.port if port is None else port,
            frozenset({settings.path, *(f"/{id}{settings.path}" for id in portals)}),
            frozenset(place for place in found if place is not None),
            frozenset(name.lower() for name in names),
            document,
        )

    def listens_at(self, host: str, port: int) -> bool:
        """Whether a connection to this host and port from this machine reaches the instance."""
        if not self.port or port != self.port:
            return False
        if host == self.host:
            return True
        everywhere = self.host in _EVERY_ADDRESS
        if _means_this_machine(host):
            return everywhere or _means_this_machine(self.host)
        return everywhere and host in self.names


def mark_of(config: Config) -> str:
    """The mark of the instances of this configuration's database: the same in all processes that serve it."""
    from portal.app.store import keys_of
    from portal.state import KeyRing

    keys = KeyRing.open(keys_of(config.portal.state))
    return hashlib.sha256(f"instance {keys.newest.kid}".encode()).hexdigest()[:16]


def without_itself(config: Config, own: OwnAddress) -> Config:
    """The configuration without the servers that lead back to the instance at `own`. A note names each of them."""
    itself = [server for server in config.servers.values() if leads_to(server, own)]
    if not itself:
        return config
    gone = {
        server.id: Omission(id=server.id, why=f"{config.section}.{server.name} is left out: it is this portal itself.")
        for server in itself
    }
    return config.model_copy(
        update={
            "servers": {id: server for id, server in config.servers.items() if id not in gone},
            "omissions": (*config.omissions, *gone.values()),
            "notes": (*config.notes, *(one.why for one in gone.values())),
        }
    )


def leads_to(server: ServerConfig, own: OwnAddress) -> bool:
    """Whether a server is the instance at `own`: by its URL, by a bridge to that URL, or by the `codemode` command.

    What cannot be seen here (a name that leads to this machine, a redirect, a script) is seen when it is connected:
    by the mark of the instance, and by that of the document (`portal.upstream`).
    """
    if not isinstance(server, StdioServer):
        return _is_own_url(server.url, own)
    found = bridged_program(server.command, server.args)
    if is_codemode(found):
        return _serves_again(found, server, own)
    return any(_is_own_url(url, own) for url in upstream_urls(found, server.env))


def _is_own_url(url: str, own: OwnAddress) -> bool:
    try:
        parts = urlsplit(url)
        place = _place(parts)
    except ValueError:
        return False
    if place is None:
        return False
    if own.listens_at(*place):
        return True
    # The same public name may lead to other services by their paths.
    return place in own.public and parts.path.rstrip("/") in own.paths


def _place(parts: SplitResult) -> tuple[str, int] | None:
    """The host and port of an http or https URL. Raises ValueError for a port that is none."""
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme]


def _means_this_machine(host: str) -> bool:
    if is_loopback(host) or host in _EVERY_ADDRESS or host in _FROM_CONTAINERS:
        return True
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        return mapped is not None and mapped.is_loopback
    except ValueError:
        pass
    try:
        # `127.1` and `2130706433` are spellings of an IPv4 address as well.
        return ipaddress.IPv4Address(socket.inet_aton(host)).is_loopback
    except (OSError, UnicodeError):
        return False


def is_codemode(program: Command) -> bool:
    """Whether it is the `codemode` command. Node has another program of this name."""
    return program.word == "portal.cli" or (program.python and program_name(program.word) in _COMMANDS)


def _serves_again(program: Command, server: StdioServer, own: OwnAddress) -> bool:
    """Whether the `codemode` command of this entry leads to the portal of the document. `stdio --url` leads to the
    portal there, and `stdio --config` serves that document, in a portal of its own; everything else is this one."""
    words = program.args
    if "stdio" not in words:
        return True
    if url := _value(words, "--url"):
        return _is_own_url(url, own)
    file = _value(words, "--config") or _value(words, "-c")
    if not file or own.document is None:
        # Without a word of ours about the file, whoever starts sees that its own document is served already (LINEAGE).
        return not file
    named = Path(file).expanduser()
    return (server.cwd or Path.cwd()).joinpath(named).resolve() == own.document.resolve()


def _value(words: Sequence[str], option: str) -> str:
    """The value of an option among these words, "" without one."""
    for word, following in zip(words, (*words[1:], ""), strict=True):
        name, written, value = word.partition("=")
        if name == option:
            return value if written else following
        # The value of a short option may follow without a blank.
        if len(option) == 2 and word.startswith(option):
            return word[2:]
    return ""
