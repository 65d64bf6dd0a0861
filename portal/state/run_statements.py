"""The statements of the steps of a run, each built once: SQLAlchemy takes longer to build one than to run it.

What is compared is bound by a name that no column has: a parameter with the name of a column is a value to store.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    CompoundSelect,
    Select,
    Update,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from portal.state.approval_row import OPEN
from portal.state.clock import to_stored
from portal.state.run_states import END_EVENTS, LIVE, EndState, states_before
from portal.state.schema import approvals, run_calls, run_resumes, runs

SHOWN = tuple(column for column in runs.c if column.name not in ("secret", "kid"))
"""All of a run but what is sealed, which may be large."""
SHOWN_OF_CALL = tuple(column for column in run_calls.c if column.name not in ("secret", "kid"))
MOST_LEASES = 3
DUE_AT_ONCE = 2000

_THIS = runs.c.id == bindparam("of_run")
_MINE = and_(_THIS, runs.c.revision == bindparam("at_revision"), runs.c.state == "running")

RUN = select(*SHOWN).where(_THIS)
RUN_OF_CLAIM = select(*SHOWN).where(_MINE)
"""The run if it is claimed at this revision."""
NEW_RUN = insert(runs).returning(*SHOWN)
CHANGE = update(runs).where(_MINE)
"""Store these values in a run that is claimed at this revision."""
CHANGED_RUN = CHANGE.returning(*SHOWN)
"""The same; the run as it is then."""


def ready_of(parked: ColumnElement[bool], running: ColumnElement[bool]) -> tuple[Update, Update]:
    """Those of the first that are parked are ready `now`; those of the second that run, once they are parked."""
    now: BindParameter[int] = bindparam("now")
    ready = update(runs).where(parked, runs.c.state.in_(states_before("ready")))
    # It may have looked for what has come just before it came.
    again = update(runs).where(running, runs.c.state == "running")
    return ready.values(state="ready", reason="", wake_at=now, updated_at=now), again.values(again=1)


READY = ready_of(_THIS, _THIS)


def _room() -> CompoundSelect[str, int, int]:
    # PostgreSQL's sum of whole numbers is a decimal one.
    count, total = func.count(), cast(func.coalesce(func.sum(runs.c.size), 0), BigInteger)
    of_portal, of_subject = runs.c.portal == bindparam("of_portal"), runs.c.subject == bindparam("of_subject")
    # So that the index of the portal's runs is not taken for those of one subject.
    live = func.coalesce(runs.c.state, "").in_(LIVE)
    return union_all(
        select(literal("subject"), count, total).where(of_portal, of_subject, live),
        select(literal("portal"), count, total).where(of_portal, runs.c.state.in_(LIVE)),
    )


ROOM = _room()
"""How many runs the subject and the portal have that have not ended, and how many bytes these are."""


def _ways_to_claim(some: bool) -> tuple[ColumnElement[bool], ...]:
    """Which runs may be claimed: ready ones and parked ones that are due, running ones whose lease is over, and those
    with one that is wrong. No run is in two of them.

    Each has an index of its own. The other conditions are written so that none is used for them: without statistics a
    database takes theirs, and looks through all that wait.
    """
    now: BindParameter[int] = bindparam("now")
    may = and_(func.coalesce(runs.c.expires_at, 0) > now, _of_portals(some))
    # No lease is that long: it is of a process whose clock is wrong.
    return tuple(
        and_(way, may)
        for way in (runs.c.wake_at <= now, runs.c.lease_until <= now, runs.c.lease_until > bindparam("wrong"))
    )


def _of_portals(some: bool) -> ColumnElement[bool]:
    """Those of `portals` where only `some` are looked for, else all."""
    return func.coalesce(runs.c.portal, "").in_(bindparam("portals", expanding=True)) if some else true()


@cache
def candidates(some: bool) -> CompoundSelect[str, str, str, int, int]:
    """Those that may be claimed `now`."""
    columns = (runs.c.id, runs.c.portal, runs.c.subject, runs.c.revision, runs.c.updated_at)
    # One query for each way: with all of them in one, a database goes through all runs.
    return union_all(*(select(*columns).where(way) for way in _ways_to_claim(some))).limit(DUE_AT_ONCE)


@cache
def next_due(some: bool) -> CompoundSelect[int]:
    """The first time of each kind at which something is to be done for a run."""
    mine = _of_portals(some)
    firsts = (
        _first(runs.c.wake_at, mine),
        _first(runs.c.lease_until, mine),
        _first(runs.c.expires_at, runs.c.expires_at > bindparam("now")),
        _first(runs.c.log_due, true()),
    )
    # SQLite takes an order only within a query of its own.
    return union_all(*(select(first.subquery()) for first in firsts))


def _first(at: Column[int], which: ColumnElement[bool]) -> Select[int]:
    # Not `min`, which with another condition looks at all of them.
    return select(at).where(at.is_not(None), which).order_by(at).limit(1)


def times_to_claim(now: datetime, lease: timedelta) -> dict[str, int]:
    """The values of `candidates` and `TAKE`."""
    return {"now": to_stored(now), "wrong": to_stored(now + MOST_LEASES * lease)}


def _take() -> ReturningUpdate[*tuple[object, ...]]:
    seen = and_(_THIS, runs.c.revision == bindparam("at_revision"))
    take = update(runs).where(seen, or_(*_ways_to_claim(False))).values(attempts=runs.c.attempts + 1)
    return take.returning(*SHOWN, runs.c.secret)


TAKE = _take()
"""Store the values of a claim in a run of this revision that may be claimed `now`."""
_ITS_CALLS = run_calls.c.run == bindparam("of_run")
CALLS = select(run_calls).where(_ITS_CALLS).order_by(run_calls.c.seq)
CALL = select(*SHOWN_OF_CALL).where(_ITS_CALLS, run_calls.c.call == bindparam("of_call"))
NEW_CALL = insert(run_calls)
CHANGE_CALL = update(run_calls).where(_ITS_CALLS, run_calls.c.call == bindparam("of_call"))
LEFT_STARTED = update(run_calls).where(_ITS_CALLS, run_calls.c.state == "started").values(state="unknown")
"""Of the calls that had started under a former claim nobody knows what became."""
DELETE_CALLS = delete(run_calls).where(_ITS_CALLS)
_ITS_RESUMES = run_resumes.c.run == bindparam("of_run")
RESUMES = select(run_resumes).where(_ITS_RESUMES).order_by(run_resumes.c.number)
LAST_RESUME = select(func.max(run_resumes.c.number)).where(_ITS_RESUMES)
NEW_RESUME = insert(run_resumes)
DELETE_RESUMES = delete(run_resumes).where(_ITS_RESUMES)
WITHDRAW = (
    update(approvals)
    .where(approvals.c.run == bindparam("of_run"), approvals.c.state.in_(OPEN))
    .values(state="withdrawn", ended_at=bindparam("now"), revision=approvals.c.revision + 1)
)
"""Nobody is to decide about a call that is not made any more."""
PENDING = (
    select(func.count())
    .select_from(approvals)
    .where(
        approvals.c.run == bindparam("of_run"),
        approvals.c.state == "pending",
        approvals.c.expires_at > bindparam("now"),
    )
)
"""How many approvals of the run nobody has decided."""


@cache
def end(state: EndState) -> Update:
    """Store the values of a run that has ended so, if it may from where it is."""
    may = runs.c.state.in_(states_before(END_EVENTS[state]))
    return update(runs).where(_THIS, runs.c.revision == bindparam("at_revision"), may)
