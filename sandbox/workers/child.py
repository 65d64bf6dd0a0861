"""What a worker process runs: a thread for each lane, which receives a request, runs the slice and sends the reply, and
the main thread on the control channel, which runs no guest and so can always stop one.

Batches pass through unread; the portal decodes them.
"""

import gc
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from sandbox.engine import Engine, Image
from sandbox.errors import (
    EngineError,
    ForeignImage,
    GuestAbiError,
    IsolateClosed,
    LocalStateError,
    Overloaded,
)
from sandbox.workers.boot import Boot, Report, most_output
from sandbox.workers.confinement import Confinement, Confining, at_birth, deny_files, load_libc, seal
from sandbox.workers.frames import (
    CPU_TIME,
    REQUEST_CAP,
    Fault,
    Frame,
    FrameKind,
    FrameReader,
    ProtocolViolation,
    pack,
    pack_fault,
    pack_named,
    unpack_named,
    unpack_owned,
    unpack_resume,
)
from sandbox.workers.runs import Images, Runs, Slice

GUEST_STACK: Final = 16 * 1024 * 1024
"""Bytes of stack of a thread that runs guests; the engine's own limits are far lower."""


class MissingImage(EngineError):
    """The image of a run is not in this worker. The parent sends it and repeats the request."""


FAULTS: Final[dict[type[EngineError], Fault]] = {
    MissingImage: Fault.MISSING_IMAGE,
    GuestAbiError: Fault.ABI,
    LocalStateError: Fault.LOCAL_STATE,
    IsolateClosed: Fault.CLOSED,
    ForeignImage: Fault.FOREIGN_IMAGE,
    Overloaded: Fault.OVERLOADED,
    EngineError: Fault.ENGINE,
}
"""The first class that fits counts."""


def main(words: list[int]) -> NoReturn:
    """Words: the parent's process id, the control descriptor, the lanes' descriptors."""
    parent, *descriptors = words
    confining = Confining()
    libc = load_libc()
    at_birth(confining, libc, parent)
    control, *lanes = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    requests = _frames(control)
    boot = Boot.from_json(next(requests).payload)
    try:
        engine, runs, images = _load(boot)
        deny_files(confining, libc)
        threads = _start_lanes([Lane(lane, engine, runs, images) for lane in lanes])
        seal(confining, libc, max(descriptors) + 1)
    except Exception as error:  # the edge of the process: the parent gets the reason, then the process ends
        control.sendall(pack(FrameKind.FAULT, 0, pack_fault(Fault.ENGINE, f"{type(error).__name__}: {error}")))
        os._exit(1)
    report = Report(engine.build_id, Confinement(confining.in_force, confining.missing), threads)
    control.sendall(pack(FrameKind.READY, 0, report.to_json()))
    for frame in requests:
        match frame.kind:
            case FrameKind.STOP:
                runs.stop(frame.run)
            case FrameKind.PAUSE:
                runs.pause(frame.run)
            case FrameKind.PROCEED:
                runs.proceed(frame.run)
            case _:
                os._exit(2)
    os._exit(0)


class Lane:
    """One socket and one thread, which reads a request, carries it out and answers it."""

    def __init__(self, end: socket.socket, engine: Engine, runs: Runs, images: Images) -> None:
        self._end = end
        self._engine = engine
        self._runs = runs
        self._images = images

    def serve(self) -> None:
        for frame in _frames(self._end):
            self._end.sendall(self._answer(frame))
            self._runs.sweep()

    def _answer(self, frame: Frame) -> bytes:
        try:
            return self._do(frame)
        except EngineError as error:
            fault = next(fault for kind, fault in FAULTS.items() if isinstance(error, kind))
            return pack(FrameKind.FAULT, frame.run, pack_fault(fault, str(error)))
        except Exception as error:  # the edge of a request: the run fails with this fault, and the worker continues
            return pack(FrameKind.FAULT, frame.run, pack_fault(Fault.ENGINE, f"{type(error).__name__} in a worker"))

    def _do(self, frame: Frame) -> bytes:
        kind, run, payload = frame
        match kind:
            case FrameKind.RESUME:
                excused, batch = unpack_resume(payload)
                return _pack_slice(run, self._runs.resume(run, batch, excused))
            case FrameKind.START:
                owner, name, (batch,) = unpack_owned(payload, 1)
                return _pack_slice(run, self._runs.start(run, self._image(name), batch, owner))
            case FrameKind.THAW:
                owner, _, (frozen, resume) = unpack_owned(payload, 2)
                excused, batch = unpack_resume(resume)
                return _pack_slice(run, self._runs.thaw(run, frozen, batch, excused, owner))
            case FrameKind.FREEZE:
                return pack(FrameKind.FROZEN, run, self._runs.freeze(run))
            case FrameKind.IMAGE:
                name, (data,) = unpack_named(payload, 1)
                self._images.add(Image(id=name, data=data))
                return pack(FrameKind.STORED, run)
            case FrameKind.BUILD:
                image = self._engine.image(payload.decode())
                return pack(FrameKind.BUILT, run, pack_named(image.id, image.data))
            case _:
                raise ProtocolViolation(f"{kind.name} on a lane")

    def _image(self, name: str) -> Image | None:
        """
        Raises:
            MissingImage: it was dropped from the cache, or never sent.
        """
        if not name:
            return None
        image = self._images.get(name)
        if image is None:
            raise MissingImage
        return image


def _pack_slice(run: int, result: Slice) -> bytes:
    kind = FrameKind.SUSPENDED if result.suspended else FrameKind.FINISHED
    return pack(kind, run, CPU_TIME.pack(result.cpu_time) + result.output)


def _load(boot: Boot) -> tuple[Engine, Runs, Images]:
    """Make the engine and all that later needs files, before the process denies itself the file system."""
    cache = None if boot.cache is None else Path(boot.cache)
    engine = Engine(boot.limits, slots=boot.isolates, cache=cache, common=boot.common)
    most = most_output(boot.limits)
    runs = Runs(engine, isolates=boot.isolates, frozen_bytes=boot.frozen_bytes, output_bytes=most)
    gc.collect()
    gc.freeze()
    return engine, runs, Images(boot.image_bytes)


def _start_lanes(lanes: list[Lane]) -> tuple[int, ...]:
    """Start a thread for each lane and return the system's ids of the threads."""
    threading.stack_size(GUEST_STACK)
    threads = [threading.Thread(target=lane.serve, daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    return tuple(thread.native_id or 0 for thread in threads)


def _frames(end: socket.socket) -> Iterator[Frame]:
    """The frames of a channel. Ends the process when the parent closes the channel or breaks the protocol."""
    reader = FrameReader(REQUEST_CAP)
    while True:
        try:
            count = end.recv_into(reader.buffer())
            if count == 0:
                os._exit(0)
            yield from reader.feed(count)
        except (OSError, ProtocolViolation):
            os._exit(0)
