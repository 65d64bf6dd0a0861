"""The registry of upstream servers: starts them all at once, keeps one immutable snapshot of what they offer, reloads.

A dead server delays none of the others. A server that is removed or changed stays open until the last lease on it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from portal.bounded import Bounded
from portal.config import ServerConfig
from portal.credentials import ServerCredentials
from portal.errors import AuthorizationRequired, LoginRequired, ServerUnknown, UpstreamError, UpstreamUnavailable
from portal.identity import NOBODY, OnBehalf
from portal.pins import PendingDefinition, Pinning, PinsUnusable
from portal.servers.connections import close_all
from portal.servers.slot import Offers, Slot
from portal.servers.snapshot import LearnedOutputs, ServerSnapshot, Snapshot
from portal.state import StateUnavailable
from portal.upstream import NO_PROCESS_LOGS, PORTAL_INFO, Connection, DownstreamClient, Introduction, ProcessLogs

__all__ = ["Lease", "ServerSnapshot", "Servers", "Snapshot"]

L = TypeVar("L")
Listener = Callable[[Snapshot, Snapshot], None]
PersonListener = Callable[[str], None]
NotificationListener = Callable[[str, str, str, Mapping[str, object]], None]

IDLE_SECONDS = 900.0
MAX_PERSONS = 10_000


@dataclass(eq=False, slots=True)
class _Generation:
    """The servers of one configuration, and the number of leases on them."""

    slots: Mapping[str, Slot]
    leases: int = 0


def _slot_of(generation: _Generation, server_id: str) -> Slot:
    """
    Raises:
        ServerUnknown: no server of this id is configured.
    """
    slot = generation.slots.get(server_id)
    if slot is None:
        known = ", ".join(generation.slots) or "none"
        raise ServerUnknown(f"there is no server {server_id[:64]!r}; there are: {known}", server=server_id[:64])
    return slot


class Lease:
    """The servers of one moment, and what somebody is offered of them (`snapshot`). `connection` works until the `with`
    block ends, even if the configuration changes."""

    def __init__(self, servers: Servers, generation: _Generation, snapshot: Snapshot, on_behalf: OnBehalf) -> None:
        self.snapshot = snapshot
        self._servers = servers
        self._generation = generation
        self._on_behalf = on_behalf

    def __enter__(self) -> Lease:
        self._generation.leases += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._generation.leases -= 1
        self._servers.sweep()

    def connection(
        self, server_id: str, client: DownstreamClient | None = None, protocol: str = "", holder: str = ""
    ) -> Connection:
        """The connection for a call by `client`, in the part of `holder` (`portal.shares`); `protocol` is the version
        it speaks to the portal.

        Raises:
            ServerUnknown: no server of this id is configured.
            LoginRequired: whoever calls has to log in to it.
            UpstreamUnavailable: it cannot be told which connection that is.
        """
        return self._slot(server_id).connection(self._on_behalf, client, protocol, holder)

    def login_required(self, connection: Connection, error: UpstreamError) -> LoginRequired | None:
        """The error for whoever made a call over `connection` that ended in `error`: they have to log in to the server.
        None if no login of theirs would help.

        It has the login that the call showed: there may be another one by now, and that may do.
        """
        slot = self._slot(connection.config.id)
        refused = error.__cause__ if isinstance(error, UpstreamUnavailable) else error
        if not isinstance(refused, AuthorizationRequired) or not refused.login_helps:
            return None
        if not slot.may_log_in(self._on_behalf):
            return None
        # What a server says to the portal without their login is meant for its operator.
        reason = refused.message if connection.login else ""
        return slot.login_required(self._on_behalf, connection.login, reason, refused.status)

    def _slot(self, server_id: str) -> Slot:
        return _slot_of(self._generation, server_id)


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
        logs: ProcessLogs = NO_PROCESS_LOGS,
        instance: str = "",
    ) -> None:
        """`outputs` has the output types of tools that declare none. `pins` has the approvals of pinned servers.

        Without `pins`, pinned servers show nothing. `credentials` and `logs`, if given, are open and stay so; what
        processes write besides messages goes to `logs`. `instance` is the mark of the portal's instance: a server that
        turns out to be it is not served.
        """
        self.snapshot = Snapshot()
        self._versions = count(1)
        self._offers = Offers(outputs, pins)
        self._pins = pins
        self._credentials = credentials or ServerCredentials()
        self._process_logs = logs
        self._configs = configs
        self._introduction = Introduction(info=client_info, instance=instance)
        self._generations: list[_Generation] = [_Generation({})]
        self._listeners: list[Listener] = []
        self._notified: list[NotificationListener] = []
        self._person_listeners: list[PersonListener] = []
        # What persons are offered, by person; and of those, the same object for the same content.
        self._of_persons: Bounded[str, dict[OnBehalf, Snapshot]] = Bounded(MAX_PERSONS)
        self._of_content: WeakValueDictionary[object, Snapshot] = WeakValueDictionary()
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

    @property
    def _slots(self) -> Mapping[str, Slot]:
        """The servers of the current configuration, by id."""
        return self._generations[-1].slots

    @property
    def instances(self) -> frozenset[str]:
        """The portals that are among the servers or behind them, by their marks."""
        return frozenset(mark for slot in self._slots.values() for mark in slot.instances)

    # The snapshot and its listeners

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(old, new)` is called after each change of the snapshot."""
        self._listeners.append(listener)
        return lambda: _discard(self._listeners, listener)

    def on_person(self, listener: PersonListener) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(subject)` is called when a person may be offered something
        else than before, while what the portal itself is offered is the same."""
        self._person_listeners.append(listener)
        return lambda: _discard(self._person_listeners, listener)

    def on_notification(self, listener: NotificationListener) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(server, subject, method, params)` is called for each
        notification that belongs to no call, in order of arrival. `subject` is whom it was sent to, "" for everybody.
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

    async def arrived(
        self, server_ids: Collection[str], seconds: float | None = None, on_behalf: OnBehalf = NOBODY
    ) -> Snapshot:
        """What is offered once none of these servers is `connecting`: an attempt that fails ends that too.

        A server is waited for until `seconds` after its attempt began, by default its `connectTimeout`.
        """

        def connecting() -> list[ServerSnapshot]:
            snapshot = self.snapshot_for(on_behalf)
            return [snapshot.servers[name] for name in server_ids if name in snapshot.connecting]

        if waiting := connecting():
            now = time.time()
            limits = ((one, one.config.connect_timeout if seconds is None else seconds) for one in waiting)
            # The clock may have been set since: nobody waits longer than from a beginning now.
            longest = max(min(self._began(one, on_behalf) + limit - now, limit) for one, limit in limits)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(longest, 0)), self._changed:
                    await self._changed.wait_for(lambda: not connecting())
        return self.snapshot_for(on_behalf)

    def _began(self, server: ServerSnapshot, on_behalf: OnBehalf) -> float:
        slot = self._slots.get(server.id)
        return server.since if slot is None else slot.began(on_behalf)

    async def refresh(self, server_id: str | None = None) -> None:
        """Read the lists again now: those of one server, or of all if the id is None or unknown."""
        one = self._slots.get(server_id) if server_id is not None else None
        chosen = [one] if one is not None else list(self._slots.values())
        await asyncio.gather(*(slot.own.shared.refresh() for slot in chosen))

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
        changed = {
            name: self._slots[name].snapshot(self.snapshot.servers[name], rebuild=True)
            for name in server_ids
            if name in self._slots and name in self.snapshot.servers
        }
        if changed:
            servers = {**self.snapshot.servers, **changed}
            self._replace(Snapshot(version=next(self._versions), servers=servers))

    # Persons

    def snapshot_for(self, on_behalf: OnBehalf) -> Snapshot:
        """What is offered to somebody now; the same object for all who are offered the same."""
        if not on_behalf.subject:
            return self.snapshot
        known = self._of_persons.get(on_behalf.subject)
        if known is None:
            known = self._of_persons[on_behalf.subject] = {}
        offered = known.get(on_behalf)
        if offered is None:
            offered = known[on_behalf] = self._overlaid(self.snapshot, on_behalf)
        return offered

    async def know(self, on_behalf: OnBehalf) -> None:
        """Somebody is here: find out where they are logged in, and connect for them where that decides what they see.
        What cannot be found out is logged, and found out with the next request."""
        if not on_behalf.subject:
            return
        try:
            await self._credentials.know(on_behalf.subject)
        except StateUnavailable as error:
            self._log.debug("the logins of a person cannot be read", subject=on_behalf.subject, reason=str(error))
            return
        for name, slot in self._slots.items():
            if on_behalf.at(name):
                slot.meet(on_behalf.subject)

    def missing_login(self, server_id: str, on_behalf: OnBehalf) -> LoginRequired:
        """The error for whoever has to log in to a server before it shows them anything.

        Raises:
            ServerUnknown: it is not there any more.
        """
        return _slot_of(self._generations[-1], server_id).missing_login(on_behalf)

    def login(self, server_id: str, on_behalf: OnBehalf) -> str:
        """What tells somebody's login at a server from a later one; "" for none, or no such server."""
        slot, subject = self._slots.get(server_id), on_behalf.at(server_id)
        return slot.login(subject) if slot is not None and subject else ""

    async def logged_in(self, required: LoginRequired, seconds: float) -> bool:
        """Whether the person has logged in to the server after this error, or does so within `seconds`, while the
        server is there. The store is asked, whatever it has told so far."""

        def has_login() -> bool:
            slot = self._slots.get(required.server)
            return slot is not None and slot.login(required.subject) not in ("", required.login)

        with self._credentials.following(required.subject):
            with suppress(StateUnavailable):
                await self._credentials.look_again(required.subject)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._changed:
                    await self._changed.wait_for(lambda: required.server not in self._slots or has_login())
            return has_login()

    def _overlaid(self, base: Snapshot, on_behalf: OnBehalf) -> Snapshot:
        slots = self._slots
        servers = {
            name: slots[name].snapshot_for(on_behalf, own) if name in slots else own
            for name, own in base.servers.items()
        }
        differing = tuple((name, id(one)) for name, one in servers.items() if one is not base.servers[name])
        if not differing:
            return base
        shared = self._of_content.get(differing)
        if shared is None:
            shared = self._of_content[differing] = Snapshot(version=next(self._versions), servers=servers)
        return shared

    def _forget_offers(self, subject: str) -> None:
        self._of_persons.pop(subject)
        for listener in tuple(self._person_listeners):
            self._call(listener, subject)
        _spawn(self._tasks, self._wake())

    # Connections

    def lease(self, on_behalf: OnBehalf = NOBODY) -> Lease:
        """A lease on the current servers, for a `with` block."""
        return Lease(self, self._generations[-1], self.snapshot_for(on_behalf), on_behalf)

    def whose(self, server_id: str, on_behalf: OnBehalf) -> str:
        """A text that is the same for all whose calls of a server use the same connections."""
        slot = self._slots.get(server_id)
        return slot.whose(on_behalf) if slot is not None else ""

    def protocol_of(self, server_id: str) -> str | None:
        """The protocol version that was agreed with a server."""
        slot = self._slots.get(server_id)
        return slot.protocol if slot is not None else None

    async def release(self, client_key: str) -> None:
        """Close the connections of a downstream session that has ended."""
        slots = {id(slot): slot for generation in self._generations for slot in generation.slots.values()}
        await close_all([connection for slot in slots.values() for connection in slot.release(client_key)])

    # Reload

    async def apply(self, configs: Mapping[str, ServerConfig]) -> None:
        """Replace the servers. A server whose configuration is unchanged keeps its connections."""
        before = self._slots
        slots: dict[str, Slot] = {}
        for identifier, config in configs.items():
            if config.enabled:
                same = before.get(identifier)
                slots[identifier] = (
                    same if same is not None and _connects_as(same.config, config) else self._connect(config)
                )
        self._generations.append(_Generation(slots))
        listed = {name: slot.snapshot(self.snapshot.servers.get(name)) for name, slot in slots.items()}
        self._replace(Snapshot(version=next(self._versions), servers=listed))
        for name, slot in slots.items():
            if slot is not before.get(name):
                slot.start()
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

    def _connect(self, config: ServerConfig) -> Slot:
        return Slot(
            config,
            self._credentials,
            self._offers,
            self._introduction,
            self._slot_changed,
            self._notify,
            self._process_logs,
        )

    def _login_changed(self, server_id: str, subject: str) -> None:
        """Somebody has logged in to a server or out of it: what it offers, and whether it answers, is read now."""
        if not subject:
            if server_id in self._slots:
                _spawn(self._tasks, self.refresh(server_id))
            return
        slots = {id(slot): slot for one in self._generations if (slot := one.slots.get(server_id)) is not None}
        for slot in slots.values():
            slot.login_changed(subject)
        self._forget_offers(subject)

    def _slot_changed(self, slot: Slot, subject: str) -> None:
        if self._slots.get(slot.config.id) is not slot:
            return  # The server was removed or replaced; a lease keeps its connections open.
        if subject:
            self._forget_offers(subject)
            return
        before = self.snapshot.servers.get(slot.config.id)
        server = slot.snapshot(before)
        if server.own_code_mode and (before is None or before.own_code_mode != server.own_code_mode):
            self._log.warning("a server is in code mode itself", server=slot.config.id, advice=server.own_code_mode)
        if server.listing is not (before.listing if before is not None else None):
            slot.log_skipped(before.listing.skipped if before is not None else ())
        servers = {**self.snapshot.servers, slot.config.id: server}
        self._replace(Snapshot(version=next(self._versions), servers=servers))

    def _replace(self, snapshot: Snapshot) -> None:
        old, self.snapshot = self.snapshot, snapshot
        self._of_persons.clear()
        self._of_content.clear()
        for listener in tuple(self._listeners):
            self._call(listener, old, snapshot)
        _spawn(self._tasks, self._wake())

    def _notify(self, server_id: str, subject: str, method: str, params: Mapping[str, object]) -> None:
        for listener in tuple(self._notified):
            self._call(listener, server_id, subject, method, params)

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
            for slot in self._slots.values():
                await close_all(slot.idle(IDLE_SECONDS))


def _discard(listeners: list[L], listener: L) -> None:
    with suppress(ValueError):
        listeners.remove(listener)


def _spawn(tasks: set[asyncio.Task[None]], work: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _connects_as(config: ServerConfig, changed: ServerConfig) -> bool:
    """Whether connections of a server serve as well after this change. Labels are for whoever judges calls."""
    return config == changed.model_copy(update={"labels": config.labels, "tool_labels": config.tool_labels})
