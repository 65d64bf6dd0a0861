"""A name server of the tests' own, in a thread: quick, and silent where a test wants it so."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

A, AAAA = 1, 28
NO_SUCH_NAME = 3
TRUNCATED = 0x0200


class NameServer:
    """Answers with `addresses`, by name. It says nothing of names that begin with `silent` while it `is_silent`,
    and others are unknown.

    As many addresses are in an answer as fit into a datagram, which then says that it is cut.
    """

    def __init__(self, socket: socket.socket) -> None:
        self._socket = socket
        self.address = "{}:{}".format(*socket.getsockname())
        self.addresses: dict[str, list[str]] = {}
        self.seconds = 30
        self.is_silent = True
        self.asked: Counter[str] = Counter()

    def serve(self) -> None:
        """Answer until something comes that is no question."""
        while True:
            question, whence = self._socket.recvfrom(4096)
            if len(question) < 12:
                return
            answer = self._answer(question)
            if answer is not None:
                self._socket.sendto(answer, whence)

    def _answer(self, question: bytes) -> bytes | None:
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name = ".".join(labels).lower()
        (kind,) = struct.unpack_from("!H", question, at + 1)
        self.asked[name] += 1
        if self.is_silent and name.startswith("silent"):
            return None
        asked = question[12 : at + 5]
        parsed = map(ipaddress.ip_address, self.addresses.get(name, ()))
        packed = [one.packed for one in parsed if one.version == (4 if kind == A else 6)]
        records = [struct.pack("!HHHIH", 0xC00C, kind, 1, self.seconds, len(one)) + one for one in packed]
        fit = records[: (1232 - 12 - len(asked)) // 28]
        flags = 0x8180 | (0 if name in self.addresses else NO_SUCH_NAME)
        flags |= TRUNCATED if len(fit) < len(records) else 0
        return (
            struct.pack("!HHHHHH", *struct.unpack_from("!H", question), flags, 1, len(fit), 0, 0)
            + asked
            + b"".join(fit)
        )


@contextmanager
def name_server() -> Iterator[NameServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_000_000)
        listener.bind(("127.0.0.1", 0))
        server = NameServer(listener)
        thread = Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", listener.getsockname())
            thread.join()
