"""The registry of upstream servers: starts them all at once, keeps one immutable snapshot of what they offer, reloads.

One dead server delays none of the others. What is removed or changed lives on for whoever holds a lease on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, TypeVar

import structlog
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from portal.config import ServerConfig, watch_config
from portal.errors import ServerUnknown
from portal.pins import Pinning, PinsUnusable, Screened, Withheld, screened
from portal.servers.snapshot import Outputs, ServerSnapshot, Snapshot, offer_of
from portal.upstream import Client, Connection, Generation, Introduction, Listing, Remembered
from portal.version import portal_version

__all__ = ["Lease", "ServerSnapshot", "Servers", "Snapshot", "connection_kind", "watch_config"]

L = TypeVar("L")
Listener = Callable[[Snapshot, Snapshot], None]
NotificationListener = Callable[[str, str, Mapping[str, object]], None]

PORTAL_INFO = {"name": "codemode-portal", "version": portal_version()}
# Connections of single clients, a server: past it they share. A process is dearer than an HTTP session.
MAX_DEDICATED = {"stdio": 16, "http": 200, "sse": 200}
IDLE_SECONDS = 900.0


def connection_kind(
    config: ServerConfig, generation: Generation | None, client: Client | None, protocol: str = ""
) -> Literal["shared", "dedicated", "legacy"]:
    """Which connection a call by this client, speaking this protocol version, uses; "legacy" is a dedicated one too.

    A modern upstream is told with each request what the client can do, and a client that cannot be asked anything
    needs no connection of its own. A process is shared unless the configuration says otherwise. A server that is shown
    as it is (`prefix` false) is to a legacy session the legacy server, even if it speaks both.
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
    """One configured server and its connections. `read` is the listing that the snapshot was made of."""

    config: ServerConfig
    shared: Connection
    remembered: Remembered
    read: Listing | None = None
    dedicated: dict[str, _Dedicated] = field(default_factory=dict)

    def connections(self) -> list[Connection]:
        return [self.shared, *(kept.connection for kept in self.dedicated.values())]


@dataclass(eq=False, slots=True)
class _Generation:
    """The servers of one configuration, and how many leases are held on them."""

    slots: Mapping[str, _Slot]
    leases: int = 0


class Lease:
    """The servers as they were when it was taken: `connection` works until the block ends, whatever is reloaded."""

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

    def connection(self, server_id: str, client: Client | None = None, protocol: str = "") -> Connection:
        """The connection for a call by this client, which speaks this version downstream.

        Raises:
            ServerUnknown: nothing of that id is configured.
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
        outputs: Outputs | None = None,
        pins: Pinning | None = None,
    ) -> None:
        """`outputs` knows what servers that declare no output types return, `pins` what of pinned ones is approved.
        Without `pins` nothing of a pinned server is shown.
        """
        self.snapshot = Snapshot()
        self._outputs = outputs
        self._pins = pins
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
            self._pins.publish_to(self.offer_anew)
        await self.apply(self._configs)
        _keep(self._tasks, self._close_idle())
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
        await _close_all([connection for slot in slots.values() for connection in slot.connections()])
        await asyncio.gather(*self._closing)

    # What there is

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(old, new)` after each replacement of the snapshot; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: _discard(self._listeners, listener)

    def on_notification(self, listener: NotificationListener) -> Callable[[], None]:
        """Call `listener(server, method, params)` for notifications that belong to no call, in order of arrival."""
        self._notified.append(listener)
        return lambda: _discard(self._notified, listener)

    async def settled(self, seconds: float = 30.0) -> Snapshot:
        """The snapshot once no server is waiting any more, or as it is after that many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(
                    lambda: all(server.state != "waiting" for server in self.snapshot.servers.values())
                )
        return self.snapshot

    async def refresh(self, server_id: str | None = None) -> None:
        """Read the lists of one server, or of all, again now."""
        slots = self._generations[-1].slots
        chosen = [slots[server_id]] if server_id is not None and server_id in slots else list(slots.values())
        await asyncio.gather(*(slot.shared.refresh() for slot in chosen))

    async def approve(self, server_id: str, withheld: Iterable[Withheld], *, by: str) -> None:
        """From now on this is what a pinned server may offer.

        Raises:
            PinsUnusable: it cannot be kept.
        """
        if self._pins is None:
            raise PinsUnusable("There is no place for approvals: name a file in portal.pinned, or set portal.state.")
        await self._pins.approve(server_id, withheld, by=by)

    def offer_anew(self, *server_ids: str) -> None:
        """What `outputs` or `pins` say of these servers has changed: offer them with it."""
        slots = self._generations[-1].slots
        changed = {
            name: self._snapshot_of(slots[name], anew=True)
            for name in server_ids
            if name in slots and name in self.snapshot.servers
        }
        if changed:
            servers = {**self.snapshot.servers, **changed}
            self._replace(Snapshot(version=self.snapshot.version + 1, servers=servers))

    # Connections

    def lease(self) -> Lease:
        """The servers of this moment, for the length of a `with` block."""
        return Lease(self, self._generations[-1], self.snapshot)

    def connection_for(self, slot: _Slot, client: Client | None, protocol: str) -> Connection:
        kind = connection_kind(slot.config, slot.remembered.generation, client, protocol)
        if client is None or kind == "shared":
            return slot.shared
        kept = slot.dedicated.get(client.key)
        if kept is None:
            if len(slot.dedicated) >= MAX_DEDICATED[slot.config.transport_name]:
                self._log.warning("too many connections for single clients; sharing", server=slot.config.id)
                return slot.shared
            remembered = replace(slot.remembered, generation="legacy") if kind == "legacy" else slot.remembered
            kept = self._dedicate(slot, client, remembered)
        kept.used = time.monotonic()
        return kept.connection

    async def release(self, client_key: str) -> None:
        """A downstream session has ended: close the connections that were its own."""
        kept = [
            slot.dedicated.pop(client_key)
            for generation in self._generations
            for slot in generation.slots.values()
            if client_key in slot.dedicated
        ]
        await _close_all([one.connection for one in kept])

    # Reload

    async def apply(self, configs: Mapping[str, ServerConfig]) -> None:
        """Make these the servers. Those whose configuration is the same are not touched."""
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
        """Close what no configuration and no lease needs any more."""
        needless = [generation for generation in self._generations[:-1] if not generation.leases]
        if not needless:
            return
        self._generations = [generation for generation in self._generations if generation not in needless]
        needed = {id(slot) for generation in self._generations for slot in generation.slots.values()}
        closing = [slot for generation in needless for slot in generation.slots.values() if id(slot) not in needed]
        connections = [connection for slot in closing for connection in slot.connections()]
        if connections and self._open:
            _keep(self._closing, _close_all(connections))

    def _connect(self, config: ServerConfig) -> _Slot:
        remembered = Remembered()
        connection = Connection(
            config,
            introduction=self._introduction,
            remembered=remembered,
            on_change=lambda: self._connection_changed(slot),
            on_notification=lambda method, params: self._notify(config.id, method, params),
        )
        slot = _Slot(config, connection, remembered)
        return slot

    def _dedicate(self, slot: _Slot, client: Client, remembered: Remembered) -> _Dedicated:
        """A connection that introduces itself upstream as this client."""
        connection = Connection(
            slot.config,
            introduction=Introduction(info=client.info or self._introduction.info, capabilities=client.capabilities),
            remembered=remembered,
            lists=False,
            on_notification=lambda method, params: self._notify(slot.config.id, method, params),
        )
        connection.start()
        kept = slot.dedicated[client.key] = _Dedicated(connection, time.monotonic())
        return kept

    def _connection_changed(self, slot: _Slot) -> None:
        if self._generations[-1].slots.get(slot.config.id) is not slot:
            return  # Removed or replaced; somebody still holds it.
        found, before = self._snapshot_of(slot), self.snapshot.servers.get(slot.config.id)
        if found.own_code_mode and (before is None or before.own_code_mode != found.own_code_mode):
            self._log.warning("a server is in code mode itself", server=slot.config.id, advice=found.own_code_mode)
        servers = {**self.snapshot.servers, slot.config.id: found}
        self._replace(Snapshot(version=self.snapshot.version + 1, servers=servers))

    def _snapshot_of(self, slot: _Slot, *, anew: bool = False) -> ServerSnapshot:
        connection, before = slot.shared, self.snapshot.servers.get(slot.config.id)
        config, listing = slot.config, connection.listing
        if before is not None and slot.read is listing and before.config is config and not anew:
            shown, offer, learned = Screened(before.listing, before.withheld), before.offer, before.learned
        else:
            shown = self._screened(config, listing)
            outputs = self._outputs if config.learn_output else None
            learned = {} if outputs is None else outputs.of(config.id, shown.listing.tools)
            offer = offer_of(config, shown.listing, learned)
            slot.read = listing
        return ServerSnapshot(
            id=slot.config.id,
            config=slot.config,
            state=connection.state,
            reason=connection.reason,
            status=connection.status,
            since=connection.since,
            retry_at=connection.retry_at,
            listing=shown.listing,
            offer=offer,
            learned=learned,
            withheld=shown.withheld,
        )

    def _screened(self, config: ServerConfig, listing: Listing) -> Screened:
        if not config.pin:
            return Screened(listing)
        if self._pins is not None:
            return self._pins.screened(config.id, listing)
        if listing.digest:
            fix = "Restart with portal.pinned or portal.state."
            self._log.error("a pinned server has no place for approvals; it shows nothing", server=config.id, fix=fix)
        return screened(listing, {})

    def _replace(self, snapshot: Snapshot) -> None:
        old, self.snapshot = self.snapshot, snapshot
        for listener in tuple(self._listeners):
            self._call(listener, old, snapshot)
        _keep(self._tasks, self._wake())

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
        """Connections of clients that never said goodbye."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 10)
            oldest = time.monotonic() - IDLE_SECONDS
            for slot in self._generations[-1].slots.values():
                idle = [key for key, kept in slot.dedicated.items() if kept.used < oldest]
                await _close_all([slot.dedicated.pop(key).connection for key in idle])


async def _close_all(connections: list[Connection]) -> None:
    await asyncio.gather(*(connection.aclose() for connection in connections), return_exceptions=True)


def _discard(listeners: list[L], listener: L) -> None:
    with suppress(ValueError):
        listeners.remove(listener)


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
