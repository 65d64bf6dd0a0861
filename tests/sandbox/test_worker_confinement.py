"""What a worker has given up: read from the kernel's books, and tried from inside a process confined the same way."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from sandbox import Completed, Failed, Limits, WorkerExecutor
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confinement is Linux's")

ROOT = Path(__file__).resolve().parents[2]
MEASURES = {
    "parent_death",
    "capabilities",
    "no_new_privs",
    "dumpable",
    "oom_score",
    "nice",
    "landlock",
    "limits",
    "seccomp",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.anyio
async def test_the_kernel_confirms_what_the_report_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "not for workers")
    async with WorkerExecutor(workers=1) as executor:
        async with executor.execution() as execution:
            assert await execution.start("1", 0.0, bytes(32)) == Completed(1)
        (pid,) = executor.pids
        (confinement,) = executor.confinement
        assert confinement.in_force.keys() | confinement.missing.keys() == MEASURES
        assert os.getsid(pid) == os.getpgid(pid) == pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            assert_confined(status(int(task.name)), confinement.in_force.keys())
        if os.geteuid() == 0:  # only root may look closer, for a process that is not dumpable
            assert Path(f"/proc/{pid}/environ").read_bytes() == b""
            targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            expected = ("/dev/null", "socket:", "/memfd:wasm-memory-image")
            assert [target for target in targets if not target.startswith(expected)] == []
            assert os.readlink(f"/proc/{pid}/cwd") == "/"


def assert_confined(task: dict[str, str], in_force: Collection[str]) -> None:
    if "capabilities" in in_force:
        assert int(task["CapEff"], 16) == int(task["CapPrm"], 16) == int(task["CapAmb"], 16) == 0
    if "seccomp" in in_force:
        assert (task["Seccomp"], task["NoNewPrivs"]) == ("2", "1")


def test_every_measure_is_in_force_on_a_current_kernel(tmp_path: Path) -> None:
    """Says at once when a change of ours switches one off."""
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 13):
        pytest.skip("this kernel has no landlock")
    _, missing = attempts_of_a_process("all", {}, tmp_path)
    assert missing == {}


LAYERS = {
    "all": "at_birth(c, libc, os.getppid()); deny_files(c, libc); seal(c, libc, 64)",
    "landlock alone": "at_birth(c, libc, os.getppid()); c.apply('landlock', lambda: landlock.deny_all(libc))",
    "the filter alone": "at_birth(c, libc, os.getppid()); c.apply('seccomp', lambda: seccomp.install(libc))",
    "nothing": "pass",
}
FILES = {
    "read a file": "open('/etc/passwd').read()",
    "list a folder": "os.listdir('/')",
    "create a file": "open(scratch + '/made', 'w')",
    "write to a file": "open(scratch + '/kept', 'a')",
    "read its own memory as a file": "open('/proc/self/mem', 'rb')",
    "remove a file": "os.unlink(scratch + '/kept')",
    "execute": "os.fork() or os.execv('/bin/true', ['true'])",
}
NETWORK = {"connect": "socket.socket().connect(('127.0.0.1', port))"}
REST = {
    "open a socket": "socket.socket()",
    "open a unix socket": "socket.socket(socket.AF_UNIX)",
    "fork": "os.fork() or os._exit(0)",
    "start a thread": "threading.Thread(target=int).start()",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "make executable memory": "mmap.mmap(-1, 4096, prot=7)",
    "make memory executable": "checked(libc.mprotect(page, 4096, 5))",
    "make a file in memory": "os.memfd_create('x')",
    "duplicate a descriptor": "os.dup(1)",
    "make a pipe": "os.pipe()",
    "lower a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
}
PRIVILEGED = {
    "become another user": "os.setuid(1)",
    "trace its parent": "checked(libc.ptrace(16, os.getppid(), 0, 0))",
    "leave its namespaces": "checked(libc.unshare(0x10000000))",
    "use io_uring": "checked(libc.syscall(425, 1, ctypes.create_string_buffer(120)))",
    "read another's memory": "checked(libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0))",
}
"""Attempts that may fail for other reasons too, unconfined."""

SCRIPT = """
import ctypes, json, mmap, os, resource, socket, sys, threading
from sandbox.workers import landlock, seccomp
from sandbox.workers.confinement import Confining, at_birth, deny_files, load_libc, seal

libc = load_libc()
libc.mmap.restype = ctypes.c_void_p
page = ctypes.c_void_p(libc.mmap(None, 4096, 3, 0x22, -1, 0))
scratch, port, attempts = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def attempt(code):
    try:
        eval(code)
    except (OSError, RuntimeError, ValueError) as error:  # the latter: Python's word for a thread, a limit refused
        return type(error).__name__
    return "allowed"

c = Confining()
CONFINE
found = {name: attempt(code) for name, code in attempts.items()}
os.write(1, json.dumps([found, c.missing]).encode())
os._exit(0)
"""


def attempts_of_a_process(layer: str, attempts: dict[str, str], scratch: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What became of each attempt in a process that confined itself by the functions the workers use, and what measures
    were missing."""
    (scratch / "kept").write_text("kept", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = SCRIPT.replace("CONFINE", LAYERS[layer])
        words = [sys.executable, "-c", script, str(scratch), str(port), json.dumps(attempts)]
        ended = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
    found, missing = json.loads(ended.stdout)
    return found, missing


@pytest.mark.parametrize(
    ("layer", "attempts"),
    [
        ("all", FILES | NETWORK | REST | PRIVILEGED),
        ("landlock alone", {name: code for name, code in (FILES | NETWORK).items() if name != "execute"}),
        ("the filter alone", FILES | NETWORK | REST | PRIVILEGED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_outside_can_be_reached(layer: str, attempts: dict[str, str], tmp_path: Path) -> None:
    found, missing = attempts_of_a_process(layer, attempts, tmp_path)
    if missing:
        pytest.skip(f"not on this kernel: {missing}")
    assert [name for name, result in found.items() if result == "allowed"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_same_attempts_succeed_where_nothing_is_confined(tmp_path: Path) -> None:
    """So what fails above fails for the confinement alone."""
    found, _ = attempts_of_a_process("nothing", FILES | NETWORK | REST, tmp_path)
    assert set(found.values()) == {"allowed"}


@pytest.mark.anyio
async def test_memory_and_stack_exhaustion_behind_the_filter_are_outcomes_and_not_the_workers_end() -> None:
    """The engine's signal handlers, growing memories and unwinding need system calls of their own."""
    programs = {
        "const a = []; for (;;) a.push(new ArrayBuffer(1e6))": "memory",
        "(function f() { return 1 + f() })()": "stack",
        "for (;;) {}": "cpu_time",
    }
    async with WorkerExecutor(Limits(cpu_time=1.0), workers=1) as executor:
        (pid,) = executor.pids
        for source, kind in programs.items():
            async with executor.execution() as execution:
                outcome = await execution.start(source, 0.0, bytes(32))
                assert isinstance(outcome, Failed)
                assert outcome.error.kind == kind
        assert executor.pids == (pid,)
