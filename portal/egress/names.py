"""The addresses of names, for everything that leaves: one resolver for an event loop.

Each wish says who has it. What strangers name has a small part of its own, so that it takes nothing from what an
administrator named; equal questions share an answer; a question that everybody gave up ends.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from weakref import WeakKeyDictionary

from portal.bounded import Bounded
from portal.egress.channel import NO_ANSWER, CaresChannel, Found, Manner, Unknown, load
from portal.egress.flights import Flights
from portal.egress.threads import Threads
from portal.shares import Full, Shares

RESOLV_CONF = Path("/etc/resolv.conf")
# Seconds that a question may take. The system's own resolver gives up after ten, by default.
NAMED_SECONDS = 10.0
STRANGE_SECONDS = 4.0
# c-ares learns how fast a server is, and begins again sooner: so many tries last until the end.
_NAMED = Manner(seconds=2.0, tries=8, strange=False)
_STRANGE = Manner(seconds=1.0, tries=2, strange=True)
# An answer is kept for as long as it says, within these seconds; that there is none, for a moment.
FRESH_SECONDS = (1.0, 60.0)
FAILED_SECONDS = 2.0
MOST_KEPT = 1_000
# The system's resolver, where a question cannot be taken back: its threads, and the names that are in them or wait for
# one, in all and for one holder.
SYSTEM_THREADS = 4
MOST_IN_SYSTEM = (64, 2)

_NAME = re.compile(r"[!-~]{1,254}")


class Wisher(Enum):
    """Who wants to know an address."""

    ANYBODY = "the document of a client, which anyone can name"
    SERVER = "what the metadata of a server names"
    ADMINISTRATOR = "what an administrator named"


# Questions at once: in all, and for one holder. `portal.oauth` gives each address its part of what anybody has.
_MOST = {Wisher.ANYBODY: (64, 64), Wisher.SERVER: (64, 4), Wisher.ADMINISTRATOR: (2_000, 64)}


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to know an address. `holder` is whose part it counts in; "" has none, and only the bound for all
    applies."""

    by: Wisher
    holder: str = ""


class NameFailed(OSError):
    """There is no address. The text says why, without the name. `busy`: nobody was asked, because there was no room for
    one more question."""

    def __init__(self, why: str, *, busy: bool = False) -> None:
        super().__init__(why)
        self.busy = busy


@dataclass(slots=True)
class _Kept:
    until: float
    addresses: tuple[str, ...] = ()
    why: str = ""


@dataclass(slots=True)
class _Side:
    """The answers that are kept and the questions under way, of administrators or of strangers. They share neither."""

    kept: Bounded[str, _Kept] = field(default_factory=lambda: Bounded(MOST_KEPT))
    flights: Flights[str, tuple[str, ...]] = field(default_factory=Flights)


class NameResolver:
    """Finds addresses by the name servers of the system. It belongs to the running event loop, and holds neither a
    thread nor a descriptor while nobody waits. `servers`, as `address:port`, and search `domains` replace the
    system's."""

    def __init__(self, servers: Sequence[str] = (), domains: Sequence[str] = ()) -> None:
        self._servers, self._domains = servers, domains
        self._version = _version(RESOLV_CONF)
        self._shares = {wisher: Shares(most, each) for wisher, (most, each) in _MOST.items()}
        self._named, self._strange = _Side(), _Side()
        self._threads = Threads(SYSTEM_THREADS, "names of the system")
        self._system_places = Shares(*MOST_IN_SYSTEM)
        self._in_threads: dict[str, asyncio.Task[Found | None]] = {}
        self._loading: Flights[str, object] = Flights()
        self._loaded = False
        self._users = 0
        self._channel: CaresChannel | None = None

    def __repr__(self) -> str:
        return f"<NameResolver {len(self._named.flights)} asked, and {len(self._strange.flights)} of strangers>"

    async def addresses(self, host: str, wish: Wish) -> tuple[str, ...]:
        """The IP addresses of a host name, in the order to try them; at least one.

        Raises:
            NameFailed: there is none, or no answer in time, or no room for one more question.
        """
        if not _NAME.fullmatch(host):
            raise NameFailed("it is no host name")
        name = host.lower()
        self._notice_changes()
        side = self._named if wish.by is Wisher.ADMINISTRATOR else self._strange
        kept = side.kept.get(name)
        if kept is not None and asyncio.get_running_loop().time() < kept.until:
            if not kept.addresses:
                raise NameFailed(kept.why)
            return kept.addresses
        try:
            return await side.flights.join(name, lambda: self._answer(side, name, wish))
        finally:
            if not len(self._named.flights):
                self._rest()

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """A block that keeps the channel until its end: making one reads files."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self.close()

    def close(self) -> None:
        """Take back the questions of administrators. Those of strangers end with who asks them."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _rest(self) -> None:
        """Nobody waits for a name of an administrator."""
        if not self._users:
            self.close()
        elif self._channel is not None:
            # c-ares takes back all questions or none.
            self._channel.cancel()

    async def _answer(self, side: _Side, name: str, wish: Wish) -> tuple[str, ...]:
        """The addresses. They are kept for whoever asks next, and so is the reason why there are none."""
        loop = asyncio.get_running_loop()
        least, most = FRESH_SECONDS
        try:
            with self._shares[wish.by].held(wish.holder):
                found = await self._found(side, name, wish)
            kept = _Kept(loop.time() + min(max(found.seconds, least), most), found.addresses)
        except Full as full:
            whose = "for one holder" if full.own else "in all"
            raise NameFailed(f"{full.most} host names are asked for already, the most {whose}", busy=True) from None
        except NameFailed as failed:
            kept = _Kept(loop.time() + FAILED_SECONDS, why=str(failed))
        side.kept[name] = kept
        if not kept.addresses:
            raise NameFailed(kept.why)
        return kept.addresses

    async def _found(self, side: _Side, name: str, wish: Wish) -> Found:
        strange = side is self._strange
        try:
            async with asyncio.timeout(STRANGE_SECONDS if strange else NAMED_SECONDS):
                answer = await (self._ask_about_strange(name) if strange else self._ask(name, wish))
        except TimeoutError:
            answer = NO_ANSWER
        if isinstance(answer, Unknown):
            raise NameFailed(answer.why)
        return answer

    async def _ask_about_strange(self, name: str) -> Found | Unknown:
        """The answer about a stranger's name. Each has a channel of its own: closing that takes the question back."""
        await self._load()
        channel = CaresChannel(_STRANGE, self._servers)
        try:
            return await channel.ask(name)
        finally:
            channel.close()

    async def _ask(self, name: str, wish: Wish) -> Found | Unknown:
        """The answer about an administrator's name. One channel asks for all: a thousand names need no more sockets
        than one."""
        await self._load()
        while True:
            channel = self._channel
            if channel is None:
                channel = self._channel = CaresChannel(_NAMED, self._servers, self._domains)
            question = channel.ask(name)
            await asyncio.wait({question})
            if not channel.closed:
                break
            # The configuration has changed meanwhile: now others are asked.
        answer = question.result()
        if isinstance(answer, Found) or not answer.answered:
            return answer
        return await self._ask_system(name, wish) or answer

    async def _ask_system(self, name: str, wish: Wish) -> Found | None:
        """What the modules of `nsswitch.conf` know beside name servers and `/etc/hosts`: mDNS, containers, directories.
        None where they know nothing, or are busy with the names of this holder.

        Whoever asks meanwhile waits for the same thread.
        """
        asking = self._in_threads.get(name)
        if asking is None:
            try:
                self._system_places.take(wish.holder)
            except Full:
                return None
            asking = asyncio.create_task(self._threads.run(lambda: _system_addresses(name)))
            self._in_threads[name] = asking

            def ended(done: object) -> None:
                self._system_places.give_back(wish.holder)
                del self._in_threads[name]

            asking.add_done_callback(ended)
        await asyncio.wait({asking})
        return asking.result()

    async def _load(self) -> None:
        if not self._loaded:
            await self._loading.join("c-ares", lambda: self._threads.run(load))
            self._loaded = True

    def _notice_changes(self) -> None:
        """Forget what another network answered: laptops move, containers get their file late."""
        version = _version(RESOLV_CONF)
        if version == self._version:
            return
        self._version = version
        self._named.kept.clear()
        self._strange.kept.clear()
        self.close()


# One for each loop: connections are opened in places that have only the loop in common, and share one bound.
_OF_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, NameResolver] = WeakKeyDictionary()


def resolver_here() -> NameResolver:
    """The resolver of the running event loop. It is made where there is none, and leaves nothing open."""
    loop = asyncio.get_running_loop()
    resolver = _OF_LOOP.get(loop)
    if resolver is None:
        resolver = _OF_LOOP[loop] = NameResolver()
    return resolver


@contextmanager
def resolving_by(resolver: NameResolver) -> Iterator[None]:
    """A block in which the running event loop has this resolver. See `lasting`."""
    loop = asyncio.get_running_loop()
    before = _OF_LOOP.get(loop)
    _OF_LOOP[loop] = resolver
    try:
        with resolver.lasting():
            yield
    finally:
        _OF_LOOP.pop(loop, None)
        if before is not None:
            _OF_LOOP[loop] = before


def _system_addresses(name: str) -> Found | None:
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError):
        return None
    return Found(tuple(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in infos)), 0.0)


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
