"""Reads a document to change it, and puts the changed text in its place: at once, or not at all.

Whoever reads the file meanwhile reads the old text or the new one. A file that somebody else has changed since it was
read is left as it is. A symbolic link stays one: the file it leads to is replaced.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from portal.config.document import MAX_BYTES
from portal.errors import ConfigError

# It may hold secrets.
_MODE_OF_NEW = 0o600
_MOST_COPIES = 1000


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file as it was read. `data` is None if there was none; `text` has every character of it."""

    path: Path
    data: bytes | None
    text: str
    largest: int = MAX_BYTES


def open_document(path: Path, *, largest: int = MAX_BYTES) -> DocumentFile:
    """The document in this file, whose text is "" if the file is not there. `largest` is how many bytes it may have.

    Raises:
        ConfigError: it cannot be read, is too large, or is no text.
    """
    data = _read(path, largest)
    try:
        return DocumentFile(path, data, "" if data is None else data.decode(), largest)
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text.", file=str(path)) from None


def replace_document(file: DocumentFile, text: str, *, keep_copy: bool = False, private: bool = False) -> Path | None:
    """Put `text` into the file, with the mode and the owner it has. A new file is for its owner alone, and its folders
    are made; with `private` so is one that was there. Returns where the copy of the former bytes is, if one was asked
    for and there were any.

    Raises:
        ConfigError: the file has changed since it was read, or cannot be written. Nothing has changed then.
    """
    target = Path(os.path.realpath(file.path))
    try:
        if file.data is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(target.parent), _written_beside(target, text.encode(), like=file, private=private) as written:
            _require_unchanged(file)
            copy = None
            if keep_copy and file.data is not None:
                with _written_beside(target, file.data, like=file) as former:
                    copy = _placed_beside(target, former)
            os.replace(written, target)
            _sync(target.parent)
            return copy
    except UnicodeEncodeError:
        raise ConfigError("would have characters that are no text.", file=str(file.path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}.", file=str(file.path)) from None


def remove_document(file: DocumentFile) -> None:
    """Remove the file. A symbolic link to it stays.

    Raises:
        ConfigError: it has changed since it was read, or cannot be removed. It is still there then.
    """
    try:
        target = Path(os.path.realpath(file.path))
        with _alone_in(target.parent):
            _require_unchanged(file)
            target.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be removed: {error.strerror or error}.", file=str(file.path)) from None


def _require_unchanged(file: DocumentFile) -> None:
    if _read(file.path, file.largest) != file.data:
        fix = "Run the command again."
        raise ConfigError("has been changed by somebody else meanwhile.", file=str(file.path), fix=fix)


def _read(path: Path, largest: int) -> bytes | None:
    try:
        # A pipe would keep its reader waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError("is no file.", file=str(path))
            # It refuses a folder, and does not close it.
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(largest + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}.", file=str(path)) from None
    if len(data) > largest:
        raise ConfigError(f"is larger than {largest // 1024**2} MiB.", file=str(path))
    return data


@contextmanager
def _written_beside(target: Path, data: bytes, *, like: DocumentFile, private: bool = False) -> Iterator[str]:
    """The name of a new file in the same folder, which is gone in the end unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            if like.data is None:
                os.fchmod(descriptor, _MODE_OF_NEW)
            else:
                _take_over(descriptor, target, like.path, private=private)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _take_over(descriptor: int, target: Path, shown: Path, *, private: bool) -> None:
    """Give the new file the owner and mode of the one that it replaces, before there is anything to read in it."""
    former, own = os.stat(target), os.fstat(descriptor)
    if not os.access(target, os.W_OK):
        raise ConfigError("cannot be written: Permission denied.", file=str(shown))
    if (former.st_uid, former.st_gid) != (own.st_uid, own.st_gid):
        try:
            os.fchown(descriptor, former.st_uid, former.st_gid)
        except PermissionError:
            raise ConfigError(
                "belongs to another user or group, which a new text would change.",
                file=str(shown),
                fix="Run the command as its owner.",
            ) from None
    os.fchmod(descriptor, _MODE_OF_NEW if private else stat.S_IMODE(former.st_mode))


def _placed_beside(target: Path, written: str) -> Path:
    """The first free name for a copy, and the copy there."""
    for number in range(_MOST_COPIES):
        copy = target.with_name(f"{target.name}.bak{number or ''}")
        with suppress(FileExistsError):
            os.link(written, copy)
            return copy
    raise ConfigError(f"has {_MOST_COPIES} copies already.", file=str(target), fix="Remove some of them.")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No other change by this program in this folder at the same time, where the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
