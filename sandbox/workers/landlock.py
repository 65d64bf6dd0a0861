"""Denies this process the file system, TCP, and signals to other processes, with Linux's landlock (landlock(7)).

A rule set that handles every kind of access the kernel knows, and has no rule, denies them all. It applies to the
calling thread and to the threads and processes that it starts later. Open descriptors stay usable.
"""

import ctypes
import os
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_ACCESS_FS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""ABI version: its number of file system access rights, which begin at bit 0 (uapi/linux/landlock.h)."""
_NET_ABI: Final = 4
_NET_TCP: Final = 0b11
_SCOPE_ABI: Final = 6
_SCOPES: Final = 0b11


def deny_all(libc: ctypes.CDLL) -> str:
    """Apply it to the calling thread, which needs no_new_privs. Returns a description of what is denied.

    Raises:
        OSError: the kernel has no landlock, or it is switched off.
    """
    abi = _checked(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))
    rights = max(bits for version, bits in _ACCESS_FS.items() if version <= abi)
    words = [(1 << rights) - 1]
    denied = ["file system"]
    if abi >= _NET_ABI:
        words.append(_NET_TCP)
        denied.append("TCP")
    if abi >= _SCOPE_ABI:
        words.append(_SCOPES)
        denied.append("signals and abstract sockets")
    attributes = (ctypes.c_uint64 * len(words))(*words)
    ruleset = _checked(
        libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint32(0))
    )
    try:
        _checked(libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    return f"{', '.join(denied)} (ABI {abi})"


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
