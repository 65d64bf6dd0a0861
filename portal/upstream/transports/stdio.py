"""A server that is a child process: newline-delimited JSON-RPC on its standard input and output.

The child gets a small environment of its own, and a session of its own so that its descendants end with it. Its
standard error is read, bounded: the last lines say why it ended. Source: MCP 2025-11-25, "stdio" and "Shutdown".
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from contextlib import suppress

from mcp.client.stdio import get_default_environment

from portal.config import StdioServer
from portal.errors import OutcomeUnknown, UpstreamUnavailable
from portal.sdk import close_pipes
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.wire import snippet

_CHUNK = 64 * 1024
_END_BYTES = 512
_STDERR_LINES = 5
_EXIT_SECONDS = 2.0
_TERM_SECONDS = 2.0
_KILL_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.005


class StdioPipe:
    """Implements `Pipe` with a child process."""

    def __init__(self, config: StdioServer, process: asyncio.subprocess.Process, max_bytes: int) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._config = config
        self._process = process
        self._stdin, self._stderr = process.stdin, process.stderr
        self._lines = LineReader(process.stdout, max_bytes)
        self._last_words: deque[str] = deque(maxlen=_STDERR_LINES)
        self._listener = asyncio.create_task(self._listen_to_stderr())

    @classmethod
    async def open(cls, config: StdioServer, max_bytes: int) -> StdioPipe:
        """The pipe to a new process.

        Raises:
            UpstreamUnavailable: the process cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                config.command,
                *config.args,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**get_default_environment(), **config.env},
                cwd=config.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "its command is not valid"
            raise UpstreamUnavailable(f"cannot be started: {why} ({snippet(config.command, config.secrets)})") from None
        return cls(config, process, max_bytes)

    async def receive(self) -> bytes | TooLarge | None:
        line = await self._lines.next()
        if line is None:
            await self._await_last_words()
        return line

    async def send(self, data: bytes) -> None:
        try:
            self._stdin.write(data + b"\n")
            await self._stdin.drain()
        except (ConnectionError, RuntimeError):
            await self._await_last_words()
            raise OutcomeUnknown(self.end_reason()) from None

    def end_reason(self) -> str:
        status = self._process.returncode
        if status is None:
            what = "the process closed its output"
        elif status < 0:
            what = f"the process was ended by {signal.Signals(-status).name}"
        else:
            what = f"the process exited with status {status}"
        words = snippet(" | ".join(self._last_words), self._config.secrets)
        return f"{what} ({words})" if words else what

    async def aclose(self) -> None:
        """Close the process's input, wait a little for its end, then kill its process group. Bounded; idempotent."""
        self._stdin.close()
        if not await self._exited(_EXIT_SECONDS):
            self._signal(signal.SIGTERM)
            await self._exited(_TERM_SECONDS)
        # Also if it exited by itself: its descendants must not stay behind.
        self._signal(signal.SIGKILL)
        await self._exited(_KILL_SECONDS)
        self._listener.cancel()
        # A descendant that left the group may hold the pipes open for ever.
        close_pipes(self._process)

    async def _listen_to_stderr(self) -> None:
        while chunk := await self._stderr.read(_CHUNK):
            lines = chunk.decode("utf-8", "replace").splitlines()
            self._last_words.extend(line.strip() for line in lines[-_STDERR_LINES:] if line.strip())

    async def _await_last_words(self) -> None:
        """Wait a little for exit status and standard error, which `end_reason` quotes."""
        if await self._exited(_LAST_WORDS_SECONDS):
            await asyncio.wait({self._listener}, timeout=_LAST_WORDS_SECONDS)

    async def _exited(self, seconds: float) -> bool:
        """Whether the process ends within that time.

        `Process.wait` is not used: it also waits for the pipes, which a descendant may hold open.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._process.returncode is None:
                    await asyncio.sleep(_POLL_SECONDS)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        # The leader's pid is the group's id, for as long as the group has members.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class LineReader:
    """Reads lines from a stream. Of a line longer than `max_bytes` only the first and last bytes are kept."""

    def __init__(self, stream: asyncio.StreamReader, max_bytes: int) -> None:
        self._stream = stream
        self._max = max_bytes
        self._ready: deque[bytes | TooLarge] = deque()
        self._parts: list[bytes] = []
        self._size = 0

    async def next(self) -> bytes | TooLarge | None:
        """The next line without its newline, or None at the end. A last line without a newline is dropped."""
        while not self._ready:
            chunk = await self._stream.read(_CHUNK)
            if not chunk:
                return None
            self.feed(chunk)
        return self._ready.popleft()

    def feed(self, chunk: bytes) -> None:
        """Add bytes; complete lines become available to `next`."""
        *finished, rest = chunk.split(b"\n")
        for line in finished:
            self._keep(line)
            if self._size:
                self._ready.append(self._line())
            self._parts, self._size = [], 0
        self._keep(rest)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._max:
            whole = b"".join(self._parts)
            self._parts = [whole[:_END_BYTES], whole[-_END_BYTES:]] if len(whole) > 2 * _END_BYTES else [whole]

    def _line(self) -> bytes | TooLarge:
        whole = b"".join(self._parts)
        return whole if self._size <= self._max else TooLarge(whole[:_END_BYTES], whole[-_END_BYTES:])
