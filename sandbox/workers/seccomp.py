"""A system call filter for a worker that has loaded all it needs: an allow-list, as a small BPF program (seccomp(2)).

It allows memory without new executable pages, waiting, the clock, and reading and writing open descriptors. Everything
else fails with EPERM: opening, creating, connecting, executing, forking, tracing, signals to other processes. A call by
the table of another architecture ends the process.
"""

import ctypes
import os
import platform
import struct
from typing import Final

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_SET_MODE_FILTER: Final = 1
_TSYNC: Final = 1
"""SECCOMP_FILTER_FLAG_TSYNC: the filter, and no_new_privs with it, for every thread of the process."""

_LOAD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS"""
_JUMP_EQUAL: Final = 0x15
_JUMP_SET: Final = 0x45
_JUMP_GREATER_EQUAL: Final = 0x35
_RETURN: Final = 0x06
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16
"""Offsets in struct seccomp_data. An argument has 8 bytes; its low half comes first on both machines below."""

_PROT_EXEC: Final = 4
_X32: Final = 0x40000000

MACHINES: Final = {"x86_64": (0xC000003E, 317, 0), "aarch64": (0xC00000B7, 277, 1)}
"""platform.machine(): AUDIT_ARCH, the number of seccomp(2), column in the tables below."""

ALLOWED: Final[dict[str, tuple[int | None, int | None]]] = {
    "read": (0, 63),
    "write": (1, 64),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "close": (3, 57),
    "poll": (7, None),
    "ppoll": (271, 73),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "times": (100, 153),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "set_robust_list": (273, 99),
    "membarrier": (324, 283),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Calls allowed with any arguments: name, number on x86_64, number on aarch64."""

WITHOUT_EXEC: Final = {"mmap": (9, 222), "mprotect": (10, 226)}
"""Calls allowed unless their third argument asks for executable memory."""

ON_SELF: Final = {"tgkill": (234, 131)}
"""Calls allowed on this process only (abort(3) signals its own thread)."""


def install(libc: ctypes.CDLL) -> str:
    """Filter every thread of this process, which needs no_new_privs. Returns a description of the filter.

    Raises:
        OSError: the kernel refuses, or the machine is not one of `MACHINES`.
    """
    machine = platform.machine()
    if machine not in MACHINES:
        raise OSError(f"no system call table for {machine}")
    architecture, number, column = MACHINES[machine]
    program = _program(architecture, column, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    result = libc.syscall(number, _SET_MODE_FILTER, ctypes.c_uint32(_TSYNC), filter_)
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error) if result < 0 else f"thread {result} could not be filtered")
    return f"allow-list of {len(ALLOWED) + len(WITHOUT_EXEC) + len(ON_SELF)} system calls, no new executable memory"


def _program(architecture: int, column: int, pid: int) -> bytes:
    """The filter. Each check returns or falls through to the next one; the last instruction denies the call."""
    deny = _ERRNO | 1  # EPERM
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL_PROCESS),
    ]
    for numbers in ALLOWED.values():
        if (number := numbers[column]) is not None:
            code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for pair in WITHOUT_EXEC.values():
        code += _conditional(pair[column], _argument(2), _JUMP_SET, _PROT_EXEC, when_true=deny, when_false=_ALLOW)
    for pair in ON_SELF.values():
        code += _conditional(pair[column], _argument(0), _JUMP_EQUAL, pid, when_true=_ALLOW, when_false=deny)
    code.append((_RETURN, 0, 0, deny))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _argument(index: int) -> int:
    return _ARGUMENTS + 8 * index


def _conditional(
    number: int, argument: int, test: int, operand: int, *, when_true: int, when_false: int
) -> list[tuple[int, int, int, int]]:
    return [
        (_JUMP_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, argument),
        (test, 0, 1, operand),
        (_RETURN, 0, 0, when_true),
        (_RETURN, 0, 0, when_false),
    ]
