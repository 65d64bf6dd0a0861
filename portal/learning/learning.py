"""Learns the output types of tools from their results, publishes changes at a bounded pace, and stores them in a file.

It learns only from servers with `learnOutput` in their configuration, and stores only shapes, never values: see
`stubs.Seen`. Where people sign in, a key is shown and stored when enough of them have seen it: see `witnesses`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import orjson
import structlog

from codemode import returned
from portal.calls import Call
from portal.identity import Identity
from portal.learning.shapes import LearnedShapes
from portal.learning.witnesses import OPERATOR
from portal.servers import Snapshot
from stubs import Seen

SMALL_PARTS = 1_000
"""Parts of a result. A result with more parts is read in a thread, after its call has returned."""
MAX_WAITING = 8
MAX_TEXT_BYTES = 1024 * 1024
"""Bytes of a text result. A longer one is not read: parsing holds the interpreter and blocks the event loop."""
MAX_FILE_BYTES = 64 * 1024 * 1024
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two publications. Each makes a new catalog, so the pause doubles while changes keep coming."""
_CHARS_PER_PART = 64
_ANYBODY = "anybody"


class Learning:
    """Learns while the block is open. `shapes` has the learned output types.

    `skipped` counts the large results that came faster than they could be read.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        people: bool = False,
        pauses: tuple[float, float] = (SHORTEST_PAUSE, LONGEST_PAUSE),
    ) -> None:
        """`people` says that people sign in."""
        self.shapes = LearnedShapes(people=people)
        self._people = people
        self.skipped = 0
        self._file = file
        self._shortest, self._longest = pauses
        self._pause = 0.0
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._publish_to: Callable[..., None] | None = None
        self._changed: set[str] = set()
        self._unsaved = False
        self._waiting: deque[tuple[str, Mapping[str, object], Mapping[str, object], str]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.learning")

    async def __aenter__(self) -> Learning:
        if self._file is not None:
            try:
                # A file of another kind has keys that this one must not: it is written again, at the latest at the end.
                self._unsaved = not await asyncio.to_thread(_load, self._file, self.shapes)
            except (OSError, ValueError) as error:
                self._log.warning(
                    "learned shapes cannot be read; starting without them", file=str(self._file), reason=str(error)
                )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._saving is not None:
            await asyncio.wait([self._saving])
        await self._save()

    def publish_to(self, publish: Callable[..., None]) -> None:
        """From now on call `publish` with the ids of servers whose output types changed (`Servers.republish`)."""
        self._publish_to = publish

    def observe(
        self, call: Call, result: Mapping[str, object], snapshot: Snapshot, caller: Identity | None = None
    ) -> None:
        """Learn from the result of a tool call, now or soon. Does not raise and does not block."""
        person = _person_of(caller)
        server = snapshot.servers.get(call.server)
        if server is None or not server.config.learn_output:
            return
        tool = server.tool(call.name)
        if tool is None or isinstance(tool.get("outputSchema"), dict | bool):
            return
        if result.get("resultType", "complete") != "complete" or not self.shapes.wants(server.id, tool, person):
            return
        if _is_small(result):
            self._learn(server.id, tool, _shape_of(result), person)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append((server.id, tool, result, person))
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_large())
        else:
            self.skipped += 1

    async def settled(self) -> None:
        """Wait until every result so far has been read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read_large(self) -> None:
        while self._waiting:
            server, tool, result, person = self._waiting.popleft()
            self._learn(server, tool, await asyncio.to_thread(_shape_of, result), person)

    def _learn(self, server: str, tool: Mapping[str, object], shape: Seen | None, person: str) -> None:
        if shape is None or not self.shapes.learn(server, tool, shape, person):
            return
        self._unsaved = True
        self._changed.add(server)
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next:
            self._publish()
        else:
            self._timer = loop.call_at(self._next, self._publish)

    def _publish(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        calm = now - self._next > self._longest
        self._pause = self._shortest if calm else min(max(self._pause * 2, self._shortest), self._longest)
        self._next = now + self._pause
        changed, self._changed = self._changed, set()
        if self._publish_to is not None:
            self._publish_to(*sorted(changed))
        if self._file is not None and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        while self._unsaved and self._file is not None:
            self._unsaved = False
            try:
                await asyncio.to_thread(_store, self._file, self.shapes.document(), self._people)
            except OSError as error:
                self._log.warning(
                    "learned shapes cannot be kept", file=str(self._file), reason=error.strerror or str(error)
                )


def _shape_of(result: Mapping[str, object]) -> Seen | None:
    """The shape of the value a program gets, or None for an error or a text of more than `MAX_TEXT_BYTES`."""
    structured = result.get("structuredContent")
    if structured is not None:
        return Seen.of(structured)
    encoded = returned(result, MAX_TEXT_BYTES)
    return None if encoded is None else Seen.of(orjson.loads(encoded))


def _is_small(value: object) -> bool:
    """Whether a JSON value has at most `SMALL_PARTS` parts. A long string counts as several."""
    left = SMALL_PARTS
    pending: list[object] = [value]
    while pending:
        part = pending.pop()
        left -= 1
        if isinstance(part, str):
            left -= len(part) // _CHARS_PER_PART
        elif isinstance(part, dict | list):
            left -= len(part)
            if left >= 0:
                pending.extend(part.values() if isinstance(part, dict) else part)
        if left < 0:
            return False
    return True


def _person_of(caller: Identity | None) -> str:
    """Whose results these are. All who call without having signed in count as one person."""
    return OPERATOR if caller is None else caller.key or _ANYBODY


def _load(file: Path, shapes: LearnedShapes) -> bool:
    """Add the shapes in a file, if it exists. The result is whether it is a file of the same kind (`merge`).

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, or not a file of learned shapes.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return True
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 1024**2} MiB")
    return shapes.merge(orjson.loads(data))


def _store(file: Path, document: Mapping[str, object], people: bool) -> None:
    """Write the shapes of `document` into the file, merged with those another process has written there."""
    merged = LearnedShapes(people=people)
    with suppress(OSError, ValueError):
        _load(file, merged)
    merged.merge(document)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as written:
        try:
            written.write(orjson.dumps(merged.document(), option=orjson.OPT_INDENT_2))
            written.close()
            os.replace(written.name, file)
        except OSError:
            Path(written.name).unlink(missing_ok=True)
            raise
