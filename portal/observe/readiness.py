"""Whether an instance can serve: one word for each part, and the answer of all of them. Pure.

A part that cannot serve makes the instance not ready, so that a balancer sends requests elsewhere. It is no reason to
start the instance again: what it knows would be lost (`/healthz`). A part that is in trouble while calls go on is
`degraded` and takes no instance away: several share one log, and all of them would go at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.state import StoreHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCondition:
    """What is known of an instance. None stands for a part that it does not have.

    `log_trouble` says why rows cannot be stored, "" while they can; `log_blocks` whether calls wait for that.
    `unknown_servers` have not answered or failed since the start. `workers` are the processes of the sandbox that are
    ready.
    """

    store: StoreHealth | None = None
    log_trouble: str | None = None
    log_blocks: bool = False
    unknown_servers: tuple[str, ...] = ()
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """`parts` has a word for each part: `ok`, `degraded` (in trouble, and calls go on), or why it cannot serve."""

    ready: bool
    parts: dict[str, str]


def readiness(condition: InstanceCondition) -> Readiness:
    """A store that can be read is enough: what is written meanwhile is refused, and says so."""
    parts: dict[str, str] = {}
    if condition.store is not None:
        parts["store"] = "unavailable" if condition.store == "unavailable" else "ok"
    if condition.log_trouble is not None:
        trouble = "trouble" if condition.log_blocks else "degraded"
        parts["log"] = trouble if condition.log_trouble else "ok"
    parts["servers"] = "waiting" if condition.unknown_servers else "ok"
    if condition.workers is not None:
        parts["isolates"] = "ok" if condition.workers else "none"
    return Readiness(all(word in ("ok", "degraded") for word in parts.values()), parts)
