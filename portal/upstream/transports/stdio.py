"""A server that is a child process: newline-delimited JSON-RPC on its standard input and output.

The child gets a small environment (`inherited_environment`), and a session of its own so that its descendants end with
it. What it writes that is no message is kept, bounded: the last lines, of both outputs, say why it ended or does not
answer. Source: MCP 2025-11-25, "stdio" and "Shutdown".
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import unquote, urlsplit

from mcp.client.stdio import get_default_environment

from portal.config import StdioServer
from portal.errors import OutcomeUnknown, UpstreamUnavailable
from portal.sdk import close_pipes
from portal.upstream.process_log import ProcessLog
from portal.upstream.transports.bounds import MAX_OTHER_LINES, PerSecond, Turn
from portal.upstream.transports.duplex import TooLarge
from portal.upstream.transports.last_words import LastWords
from portal.upstream.transports.wire import END_BYTES, MAX_AMONG_BYTES, messages_in, snippet

_CHUNK = 64 * 1024
# Lines of standard error that are looked at of those that came at once. Some programs write a hundred thousand.
_KEPT_LINES = 1000
# A line without an end is read so many times as far as one may be long.
_ENDLESS = 4
# Some programs write no newline behind a message.
_UNENDED_SECONDS = 1.0
_EXIT_SECONDS = 2.0
_TERM_SECONDS = 2.0
_KILL_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.005
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
LINEAGE = "CODEMODE_DOCUMENTS"
"""The variable with the marks of the documents that the portals above a program serve (`portal.cli.lineage`)."""
# What programs need in order to reach the internet from here, and to write as people here read. In both cases.
INHERITED = frozenset(
    (
        LINEAGE,
        *_PROXIES,
        "NO_PROXY",
        "NODE_USE_ENV_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "NODE_USE_SYSTEM_CA",
        "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE",
        "PIP_CERT",
        "NPM_CONFIG_CAFILE",
        "TZ",
        "LANG",
        "LANGUAGE",
        # The names of POSIX and glibc, not `LC_*`: people send themselves other things under such names.
        "LC_ALL",
        "LC_ADDRESS",
        "LC_COLLATE",
        "LC_CTYPE",
        "LC_IDENTIFICATION",
        "LC_MEASUREMENT",
        "LC_MESSAGES",
        "LC_MONETARY",
        "LC_NAME",
        "LC_NUMERIC",
        "LC_PAPER",
        "LC_TELEPHONE",
        "LC_TIME",
    )
)


def inherited_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of `environ` that child processes get: proxies, certificates, language and time zone."""
    return {name: value for name, value in environ.items() if name.upper() in INHERITED and not value.startswith("()")}


def _why_not(error: OSError | ValueError, config: StdioServer) -> str:
    """Why a process was not started. The system says "no such file" of the folder as it does of the program."""
    written = snippet(config.command, config.secrets)
    if isinstance(error, FileNotFoundError) and config.cwd is not None and not config.cwd.is_dir():
        return f"its folder is not there ({snippet(str(config.cwd), config.secrets)}); correct its `cwd`"
    why = error.strerror if isinstance(error, OSError) and error.strerror else "its command is not valid"
    if isinstance(error, FileNotFoundError) and len(config.command.split()) > 1:
        return f"{why} ({written}); write only the program into `command`, and each of its arguments into `args`"
    return f"{why} ({written})"


class StdioPipe:
    """Implements `Pipe` with a child process."""

    acknowledges = False

    def __init__(self, process: asyncio.subprocess.Process, max_bytes: int, words: LastWords, log: ProcessLog) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._lines = LineReader(process.stdout, max_bytes)
        self._errors = LineReader(process.stderr, _CHUNK, keep=_KEPT_LINES)
        self._last_words = words
        self._log = log
        self._is_closing = self._has_ended = False
        self._listener = asyncio.create_task(self._listen_to_stderr())

    @classmethod
    async def open(cls, config: StdioServer, max_bytes: int, words: LastWords, log: ProcessLog) -> StdioPipe:
        """The pipe to a new process, whose last words go to `words`, and everything that is no message to `log`.

        Raises:
            UpstreamUnavailable: the process cannot be started.
        """
        inherited = inherited_environment(os.environ)
        secrets = (*config.secrets, *_proxy_passwords(inherited))
        words.begin(secrets)
        log.begin(secrets)
        try:
            process = await asyncio.create_subprocess_exec(
                config.command,
                *config.args,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**get_default_environment(), **inherited, **config.env},
                cwd=config.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = f"cannot be started: {_why_not(error, config)}"
            log.failed(why)
            raise UpstreamUnavailable(why) from None
        log.started(process.pid, config.command)
        return cls(process, max_bytes, words, log)

    async def receive(self) -> bytes | TooLarge | None:
        line = await self._lines.next()
        if line is None and not self._lines.given_up:
            await self._await_last_words()
        return line

    async def send(self, data: bytes) -> bytes:
        try:
            self._stdin.write(data + b"\n")
            await self._stdin.drain()
        except (ConnectionError, RuntimeError):
            await self._await_last_words()
            raise OutcomeUnknown(self.end_reason()) from None
        return b""

    def pass_over(self, data: bytes) -> None:
        self._last_words.add(data)
        self._log.wrote("stdout", (data,))

    def end_reason(self) -> str:
        if self._lines.given_up:
            return self._lines.given_up
        what = f"the process {self._end()}"
        words = str(self._last_words)
        return f"{what} ({words})" if words else what

    def _end(self) -> str:
        status = self._process.returncode
        if status is None:
            return "closed its output"
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"exited with status {status}"

    async def aclose(self) -> None:
        """Close the process's input, wait a little for its end, then kill its process group. Bounded; idempotent.

        If this is cancelled, the group is killed at once.
        """
        by_itself = self._process.returncode is not None
        # A program that asks for a key on its input leaves the cursor behind the question.
        if not self._is_closing:
            self._is_closing = True
            for reader in (self._lines, self._errors):
                if unfinished := reader.unfinished:
                    self._last_words.add(unfinished)
                    self._log.wrote("stdout" if reader is self._lines else "stderr", (unfinished,))
        try:
            try:
                self._stdin.close()
                if not await self._exited(_EXIT_SECONDS):
                    self._signal(signal.SIGTERM)
                    await self._exited(_TERM_SECONDS)
            finally:
                # Also if it exited by itself: its descendants must not stay behind. And also if the portal stops while
                # this waits: a child must not outlive it.
                self._signal(signal.SIGKILL)
            await self._exited(_KILL_SECONDS)
        finally:
            self._listener.cancel()
            if not self._has_ended:
                self._has_ended = True
                self._log.ended(self._end() if by_itself else f"{self._end()}, when the portal closed it")
            # A descendant that left the group may hold the pipes open for ever.
            close_pipes(self._process)

    async def _listen_to_stderr(self) -> None:
        turn = Turn()
        while lines := await self._errors.those_that_came():
            self._log.wrote("stderr", lines, self._errors.left_out)
            self._errors.left_out = 0
            self._last_words.add(*lines)
            await turn.over()

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


class ByteSource(Protocol):
    """Where lines are read from: an `asyncio.StreamReader`, or what reads as one."""

    async def read(self, n: int = -1) -> bytes: ...


class LineReader:
    """Reads lines from a stream, those with nothing but white space left out.

    Of a line longer than `max_bytes` only the first and last bytes are kept. `given_up` says why no more is read, "" as
    long as it is. With `keep` everything is read, and of the lines that wait only the last ones are kept; `left_out`
    counts the others.
    """

    def __init__(self, stream: ByteSource, max_bytes: int, keep: int | None = None) -> None:
        self.given_up = ""
        self.left_out = 0
        self._stream = stream
        self._max = max_bytes
        self._keeps_last = keep is not None
        self._empty = PerSecond(MAX_OTHER_LINES)
        self._ready: deque[bytes | TooLarge] = deque(maxlen=keep)
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def unfinished(self) -> bytes | TooLarge:
        """A line whose newline has not come yet: of a long one the beginning and the end; b"" if there is none."""
        end = b"".join(self._parts[-2:])[-4 * END_BYTES :]
        return end if len(end) == self._size else TooLarge(self._parts[0][:END_BYTES], end)

    async def next(self) -> bytes | TooLarge | None:
        """The next line without its newline, or None at the end. The last line needs no newline."""
        while not self._ready:
            if self.given_up:
                return None
            chunk = await self._read()
            if not chunk and not self._size:
                return None
            self.feed(chunk or b"\n")
        return self._ready.popleft()

    async def those_that_came(self) -> list[bytes | TooLarge]:
        """The next line and those that have come with it, [] at the end."""
        first = await self.next()
        if first is None:
            return []
        lines = [first, *self._ready]
        self._ready.clear()
        return lines

    async def _read(self) -> bytes:
        """More of the stream, b"" at its end; a newline if nothing comes for a while behind a whole message."""
        if 0 < self._size <= MAX_AMONG_BYTES and self._parts[-1].rstrip().endswith(b"}"):
            with suppress(TimeoutError):
                async with asyncio.timeout(_UNENDED_SECONDS):
                    return await self._stream.read(_CHUNK)
            if messages_in(b"".join(self._parts)):
                return b"\n"
        return await self._stream.read(_CHUNK)

    def feed(self, chunk: bytes) -> None:
        """Add bytes; complete lines become available to `next`."""
        first, *others = chunk.split(b"\n")
        self._keep(first)
        if not others:
            return
        self._end_line()
        rest = others.pop()
        if len(chunk) <= self._max:
            # At once: there may be a line for each byte.
            lines = [line for line in others if line.strip()]
            self._add(lines)
            if len(lines) < len(others) and self._empty.exceeded(len(others) - len(lines)):
                self._give_up(f"wrote more than {MAX_OTHER_LINES:,} empty lines in a second")
        else:
            for whole in others:
                self._keep(whole)
                self._end_line()
        self._keep(rest)

    def _end_line(self) -> None:
        line = self._line()
        if isinstance(line, TooLarge) or line.strip():
            self._add([line])
        self._parts, self._size = [], 0

    def _add(self, lines: Sequence[bytes | TooLarge]) -> None:
        if self._ready.maxlen is not None:
            self.left_out += max(0, len(self._ready) + len(lines) - self._ready.maxlen)
        self._ready.extend(lines)

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._max:
            whole = b"".join(self._parts)
            self._parts = [whole[:END_BYTES], whole[-END_BYTES:]] if len(whole) > 2 * END_BYTES else [whole]
            if self._size > _ENDLESS * max(self._max, _CHUNK) and not self._keeps_last and not self.given_up:
                # It may be an answer: its beginning shows to which call.
                self._ready.append(self._line())
                self._give_up("wrote a line without an end")

    def _give_up(self, why: str) -> None:
        if not self._keeps_last:
            self.given_up = why

    def _line(self) -> bytes | TooLarge:
        whole = b"".join(self._parts)
        return whole if self._size <= self._max else TooLarge(whole[:END_BYTES], whole[-END_BYTES:])


def _proxy_passwords(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The passwords in the URLs of proxies, as they are written and as they are meant."""
    found: list[str] = []
    for name, value in environ.items():
        if name.upper() in _PROXIES:
            with suppress(ValueError):
                password = urlsplit(value if "//" in value else f"//{value}").password
                found += [password, unquote(password)] if password else []
    return tuple(found)
