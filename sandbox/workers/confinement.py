"""What a worker gives up before its first program, as far as the kernel has the measures. Each one is reported.

`at_birth` comes before anything is loaded, and `seal` after everything: the engine's compiled module is mapped, its
threads and those of the lanes run. WebAssembly denies all of this already; it is denied here a second time, to code
that has broken out of it.
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
"""The niceness of a worker: the portal's event loop goes first when they compete for a core."""
_OOM_SCORE: Final = 800
"""Makes the kernel end a worker, not the portal, when memory runs out (proc(5), oom_score_adj)."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The measures that confine a worker: those in force with what each denies, and those missing with the reason."""

    in_force: Mapping[str, str]
    missing: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every measure is in force."""
        return not self.missing


@dataclass(slots=True)
class Confining:
    """Collects the result of each measure while a process confines itself."""

    in_force: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def apply(self, name: str, measure: Callable[[], str]) -> None:
        try:
            self.in_force[name] = measure()
        except (OSError, ValueError, AttributeError) as error:
            self.missing[name] = str(error) or type(error).__name__


def at_birth(confining: Confining, libc: ctypes.CDLL, parent: int) -> None:
    """Tie this process to its parent and drop all capabilities for good. To be called while only the main thread runs.

    Ends the process if the parent has died.
    """
    confining.apply("parent_death", lambda: _parent_death(libc, parent))
    confining.apply("capabilities", lambda: _drop_capabilities(libc))
    confining.apply("no_new_privs", lambda: _prctl(libc, "no privileges by exec", _PR_SET_NO_NEW_PRIVS, 1))
    confining.apply("oom_score", _oom_score)  # before "dumpable", which makes root the owner of its files in /proc
    confining.apply("dumpable", lambda: _prctl(libc, "no core, not traceable by its own user", _PR_SET_DUMPABLE, 0))
    confining.apply("nice", lambda: f"nice {os.nice(_NICE)}")


def deny_files(confining: Confining, libc: ctypes.CDLL) -> None:
    """Landlock. It applies to threads that start later, so it comes before those of the lanes."""
    os.chdir("/")
    os.umask(0o777)
    confining.apply("landlock", lambda: landlock.deny_all(libc))


def seal(confining: Confining, libc: ctypes.CDLL, descriptors: int) -> None:
    """Resource limits and the system call filter, for every thread. `descriptors`: the highest open one, plus one."""
    confining.apply("limits", lambda: _limits(descriptors))
    confining.apply("seccomp", lambda: seccomp.install(libc))


def load_libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _parent_death(libc: ctypes.CDLL, parent: int) -> str:
    effect = _prctl(libc, "killed when the portal dies", _PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before the line above, and no signal will come
        os._exit(0)
    return effect


def _prctl(libc: ctypes.CDLL, effect: str, option: int, *arguments: int) -> str:
    """Call prctl(2). Returns `effect`, the words for the report. Raises OSError."""
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *words) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return effect


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
