"""What the clients of this machine are connected to: the portal of a configuration, or another one by its URL."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from portal.app import OwnAddress, leads_to
from portal.cli.exits import CommandError
from portal.clients import Machine, PortalEndpoint
from portal.config import Config, HttpServer, ServerConfig, StdioServer, load_config
from portal.errors import ConfigError
from portal.home import CODE_MODE
from portal.http import is_loopback

Mode = Literal["code", "tools"]
MODES = ("codemode", "optimize_context")
"""The parameters of a URL that choose its mode."""
OUR_DOCUMENTS = ("codemode.json", "codemode.toml")
_EVERYWHERE = ("0.0.0.0", "::", "[::]", "")


@dataclass(frozen=True, slots=True)
class PortalChoice:
    """Which portal, as the options of a command say it."""

    url: str | None = None
    portal: str | None = None
    mode: Mode = "code"


@contextmanager
def document_errors() -> Iterator[None]:
    """Says an error in a document as one of the command.

    Raises:
        CommandError: there was one.
    """
    try:
        yield
    except ConfigError as error:
        raise CommandError(str(error)) from error


def this_machine() -> Machine:
    return Machine(sys.platform, Path.home(), Path.cwd(), os.environ)


def our_document(named: Path | None, folder: Path) -> Path:
    """The document that takes up servers: the named one, else the one in the folder, which may not be there yet."""
    if named is not None:
        return folder / named
    return next((folder / name for name in OUR_DOCUMENTS if (folder / name).exists()), folder / OUR_DOCUMENTS[0])


def config_in(file: Path | None) -> Config:
    """The configuration in a file; one without anything if there is no such file.

    Raises:
        ConfigError: it cannot be used.
    """
    return load_config(file) if file is not None and file.exists() else Config()


def endpoint(choice: PortalChoice, file: Path | None, config: Config, command: Sequence[str]) -> PortalEndpoint:
    """Where clients reach the portal, and the command that serves it to those that start programs.

    Raises:
        CommandError: the options name no portal, or its address is not known.
    """
    if choice.url is not None:
        url = _with_mode(_required_url(choice.url), choice.mode)
        return PortalEndpoint(url, (*command, *_bridge(url, choice.mode)))
    url = _with_mode(_address(choice.portal, config), choice.mode, by_default=config.portal.code_mode.value)
    if file is None or config.portal.identity is not None:
        # Where people sign in, one process serves all of them.
        return PortalEndpoint(url, (*command, *_bridge(url, choice.mode)))
    mode = () if choice.mode == "code" else ("--mode", "tools")
    portal = () if choice.portal is None else ("--portal", choice.portal)
    return PortalEndpoint(url, (*command, "stdio", *mode, *portal, "--config", str(file.absolute())))


def leads_here(choice: PortalChoice, config: Config, file: Path | None) -> Callable[[ServerConfig], bool]:
    """Whether a server is the portal that is meant, or a bridge to it. `file` is the document of the configuration."""
    if choice.url is None:
        own = OwnAddress.of(config, names=(socket.gethostname(),))
        return lambda server: _starts(server, file) if _document_in(server) else leads_to(server, own)
    place = _place(choice.url)

    def is_there(server: ServerConfig) -> bool:
        if isinstance(server, HttpServer):
            return _place(server.url) == place
        return any(_place(word) == place for word in server.args if "://" in word)

    return is_there


def _bridge(url: str, mode: Mode) -> tuple[str, ...]:
    """The words of the command that leads to a portal elsewhere."""
    parts = urlsplit(url)
    safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
    in_url = any(name.lower() in MODES for name, _ in parse_qsl(parts.query, True))
    wanted = ("--mode", "tools") if mode == "tools" and not in_url else ()
    return ("stdio", *wanted, *(() if safe else ("--allow-http",)), "--url", url)


def _document_in(server: ServerConfig) -> str:
    """The document that an entry of ours serves by itself, "" if it is no such entry."""
    if not isinstance(server, StdioServer) or "stdio" not in server.args:
        return ""
    if not (Path(server.command).name.startswith("codemode") or "portal.cli" in server.args):
        return ""
    words = (*server.args, "")
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in ("--config", "-c")), "")


def _starts(server: ServerConfig, file: Path | None) -> bool:
    """Whether an entry of ours serves this document: one of another document is another portal."""
    named = Path(_document_in(server)).expanduser()
    return file is None or named.resolve() == file.resolve()


def command_words(argv: Sequence[str] = tuple(sys.argv[:1]), executable: str = sys.executable) -> tuple[str, ...]:
    """The command that runs now, as another program starts it: by an absolute path."""
    started = argv[0] if argv else ""
    if Path(started).name.lower().removesuffix(".exe") in ("codemode", "codemode-portal"):
        path = Path(started) if os.sep in started else Path(shutil.which(started) or "")
        if path.is_file():
            # Not resolved: pipx and uv replace what a link leads to when they upgrade.
            return (str(path.absolute()),)
    return (executable, "-m", "portal.cli")


def _address(portal: str | None, config: Config) -> str:
    """The URL of the document's own portal, or of the further one of this id."""
    settings = config.portal
    if portal is not None and portal not in config.portals and not settings.has_store:
        known = ", ".join(config.portals) or "none"
        raise CommandError(f"--portal: the configuration has no portal {portal!r}. There are: {known}.")
    if not settings.port and not settings.public_url:
        raise CommandError(
            "The portal takes a free port at each start, so its address is not known. "
            "Write `portal.port` into the configuration, or give --url."
        )
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    base = settings.public_url or f"http://{host}:{settings.port}"
    if portal is None:
        return base + settings.path
    entry = config.portals.get(portal)
    if entry is not None and entry.hostname and settings.identity is not None:
        public = urlsplit(settings.public_url)
        port = f":{public.port}" if public.port else ""
        return f"{public.scheme or 'https'}://{entry.hostname}{port}{settings.path}"
    return f"{base}/{portal}{settings.path}"


def _with_mode(url: str, mode: Mode, by_default: str = "") -> str:
    parts = urlsplit(url)
    if any(name.lower() in MODES for name, _ in parse_qsl(parts.query, True)):
        return url
    wanted = CODE_MODE.removeprefix("?") if mode == "code" else "codemode=off" if by_default == "default_on" else ""
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, wanted)))))


def _required_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(ord(character) < 33 for character in url):
        raise CommandError("--url must be an http:// or https:// URL, such as https://tools.example.com/mcp.")
    return url


def _place(url: str) -> str:
    return url.partition("?")[0].partition("#")[0].rstrip("/").lower()
