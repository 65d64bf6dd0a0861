"""The cache of compiled modules.

A compiled module is machine code. So the folder is private (mode 0700, owned by this user), and every file carries a
MAC. A file that fails a check is ignored, and its module is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

_MAC_SIZE = 32
_KEY_SIZE = 32


def user_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The project's folder in the user's cache (XDG base directories)."""
    base = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codemode-portal"


def default_cache() -> Path:
    """The folder of compiled modules in the user's cache."""
    return user_cache() / "compiled"


class CompiledCache:
    """Compiled modules by name. Never raises: where the folder cannot be used, the cache is empty and stays so."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._key = self._open_key() if folder is not None and self._make_private(folder) else None

    def load(self, name: str) -> bytes | None:
        """The module stored under `name`. None when it is missing, or its file was changed."""
        if self._key is None or self._folder is None:
            return None
        try:
            data = _read_private(self._path(name))
        except OSError:
            return None
        mac, module = data[:_MAC_SIZE], data[_MAC_SIZE:]
        return module if hmac.compare_digest(mac, self._mac(name, module)) else None

    def store(self, name: str, module: bytes) -> None:
        if self._key is None:
            return
        with contextlib.suppress(OSError):
            _write_private(self._path(name), self._mac(name, module) + module)

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.cwasm"

    def _mac(self, name: str, module: bytes) -> bytes:
        assert self._key is not None
        return hmac.digest(self._key, name.encode() + b"\0" + module, "sha256")

    @staticmethod
    def _make_private(folder: Path) -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            status = folder.lstat()  # not stat: a symbolic link may lead into the folder of another user
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077

    def _open_key(self) -> bytes | None:
        assert self._folder is not None
        path = self._folder / "key"
        for _ in range(2):  # the second time for the key that was just written, here or by another process
            try:
                key = _read_private(path)
                if len(key) == _KEY_SIZE:
                    return key
            except FileNotFoundError:
                pass
            except OSError:
                return None
            with contextlib.suppress(OSError):
                _write_private(path, secrets.token_bytes(_KEY_SIZE))
        return None


def _read_private(path: Path) -> bytes:
    """Raises OSError for a file that another user owns or may read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(f"{path} is not private")
        return file.read()


def _write_private(path: Path, data: bytes) -> None:
    """Other processes see the whole file or the one before it, never a part. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
