"""Says how alike a request and each tool of a catalog are in meaning, once the vectors of the tools are made.

The vectors are made in a thread of their own, in some 8 ms a tool, and kept by a hash of the text. Until all tools of
a catalog have theirs, a search goes by words alone: it never waits.

The thread is there while there is work, and looks at every step whether the program is about to end. So a host that
forgets to close, or has no chance to, ends without delay all the same.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from codemode.about import summary
from codemode.catalog import CatalogServer
from codemode.meaning import model
from codemode.meaning.vectors import VectorStore, default_folder, key_of
from codemode.search import MAX_QUERY_CHARS
from codemode.words import words
from stubs import Server, Tool

if TYPE_CHECKING:
    from codemode.meaning.model import Model, Vectors

_log = logging.getLogger(__name__)

MOST_SENTENCES = 6
_MOST_CHARS = 300  # of the text of a tool
_FEWEST_WORDS = 4  # of a sentence that says anything
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_STEP = 16  # texts between two looks whether to end
_TOLERANCE = 0.01  # of the length of a vector, which is 1


class Meanings:
    """Made once for a process, for all its catalogs. Threads may share it. Close it: it has a thread and a file."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where vectors are kept between runs. It is opened, and the model loaded, in the thread."""
        self._folder = folder
        self._store: VectorStore | None = None
        self._model: Model | None = None
        self._matrices: WeakKeyDictionary[CatalogServer, Vectors] = WeakKeyDictionary()
        # The servers whose vectors were asked for, so that none is tried twice.
        self._asked: WeakSet[CatalogServer] = WeakSet()
        # Weak, so that of a server that changes often only the newest state is kept and gets vectors.
        self._waiting: deque[ref[CatalogServer]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @staticmethod
    def absence(environment: Mapping[str, str] = os.environ) -> str | None:
        """Why search goes by words alone, in a few words; None where it goes by meaning too."""
        if not model.is_installed():
            return f"for search by meaning too: {model.HOW_TO_INSTALL}"
        return "CODEMODE_SEMANTIC is off" if environment.get("CODEMODE_SEMANTIC") == "off" else None

    @classmethod
    def installed(cls, folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> Meanings | None:
        """Search by meaning, by default with the user's folder of vectors; None where it is not installed, or turned
        off."""
        return cls(folder or default_folder()) if cls.absence(environment) is None else None

    def __enter__(self) -> Meanings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, after the texts that it is at."""
        with self._changed:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join()
        if self._store is not None:
            self._store.close()

    def prepare(self, servers: Iterable[CatalogServer]) -> None:
        """Start to make the vectors of the tools of some servers that have none. For thousands of servers use a
        thread."""
        with self._changed:
            if self._closed:
                return
            for server in servers:
                if server not in self._asked:
                    self._asked.add(server)
                    self._waiting.append(ref(server))
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="meanings")
                self._thread.start()

    def prepared(self, servers: Iterable[CatalogServer]) -> None:
        """Wait until all tools of some servers have their vectors, or there will be none."""
        self.prepare(servers)
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def similarities(
        self, queries: Sequence[str], parts: Sequence[tuple[CatalogServer, bytes | None]]
    ) -> list[list[float]] | None:
        """For each query, how alike it is to each tool of the parts in their order: 0 to 1, and 0 where a tool is not
        visible. None while tools have no vectors. Takes some 5 to 15 ms a query: use a thread.

        A query of several sentences is as like to a tool as the sentence that is most like it.
        """
        with self._changed:
            matrices = [matrix for server, _ in parts if (matrix := self._matrices.get(server)) is not None]
        loaded = self._model
        if len(matrices) < len(parts) or loaded is None:
            self.prepare(server for server, _ in parts)
            return None
        # Only now: the thread has imported it, and where two threads import it at once, it fails in one of them.
        import numpy as np  # noqa: PLC0415 - of an extra

        of_query = [sentences(query[:MAX_QUERY_CHARS]) for query in queries]
        vectors = loaded.vectors([sentence for some in of_query for sentence in some])
        nothing = np.zeros((0, len(vectors)), np.float32)
        # Not as a product of matrices: the library behind it keeps all other cores busy for 12 ms after each.
        likeness = np.concatenate([nothing, *(np.einsum("tn,qn->tq", matrix, vectors) for matrix in matrices)])
        visible = b"".join(b"\1" * len(server.tools) if some is None else some for server, some in parts)
        likeness = np.clip(likeness, 0, 1) * np.frombuffer(visible, np.uint8)[:, None]
        results, start = [], 0
        for some in of_query:
            results.append(likeness[:, start : start + len(some)].max(axis=1).tolist())
            start += len(some)
        return results

    def _work(self) -> None:
        """Make the vectors of all servers that wait."""
        while (server := self._next()) is not None:
            try:
                self._model = self._model or model.load()
                self._store = self._store or VectorStore(self._folder)
            except Exception as error:
                # The tools are found by their words. It would not be another time either.
                _log.error("search by meaning does not work: %s", error)
                with self._changed:
                    self._closed = True
                continue
            try:
                self._make(server, self._model, self._store)
            except Exception as error:
                # The tools are found by their words.
                _log.error("search by meaning failed for the server %s: %s", server.server.id, error)
            del server  # else it would be kept while the next one is waited for

    def _next(self) -> CatalogServer | None:
        """The server that waits longest; None when the thread is to end."""
        with self._changed:
            while self._waiting and not self._is_ending():
                if (server := self._waiting.popleft()()) is not None:
                    return server
            self._thread = None
            self._changed.notify_all()
            return None

    def _is_ending(self) -> bool:
        return self._closed or not threading.main_thread().is_alive()

    def _make(self, server: CatalogServer, loaded: Model, store: VectorStore) -> None:
        """Make the vectors of a server's tools."""
        import numpy as np  # noqa: PLC0415 - of an extra

        matrix = np.zeros((len(server.tools), model.SIZE), np.float32)
        rows: dict[bytes, list[int]] = {}
        texts: dict[bytes, str] = {}
        for row, tool in enumerate(server.tools):
            text = text_of(server.server, tool)
            key = key_of(model.NAME, text)
            texts[key] = text
            rows.setdefault(key, []).append(row)
        for key, kept in store.get(rows).items():
            if (vector := _kept(kept)) is not None:
                matrix[rows[key]] = vector
                del texts[key]
        missing = list(texts.items())
        for start in range(0, len(missing), _STEP):
            if self._is_ending():
                return
            some = missing[start : start + _STEP]
            vectors = loaded.vectors([text for _, text in some]).astype(np.float16)
            store.put({key: vector.tobytes() for (key, _), vector in zip(some, vectors, strict=True)})
            for (key, _), vector in zip(some, vectors, strict=True):
                matrix[rows[key]] = vector
        with self._changed:
            self._matrices[server] = matrix


def _kept(row: object) -> Vectors | None:
    """A vector as it was put into the store; None for anything else that the file may hold."""
    import numpy as np  # noqa: PLC0415 - of an extra

    if not isinstance(row, bytes) or len(row) != 2 * model.SIZE:
        return None
    vector: Vectors = np.frombuffer(row, np.float16).astype(np.float32)
    # Also false for numbers that are none.
    return vector if abs(float(np.linalg.norm(vector)) - 1) < _TOLERANCE else None


def text_of(server: Server, tool: Tool) -> str:
    """What stands for a tool: its server, its name as words, and the first sentence about it."""
    about = summary(tool.description or tool.title or "", _MOST_CHARS)
    return f"{' '.join(words(server.id))}: {' '.join(words(tool.name))}. {about}"[:_MOST_CHARS]


def sentences(query: str) -> list[str]:
    """The sentences of a query that say something, at most `MOST_SENTENCES`; else the query as one."""
    parts = [part for part in _BETWEEN_SENTENCES.split(query) if len(words(part)) >= _FEWEST_WORDS]
    return parts[:MOST_SENTENCES] if len(parts) > 1 else [query]
