"""Whether a thread may run guests: on a stack that is too small, deep recursion would crash the process."""

from __future__ import annotations

import ctypes
import threading

from sandbox.errors import LocalStateError

MAX_WASM_STACK = 4 * 1024 * 1024
LEAST_STACK = MAX_WASM_STACK + 2 * 1024 * 1024  # the rest is for the engine and for Python
_ATTRIBUTES_SIZE = 256  # more bytes than a pthread_attr_t has

_checked = threading.local()


def require_deep_stack() -> None:
    """Raises LocalStateError when the calling thread's stack is known to be too small for a guest."""
    if getattr(_checked, "is_deep", False):
        return
    size = _stack_size()
    if size is not None and size < LEAST_STACK:
        raise LocalStateError(
            f"this thread's stack has {size} bytes, guests need {LEAST_STACK} or more: set threading.stack_size first"
        )
    _checked.is_deep = True


def _stack_size() -> int | None:
    """Bytes of stack of the calling thread; None where the system does not tell. glibc and musl do."""
    library = ctypes.CDLL(None)
    attributes, address, size = ctypes.create_string_buffer(_ATTRIBUTES_SIZE), ctypes.c_void_p(), ctypes.c_size_t()
    try:
        of_thread, stack = library.pthread_getattr_np, library.pthread_attr_getstack
        destroy = library.pthread_attr_destroy
    except AttributeError:
        return None
    library.pthread_self.restype = ctypes.c_void_p
    if of_thread(ctypes.c_void_p(library.pthread_self()), attributes):
        return None
    failed = stack(attributes, ctypes.byref(address), ctypes.byref(size))
    destroy(attributes)
    return None if failed else size.value
