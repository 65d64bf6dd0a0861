"""The states of a run that has been parked, and how it gets from one to another. Pure.

            ready              claim
parked ───────────▶ ready ───────────▶ running ───▶ completed, failed, denied, lost
  ▲ │                 ▲                 │  │ ▲ │
  │ └─ claim, when it is due ───────────┼──┼─┘ └─ claim, when the lease is over
  │                   └──── release ────┘  │
  └──────────────── park, hold ────────────┘
cancel, expire: from each of the three
"""

from __future__ import annotations

from typing import Final, Literal

RunState = Literal["running", "parked", "ready", "completed", "failed", "cancelled", "denied", "expired", "lost"]
EndState = Literal["completed", "failed", "cancelled", "denied", "expired", "lost"]
ParkReason = Literal["approval", "login", "question", "sleep", "drain", "uncertain", ""]
"""What a parked run waits for: "" for one that is not parked."""
RunEvent = Literal["park", "hold", "ready", "claim", "release", "complete", "fail", "deny", "lose", "cancel", "expire"]

LIVE: Final[tuple[RunState, ...]] = ("parked", "ready", "running")
"""The states of a run that has not ended."""

_STEPS: Final[dict[RunEvent, tuple[tuple[RunState | None, ...], RunState]]] = {
    # None: there is no row of the run yet.
    "park": ((None, "running"), "parked"),
    "hold": (("running",), "parked"),
    "ready": (("parked", "ready"), "ready"),
    # Of a running one when its lease is over, of a parked one when it is due.
    "claim": (("ready", "parked", "running"), "running"),
    "release": (("running",), "ready"),
    "complete": (("running",), "completed"),
    "fail": (("running",), "failed"),
    "deny": (("running",), "denied"),
    "lose": (("running",), "lost"),
    "cancel": (LIVE, "cancelled"),
    "expire": (LIVE, "expired"),
}
END_EVENTS: Final[dict[EndState, RunEvent]] = {
    "completed": "complete",
    "failed": "fail",
    "denied": "deny",
    "lost": "lose",
    "cancelled": "cancel",
    "expired": "expire",
}


def next_state(state: RunState | None, event: RunEvent) -> RunState | None:
    """The state after this event; None if it cannot happen in this state. A run without a row has the state None."""
    before, after = _STEPS[event]
    return after if state in before else None


def states_before(event: RunEvent) -> tuple[RunState, ...]:
    """The states of a row in which this event can happen."""
    return tuple(state for state in _STEPS[event][0] if state is not None)
