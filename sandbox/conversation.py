"""The state of one run as its host sees it: which step is allowed next, and which calls wait for a settlement.

No I/O: bytes for the guest come out, bytes from the guest go in. An isolate in this process and one in a worker have
the same conversation, so ids are checked on the trusted side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from sandbox.batch import decode_outcome, encode_resume, encode_start
from sandbox.errors import GuestAbiError, IsolateClosed, LocalStateError
from sandbox.events import HostCall, Outcome, Settlement, Suspended
from sandbox.limits import Limits


class State(Enum):
    NEW = "new"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"
    CLOSED = "closed"


class Conversation:
    """start -> receive -> (resume -> receive)*. A step out of order raises LocalStateError."""

    def __init__(self, limits: Limits, *, waiting: Iterable[int] | None = None) -> None:
        self.limits = limits
        self.state = State.NEW if waiting is None else State.SUSPENDED
        self.waiting: set[int] = set(waiting or ())
        self._last_id: int | None = 0 if waiting is None else None  # None for a thawed run: its last id is unknown

    def start(self, source: str, now: float, seed: bytes, begin: str = "") -> bytes:
        self._expect(State.NEW)
        data = encode_start(source, now, seed, self.limits, begin)
        self.state = State.RUNNING
        return data

    def resume(self, settlements: Sequence[Settlement], now: float) -> bytes:
        """Raises LocalStateError when a settlement's call is unknown or was settled before."""
        self._expect(State.SUSPENDED)
        ids = [settlement.id for settlement in settlements]
        unknown = set(ids) - self.waiting
        if unknown or len(ids) != len(set(ids)):
            wrong = sorted(unknown) or "named twice"
            raise LocalStateError(f"cannot settle calls {wrong}: each waiting call is settled once")
        data = encode_resume(settlements, now, self.limits)
        self.waiting.difference_update(ids)
        self.state = State.RUNNING
        return data

    def receive(self, data: bytes) -> Outcome:
        """Reads the guest's outcome. Raises GuestAbiError, and ends the conversation, when it breaks the contract."""
        self._expect(State.RUNNING)
        self.state = State.ENDED
        outcome = decode_outcome(data, self.limits)
        if outcome.calls:
            self._remember(outcome.calls)
        if isinstance(outcome, Suspended):
            if not self.waiting and outcome.wake_at is None:
                raise GuestAbiError("the guest suspended with nothing to wait for")
            self.state = State.SUSPENDED
        else:
            self.waiting.clear()
        return outcome

    def close(self) -> None:
        self.state = State.CLOSED
        self.waiting.clear()

    def _remember(self, calls: tuple[HostCall, ...]) -> None:
        for call in calls:
            is_new = call.id == self._last_id + 1 if self._last_id is not None else call.id not in self.waiting
            if not is_new or call.id > self.limits.calls:
                raise GuestAbiError(f"the guest made call {call.id} out of turn")
            self._last_id = call.id
            self.waiting.add(call.id)

    def _expect(self, state: State) -> None:
        if self.state is State.CLOSED:
            raise IsolateClosed("the isolate is closed")
        if self.state is not state:
            raise LocalStateError(f"the isolate is {self.state.value}, this needs one that is {state.value}")
