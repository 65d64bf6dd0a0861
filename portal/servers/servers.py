"""The registry of upstream servers: starts them all at once, keeps one immutable snapshot of what they offer, reloads.

A dead server delays none of the others. A server that is removed or changed stays open until the last lease on it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, TypeVar

import structlog
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

import stubs
from codemode import CatalogServer
from portal.config import ServerConfig
from portal.credentials import ServerCredentials
from portal.errors import ServerUnknown
from portal.pins import PendingDefinition, Pinning, PinsUnusable, ScreenedListing, screen
from portal.servers.snapshot import LearnedOutputs, ServerSnapshot, Snapshot, offer_of
from portal.upstream import (
    PORTAL_INFO,
    Connection,
    Credential,
    DownstreamClient,
    Generation,
    Introduction,
    Listing,
    NegotiationCache,
)

__all__ = ["Lease", "ServerSnapshot", "Servers", "Snapshot", "connection_kind"]

L = TypeVar("L")
Listener = Callable[[Snapshot, Snapshot], None]
NotificationListener = Callable[[str, str, Mapping[str, object]], None]

# Connections for single clients that one server may have. Beyond it clients share one: a process costs more than an
# HTTP session.
MAX_DEDICATED = {"stdio": 16, "http": 200, "sse": 200}
IDLE_SECONDS = 900.0


def connection_kind(
    config: ServerConfig, generation: Generation | None, client: DownstreamClient | None, protocol: str = ""
) -> Literal["shared", "dedicated", "legacy"]:
    """The kind of connection for a call by this client, which speaks `protocol`. "legacy" is a dedicated one too.

    A modern upstream receives the client's capabilities with each request, and a client that cannot answer questions
    needs no connection of its own: both share. A process is shared unless the configuration says otherwise. A server
    without a prefix looks to a legacy session like the legacy server itself, even if it speaks both generations.
    """
    if client is None or not client.key:
        return "shared"
    if not config.prefix and protocol in HANDSHAKE_PROTOCOL_VERSIONS:
        return "legacy"
    if generation != "legacy" or not client.interactive:
        return "shared"
    if config.sessions == "auto":
        return "shared" if config.transport_name == "stdio" else "dedicated"
    return "shared" if config.sessions == "shared" else "dedicated"


@dataclass(slots=True)
class _Dedicated:
    connection: Connection
    used: float


@dataclass(slots=True)
class _Slot:
    """One configured server and its connections. `published` is the listing that the current snapshot shows."""

    config: ServerConfig
    shared: Connection
    negotiated: NegotiationCache
    credential: Credential | None = None
    published: Listing | None = None
    dedicated: dict[str, _Dedicated] = field(default_factory=dict)

    async def aclose(self) -> None:
        await _close_all([self.shared, *(entry.connection for entry in self.dedicated.values())])
        if self.credential is not None:
            await self.credential.aclose()


@dataclass(eq=False, slots=True)
class _Generation:
    """The servers of one configuration, and the number of leases on them."""

    slots: Mapping[str, _Slot]
    leases: int = 0


class Lease:
    """The servers of one moment. `connection` works until the `with` block ends, even if the configuration changes."""

    def __init__(self, servers: Servers, generation: _Generation, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._servers = servers
        self._generation = generation

    def __enter__(self) -> Lease:
        self._generation.leases += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._generation.leases -= 1
        self._servers.sweep()

    def connection(self, server_id: str, client: DownstreamClient | None = None, protocol: str = "") -> Connection:
        """The connection for a call by `client`; `protocol` is the version it speaks to the portal.

        Raises:
            ServerUnknown: no server of this id is configured.
        """
        slot = self._generation.slots.get(server_id)
        if slot is None:
            known = ", ".join(self._generation.slots) or "none"
            raise ServerUnknown(f"there is no server {server_id[:64]!r}; there are: {known}", server=server_id[:64])
        return self._servers.connection_for(slot, client, protocol)


class Servers:
    """An async context manager; the servers are connected while it is open."""

    def __init__(
        self,
        configs: Mapping[str, ServerConfig],
        *,
        client_info: Mapping[str, object] = PORTAL_INFO,
        outputs: LearnedOutputs | None = None,
        pins: Pinning | None = None,
        credentials: ServerCredentials | None = None,
    ) -> None:
        """`outputs` has the output types of tools that declare none. `pins` has the approvals of pinned servers.

        Without `pins`, pinned servers show nothing. `credentials`, if given, are open and stay so.
        """
        self.snapshot = Snapshot()
        self._outputs = outputs
        self._pins = pins
        self._credentials = credentials or ServerCredentials()
        self._configs = configs
        self._introduction = Introduction(info=client_info)
        self._generations: list[_Generation] = [_Generation({})]
        self._listeners: list[Listener] = []
        self._notified: list[NotificationListener] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._open = False
        self._log = structlog.get_logger("portal.servers")

    async def __aenter__(self) -> Servers:
        self._open = True
        if self._pins is not None:
            self._pins.publish_to(self.republish)
        self._credentials.publish_to(self._login_changed)
        await self.apply(self._configs)
        _spawn(self._tasks, self._close_idle())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        slots = {id(slot): slot for generation in self._generations for slot in generation.slots.values()}
        self._generations = [_Generation({})]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.aclose() for slot in slots.values()))
        await asyncio.gather(*self._closing)

    # The snapshot and its listeners

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(old, new)` is called after each change of the snapshot."""
        self._listeners.append(listener)
        return lambda: _discard(self._listeners, listener)

    def on_notification(self, listener: NotificationListener) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(server, method, params)` is called for each notification
        that belongs to no call, in order of arrival.
        """
        self._notified.append(listener)
        return lambda: _discard(self._notified, listener)

    async def settled(self, seconds: float = 30.0) -> Snapshot:
        """The snapshot once no server is "waiting", or the current one after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(
                    lambda: all(server.state != "waiting" for server in self.snapshot.servers.values())
                )
        return self.snapshot

    async def arrived(self, server_ids: Collection[str], seconds: float | None = None) -> Snapshot:
        """The snapshot once none of these servers is `connecting`, for whatever reason: an attempt that fails ends it.

        A server is waited for until `seconds` after its attempt began, by default its `connectTimeout`.
        """

        def connecting() -> list[ServerSnapshot]:
            snapshot = self.snapshot
            return [snapshot.servers[name] for name in server_ids if name in snapshot.connecting]

        if waiting := connecting():
            now = time.time()
            limits = ((one, one.config.connect_timeout if seconds is None else seconds) for one in waiting)
            # The clock may have been set since: nobody waits longer than from a beginning now.
            longest = max(min(one.since + limit - now, limit) for one, limit in limits)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(longest, 0)), self._changed:
                    await self._changed.wait_for(lambda: not connecting())
        return self.snapshot

    async def refresh(self, server_id: str | None = None) -> None:
        """Read the lists again now: those of one server, or of all if the id is None or unknown."""
        slots = self._generations[-1].slots
        chosen = [slots[server_id]] if server_id is not None and server_id in slots else list(slots.values())
        await asyncio.gather(*(slot.shared.refresh() for slot in chosen))

    async def approve(self, server_id: str, pending: Iterable[PendingDefinition], *, by: str) -> None:
        """Approve definitions of a pinned server, which offers them from now on.

        Raises:
            PinsUnusable: the approvals cannot be stored.
        """
        if self._pins is None:
            raise PinsUnusable("There is no place for approvals: name a file in portal.pinned, or set portal.state.")
        await self._pins.approve(server_id, pending, by=by)

    def republish(self, *server_ids: str) -> None:
        """Publish a snapshot with what `outputs` and `pins` now say about these servers. Unknown ids are ignored."""
        slots = self._generations[-1].slots
        changed = {
            name: self._snapshot_of(slots[name], rebuild=True)
            for name in server_ids
            if name in slots and name in self.snapshot.servers
        }
        if changed:
            servers = {**self.snapshot.servers, **changed}
            self._replace(Snapshot(version=self.snapshot.version + 1, servers=servers))

    # Connections

    def lease(self) -> Lease:
        """A lease on the current servers, for a `with` block."""
        return Lease(self, self._generations[-1], self.snapshot)

    def connection_for(self, slot: _Slot, client: DownstreamClient | None, protocol: str) -> Connection:
        kind = connection_kind(slot.config, slot.negotiated.generation, client, protocol)
        if client is None or kind == "shared":
            return slot.shared
        dedicated = slot.dedicated.get(client.key)
        if dedicated is None:
            if len(slot.dedicated) >= MAX_DEDICATED[slot.config.transport_name]:
                self._log.warning("too many connections for single clients; sharing", server=slot.config.id)
                return slot.shared
            negotiated = replace(slot.negotiated, generation="legacy") if kind == "legacy" else slot.negotiated
            dedicated = self._dedicate(slot, client, negotiated)
        dedicated.used = time.monotonic()
        return dedicated.connection

    async def release(self, client_key: str) -> None:
        """Close the connections of a downstream session that has ended."""
        dedicated = [
            slot.dedicated.pop(client_key)
            for generation in self._generations
            for slot in generation.slots.values()
            if client_key in slot.dedicated
        ]
        await _close_all([entry.connection for entry in dedicated])

    # Reload

    async def apply(self, configs: Mapping[str, ServerConfig]) -> None:
        """Replace the servers. A server whose configuration is unchanged keeps its connections."""
        before = self._generations[-1].slots
        slots: dict[str, _Slot] = {}
        for identifier, config in configs.items():
            if config.enabled:
                same = before.get(identifier)
                slots[identifier] = same if same is not None and same.config == config else self._connect(config)
        self._generations.append(_Generation(slots))
        listed = {name: self._snapshot_of(slot) for name, slot in slots.items()}
        self._replace(Snapshot(version=self.snapshot.version + 1, servers=listed))
        for name, slot in slots.items():
            if slot is not before.get(name):
                slot.shared.start()
        self.sweep()

    def sweep(self) -> None:
        """Close the servers that neither the current configuration nor a lease uses."""
        unused = [generation for generation in self._generations[:-1] if not generation.leases]
        if not unused:
            return
        self._generations = [generation for generation in self._generations if generation not in unused]
        in_use = {id(slot) for generation in self._generations for slot in generation.slots.values()}
        closing = [slot for generation in unused for slot in generation.slots.values() if id(slot) not in in_use]
        if self._open:
            for slot in closing:
                _spawn(self._closing, slot.aclose())

    def _connect(self, config: ServerConfig) -> _Slot:
        negotiated, credential = NegotiationCache(), self._credentials.of(config)
        connection = Connection(
            config,
            introduction=self._introduction,
            negotiated=negotiated,
            credential=credential,
            on_change=lambda: self._connection_changed(slot),
            on_notification=lambda method, params: self._notify(config.id, method, params),
        )
        slot = _Slot(config, connection, negotiated, credential)
        return slot

    def _dedicate(self, slot: _Slot, client: DownstreamClient, negotiated: NegotiationCache) -> _Dedicated:
        """A connection that introduces itself upstream as this client."""
        connection = Connection(
            slot.config,
            introduction=Introduction(info=client.info or self._introduction.info, capabilities=client.capabilities),
            negotiated=negotiated,
            credential=slot.credential,
            lists=False,
            on_notification=lambda method, params: self._notify(slot.config.id, method, params),
        )
        connection.start()
        dedicated = slot.dedicated[client.key] = _Dedicated(connection, time.monotonic())
        return dedicated

    def _login_changed(self, server_id: str) -> None:
        """Somebody has logged in to a server or out of it: what it offers, and whether it answers, is read now."""
        if server_id in self._generations[-1].slots:
            _spawn(self._tasks, self.refresh(server_id))

    def _connection_changed(self, slot: _Slot) -> None:
        if self._generations[-1].slots.get(slot.config.id) is not slot:
            return  # The server was removed or replaced; a lease keeps this connection open.
        server, before = self._snapshot_of(slot), self.snapshot.servers.get(slot.config.id)
        if server.own_code_mode and (before is None or before.own_code_mode != server.own_code_mode):
            self._log.warning("a server is in code mode itself", server=slot.config.id, advice=server.own_code_mode)
        if server.listing is not (before.listing if before is not None else None):
            self._log_skipped(server, before.listing.skipped if before is not None else ())
        servers = {**self.snapshot.servers, slot.config.id: server}
        self._replace(Snapshot(version=self.snapshot.version + 1, servers=servers))

    def _log_skipped(self, server: ServerSnapshot, known: Collection[str]) -> None:
        """Log what is left out of a new listing, but for what was left out of the one before."""
        for line in server.listing.skipped:
            if line not in known:
                self._log.warning("left out of a server's lists", server=server.id, item=line)

    def _snapshot_of(self, slot: _Slot, *, rebuild: bool = False) -> ServerSnapshot:
        connection, before = slot.shared, self.snapshot.servers.get(slot.config.id)
        config, listing = slot.config, connection.listing
        if before is not None and slot.published is listing and before.config is config and not rebuild:
            # Only the state changed: the same objects, so that caches keyed by them stay valid.
            approved, catalog, learned = (
                ScreenedListing(before.listing, before.pending),
                before.catalog,
                before.learned,
            )
        else:
            approved = self._screen(config, listing)
            outputs = self._outputs if config.learn_output else None
            learned = {} if outputs is None else outputs.of(config.id, approved.listing.tools)
            same = before is not None and _lists_the_same(before, config, approved.listing, learned)
            # What was named and indexed stays while the same is listed.
            catalog = before.catalog if before and same else CatalogServer(offer_of(config, approved.listing, learned))
            slot.published = listing
        return ServerSnapshot(
            id=slot.config.id,
            config=slot.config,
            state=connection.state,
            reason=connection.reason,
            status=connection.status,
            since=connection.since,
            retry_at=connection.retry_at,
            listing=approved.listing,
            catalog=catalog,
            learned=learned,
            pending=approved.pending,
        )

    def _screen(self, config: ServerConfig, listing: Listing) -> ScreenedListing:
        if not config.pin:
            return ScreenedListing(listing)
        if self._pins is not None:
            return self._pins.screen(config.id, listing)
        if listing.digest:
            fix = "Restart with portal.pinned or portal.state."
            self._log.error("a pinned server has no place for approvals; it shows nothing", server=config.id, fix=fix)
        return screen(listing, {})

    def _replace(self, snapshot: Snapshot) -> None:
        old, self.snapshot = self.snapshot, snapshot
        for listener in tuple(self._listeners):
            self._call(listener, old, snapshot)
        _spawn(self._tasks, self._wake())

    def _notify(self, server_id: str, method: str, params: Mapping[str, object]) -> None:
        for listener in tuple(self._notified):
            self._call(listener, server_id, method, params)

    def _call(self, listener: Callable[..., None], *args: object) -> None:
        try:
            listener(*args)
        except Exception:  # The edge of a background job: a listener's failure is not the registry's.
            self._log.exception("a listener failed")

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _close_idle(self) -> None:
        """Close the connections of clients that left without ending their session."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 10)
            oldest = time.monotonic() - IDLE_SECONDS
            for slot in self._generations[-1].slots.values():
                idle = [key for key, entry in slot.dedicated.items() if entry.used < oldest]
                await _close_all([slot.dedicated.pop(key).connection for key in idle])


async def _close_all(connections: list[Connection]) -> None:
    await asyncio.gather(*(connection.aclose() for connection in connections), return_exceptions=True)


def _discard(listeners: list[L], listener: L) -> None:
    with suppress(ValueError):
        listeners.remove(listener)


def _spawn(tasks: set[asyncio.Task[None]], work: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _lists_the_same(
    before: ServerSnapshot, config: ServerConfig, listing: Listing, learned: Mapping[str, stubs.Schema]
) -> bool:
    """Whether a server would have the same catalog as before."""
    return (before.config, before.listing.digest, before.listing.server_info, before.learned) == (
        config,
        listing.digest,
        listing.server_info,
        learned,
    )
