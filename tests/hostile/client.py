"""An attacker's HTTP client: sends whatever bytes it is given, well-formed or not, and reads what comes back.

A library would mend half of these requests, and refuse to send the other half.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.patience import PATIENCE

Header = tuple[bytes, bytes]
MOMENT = 0.2
"""Seconds."""
END = b"\r\n\r\n"


@dataclass(frozen=True)
class RawRequest:
    """One request. Without a `content-length` or `transfer-encoding` among its headers, the length of the body is
    declared as it is."""

    method: bytes
    target: bytes
    headers: Sequence[Header] = ()
    body: bytes = b""

    @property
    def whole(self) -> bool:
        """Whether nothing more of it is to come."""
        headers = [(name.lower(), value) for name, value in self.headers]
        if any(name == b"transfer-encoding" for name, _ in headers):
            return self.body.endswith(b"0\r\n\r\n")
        lengths = [int(value) for name, value in headers if name == b"content-length" and value.isdigit()]
        return all(length <= len(self.body) for length in lengths)

    def encoded(self, host: bytes) -> bytes:
        names = {name.lower() for name, _ in self.headers}
        headers = list(self.headers)
        if b"host" not in names:
            headers.insert(0, (b"Host", host))
        if self.body and not names & {b"content-length", b"transfer-encoding"}:
            headers.append((b"Content-Length", str(len(self.body)).encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (self.method, self.target, lines, self.body)


@dataclass(frozen=True)
class RawAnswer:
    """The head of an answer, and as much of the body as came with it or was declared."""

    status: int
    headers: tuple[Header, ...]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, "" if there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), "")


class Attacker:
    """Sends to one portal. Each request has a connection of its own, from loopback."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self.address = parts.hostname, parts.port
        self.host = parts.netloc.encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def send(self, request: RawRequest) -> RawAnswer | None:
        """The answer; None if the connection was closed without one. Of an endless answer only the head is read.

        The answer to a request that is not whole is waited for a moment only: the portal may wait for the rest.
        """
        with self.connect() as connection:
            if not request.whole:
                connection.settimeout(MOMENT)
            connection.sendall(request.encoded(self.host))
            try:
                return read_answer(connection, head_only=request.method == b"HEAD")
            except TimeoutError:
                if request.whole:
                    raise
                return None


def read_answer(connection: socket.socket, *, head_only: bool = False) -> RawAnswer | None:
    """The answer that comes over this connection; None if it is closed without one. That to HEAD is a head only."""
    received = b""
    try:
        while END not in received:
            chunk = connection.recv(65536)
            if not chunk:
                return None
            received += chunk
            if received.startswith(b"HTTP/1.1 100 "):
                received = received.partition(END)[2]
        head, _, body = received.partition(END)
        first, *lines = head.split(b"\r\n")
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines))
        answer = RawAnswer(int(first.split(b" ")[1]), headers, body)
        length = answer.header("content-length")
        while length and not head_only and len(body) < int(length):
            chunk = connection.recv(65536)
            if not chunk:
                break
            body += chunk
    except ConnectionResetError:
        return None
    return RawAnswer(answer.status, headers, body)
