"""The key file: the keys that wrap the data keys of secrets, newest first, readable by their owner alone."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson

from portal.state.envelope import KEY_BYTES, KID_BYTES, Key
from portal.state.errors import KeysUnusable, SecretUnreadable

_MAX_FILE_BYTES = 256 * 1024
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyRing:
    """The keys of one database. With a `path` they are in that file; without, they live as long as the object.

    Several processes may share a file: a key that another one added is found when it is first needed.
    """

    def __init__(self, keys: Iterable[Key], path: Path | None = None) -> None:
        self.path = path
        self._keys = {key.kid: key for key in keys}

    @classmethod
    def open(cls, path: Path) -> KeyRing:
        """The keys of this file, which is made with one new key if there is none.

        Raises:
            KeysUnusable: it cannot be read or made, is no key file, or others than its owner may read it.
        """
        ring = cls([], path)
        try:
            if not path.exists():
                ring._create()
            ring.reload()
        except OSError as error:
            raise KeysUnusable(f"{path}: {error.strerror or 'cannot be used'}. It holds the keys of secrets.") from None
        return ring

    @classmethod
    def in_memory(cls) -> KeyRing:
        """A ring with one key that is nowhere stored: for tests, and for state that is thrown away."""
        return cls([_new_key()])

    def __repr__(self) -> str:
        return f"KeyRing(path={str(self.path)!r}, kids={list(self._keys)})"

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of the keys, newest first."""
        return tuple(self._keys)

    @property
    def newest(self) -> Key:
        return next(iter(self._keys.values()))

    def find(self, kid: str) -> Key:
        """The key of this id.

        Raises:
            SecretUnreadable: there is none, not even after the file was read again.
            KeysUnusable: the file cannot be read any more.
        """
        if kid not in self._keys:
            self.reload()
        if kid not in self._keys:
            where = f"in {self.path}" if self.path else "among the keys of this process"
            raise SecretUnreadable(f"key {kid} is not {where}; the key file does not belong to this database")
        return self._keys[kid]

    def reload(self) -> None:
        """Read the file again.

        Raises:
            KeysUnusable: it cannot be used.
        """
        if self.path is not None:
            keys = _parse(_read(self.path), self.path)
            self._keys = {key.kid: key for key in keys}

    def add(self) -> Key:
        """A new key, first in the file when this returns. Hold the lock of the database's writers meanwhile."""
        self.reload()
        key = _new_key()
        self._rewrite([key, *self._keys.values()])
        return key

    def keep_only(self, kids: Iterable[str]) -> tuple[str, ...]:
        """Forget every other key for good, and say which. Hold the lock of the database's writers meanwhile."""
        self.reload()
        kept = set(kids)
        gone = tuple(kid for kid in self._keys if kid not in kept)
        if gone:
            self._rewrite([key for key in self._keys.values() if key.kid in kept])
        return gone

    def _create(self) -> None:
        """Whole or not at all, and never over a file that another process has just made."""
        assert self.path is not None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = _write_beside(self.path, _format([_new_key()]))
        with suppress(FileExistsError):
            os.link(written, self.path)
        written.unlink()
        _sync_folder(self.path.parent)

    def _rewrite(self, keys: list[Key]) -> None:
        if self.path is not None:
            try:
                _write_beside(self.path, _format(keys)).replace(self.path)
                _sync_folder(self.path.parent)
            except OSError as error:
                raise KeysUnusable(f"{self.path}: {error.strerror or 'cannot be written'}") from None
        self._keys = {key.kid: key for key in keys}


def _new_key() -> Key:
    return Key(secrets.token_hex(KID_BYTES), datetime.now(UTC), secrets.token_bytes(KEY_BYTES))


def _format(keys: list[Key]) -> bytes:
    listed = [
        {"kid": key.kid, "made_at": key.made_at.isoformat(), "key": base64.b64encode(key.material).decode()}
        for key in keys
    ]
    return orjson.dumps({"keys": listed}, option=orjson.OPT_INDENT_2) + b"\n"


def _parse(content: bytes, path: Path) -> list[Key]:
    try:
        listed = orjson.loads(content)["keys"]
        keys = [
            Key(str(one["kid"]), datetime.fromisoformat(one["made_at"]), base64.b64decode(one["key"], validate=True))
            for one in listed
        ]
        whole = all(len(key.material) == KEY_BYTES and len(bytes.fromhex(key.kid)) == KID_BYTES for key in keys)
    except (ValueError, TypeError, KeyError, binascii.Error):
        keys, whole = [], False
    if not keys or not whole or len({key.kid for key in keys}) != len(keys):
        # The content is not quoted: it may be keys.
        raise KeysUnusable(f"{path} is not a key file. Restore it from a copy: secrets in the database need it.")
    return keys


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysUnusable(f"{path}: {error.strerror}. Secrets in the database need this file.") from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeysUnusable(f"{path} is not a file")
        if status.st_mode & 0o077:
            raise KeysUnusable(f"{path} can be read or written by others than its owner. Run: chmod 600 {path}")
        return file.read(_MAX_FILE_BYTES)


def _write_beside(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(beside, _NEW_FILE, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return beside


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
