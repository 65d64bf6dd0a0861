"""Programs of tests that start without their imports: a zygote has imported them, and forks for each one.

Importing takes a server of a test more than a second each time. `quick("module", ...)` is a command line that has the
same `main()` run in a process of its own: with the pipes, the folder, the environment, the arguments and the signals of
whoever starts it, who gets its exit code too (`tests/launch.py`). Its process id is another than the one that was
started. What a test asks of the start of a program itself it asks of `python -m module`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = Path(__file__).with_name("launch.py")
_TAKEN = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# What a module imports while it works.
ALSO = {
    "portal.cli": [
        "portal.cli.commands.stdio_bridge",
        "portal.cli.commands.stdio_portal",
        "anyio._backends._asyncio",
        "uvloop",
    ],
}


def quick(module: str, *arguments: str) -> list[str]:
    """The command line of `python -m module`, started without its imports."""
    return [sys.executable, "-I", "-S", str(LAUNCH), _address(), module, *arguments]


def quick_entry(module: str, *arguments: str) -> dict[str, Any]:
    """The same as an entry of a configuration."""
    command, *words = quick(module, *arguments)
    return {"command": command, "args": words}


@cache
def _address() -> str:
    """Where the zygote of this process listens, which ends with it."""
    zygote = subprocess.Popen(
        [sys.executable, "-m", "tests.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    atexit.register(zygote.communicate, timeout=PATIENCE)
    assert zygote.stdout is not None
    return zygote.stdout.readline().strip()


class _Zygote:
    """Its launchers by the id of the process that it forked for them."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._launchers: dict[int, socket.socket] = {}
        self._prepared: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waking = socket.socketpair()

    def serve(self) -> dict[str, Any]:
        """What is to run; it returns in a process of its own for each. The zygote itself ends with who started it."""
        self._waking.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C in a terminal is for the test, and the end of the test is the zygote's.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for file in (sys.stdin, self._listening, self._woken):
            self._selector.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end()
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                elif key.fileobj is self._listening:
                    if (launch := self._accept()) is not None:
                        return launch
                elif key.data in self._launchers:
                    self._hear(key.data)

    def _accept(self) -> dict[str, Any] | None:
        """Fork for a launcher. What is to run, in the new process."""
        launcher, _ = self._listening.accept()
        _, pipes, _, _ = socket.recv_fds(launcher, 1, 3)
        try:
            said = chunk = launcher.recv(65536)
            while chunk and b"\n" not in said:
                said += (chunk := launcher.recv(65536))
            line, end, early = said.partition(b"\n")
            # A launcher that is killed at once says nothing whole.
            if len(pipes) != 3 or not end:
                launcher.close()
                return None
            launch: dict[str, Any] = json.loads(line)
            self._prepare(launch["module"])
            # None is lost that comes before the new process takes it.
            signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)
            pid = os.fork()
            if not pid:
                self._become(launch, launcher, pipes)
                return launch
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TAKEN)
        finally:
            for pipe in pipes:
                os.close(pipe)
        self._launchers[pid] = launcher
        self._selector.register(launcher, selectors.EVENT_READ, pid)
        for number in early:
            os.kill(pid, number)
        return None

    def _prepare(self, module: str) -> None:
        """Import what this module imports. The module itself is to run as `__main__`."""
        if module in self._prepared:
            return
        self._prepared.add(module)
        for name in (module, *ALSO.get(module, ())):
            importlib.import_module(name)
        if not hasattr(sys.modules[module], "__path__"):
            del sys.modules[module]
        assert threading.active_count() == 1, "an import has started a thread, which no fork has"
        # The collector of a program need not look at it, nor copy its pages.
        gc.collect()
        gc.freeze()

    def _become(self, launch: dict[str, Any], launcher: socket.socket, pipes: list[int]) -> None:
        """Take over what the launcher was started with, and nothing else."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in launch["ignored"]:
            signal.signal(number, signal.SIG_IGN)
        self._selector.close()
        for connection in (self._listening, self._woken, self._waking, launcher, *self._launchers.values()):
            connection.close()
        os.setsid()
        for descriptor, pipe in enumerate(pipes):
            os.dup2(pipe, descriptor)
        os.chdir(launch["folder"])
        os.environ.clear()
        os.environ.update(launch["environment"])
        sys.argv = [launch["module"], *launch["arguments"]]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TAKEN)

    def _hear(self, pid: int) -> None:
        """A signal for the program, or the end of its launcher, which is its end."""
        launcher = self._launchers[pid]
        try:
            numbers = launcher.recv(16)
        except ConnectionError:
            numbers = b""
        if not numbers:
            self._selector.unregister(launcher)
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)

    def _reap(self) -> None:
        for pid, launcher in list(self._launchers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                if launcher.fileno() in self._selector.get_map():
                    self._selector.unregister(launcher)
                try:
                    launcher.sendall(str(os.waitstatus_to_exitcode(status)).encode())
                except (BrokenPipeError, ConnectionError):
                    pass
                launcher.close()
                del self._launchers[pid]

    def _end(self) -> None:
        for pid in self._launchers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._launchers:
            os.waitpid(pid, 0)
        raise SystemExit


def main() -> None:
    folder = tempfile.TemporaryDirectory()
    address = f"{folder.name}/zygote"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(128)
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    launch = _Zygote(listening).serve()
    # The folder is the zygote's.
    folder._finalizer.detach()  # type: ignore[attr-defined]
    runpy.run_module(launch["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
