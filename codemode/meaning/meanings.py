"""Says how alike a request and each tool of a catalog are in meaning, once the vectors of the tools are made.

The vectors are made in a thread of their own, in some 12 ms a tool, and kept by a hash of the text. Until all tools of
a catalog have theirs, a search goes by words alone: it never waits.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

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
_STEP = 32  # texts between two looks whether to end


class Meanings:
    """Made once for a process, for all its catalogs. Threads may share it. Close it: it has a thread and a file."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._model: Model | None = None
        self._matrices: WeakKeyDictionary[CatalogServer, Vectors] = WeakKeyDictionary()
        self._making: WeakKeyDictionary[CatalogServer, Future[None]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="meanings")
        self._closed = threading.Event()

    @staticmethod
    def absence(environment: Mapping[str, str] = os.environ) -> str | None:
        """Why search goes by words alone, in a few words; None where it goes by meaning too."""
        if not model.is_installed():
            return f"for search by meaning too: {model.HOW_TO_INSTALL}"
        return "CODEMODE_SEMANTIC is off" if environment.get("CODEMODE_SEMANTIC") == "off" else None

    @classmethod
    def installed(cls, folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> Meanings | None:
        """Search by meaning; None where it is not installed, or turned off. The model is loaded at the first use.

        `folder` is where vectors are kept between runs, by default the user's.
        """
        return cls(VectorStore(folder or default_folder())) if cls.absence(environment) is None else None

    def __enter__(self) -> Meanings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, after the texts that it is at."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)
        self._store.close()

    def prepare(self, servers: Iterable[CatalogServer]) -> list[Future[None]]:
        """Start to make the vectors of the tools of some servers that have none; what is still being made."""
        with self._lock:
            missing = [server for server in servers if server not in self._matrices]
            if self._closed.is_set():
                return []
            for server in missing:
                if server not in self._making:
                    self._making[server] = self._thread.submit(self._make, server)
            return [self._making[server] for server in missing]

    def prepared(self, servers: Iterable[CatalogServer]) -> None:
        """Wait until all tools of some servers have their vectors."""
        wait(self.prepare(servers))

    def similarities(
        self, queries: Sequence[str], parts: Sequence[tuple[CatalogServer, bytes | None]]
    ) -> list[list[float]] | None:
        """For each query, how alike it is to each tool of the parts in their order: 0 to 1, and 0 where a tool is not
        visible. None while tools have no vectors. Takes some 5 to 15 ms a query: use a thread.

        A query of several sentences is as like to a tool as the sentence that is most like it.
        """
        import numpy as np  # noqa: PLC0415 - of an extra

        with self._lock:
            matrices = [matrix for server, _ in parts if (matrix := self._matrices.get(server)) is not None]
        loaded = self._model
        if len(matrices) < len(parts) or loaded is None:
            self.prepare(server for server, _ in parts)
            return None
        of_query = [sentences(query[:MAX_QUERY_CHARS]) for query in queries]
        vectors = loaded.vectors([sentence for some in of_query for sentence in some])
        nothing = np.zeros((0, len(vectors)), np.float32)
        likeness = np.concatenate([nothing, *(matrix @ vectors.T for matrix in matrices)])
        visible = b"".join(b"\1" * len(server.tools) if some is None else some for server, some in parts)
        likeness = np.clip(likeness, 0, 1) * np.frombuffer(visible, np.uint8)[:, None]
        results, start = [], 0
        for some in of_query:
            results.append(likeness[:, start : start + len(some)].max(axis=1).tolist())
            start += len(some)
        return results

    def _make(self, server: CatalogServer) -> None:
        """Make the vectors of a server's tools."""
        import numpy as np  # noqa: PLC0415 - of an extra

        try:
            self._model = self._model or model.load()
            texts = [text_of(server.server, tool) for tool in server.tools]
            keys = [key_of(model.NAME, text) for text in texts]
            kept = {key: vector for key, vector in self._store.get(set(keys)).items() if len(vector) == 2 * model.SIZE}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
            todo = list(missing.items())
            for start in range(0, len(todo), _STEP):
                if self._closed.is_set():
                    return
                some = todo[start : start + _STEP]
                rows = self._model.vectors([text for _, text in some]).astype(np.float16)
                made = {key: row.tobytes() for (key, _), row in zip(some, rows, strict=True)}
                self._store.put(made)
                kept |= made
            joined = b"".join(kept[key] for key in keys)
            matrix = np.frombuffer(joined, np.float16).reshape(len(keys), model.SIZE).astype(np.float32)
            with self._lock:
                self._matrices[server] = np.nan_to_num(matrix)
                self._making.pop(server, None)
        except Exception as error:
            # The tools are found by their words. It stays among those that are made, so that it is not tried again.
            _log.error("search by meaning failed for the server %s: %s", server.server.id, error)


def text_of(server: Server, tool: Tool) -> str:
    """What stands for a tool: its server, its name as words, and the first sentence about it."""
    about = summary(tool.description or tool.title or "", _MOST_CHARS)
    return f"{' '.join(words(server.id))}: {' '.join(words(tool.name))}. {about}"[:_MOST_CHARS]


def sentences(query: str) -> list[str]:
    """The sentences of a query that say something, at most `MOST_SENTENCES`; else the query as one."""
    parts = [part for part in _BETWEEN_SENTENCES.split(query) if len(words(part)) >= _FEWEST_WORDS]
    return parts[:MOST_SENTENCES] if len(parts) > 1 else [query]
