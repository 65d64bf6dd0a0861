"""Keeps what a file was before a client was connected, so that it can be given back.

One record for each document of a client is in a private folder: the former bytes, and hashes that say whether somebody
else has changed the file since.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from portal.clients.known import ClientFile
from portal.errors import InputError

MAX_RECORD = 64 * 1024 * 1024
_MOST_RECORDS = 1000


def digest(data: bytes | None) -> str:
    """The hash of a file's bytes, "" if there is no file."""
    return "" if data is None else sha256(data).hexdigest()


class FormerMember(BaseModel):
    """A server that was in a client's document."""

    model_config = ConfigDict(frozen=True)

    section: tuple[str, ...]
    name: str
    entry: object = field(repr=False)


class FormerFile(BaseModel):
    """A file before and after a change. `before` and `after` are hashes, "" where there was no file; with `exact` the
    bytes before are kept, and are what to give back."""

    model_config = ConfigDict(frozen=True)

    path: str
    before: str
    after: str
    exact: bool = True


class ChangeRecord(BaseModel):
    """What one client's document was before, and ours if servers were taken over at the same time.

    `removed` are the servers that the portal is in the place of, and a person's own entry under its name. `served` are
    the names that its servers have in our document, which is `served_in`.
    """

    model_config = ConfigDict(frozen=True)

    client: str
    file: FormerFile
    section: tuple[str, ...]
    name: str
    entry: object
    removed: tuple[FormerMember, ...] = ()
    document: FormerFile | None = None
    served_in: str = ""
    served: tuple[str, ...] = ()

    def has_written(self, section: tuple[str, ...], name: str, entry: object) -> bool:
        """Whether an entry under this name is the one of this change, perhaps with more in it now."""
        ours = self.entry
        if (section, name) != (self.section, self.name) or not isinstance(entry, dict) or not isinstance(ours, dict):
            return False
        return all(key in entry and entry[key] == value for key, value in ours.items())


@dataclass(frozen=True, slots=True)
class KeptChanges:
    """The records in a folder of this user."""

    folder: Path

    def record_of(self, file: ClientFile) -> ChangeRecord | None:
        """What is kept for the document of a client.

        Raises:
            InputError: it is damaged.
        """
        path = self._path(file, "json")
        try:
            return ChangeRecord.model_validate_json(_read(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValidationError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is damaged"
            raise InputError(f"Cannot read {path}, which says what {file.path} was before: {why}.") from None

    def others(self, file: ClientFile) -> Iterator[ChangeRecord]:
        """What is kept for other documents of clients. What is damaged is left out."""
        own = self._path(file, "json")
        for path in sorted(self.folder.glob("*.json"))[:_MOST_RECORDS]:
            with suppress(OSError, ValueError):
                if path != own:
                    yield ChangeRecord.model_validate_json(_read(path))

    def former(self, file: ClientFile, part: str = "before") -> bytes:
        """The bytes that are kept: those of the client's document, or of ours (`part` is "document").

        Raises:
            InputError: they are gone.
        """
        path = self._path(file, part)
        try:
            return _read(path)
        except OSError as error:
            raise InputError(f"Cannot read {path}, the copy of the former file: {error.strerror or error}.") from None

    def keep(self, file: ClientFile, record: ChangeRecord, before: bytes | None, document: bytes | None) -> Path:
        """The file in which the former document of the client is kept from now on, beside the record and our own
        former document. `before` and `document` are their bytes, None where they are kept already.

        Raises:
            InputError: it cannot be written.
        """
        copy = self._path(file, "before")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if before is not None:
                _write(copy, before)
            if document is not None:
                _write(self._path(file, "document"), document)
            _write(self._path(file, "json"), record.model_dump_json(indent=1).encode())
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"Cannot keep a copy of {file.path} in {self.folder}: {reason}.") from None
        return copy

    def copy_of(self, file: ClientFile) -> Path:
        return self._path(file, "before")

    def forget(self, file: ClientFile, *, keep_copies: bool = False) -> None:
        """Remove the record, and the copies unless they are worth something still."""
        for part in ("json",) if keep_copies else ("json", "before", "document"):
            with suppress(FileNotFoundError):
                self._path(file, part).unlink()

    def _path(self, file: ClientFile, part: str) -> Path:
        place = sha256(os.fsencode(os.path.abspath(file.path))).hexdigest()[:16]
        return self.folder / f"{file.client.id}-{place}.{part}"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_RECORD + 1)
    if len(data) > MAX_RECORD:
        raise ValueError("too large")
    return data


def _write(path: Path, data: bytes) -> None:
    """The whole file or the former one, for its owner alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
