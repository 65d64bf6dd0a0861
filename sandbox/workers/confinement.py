"""What a worker gives up before it runs its first program: best effort, each measure reported.

`at_birth` comes before anything is loaded, `seal` after all is (the engine's compiled module mapped, its threads and
the lanes' started). What WebAssembly already denies is denied a second time here, to code that broke out of it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sandbox.workers import landlock, seccomp

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_NICE: Final = 5
"""How far a worker steps back behind the portal's event loop when they compete for a core."""
_OOM_SCORE: Final = 800
"""When memory runs out the kernel should take a worker, not the portal (proc(5), oom_score_adj)."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds a worker: measures in force and what is denied by each; measures not in force and why."""

    in_force: Mapping[str, str]
    missing: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every measure is in force."""
        return not self.missing


@dataclass(slots=True)
class Confining:
    """Collects the outcome of each measure while a process confines itself."""

    in_force: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def apply(self, name: str, measure: Callable[[], str]) -> None:
        try:
            self.in_force[name] = measure()
        except (OSError, ValueError, AttributeError) as error:
            self.missing[name] = str(error) or type(error).__name__


def at_birth(confining: Confining, libc: ctypes.CDLL, parent: int) -> None:
    """Tie this process to its parent, drop capabilities and the right to regain any. Only the main thread runs yet.

    Ends the process when the parent is gone already.
    """
    confining.apply("parent_death", lambda: _parent_death(libc, parent))
    confining.apply("capabilities", lambda: _drop_capabilities(libc))
    confining.apply("no_new_privs", lambda: _prctl(libc, "no privileges by exec", _PR_SET_NO_NEW_PRIVS, 1))
    confining.apply("oom_score", _oom_score)  # before "dumpable", which gives the process's files in /proc to root
    confining.apply("dumpable", lambda: _prctl(libc, "no core, not traceable by its own user", _PR_SET_DUMPABLE, 0))
    confining.apply("nice", lambda: f"nice {os.nice(_NICE)}")


def deny_files(confining: Confining, libc: ctypes.CDLL) -> None:
    """Landlock. It holds for threads started later, so it comes before the lanes' threads."""
    os.chdir("/")
    os.umask(0o777)
    confining.apply("landlock", lambda: landlock.deny_all(libc))


def seal(confining: Confining, libc: ctypes.CDLL, descriptors: int) -> None:
    """Resource limits and the system call filter, for every thread. `descriptors`: one more than the highest open."""
    confining.apply("limits", lambda: _limits(descriptors))
    confining.apply("seccomp", lambda: seccomp.install(libc))


def load_libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _parent_death(libc: ctypes.CDLL, parent: int) -> str:
    said = _prctl(libc, "killed when the portal dies", _PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)
    return said


def _prctl(libc: ctypes.CDLL, said: str, option: int, *arguments: int) -> str:
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *words) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return said


def _drop_capabilities(libc: ctypes.CDLL) -> str:
    bounding = 0
    while libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(bounding), 0, 0, 0) == 0:
        bounding += 1
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return "none"


def _oom_score() -> str:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE))
    return f"{_OOM_SCORE}"


def _limits(descriptors: int) -> str:
    for name, value in (("CORE", 0), ("FSIZE", 0), ("NOFILE", descriptors), ("NPROC", 0), ("MEMLOCK", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    return f"no core, no file growth, {descriptors} descriptors, no new processes"
