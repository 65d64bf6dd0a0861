"""Runs to look at: those under way in this process, those in the database, and those that the log has. For everybody,
or for one person.

`RunHistory` is for who may see all runs; `PersonRuns` shows one person their own, and to them no other is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from codemode import Waiting
from portal.logs import MAX_NAME, CallLog, ContentLog, Filters, LogRow, RowName, StoredRow, older, run_of
from portal.runs.kept import failure_in_words, kept_call, kept_facts
from portal.runs.watched import WatchedRuns, ended_by
from portal.runs.waterfall import RunFacts, RunStory, call_of, ended_facts, facts_of_calls, story_of
from portal.state import LIVE, RunFilter, StoredRun, utc_now

if TYPE_CHECKING:
    from portal.runs.durable import DurableRuns

PERSON: Final = "the person whose it is"
_OF_OTHERS: Final = ("timer", "uncertain")
"""Waits that the person of a run can do nothing about."""
STORED_SECONDS = 2.0
"""How long the row of a run that has just ended is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Runs, newest first: those under way, which only the first page has, and then `ended` ones. `reached` is the id to
    go on before, for the next page, None if there is none."""

    live: Sequence[RunFacts]
    ended: Sequence[RunFacts]
    more: bool
    reached: int | None


class RunHistory:
    """`log` is None where there is none: then only runs under way are known. `contents` has the programs that are
    kept."""

    def __init__(self, live: WatchedRuns, log: CallLog | None = None, contents: ContentLog | None = None) -> None:
        self._live = live
        self._log = log
        self._contents = contents

    async def page(
        self, filters: Filters | None = None, *, before: int | None = None, limit: int = 50, live: bool | None = None
    ) -> RunPage:
        """A page of runs: at most `limit` that have ended, and on the first as many that are under way. `live`: only
        these, or only those that have ended.

        Raises:
            LogUnavailable: the log does not answer.
        """
        wanted = replace(filters or Filters(), kind="run")
        under_way: list[RunFacts] = []
        if live is not False and before is None and wanted.outcome is None and not wanted.failed:
            under_way = self._live.all(partial(_is_wanted, wanted))[:limit]
        if live is True or self._log is None:
            return RunPage(live=under_way, ended=(), more=False, reached=None)
        found = await self._log.database.read(partial(older, filters=wanted, id=before, limit=limit))
        ended = [ended_facts(one.row, one.id) for one in found.rows]
        return RunPage(live=under_way, ended=ended, more=found.more, reached=found.reached if found.more else None)

    async def find(self, run_id: str, identity: str | None = None, *, with_program: bool = False) -> RunStory | None:
        """The run with this id and its calls, of this identity if there is one; None if there is no such run.

        With `with_program` its text comes with it, and how it failed: of a run that has ended if it is kept, of one
        under way if it is to be kept, or is that identity's own. How one failed that has ended just now, that identity
        is always told.

        Raises:
            LogUnavailable: the log does not answer.
            SecretUnreadable: its program was changed, or its key is gone.
        """
        live = self._live.story(run_id, identity, with_program=with_program)
        if live is not None or self._log is None:
            return live
        found = await self._read(self._log, run_id)
        if found.run is None and self._live.has_ended(run_id):
            with suppress(TimeoutError):
                async with asyncio.timeout(STORED_SECONDS):
                    await self._log.stored()
            found = await self._read(self._log, run_id)
        rows = found.rows if identity is None else [one for one in found.rows if one.row.identity == identity]
        if not rows or len(rows) < len(found.rows):
            return None
        program, failure = None, ""
        if with_program and found.run is not None:
            program, failure = await self._kept(found.run)
        if identity is not None:
            failure = failure or self._live.failure(run_id, identity)
        return found.story(program, failure)

    async def _read(self, log: CallLog, run_id: str) -> _Found:
        return await log.database.read(partial(_found, run_id=run_id))

    async def _kept(self, run: StoredRow) -> tuple[str | None, str]:
        """The program of a run, and how it failed, as far as they are kept."""
        content = None if self._contents is None else await self._contents.read(RowName(run.instance, run.number))
        program, failure = (None, None) if content is None else (content.get("program"), content.get("failure"))
        return program if isinstance(program, str) else None, failure if isinstance(failure, str) else ""


class PersonRuns:
    """The runs of one person alone, whom `identity` (the key) is; at one portal, or at all for None. `kept` are those
    that outlive their process, None where none do.

    Raises:
        ValueError: it is nobody. Callers who have not signed in cannot be told apart.
    """

    def __init__(
        self,
        history: RunHistory,
        live: WatchedRuns,
        identity: str,
        portal: str | None = None,
        kept: DurableRuns | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if not identity:
            raise ValueError("the runs of nobody in particular are shown to nobody")
        self._history = history
        self._live = live
        self._identity = identity[:MAX_NAME]
        self._subject = identity
        self._portal = portal
        self._kept = kept
        self._now = now

    async def recent(self, before: int | None = None, limit: int = 20) -> RunPage:
        """A page of their runs, newest first; parked ones are with those under way.

        Raises:
            LogUnavailable, StateUnavailable: the log or the database does not answer.
        """
        filters = Filters(identity=self._identity, portal=self._portal)
        page = await self._history.page(filters, before=before, limit=limit)
        if before is not None:
            return page
        here = {one.row.run for one in page.live}
        kept = [kept_facts(one, self._now()) for one in await self._unended() if one.id not in here]
        live = sorted((*page.live, *kept), key=lambda one: one.row.at, reverse=True)[:limit]
        # One that has just ended may be in both.
        unended = {one.row.run for one in live}
        return replace(page, live=live, ended=[one for one in page.ended if one.row.run not in unended])

    async def find(self, run_id: str, *, with_program: bool = True) -> RunStory | None:
        """Their run with this id, with its calls, and its program where that is known; None for any other.

        Raises:
            LogUnavailable, StateUnavailable: the log or the database does not answer.
            SecretUnreadable: its program was changed, or its key is gone.
        """
        found = await self._history.find(run_id, self._identity, with_program=with_program)
        if found is not None and self._portal not in (None, found.run.row.portal):
            return None
        if found is not None and found.run.outcome != "unknown":
            # It is under way here, or the log has its end.
            return found
        kept = await self._of_database(run_id)
        return found if kept is None else await self._story(kept, found)

    async def waiting(self) -> list[tuple[RunFacts, Waiting]]:
        """What their runs wait for people for, with the page of each where there is one.

        Raises:
            StateUnavailable: the database does not answer.
        """
        wanted = Filters(identity=self._identity, portal=self._portal)
        live = self._live.all(partial(_is_wanted, wanted))
        here = {one.row.run for one in live}
        kept = [kept_facts(one, self._now()) for one in await self._unended() if one.id not in here]
        return [(run, one) for run in (*live, *kept) for one in run.waiting if one.kind not in _OF_OTHERS]

    async def end(self, run_id: str) -> bool:
        """End their run with this id, whichever process has it. False if there is none that has not ended.

        Raises:
            StateUnavailable: the database does not answer.
        """
        found = self._live.find(run_id, self._identity)
        if found is not None and self._portal in (None, found.row.portal):
            found.end(ended_by(PERSON, found))
            return True
        if self._kept is None or await self._of_database(run_id) is None:
            return False
        return await self._kept.end(run_id, f"{PERSON} ended this program")

    async def _unended(self) -> Sequence[StoredRun]:
        """Those in the database that have not ended."""
        if self._kept is None:
            return ()
        return await self._kept.rows.list(RunFilter(portal=self._portal, subject=self._subject, states=LIVE))

    async def _of_database(self, run_id: str) -> StoredRun | None:
        """The row of their run with this id."""
        run = None if self._kept is None or not run_id else await self._kept.rows.get(run_id)
        theirs = run is not None and run.subject == self._subject and self._portal in (None, run.portal)
        return run if theirs else None

    async def _story(self, run: StoredRun, logged: RunStory | None) -> RunStory:
        """What the database has of a run, with the calls of it that are in the log."""
        assert self._kept is not None
        calls = () if logged is None else logged.calls
        numbers = {one.number for one in calls}
        more = [kept_call(one, run) for one in await self._kept.rows.calls(run.id) if one.seq not in numbers]
        return story_of(
            kept_facts(run, self._now()),
            (*calls, *more),
            more=bool(logged and logged.more),
            failure=failure_in_words(run),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the log has of a run."""

    run: StoredRow | None
    calls: Sequence[StoredRow]
    more: bool

    @property
    def rows(self) -> list[StoredRow]:
        return [*self.calls] if self.run is None else [self.run, *self.calls]

    def story(self, program: str | None, failure: str) -> RunStory:
        rows = [one.row for one in self.calls]
        if self.run is None:
            facts = facts_of_calls(rows)
        else:
            facts = ended_facts(self.run.row, self.run.id, len({row.call for row in rows}))
        calls = (call_of(one.row, facts.row.at, one.id) for one in self.calls)
        return story_of(facts, calls, more=self.more, program=program, failure=failure)


def _found(connection: Connection, run_id: str) -> _Found:
    return _Found(*run_of(connection, run_id)) if run_id else _Found(None, (), False)


def _is_wanted(filters: Filters, row: LogRow) -> bool:
    """Whether a run under way, which has this row, is one of those that are asked for. `since` and `until` are about
    when a run ended: one that has not is newer than all."""
    equal = ("portal", "server", "name", "identity", "client", "run", "trace")
    asked = ((name, getattr(filters, name)) for name in equal)
    if filters.email is not None and filters.email.lower() != row.email.lower():
        return False
    return filters.until is None and all(value is None or value == getattr(row, name) for name, value in asked)
