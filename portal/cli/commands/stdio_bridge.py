"""A portal elsewhere, for `codemode stdio --url`: its address, what is shown to it, and the sign-in in the browser."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portal.app import database_place, open_store, state_home
from portal.cli.callback import LoginCallback, callback_at, show_login
from portal.cli.exits import CommandError
from portal.cli.show.announce import BriefLines
from portal.config import HttpServer, parse_config
from portal.errors import AuthorizationRequired, ConfigError
from portal.http import ModeRefused, is_loopback, read_mode_query
from portal.logs import configure_logging
from portal.stdio import Browser, Exchange, PortalSignIn, Remote, sign_in_id

if TYPE_CHECKING:
    from portal.cli.commands.stdio import Mode, StdioOptions
    from portal.state import Store

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*?)\s*", re.DOTALL)
_DATABASE = "bridge.db"


@asynccontextmanager
async def portal_elsewhere(options: StdioOptions, said: BriefLines) -> AsyncIterator[Exchange]:
    """The portal at the URL, until the block ends.

    Raises:
        CommandError: it may not be connected to so. The message says what to do.
    """
    url, headers = with_mode(options.url, options.mode), headers_of(options.headers)
    require_safe(url, allow_http=options.allow_http)
    config = server_at(url, headers)
    configure_logging(level="error", terminal=True)
    sign_in = None if _has_credential(config) else _sign_in(config, options, said)
    remote = Remote(config, sign_in)
    try:
        yield remote
    finally:
        await remote.aclose()


def with_mode(url: str, mode: Mode | None) -> str:
    """The URL in this mode; without one, in the mode that the URL asks for, or else in code mode.

    Raises:
        CommandError: the URL asks for another one, or for none that there is.
    """
    from portal.cli.commands.stdio import MODES

    parts = urlsplit(url)
    try:
        asked = read_mode_query(parts.query.encode())
    except ModeRefused as error:
        raise CommandError(f"--url: {error}") from error
    if not asked:
        query = MODES[mode or "code"]
        return parts._replace(query=f"{parts.query}&{query}" if parts.query else query).geturl()
    wanted = MODES.get(mode or "")
    if wanted is not None and [wanted] != [f"{name}={value}" for name, value in asked.items()]:
        raise CommandError(f"--url asks for a mode itself, and not for that of --mode {mode}: leave one of them out.")
    return url


def headers_of(written: tuple[str, ...]) -> Mapping[str, str]:
    """The headers of `--header` options.

    Raises:
        CommandError: an option is not a header. Its value is not in the message.
    """
    headers: dict[str, str] = {}
    for one in written:
        found = _HEADER.fullmatch(one)
        if found is None:
            raise CommandError("--header takes a name and a value, such as 'Authorization: Bearer ${TOKEN}'.")
        headers[found[1]] = found[2]
    return headers


def require_safe(url: str, *, allow_http: bool) -> None:
    """
    Raises:
        CommandError: others could read what is sent there.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        raise CommandError("--url is no URL.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise CommandError("--url takes the address of an MCP endpoint, such as https://tools.example.com/mcp.")
    if parts.scheme == "http" and not is_loopback(host) and not allow_http:
        raise CommandError(
            f"What is sent to {host} by http can be read on the way: use https, or say --allow-http if that is meant."
        )


def server_at(url: str, headers: Mapping[str, str]) -> HttpServer:
    """The portal as a server to connect to. `${VAR}` in both comes from the environment.

    Raises:
        CommandError: it cannot be one.
    """
    id = sign_in_id(url)
    try:
        config = parse_config(
            {"mcpServers": {id: {"url": url, "headers": dict(headers), "type": "http"}}}, env=os.environ, file="--url"
        )
    except ConfigError as error:
        raise CommandError(f"--url or --header cannot be used: {error.problem}") from error
    found = config.servers.get(id)
    if not isinstance(found, HttpServer):
        raise CommandError(" ".join(config.notes) or "--url cannot be used.")
    return found


def _has_credential(config: HttpServer) -> bool:
    named = any(name.lower() == "authorization" for name in config.headers)
    return named or urlsplit(config.url).username is not None


def _sign_in(config: HttpServer, options: StdioOptions, said: BriefLines) -> PortalSignIn:
    # A database of its own: what a portal of this machine keeps in its database is its, and this is the person's.
    folder = state_home()
    place = database_place(f"sqlite:///{folder / _DATABASE}")
    assert place.file is not None
    return PortalSignIn(
        config,
        folder,
        partial(_open, place.url),
        lambda: _browser(options, said),
        said.say,
        there=place.file.exists(),
    )


def _open(url: str) -> AbstractAsyncContextManager[Store]:
    state_home().mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_store(url, lasting=False)


@dataclass(frozen=True, slots=True)
class _Terminal:
    """Implements `Browser`."""

    callback: LoginCallback
    show: Callable[[str], Awaitable[None]]

    @property
    def redirect_uri(self) -> str:
        return self.callback.url

    async def answer(self, url: str, state: str) -> Mapping[str, str]:
        await self.show(url)
        return await self.callback.answer(state)


@asynccontextmanager
async def _browser(options: StdioOptions, said: BriefLines) -> AsyncIterator[Browser]:
    try:
        async with callback_at() as callback:
            # Standard output is the protocol's.
            show = partial(show_login, where=said.console, stderr=said.console, browser=options.browser)
            yield _Terminal(callback, show)
    except CommandError as error:
        # Of this sign-in, not of the command: the client may ask again.
        raise AuthorizationRequired(error.message, login_helps=False) from error
