"""Threads that are shared fairly: one person's large programs and searches leave room for those of others.

A run does much in threads: it reads its program, searches, converts large results. Whoever begins work for somebody
says for whom (`work_for`), and what the task then gives to a thread counts in that identity's part. A thread cannot be
interrupted, so some stay free for identities that have none.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Final, NamedTuple, ParamSpec, TypeVar

from sandbox import FairQueue

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 16
EACH: Final = 1
"""Threads of one identity. What runs in them is Python, of which one thread runs at a time: more threads would get
nothing done sooner, and the event loop would wait for each of them."""
NOBODYS: Final = 8
"""Threads for work that is nobody's in particular, which also waits for disks and mail servers."""
_SHORT: Final = 0.01
"""Seconds that a piece of work is assumed to take until it has ended."""

_TURN: Final = 0.001
"""Seconds after which a thread gives the interpreter to another one that waits for it, while work of identities runs:
whenever something arrives meanwhile, the event loop waits a turn of each such thread. Python's own five times as long
a turn costs less where no thread works for long."""

_whose: ContextVar[str] = ContextVar("whose", default="")


@contextmanager
def on_behalf_of(identity: str) -> Iterator[None]:
    """A block whose work in threads counts for this identity, also that of tasks begun in it."""
    token = _whose.set(identity)
    try:
        yield
    finally:
        _whose.reset(token)


def whose() -> str:
    """The identity for which the current task works; "" for nobody in particular."""
    return _whose.get()


def work_for(identity: str) -> None:
    """From now on, what the current task and tasks begun by it give to threads counts for this identity."""
    _whose.set(identity)


class FairThreads(ThreadPoolExecutor):
    """An executor with at most `threads` threads: one identity has at most `each` of them, work that is nobody's in
    particular (the identity "") at most `nobodys`. The rest waits in fair order. It is a `ThreadPoolExecutor` because
    asyncio takes no other for the default executor of an event loop."""

    def __init__(self, threads: int = THREADS, each: int = EACH, nobodys: int = NOBODYS) -> None:
        super().__init__(threads, thread_name_prefix="work")
        self._most = threads
        self._each = each
        self._nobodys = nobodys
        self._lock = threading.RLock()
        """Reentrant: a future that is cancelled while work is given out calls back into this object."""
        self._queue: FairQueue[_Work] = FairQueue(_SHORT)
        self._busy: Counter[str] = Counter()
        self._running = 0
        self._of_identities = 0
        self._ordinary_turn = sys.getswitchinterval()
        self._ending = False

    def __repr__(self) -> str:
        return f"<FairThreads {self._running} of {self._most} busy, {len(self._queue)} waiting>"

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The future of `work`, which counts for the identity of the current task."""
        identity = whose()
        done: Future[T] = Future()

        def carry_out() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                result = work(*args, **kwargs)
            except BaseException as error:  # raised where the result is waited for
                done.set_exception(error)
            else:
                done.set_result(result)

        piece = _Work(identity, carry_out, done.cancel)
        with self._lock:
            if self._ending:
                return super().submit(work, *args, **kwargs)  # which says that there are no threads any more
            if not self._queue and self._may_begin(identity):
                self._begin(piece, counted=False)
            else:
                self._queue.push(identity, piece)
                self._pump()
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._ending = True
            while (piece := self._queue.pop(lambda _: True)) is not None:
                if cancel_futures:
                    piece.cancel()
                else:
                    self._begin(piece, counted=True)
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _may_begin(self, identity: str) -> bool:
        most = self._each if identity else self._nobodys
        return self._busy[identity] < most and self._running < self._most

    def _begin(self, piece: _Work, *, counted: bool) -> None:
        """`counted`: it waited in the queue, which has to learn how long it took."""
        self._running += 1
        self._busy[piece.identity] += 1
        if piece.identity:
            self._of_identities += 1
            if self._of_identities == 1:
                sys.setswitchinterval(min(_TURN, self._ordinary_turn))
        super().submit(self._carry_out, piece, counted)

    def _carry_out(self, piece: _Work, counted: bool) -> None:
        """On a thread."""
        began = perf_counter()
        try:
            piece.carry_out()
        finally:
            with self._lock:
                self._ended(piece.identity, perf_counter() - began if counted else None)

    def _ended(self, identity: str, took: float | None) -> None:
        self._running -= 1
        self._busy[identity] -= 1
        if identity:
            self._of_identities -= 1
            if not self._of_identities:
                sys.setswitchinterval(self._ordinary_turn)
        if not self._busy[identity]:
            del self._busy[identity]
        if took is not None:
            self._queue.settle(identity, took)
        self._pump()

    def _pump(self) -> None:
        """Begin what may begin."""
        while self._queue and not self._ending:
            piece = self._queue.pop(lambda _: True, lambda identity: not self._may_begin(identity))
            if piece is None:
                return
            self._begin(piece, counted=True)


class _Work(NamedTuple):
    """A piece of work of one identity, which puts its result into a future that `cancel` cancels."""

    identity: str
    carry_out: Callable[[], None]
    cancel: Callable[[], bool]
