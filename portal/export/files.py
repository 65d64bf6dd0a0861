"""Files of lines, one for each day (UTC), in a folder.

Beside them is a note of how far each job's lines go: which file, how long it is, and the last row in it. A batch is
appended, then noted. What a process that was killed has appended without noting it is cut off before the batch is
appended again, so no line is there twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import groupby
from pathlib import Path

import orjson

from portal.config import ExportSection
from portal.export.destination import FileDestination
from portal.export.output import Writer
from portal.export.sending import ExportBatch, NotTaken, moment

LONGEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a job's lines go: the name of the file, its inode and length, and the id of the last row."""

    name: str = ""
    inode: int = 0
    length: int = 0
    last: int = 0


class FileSender:
    """Appends to `{stream}-{day}.{kind}`. `settings` say in which folders it may."""

    def __init__(
        self,
        destination: FileDestination,
        settings: Callable[[], ExportSection],
        writer: Writer,
        *,
        kind: str,
        stream: str,
    ) -> None:
        self._folder = destination.folder
        self._settings = settings
        self._writer = writer
        self._kind = kind
        self._note = f".{stream}.reached"

    async def send(self, batch: ExportBatch) -> int:
        await self._with_folder(lambda folder: self._append_all(folder, batch))
        return 0

    async def try_out(self) -> None:
        def written(folder: Path) -> None:
            trial = folder / f"{self._note}.trial"
            os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            trial.unlink()

        await self._with_folder(written)

    async def aclose(self) -> None:
        return None

    async def _with_folder(self, work: Callable[[Path], None]) -> None:
        try:
            await _to_its_end(asyncio.to_thread(lambda: work(allowed_folder(self._folder, self._settings()))))
        except OSError as error:
            raise NotTaken(f"the file cannot be written ({error.strerror or type(error).__name__})") from None

    def _append_all(self, folder: Path, batch: ExportBatch) -> None:
        with _alone(folder / f"{self._note}.lock"):
            self._append_days(folder, batch)

    def _append_days(self, folder: Path, batch: ExportBatch) -> None:
        reached = _read_note(folder / self._note)
        for day, rows in groupby(batch.rows, lambda row: f"{moment(row.id):%Y%m%d}"):
            part = list(rows)
            # Noted: it is there, and the note says so because the answer of an earlier try was lost.
            if part[-1].id > reached.last:
                name = f"{batch.stream}-{day}.{self._kind}"
                text = self._writer.batch([row.text for row in part])
                reached = _append(folder / name, text, folder / self._note, reached, part[-1].id)


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Run work that a thread does. A cancellation waits for its end: else the next process would append meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=LONGEST_SECONDS)
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else appends while the block lasts: not even a process that was stopped for longer than its lease."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        flock(handle, LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_within(folder: Path, settings: ExportSection) -> bool:
    """Whether it is one of the folders of the settings, or below. Links are followed: one may lead out of a folder."""
    real = folder.resolve()
    return any(real.is_relative_to(one.resolve()) for one in settings.folders)


def allowed_folder(folder: Path, settings: ExportSection) -> Path:
    """The folder itself, made if it is not there.

    Raises:
        NotTaken: it is in none of the folders of the settings.
        OSError: it cannot be made.
    """
    real = folder.resolve()
    if not is_within(real, settings):
        raise NotTaken("its folder is in none of portal.exports.folders", "place")
    real.mkdir(mode=0o700, parents=True, exist_ok=True)
    return real


def _append(path: Path, text: bytes, note: Path, reached: Reached, last: int) -> Reached:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(handle)
        if (reached.name, reached.inode) != (path.name, found.st_ino):
            # A new day, or somebody has put the old file away: where our lines begin is noted before they are written.
            reached = Reached(path.name, found.st_ino, found.st_size, reached.last)
            _write_note(note, reached)
        start = min(found.st_size, reached.length)
        if start < found.st_size:
            os.ftruncate(handle, start)
        os.lseek(handle, start, os.SEEK_SET)
        left = memoryview(text)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    reached = Reached(path.name, found.st_ino, start + len(text), last)
    _write_note(note, reached)
    return reached


def _read_note(path: Path) -> Reached:
    try:
        return Reached(**orjson.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return Reached()


def _write_note(path: Path, reached: Reached) -> None:
    new = path.with_name(f"{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, orjson.dumps(asdict(reached)))
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(new, path)
    # Before the batch counts as delivered: an older note would cut off its lines.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
