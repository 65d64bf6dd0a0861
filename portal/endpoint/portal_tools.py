"""The portal's own tools: which servers it has for its caller, and turning them on and off.

They are listed beside the servers' tools where people sign in. In code mode programs do the same by `codemode.portal`.
The names and arguments are those of Cloudflare's MCP portals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

from codemode import CatalogError, OnWait
from portal.calls import Call
from portal.endpoint.generations import Generation
from portal.endpoint.login_prompts import LoginPrompts, ProgramLogins
from portal.endpoint.optimized import failure
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.tools import ToolMode
from portal.endpoint.views import View, Views
from portal.errors import LoginRequired, ServerUnknown
from portal.exact import encode
from portal.identity import Identity
from portal.state import StateUnavailable

LIST, TOGGLE, TOGGLE_ONE = "portal_list_servers", "portal_toggle_servers", "portal_toggle_single_server"
_ON, _OFF = ("toggle", "enable"), ("untoggle", "disable")
_NO_ARGUMENTS: Mapping[str, object] = {"type": "object", "properties": {}, "additionalProperties": False}
_SERVER: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "enabled": {"type": "boolean"},
        "connected": {"type": "boolean", "description": "Whether calls need nothing more from you."},
        "login": {"type": "string", "description": "The state of your login there; empty where none is needed."},
        "reason": {"type": "string"},
        "tools": {"type": "integer"},
    },
    "required": ["id", "name", "description", "enabled", "connected", "login", "reason", "tools"],
}
DEFINITIONS: Sequence[Mapping[str, object]] = (
    {
        "name": LIST,
        "title": "List the servers of this portal",
        "description": "The servers you may use here: which are turned on, and which need your login.",
        "inputSchema": _NO_ARGUMENTS,
        "outputSchema": {
            "type": "object",
            "properties": {"servers": {"type": "array", "items": _SERVER}},
            "required": ["servers"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": TOGGLE,
        "title": "Choose servers in the browser",
        "description": "A link to the page where the person logs in to servers and turns them on and off.",
        "inputSchema": _NO_ARGUMENTS,
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": TOGGLE_ONE,
        "title": "Turn a server on or off",
        "description": "Turns one server on (`toggle`) or off (`untoggle`) for you. Its tools come and go with it.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "server_id": {"type": "string"},
                "action": {"type": "string", "enum": [*_ON, *_OFF]},
            },
            "required": ["server_id", "action"],
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    },
)
_NAMES = frozenset(str(definition["name"]) for definition in DEFINITIONS)


@dataclass(frozen=True, slots=True)
class PersonServer:
    """A server as its caller has it. `login` is the state of their login there (`credentials.STATES`), "" where none
    is needed, and `reason` why it is not as it should be. `connected` is whether calls need nothing more, and
    `may_connect` whether the person can log in where they do.
    """

    id: str
    name: str
    description: str
    enabled: bool
    login: str
    reason: str
    connected: bool
    may_connect: bool = False


class PersonServers(Protocol):
    """The servers of a portal for each of its people."""

    def off(self, person: Identity | None) -> frozenset[str]:
        """The servers that this person has turned off."""

    async def of(self, person: Identity) -> Sequence[PersonServer]:
        """The servers that this person may use, in the portal's order."""

    async def choose(self, person: Identity, servers: Mapping[str, bool]) -> None:
        """Turn servers on (true) or off, by id. It holds when this returns.

        Raises:
            ValueError: they may not be chosen so. The text is a sentence without its full stop, for this person.
        """

    def subscribe(self, listener: Callable[[str], object]) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(subject)` is called when somebody has chosen otherwise."""


class WithPortalTools:
    """A mode of tools, and the portal's own tools. A tool of a server that has the name of one of these keeps it."""

    def __init__(self, mode: ToolMode, views: Views, servers: PersonServers, prompts: LoginPrompts) -> None:
        self._mode = mode
        self._views = views
        self._servers = servers
        self._prompts = prompts

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, object]]:
        listed = await self._mode.tools(view, generation)
        taken = {tool.get("name") for tool in listed}
        return [*listed, *(definition for definition in DEFINITIONS if definition["name"] not in taken)]

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, object]) -> RawResult:
        person = request.principal
        if name not in _NAMES or person is None or name in self._views.of(request.scope).aggregate.tools:
            return await self._mode.call(request, name, arguments)
        if name == TOGGLE_ONE:
            if not person.key:
                return failure(
                    "You have not signed in: the servers are as they are for everybody. Nothing was changed."
                )
            return await self._toggle(request, person, arguments)
        if arguments:
            return failure(f"{name} takes no arguments.")
        if name == TOGGLE:
            if not person.logged_in:
                return failure("Only a person who signs in has a page for this.")
            return await self._prompts.show(request, "Here you log in to servers and turn them on and off")
        view = self._views.of(request.scope)
        counts = {id: len(one.server.tools) for id, one in view.selection.servers.items()}
        found = {"servers": [{**shown(one), "tools": counts.get(one.id, 0)} for one in await self._servers.of(person)]}
        return {"content": [{"type": "text", "text": encode(found).decode()}], "structuredContent": found}

    async def _toggle(self, request: ClientRequest, person: Identity, arguments: Mapping[str, object]) -> RawResult:
        id, action = arguments.get("server_id"), arguments.get("action")
        if arguments.keys() != {"server_id", "action"} or not isinstance(id, str) or action not in (*_ON, *_OFF):
            return failure(f"{TOGGLE_ONE} takes {{server_id: string, action: {_either((*_ON, *_OFF))}}}.")
        known = [one.id for one in await self._servers.of(person)]
        if id not in known:
            return failure(f"There is no server {id[:64]!r} for you. There are: {', '.join(known) or 'none'}.")
        try:
            await self._servers.choose(person, {id: action in _ON})
        except ValueError as refusal:
            return failure(f"The server {id!r} is as it was: {refusal}.")
        if action in _OFF:
            return _said(f"The server {id!r} is off. Its tools are no longer listed.")

        async def turned_on(call: Call) -> RawResult:
            # Before the store is read: a login that comes meanwhile is a later one than it tells.
            login = self._views.login(person, id)
            server = next((one for one in await self._servers.of(person) if one.id == id), None)
            if server is not None and not server.connected:
                if not server.may_connect:
                    return _said(f"The server {id!r} is on, and cannot be used. {server.reason}".rstrip())
                raise login_at(server, login, self._views, request)
            return _said(f"The server {id!r} is on. Its tools are listed.")

        call = Call(server=id, method="tools/call", name=TOGGLE_ONE, params=request.raw_params())
        return await self._prompts.answer(request, call, turned_on)


class ProgramServers:
    """Implements `codemode.OwnServers`: what `codemode.portal` is for the program of a person."""

    def __init__(
        self,
        servers: PersonServers,
        person: Identity,
        logins: ProgramLogins,
        views: Views,
        request: ClientRequest,
    ) -> None:
        self._servers = servers
        self._person = person
        self._logins = logins
        self._views = views
        self._request = request

    async def servers(self) -> list[dict[str, object]]:
        with _said_to_programs():
            return [shown(one) for one in await self._servers.of(self._person)]

    async def choose(self, server: str, *, on: bool) -> None:
        with _said_to_programs():
            await self._find(server)
            try:
                await self._servers.choose(self._person, {server: on})
            except ValueError as refusal:
                raise CatalogError(str(refusal)) from None

    async def connect(self, server: str, on_wait: OnWait) -> bool:
        with _said_to_programs():
            return await self._connect(server, on_wait)

    async def _connect(self, server: str, on_wait: OnWait) -> bool:
        # Before the store is read: a login that comes meanwhile is a later one than it tells.
        login = self._views.login(self._person, server)
        found = await self._find(server)
        if found.connected or not found.may_connect:
            return found.connected
        try:
            required = login_at(found, login, self._views, self._request)
        except ServerUnknown as error:
            raise CatalogError(error.message) from None
        if await self._logins.log_in(required, on_wait):
            found = await self._find(server)
        return found.connected

    async def _find(self, id: str) -> PersonServer:
        servers = await self._servers.of(self._person)
        for server in servers:
            if server.id == id:
                return server
        known = ", ".join(server.id for server in servers) or "none"
        raise CatalogError(f"there is no server {id!r} for you. There are: {known}")


@contextmanager
def _said_to_programs() -> Iterator[None]:
    """Says an error of the store as one that a program reads."""
    try:
        yield
    except StateUnavailable as error:
        raise CatalogError(error.words) from error


def login_at(server: PersonServer, login: str, views: Views, request: ClientRequest) -> LoginRequired:
    """The error for a person who has to log in to a server, with the state of their login as the reason. `login` is the
    one that does not do (`Views.login`)."""
    missing = views.missing_login(request.scope, server.id)
    reason = server.reason.rstrip(".") or missing.reason
    return LoginRequired(reason, advice="", server=server.id, subject=missing.subject, login=login)


def shown(server: PersonServer) -> dict[str, object]:
    """A server as agents read it."""
    return {name: value for name, value in asdict(server).items() if name != "may_connect"}


def _said(text: str) -> RawResult:
    return {"content": [{"type": "text", "text": text}]}


def _either(words: Sequence[str]) -> str:
    return " | ".join(f'"{word}"' for word in words)
