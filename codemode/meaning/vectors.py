"""Keeps the vectors of texts between runs, by a hash of the text, in a file of the user's cache.

A vector says little of its text, so the file needs no seal; like the other caches its folder is the user's alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox import user_cache

MOST_VECTORS = 100_000
"""About 80 MB. Past it the oldest go."""

_SELECTED = 500  # keys in one statement
_SECONDS = 0.3  # to wait for another process that writes; what is not kept is made again


def default_folder() -> Path:
    """The folder of vectors in the user's cache."""
    return user_cache() / "meanings"


def key_of(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).digest()


class VectorStore:
    """Vectors as bytes, by key. Threads and processes may share the file.

    Never raises: where the file cannot be used, it is kept in memory, and a fault later loses only what is cached.
    """

    def __init__(self, folder: Path | None, most: int = MOST_VECTORS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._database = _open(folder)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The vectors of those of the keys that have one."""
        wanted = list(keys)
        found: dict[bytes, bytes] = {}
        with self._lock, contextlib.suppress(sqlite3.Error):
            for start in range(0, len(wanted), _SELECTED):
                some = wanted[start : start + _SELECTED]
                places = ",".join("?" * len(some))
                found.update(self._database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({places})", some))
        return found

    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error), self._database as database:
            database.executemany("INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)", vectors.items())
            database.execute(
                "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?",
                (self._most,),
            )

    def close(self) -> None:
        with self._lock:
            self._database.close()


def _open(folder: Path | None) -> sqlite3.Connection:
    if folder is not None:
        with contextlib.suppress(OSError, sqlite3.Error):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / "vectors.sqlite"
            return _with_table(path)
    return _with_table(":memory:")


def _with_table(path: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = OFF")
        with database:
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE NOT NULL, vector BLOB NOT NULL)")
            # Reads the schema and the first page: a file that is no database fails here.
            database.execute("SELECT key, vector FROM vectors LIMIT 1").fetchall()
    except sqlite3.Error:
        database.close()
        raise
    return database
