"""The wire between the portal and a worker: a fixed header, then a payload, over a stream socket. Shared by both ends.

A header is 16 bytes, little endian: payload length (u32), kind (u8), zero (u8), magic (u16), run id (u64). The reader
refuses a wrong magic, an unknown kind and a length over its cap before it allocates the payload.

A lane (one socket, one thread in the worker) has one request at a time, and one reply with the same run id. The control
channel carries `BOOT`, `STOP`, `PAUSE` and `PROCEED` down, and one `READY` or `FAULT` up.
"""

import enum
import struct
from typing import Final, NamedTuple

HEADER: Final = struct.Struct("<IBBHQ")
MAGIC: Final = 0xC0DE
BUFFER: Final = 64 * 1024
REQUEST_CAP: Final = 256 * 1024 * 1024
"""The longest payload that a worker reads (bytes). The limits bound what the parent sends far below it."""


class ProtocolViolation(Exception):
    """The other end breaks this protocol. A worker that does so is killed."""


class FrameKind(enum.IntEnum):
    """The kinds of frames, with their payloads. Down: to the worker; up: from it."""

    BOOT = 1
    """Down, control: JSON, see `boot.Boot`."""
    STOP = 2
    """Down, control: interrupt the slice of this run, and drop the run. No payload, no reply."""
    PAUSE = 9
    """Down, control: the slice of this run computes nothing until PROCEED or STOP. No payload, no reply."""
    PROCEED = 10
    """Down, control: no payload, no reply."""
    START = 3
    """Down: owner (u64), image id, start batch. Answered by SUSPENDED, FINISHED, or FAULT."""
    RESUME = 4
    """Down: seconds that do not count as wall time (f64), resume batch. Answered as START."""
    THAW = 5
    """Down: owner (u64), image id, frozen run, payload of a RESUME. Answered as START."""
    FREEZE = 6
    """Down: nothing. Answered by FROZEN."""
    IMAGE = 7
    """Down: image id, image. Answered by STORED."""
    BUILD = 8
    """Down: a preload as UTF-8. Answered by BUILT."""
    READY = 64
    """Up, control: JSON, see `boot.Report`."""
    SUSPENDED = 65
    """Up: CPU seconds of the run (f64), output batch. The run stays in the worker."""
    FINISHED = 66
    """Up: as SUSPENDED. The run has ended."""
    FROZEN = 67
    """Up: the frozen run, which also stays in the worker."""
    STORED = 68
    BUILT = 69
    """Up: image id, image."""
    FAULT = 70
    """Up: a `Fault` and a message, see `pack_fault`. The worker drops the run, except after a failed FREEZE."""


SLICES: Final = frozenset({FrameKind.START, FrameKind.RESUME, FrameKind.THAW})
"""The requests that let a program compute."""


class Frame(NamedTuple):
    kind: FrameKind
    run: int
    payload: bytes


KINDS: Final = {kind.value: kind for kind in FrameKind}


def pack(kind: FrameKind, run: int = 0, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return HEADER.pack(len(payload), kind, 0, MAGIC, run) + payload


class FrameReader:
    """Cuts a stream into frames. The caller reads bytes into `buffer()`; `feed` returns the frames that are complete.

    Small frames are cut from one buffer. The rest of a long payload is read into a buffer of its own, without a copy.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        """The longest payload accepted (bytes)."""
        self._buffer = memoryview(bytearray(BUFFER))
        self._filled = 0
        self._header: tuple[FrameKind, int] | None = None
        self._payload = memoryview(b"")
        self._payload_filled = 0

    def buffer(self) -> memoryview:
        """The room for the next bytes; never empty."""
        if self._header is not None:
            return self._payload[self._payload_filled :]
        return self._buffer[self._filled :]

    def feed(self, count: int) -> list[Frame]:
        """The frames that are complete now that `count` more bytes are in `buffer()`.

        Raises:
            ProtocolViolation: the bytes are not frames.
        """
        if self._header is not None:
            return self._feed_payload(count)
        self._filled += count
        frames: list[Frame] = []
        start = 0
        while self._filled - start >= HEADER.size:
            length, kind, run = self._parse(start)
            body = start + HEADER.size
            if self._filled - body < length:
                if HEADER.size + length > BUFFER:
                    self._begin_payload(kind, run, length, body)
                    return frames
                break
            frames.append(Frame(kind, run, bytes(self._buffer[body : body + length])))
            start = body + length
        if start:
            rest = bytes(self._buffer[start : self._filled])
            self._buffer[: len(rest)] = rest
            self._filled = len(rest)
        return frames

    def _parse(self, offset: int) -> tuple[int, FrameKind, int]:
        length, code, zero, magic, run = HEADER.unpack_from(self._buffer, offset)
        kind = KINDS.get(code)
        if magic != MAGIC or zero != 0 or kind is None:
            raise ProtocolViolation("a malformed frame header")
        if length > self.cap:
            raise ProtocolViolation(f"a frame of {length} bytes, over the {self.cap} allowed")
        return length, kind, run

    def _begin_payload(self, kind: FrameKind, run: int, length: int, body: int) -> None:
        count = self._filled - body
        self._payload = memoryview(bytearray(length))
        self._payload[:count] = self._buffer[body : self._filled]
        self._payload_filled = count
        self._header = (kind, run)
        self._filled = 0

    def _feed_payload(self, count: int) -> list[Frame]:
        assert self._header is not None
        self._payload_filled += count
        if self._payload_filled < len(self._payload):
            return []
        kind, run = self._header
        frame = Frame(kind, run, bytes(self._payload))
        self._header = None
        self._payload = memoryview(b"")
        return [frame]


def pack_named(name: str, *parts: bytes) -> bytes:
    """A name of at most 255 bytes (an image id; empty for the default image), then the parts. The length (u32) stands
    before each part but the last."""
    raw = name.encode()
    pieces = [bytes((len(raw),)), raw]
    for part in parts[:-1]:
        pieces += (len(part).to_bytes(4, "little"), part)
    pieces += parts[-1:]
    return b"".join(pieces)


def unpack_named(payload: bytes, parts: int) -> tuple[str, list[bytes]]:
    """The name and the parts of `pack_named`. `parts`: how many there are.

    Raises:
        ProtocolViolation: the payload is too short, or its name is not UTF-8.
    """
    if not payload or len(payload) < 1 + payload[0]:
        raise ProtocolViolation("a payload cut short")
    end = 1 + payload[0]
    try:
        name = payload[1:end].decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("a name that is not UTF-8") from None
    pieces: list[bytes] = []
    for _ in range(parts - 1):
        length = int.from_bytes(payload[end : end + 4], "little")
        if len(payload) < end + 4 + length:
            raise ProtocolViolation("a payload cut short")
        pieces.append(payload[end + 4 : end + 4 + length])
        end += 4 + length
    pieces.append(payload[end:])
    return name, pieces


_OWNER: Final = struct.Struct("<Q")


def pack_owned(owner: int, name: str, *parts: bytes) -> bytes:
    """`pack_named` with what stands for the identity of a run before it; 0 for nobody in particular."""
    return _OWNER.pack(owner) + pack_named(name, *parts)


def unpack_owned(payload: bytes, parts: int) -> tuple[int, str, list[bytes]]:
    """
    Raises:
        ProtocolViolation: as `unpack_named`.
    """
    if len(payload) < _OWNER.size:
        raise ProtocolViolation("a payload cut short")
    return _OWNER.unpack_from(payload)[0], *unpack_named(payload[_OWNER.size :], parts)


CPU_TIME: Final = struct.Struct("<d")
_EXCUSED: Final = struct.Struct("<d")


def pack_resume(excused: float, batch: bytes) -> bytes:
    """The payload of a RESUME."""
    return _EXCUSED.pack(excused) + batch


def unpack_resume(payload: bytes) -> tuple[float, bytes]:
    """
    Raises:
        ProtocolViolation: the payload is cut short.
    """
    if len(payload) < _EXCUSED.size:
        raise ProtocolViolation("a payload cut short")
    return _EXCUSED.unpack_from(payload)[0], payload[_EXCUSED.size :]


class Fault(enum.IntEnum):
    """Why a worker could not carry out a request. Each stands for an error of `sandbox.errors`."""

    MISSING_IMAGE = 1
    """Not an error: the worker has dropped the image from its cache. Send it and repeat the request."""
    ENGINE = 2
    ABI = 3
    LOCAL_STATE = 4
    CLOSED = 5
    FOREIGN_IMAGE = 6
    OVERLOADED = 7


MESSAGE_CAP: Final = 2000


def pack_fault(fault: Fault, message: str) -> bytes:
    return bytes((fault,)) + message[:MESSAGE_CAP].encode(errors="replace")


def unpack_fault(payload: bytes) -> tuple[Fault, str]:
    """
    Raises:
        ProtocolViolation: the payload is not a fault.
    """
    try:
        return Fault(payload[0]), payload[1:].decode(errors="replace")[:MESSAGE_CAP]
    except (IndexError, ValueError):
        raise ProtocolViolation("an unknown fault") from None
