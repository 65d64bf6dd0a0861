"""How a process that serves behaves: its end by a signal, its garbage, its descriptors."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST_DESCRIPTORS = 65_536


def collect_garbage_seldom() -> None:
    """Make Python's garbage collector search for cycles less often.

    By default a large JSON value costs ten times its parsing in searches through all objects, and each of them blocks
    the event loop.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def allow_many_descriptors() -> None:
    """Let this process open as many files and connections as the system allows, up to `MOST_DESCRIPTORS`.

    Many systems start a process with 1024. One person's part of requests and of calls to servers is as much, and where
    there are none left the portal takes no connection from anybody.
    """
    with suppress(ImportError, ValueError, OSError):  # not on Windows, and some sandboxes forbid it
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def stop_on_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets. A second signal, from a person who does not wait, cancels the command."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stop = asyncio.Event()

    def handle() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
