"""Runs under way as others see them: bounded in memory, and to one person there are no others' at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from codemode import Failure, RunHandle, ToolCall, Waiting
from portal.calls import RunWatcher
from portal.identity import Identity
from portal.logs import CallLog, Filters, LogPlace, LogRow
from portal.runs import Line, LiveRun, Owner, PersonRuns, RunHistory, WatchedRun, WatchedRuns, ended_by
from portal.runs import watched as bounds
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio
RECENT = time.time_ns() // 1000 - 60_000_000
"""Rows of long ago are removed."""


def run_row(id: str, who: str, at: int = 1_000, **more: Any) -> LogRow:
    return LogRow(at, 0, "run", "tools/call", "ok", name="code", run=id, identity=who)._replace(**more)


@contextmanager
def under_way(runs: WatchedRuns, id: str, who: str, at: int = 1_000, **more: Any) -> Iterator[WatchedRun]:
    run = LiveRun(id, Owner(who, "client"), RunHandle(), Line())
    with runs.watching(run, run_row(id, who, at, **more)) as watched:
        yield watched


def made(number: int, run: str = "exec_1") -> ToolCall:
    return ToolCall(run, number, "s", "t", {}, line=number + 1)


def of_call(number: int, run: str, who: str, **more: Any) -> LogRow:
    return row(number, run=run, call=number, parent=run, identity=who, **more)


@asynccontextmanager
async def logged(place: LogPlace, *rows: LogRow) -> AsyncIterator[CallLog]:
    async with CallLog.open(place) as log:
        for one in rows:
            log.write(one._replace(at=RECENT))
        await log.stored()
        yield log


def test_the_runs_of_a_login_that_has_ended_end_and_those_of_the_same_person_by_another_go_on() -> None:
    runs = WatchedRuns(lambda: 9_000)
    first, second = Identity(id="okta:ada"), Identity(id="okta:ada")
    handles = [RunHandle(), RunHandle(), RunHandle()]
    with ExitStack() as stack:
        for handle, who in zip(handles, (first, second, None), strict=True):
            run = LiveRun(f"exec_{id(handle)}", Owner("okta:ada", "client"), handle, Line())
            stack.enter_context(runs.watching(run, run_row(run.id, "okta:ada"), who))
        assert runs.end_logged_out(lambda identity: identity is not first) == 1
        assert [None if one.ending is None else one.ending.name for one in handles] == ["LoginEnded", None, None]


def test_a_run_is_told_of_its_calls_and_forgets_them_when_it_ends() -> None:
    runs = WatchedRuns(lambda: 9_000)
    with under_way(runs, "exec_1", "ada") as watched:
        watcher: RunWatcher = watched
        watcher.began(made(1), 2_000)
        watcher.began(made(2), 3_000)
        watcher.noted(of_call(1, "exec_1", "ada", at=2_000, us=500, line=2))
        watcher.ended(made(1))
        story = runs.story("exec_1", with_program=True)
        assert story is not None and story.program is None and not story.more
        told = [(one.number, one.outcome, one.start_ms, one.ms, one.line) for one in story.calls]
        assert told == [(1, "ok", 1.0, 0.5, 2), (2, "pending", 2.0, 6.0, 3)]
        assert (story.run.us, story.run.made, story.width) == (8_000, 2, 1)
    assert len(runs) == 0 and runs.story("exec_1", with_program=False) is None and runs.has_ended("exec_1")
    # A call that did not stop when it was cancelled.
    watched.noted(of_call(2, "exec_1", "ada"))
    watched.ended(made(2))
    with under_way(runs, "exec_2", "ada") as again:
        assert again.story(9_000, with_program=False).calls == ()


def test_calls_of_one_run_of_one_person_and_of_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_CALLS", 3)
    runs = WatchedRuns(lambda: 0, room=8)
    with ExitStack() as stack:
        watched = [stack.enter_context(under_way(runs, f"exec_{n}", who)) for n, who in enumerate("aaabb")]
        for one in watched:
            for number in range(1, 6):
                one.began(made(number), 0)
        kept = [len(one.story(0, with_program=False).calls) for one in watched]
        assert kept == [3, 1, 0, 3, 1]
        assert all(one.facts(0).made == 5 and one.story(0, with_program=False).more for one in watched)
    with under_way(runs, "exec_9", "a") as one:
        one.began(made(1), 0)
        assert len(one.story(0, with_program=False).calls) == 1


async def test_runs_under_way_come_first_and_only_where_they_are_asked_for(place: LogPlace) -> None:
    runs = WatchedRuns(lambda: 5_000)
    rows = [run_row(f"exec_{n}", "ada") for n in range(3)] + [of_call(1, "exec_0", "ada")]
    async with logged(place, *rows) as log:
        history = RunHistory(runs, log)
        with under_way(runs, "exec_7", "ada", at=10), under_way(runs, "exec_8", "bob", at=20, portal="team"):

            async def ids(filters: Filters | None = None, **more: Any) -> tuple[list[str], list[str]]:
                page = await history.page(filters, **more)
                return [one.row.run for one in page.live], [one.row.run for one in page.ended]

            assert await ids() == (["exec_8", "exec_7"], ["exec_2", "exec_1", "exec_0"])
            assert await ids(limit=1) == (["exec_8"], ["exec_2"])
            assert await ids(live=True) == (["exec_8", "exec_7"], [])
            assert (await ids(live=False))[0] == []
            assert (await ids(Filters(portal="team"))) == (["exec_8"], [])
            assert (await ids(Filters(outcome="ok")))[0] == (await ids(Filters(until=2**60)))[0] == []
            first = await history.page(limit=2)
            assert first.more and first.reached is not None
            assert await ids(before=first.reached) == ([], ["exec_0"])


async def test_a_person_sees_their_own_runs_and_none_of_anybody_else(place: LogPlace) -> None:
    runs = WatchedRuns(lambda: 5_000)
    rows = [
        run_row("exec_a", "ada", portal="team"),
        of_call(1, "exec_a", "ada", line=3),
        run_row("exec_b", "bob", portal="team"),
        of_call(1, "exec_b", "bob"),
        of_call(1, "exec_lost", "bob"),
        # Whoever can write rows cannot make another's run theirs.
        of_call(1, "exec_mixed", "ada"),
        run_row("exec_mixed", "bob"),
    ]
    async with logged(place, *rows) as log:
        history = RunHistory(runs, log)
        ada, elsewhere = PersonRuns(history, runs, "ada"), PersonRuns(history, runs, "ada", "other")
        with under_way(runs, "exec_c", "ada", portal="team") as own, under_way(runs, "exec_d", "bob") as others:
            waiting = Waiting("Log in to Linear", "https://portal.example/x")
            async with own.run.handle.waits.wait(1, waiting), others.run.handle.waits.wait(1, waiting):
                assert [(run.row.run, one) for run, one in await ada.waiting()] == [("exec_c", waiting)]
                assert await elsewhere.waiting() == []
            page = await ada.recent()
            assert [one.row.run for one in (*page.live, *page.ended)] == ["exec_c", "exec_a"]
            found = await ada.find("exec_a")
            assert found is not None and [one.line for one in found.calls] == [3]
            assert await ada.find("exec_c") is not None
            for another in ("exec_b", "exec_d", "exec_lost", "exec_mixed", "exec_unknown", ""):
                assert await ada.find(another) is None
            assert await elsewhere.find("exec_a") is None and await elsewhere.find("exec_c") is None
            assert not (await elsewhere.recent()).ended
            assert not await ada.end("exec_d") and not await elsewhere.end("exec_c")
            assert [one.run.handle.ending for one in (own, others)] == [None, None]
            assert await ada.end("exec_c")
            endings = [one.run.handle.ending for one in (own, others)]
            assert endings[0] is not None and endings[1] is None
            assert "the person whose it is ended this program" in endings[0].message
        lost = await history.find("exec_lost")
        assert lost is not None and lost.run.outcome == "unknown"


async def test_the_runs_of_nobody_are_shown_to_nobody() -> None:
    runs = WatchedRuns()
    with pytest.raises(ValueError, match="shown to nobody"):
        PersonRuns(RunHistory(runs), runs, "")


async def test_without_a_log_only_runs_under_way_are_known() -> None:
    runs = WatchedRuns()
    history = RunHistory(runs)
    with under_way(runs, "exec_1", "ada") as watched:
        assert (await history.find("exec_1")) is not None
        failure = ended_by("somebody", watched)
        watched.end(failure)
        watched.end(Failure("cancelled", "Other", "later"))
        assert watched.run.handle.ending is failure
    assert await history.find("exec_1") is None and (await history.page()).ended == ()


async def test_a_row_that_is_on_its_way_to_the_log_is_waited_for(place: LogPlace) -> None:
    runs = WatchedRuns()
    async with logged(place) as log:
        history = RunHistory(runs, log)
        with under_way(runs, "exec_1", "ada"):
            log.write(run_row("exec_1", "ada", at=RECENT))
        found = await asyncio.wait_for(history.find("exec_1"), 30)
        assert found is not None and found.run.outcome == "ok"
