"""Questions to the name servers on the event loop, by c-ares: no thread waits for an answer.

c-ares reads `resolv.conf`, the order in `nsswitch.conf` and `/etc/hosts`, asks for IPv4 and IPv6 addresses at once,
tries the next server and the search domains, and puts the addresses in order (RFC 6724). It calls nothing here from
another thread: its sockets and its clock are the loop's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import WeakMethod

if TYPE_CHECKING:
    import pycares

# Seconds. c-ares is not called again sooner, whatever it wants: its clock must have moved on.
_TICK = 0.001


@dataclass(frozen=True, slots=True)
class Manner:
    """How a channel asks. `seconds` is what a server has for the first try, and more for each of the `tries`.

    A channel for `strange` names looks at neither `/etc/hosts` nor the search domains: nothing of this network is for
    them, and each name is two questions, for IPv6 and IPv4.
    """

    seconds: float
    tries: int
    strange: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a name in the order to try them, and for how many seconds they hold."""

    addresses: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no address, and why. `answered`: somebody said so, or there is nobody to ask; else the time was over."""

    why: str
    answered: bool = True


NO_ANSWER = Unknown("no name server answered in time", answered=False)
NO_NAME = Unknown("there is no such name")


def load() -> object:
    """Import c-ares. That takes tens of milliseconds, so it is not done before the first name."""
    return import_module("pycares")


class CaresChannel:
    """Asks as `manner` says, the name servers that the system has when it is made. Close it at the end.

    `servers`, as `address:port`, and search `domains` replace the system's. (The options `resolvconf_path` and
    `lookups` of the library are of no use: it gives c-ares memory that is free again.)

    An answer is read as far as one datagram goes: a name with thousands of addresses gets some of them. Raises OSError
    where the system lets none be made.
    """

    def __init__(self, manner: Manner, servers: Sequence[str] = (), domains: Sequence[str] = ()) -> None:
        library = import_module("pycares")
        self._nobody: int = library.ARES_SOCKET_BAD
        self._loop = asyncio.get_running_loop()
        self._strange = manner.strange
        self._asked: dict[str, asyncio.Future[Found | Unknown]] = {}
        self._reading: set[int] = set()
        self._writing: set[int] = set()
        self._clock: asyncio.TimerHandle | None = None
        self._closed = False
        watch = WeakMethod(self._watch)

        def watched(descriptor: int, readable: bool, writable: bool) -> None:
            # Nothing of this object is left when c-ares closes what a loop that ended has left open.
            method = watch()
            if method is not None:
                method(descriptor, readable, writable)

        try:
            self._cares: pycares.Channel = library.Channel(
                flags=_flags(manner),
                timeout=manner.seconds,
                tries=manner.tries,
                servers=servers or None,
                domains=domains or None,
                sock_state_cb=watched,
            )
        except library.AresError as error:
            raise OSError(f"names cannot be asked for: {error}") from None

    def __len__(self) -> int:
        """How many questions have no answer yet."""
        return len(self._asked)

    def __bool__(self) -> bool:
        return True

    def ask(self, name: str) -> asyncio.Future[Found | Unknown]:
        """A future of what the name servers answer, the same one for everybody who asks meanwhile. Do not cancel it:
        c-ares cannot take back a single question."""
        future = self._asked.get(name)
        if future is None:
            future = self._asked[name] = self._loop.create_future()
            if self._strange:
                self._query(name, future)
            else:
                answered = partial(self._answered, name, future)
                self._cares.getaddrinfo(name, None, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM, callback=answered)
            self._set_clock()
        return future

    def _query(self, name: str, future: asyncio.Future[Found | Unknown]) -> None:
        """Ask for nothing but the records of this name."""
        library = import_module("pycares")
        records: list[pycares.DNSRecord] = []
        errors: list[int] = []
        kinds = (library.QUERY_TYPE_AAAA, library.QUERY_TYPE_A)

        def answered(result: pycares.DNSResult | None, error: int | None) -> None:
            errors.append(error or 0)
            records.extend(result.answer if result is not None else ())
            if len(errors) == len(kinds):
                self._settle(name, future, _of_records(records, kinds) or _unknown(max(errors, key=_severity)))

        for kind in kinds:
            try:
                self._cares.query(name, kind, callback=answered)
            except library.AresError as error:
                # It is no name. The library says so once or twice.
                self._settle(name, future, _unknown(error.args[0]))

    @property
    def closed(self) -> bool:
        return self._closed

    def cancel(self) -> None:
        """End all questions, as if nobody had answered in time."""
        if self._asked:
            self._cares.cancel()
            self._set_clock()

    def close(self) -> None:
        if self._closed:
            return
        # c-ares ends what is left in a thread of its own, where the loop must not be touched.
        self.cancel()
        self._closed = True
        for descriptor in tuple(self._reading | self._writing):
            self._unwatch(descriptor)
        if self._clock is not None:
            self._clock.cancel()
        self._cares.close()

    def _answered(
        self,
        name: str,
        future: asyncio.Future[Found | Unknown],
        result: pycares.AddrInfoResult | None,
        error: int | None,
    ) -> None:
        if result is None or not result.nodes:
            self._settle(name, future, _unknown(error))
            return
        addresses = dict.fromkeys(node.addr[0].decode() for node in result.nodes)
        self._settle(name, future, Found(tuple(addresses), min(node.ttl for node in result.nodes)))

    def _settle(self, name: str, future: asyncio.Future[Found | Unknown], answer: Found | Unknown) -> None:
        if self._asked.get(name) is future:
            del self._asked[name]
        if not future.done() and not self._loop.is_closed():
            future.set_result(answer)

    def _watch(self, descriptor: int, readable: bool, writable: bool) -> None:
        if self._closed or self._loop.is_closed():
            return
        self._unwatch(descriptor)
        if readable:
            self._reading.add(descriptor)
            self._loop.add_reader(descriptor, self._process, descriptor, self._nobody)
        if writable:
            self._writing.add(descriptor)
            self._loop.add_writer(descriptor, self._process, self._nobody, descriptor)

    def _unwatch(self, descriptor: int) -> None:
        for watched, remove in ((self._reading, self._loop.remove_reader), (self._writing, self._loop.remove_writer)):
            if descriptor in watched:
                watched.remove(descriptor)
                remove(descriptor)

    def _process(self, readable: int, writable: int) -> None:
        self._cares.process_fd(readable, writable)
        self._set_clock()

    def _set_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if self._asked and not self._closed:
            seconds: float = self._cares.timeout()  # type: ignore[no-untyped-call]
            self._clock = self._loop.call_later(max(seconds, _TICK), self._process, self._nobody, self._nobody)


def _of_records(records: Sequence[pycares.DNSRecord], kinds: Sequence[int]) -> Found | None:
    """The addresses in the records, those of the first kind first; None where there are none."""
    found = [one for kind in kinds for one in records if one.type == kind]
    addresses = tuple(dict.fromkeys(str(getattr(one.data, "addr", "")) for one in found))
    return Found(addresses, min(one.ttl for one in found)) if found else None


def _severity(error: int) -> int:
    """The order in which errors say why there is no address: a server that was silent may have had one."""
    unknown = _unknown(error)
    return 2 if unknown is NO_ANSWER else 0 if unknown is NO_NAME else 1


def _unknown(error: int | None) -> Unknown:
    errors = import_module("pycares").errno
    if error in (errors.ARES_ETIMEOUT, errors.ARES_ECANCELLED, errors.ARES_EDESTRUCTION):
        return NO_ANSWER
    if error in (None, 0, errors.ARES_ENOTFOUND, errors.ARES_ENODATA, errors.ARES_EBADNAME):
        return NO_NAME
    return Unknown(f"the name servers failed ({errors.errorcode.get(error, error)})")


def _flags(manner: Manner) -> int:
    cares = import_module("pycares")
    # EDNS: a datagram of 1,232 bytes instead of 512. IGNTC: what did not fit is not asked for again by TCP.
    flags: int = cares.ARES_FLAG_EDNS | cares.ARES_FLAG_IGNTC
    return flags | cares.ARES_FLAG_NOSEARCH if manner.strange else flags
