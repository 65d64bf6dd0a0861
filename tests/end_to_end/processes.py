"""Several portal processes on one database, which a test kills and which start again, behind one public URL."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.forked import Forked
from tests.patience import PATIENCE
from tests.portal.login.browser import sent_here

HOST = "portal.example.com"
PUBLIC = f"https://{HOST}"
_ESTABLISHED, _LISTENS = "01", "0A"


@dataclass(frozen=True)
class Site:
    """The portal as agents and browsers know it."""

    url: str = PUBLIC
    mcp: str = f"{PUBLIC}/mcp"


class PortalProcess:
    """`codemode serve` as a process of its own. `port` is 0 while it does not listen; `lives` counts its starts."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.port = 0
        self.lives = 0
        self.kills = 0
        self.said: list[str] = []
        self._folder, self._config = folder, config
        self._starting = asyncio.Lock()
        self._command: Forked | None = None
        self._reading: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The id of the process, 0 while there is none."""
        return self._command.pid if self._command is not None and self.port else 0

    async def start(self) -> None:
        """Start it if it does not run. Returns when it listens."""
        async with self._starting:
            if not self.port:
                await self._start()

    async def _start(self) -> None:
        environment = {"XDG_STATE_HOME": str(self._folder)}
        words = ("serve", "--config", str(self._config), "--port", "0")
        command = await asyncio.to_thread(Forked, words, self._folder, environment)
        self._command = command
        loop, listening = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            # To its end, or the process would wait for somebody to read.
            for line in command.stderr:
                self.said.append(line)
                if '"listening"' in line:
                    loop.call_soon_threadsafe(listening.set)

        self._reading = threading.Thread(target=read, daemon=True)
        self._reading.start()
        async with asyncio.timeout(PATIENCE):
            await listening.wait()
        # It says its public URL, which has no port.
        (self.port,) = _ports(command.pid, _LISTENS)
        self.lives += 1

    async def kill(self) -> None:
        """SIGKILL."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.kills += 1
            await self.close()

    async def close(self) -> None:
        command, reading, self.port, self._command = self._command, self._reading, 0, None
        if command is not None and reading is not None:
            await asyncio.to_thread(command._process.kill)
            await asyncio.to_thread(reading.join)
            await asyncio.to_thread(command.close)


@dataclass(frozen=True)
class Processes:
    """The processes of one portal, which is known by this host name."""

    host: str
    all: list[PortalProcess]

    @property
    def kills(self) -> int:
        return sum(process.kills for process in self.all)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.all if process.pid]

    async def kill(self, pid: int) -> None:
        """Kill the process with this id; every process if the id is 0."""
        await asyncio.gather(*(process.kill() for process in self.all if process.pid and pid in (0, process.pid)))

    async def start(self) -> None:
        """Start those that do not run."""
        await asyncio.gather(*(process.start() for process in self.all))


class WayToOne(httpx2.AsyncHTTPTransport):
    """Takes each request to one of the processes that listen, by chance."""

    def __init__(self, to: Processes, chance: random.Random) -> None:
        super().__init__()
        self._to, self._chance = to, chance

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host != self._to.host:
            return await super().handle_async_request(request)
        ports = [process.port for process in self._to.all if process.port]
        if not ports:
            raise httpx2.ConnectError("no process listens")
        here = sent_here(request, scheme="http", port=self._chance.choice(ports))
        return await super().handle_async_request(here)


@asynccontextmanager
async def processes(host: str, folder: Path, config: Path, count: int) -> AsyncIterator[Processes]:
    """So many processes, which listen; none is left."""
    made = Processes(host, [PortalProcess(folder, config) for _ in range(count)])
    try:
        await made.start()
        yield made
    finally:
        await asyncio.gather(*(process.close() for process in made.all))


def owner_of(port: int, pids: list[int]) -> int:
    """Which of these processes has the connection from this port of 127.0.0.1; 0 if none has it any more."""
    return next((pid for pid in pids if port in _ports(pid, _ESTABLISHED)), 0)


def _ports(pid: int, state: str) -> list[int]:
    """The ports of 127.0.0.1 that a process has in this state (proc(5), /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {
        f"socket:[{row[9]}]": int(row[1].partition(":")[2], 16)
        for row in rows
        if row[1].startswith("0100007F:") and row[3] == state
    }
    found: list[int] = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            # What is opened and closed meanwhile is no connection that anybody looks for.
            with suppress(OSError):
                found.append(ports.get(os.readlink(entry), 0))
    except OSError:
        return []
    return [port for port in found if port]
