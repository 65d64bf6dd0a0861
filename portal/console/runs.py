"""The pages of runs: the programs that have not ended, parked ones among them, those that have, and one of them beside
its waterfall.

The text of a program is asked for by a link, and not at each look: showing it is a row of the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote, urlencode

from starlette.routing import Route

from portal.admin import LOGS, PORTALS, AdminError, RunPageInfo, RunWithCalls, ShownReplay, ShownRun, ShownWait
from portal.console.frame import ConsoleFrame
from portal.console.visit import Answer, Crumb, Problems, Shown, Visit, Went
from portal.pages import (
    WAITS,
    RunCallView,
    RunPart,
    RunView,
    RunWait,
    duration_words,
    outcome_words,
    run_part,
    seen_words,
    tone_of,
)
from portal.state import LIVE

HERE, LIST = "runs", "/admin/runs"
API = "/access/ai-controls/mcp/runs"
ITEM = f"{API}/{{run_id}}"
ABOVE = (Crumb("Runs", LIST),)
PER_PAGE = "50"
RUNNING = "running"
OUTCOMES = ("ok", "tool_error", "error", "denied", "timeout", "unavailable", "cancelled")
CHOICES = (("", "All"), (RUNNING, "Not ended"), *((one, outcome_words(one)) for one in OUTCOMES))
FILTERS = ("email", "identity", "portal_id", "client", "outcome", "since", "until")
UNAVAILABLE = 503
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d", re.ASCII)
NOT_KEPT = (
    "The text of this program is not kept. With `portal.logs.contents.programs` in the configuration the texts of "
    "programs are kept from then on, sealed and masked."
)
MAY_NOT_OPEN = "The text of a program is shown to those with the permission `Logs Write`."


class RunPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/runs", HERE, self._list),
            page("/runs/{id}", HERE, self._show),
            page("/runs/{id}/live", HERE, self._live),
            form("/runs/{id}/end", HERE, self._end, self._show),
            form("/runs/{id}/replay", HERE, self._replay, self._show),
        ]

    async def _list(self, visit: Visit) -> Answer:
        asked = {name: visit.query(name).strip() for name in FILTERS}
        problem, info = "", None
        items: Sequence[ShownRun] = ()
        try:
            found = await visit.api.keyed(ShownRun, RunPageInfo, API, list_query(asked, visit.query("before")))
            items, info = found.items, found.info
        except AdminError as error:
            if error.status not in (400, 404):
                raise
            problem = _words(error)
        kept = {name: value for name, value in asked.items() if value}
        values = {
            "live": [one for one in items if goes_on(one)],
            "ended": [one for one in items if not goes_on(one)],
            "info": info,
            "older": _older(kept, info),
            "asked": asked,
            "filtered": bool(kept) or bool(visit.query("before")),
            "first_page": "?" + urlencode(kept),
            "problem": problem,
            "choices": CHOICES,
            "for_field": for_field,
            "tone_of": tone_of,
            "took": duration_words,
            "outcome_words": outcome_words,
            "may_end": visit.may(PORTALS),
            "state_words": lambda run: outcome_words("running" if run.live else run.state),
            "waits": waits_in_words,
        }
        return Shown("runs.html", "Runs", values)

    async def _show(self, visit: Visit) -> Answer:
        return await self._page(visit, None)

    async def _replay(self, visit: Visit) -> Answer:
        """The page with what came of a replay."""
        return await self._page(visit, await visit.api.made(ShownReplay, "POST", f"{ITEM}/replay", run_id=visit.id()))

    async def _page(self, visit: Visit, replay: ShownReplay | None) -> Answer:
        wanted = visit.query("program") == "on" and not visit.fields
        run, trouble = await _read(visit, wanted=wanted and visit.may(LOGS))
        if not trouble and wanted and run.program is None:
            trouble = NOT_KEPT if visit.may(LOGS) else MAY_NOT_OPEN
        values = {
            "part": _part(visit, run, lines=run.program is not None),
            "shown": run,
            "trouble": trouble,
            "may_open": visit.may(LOGS) and not wanted,
            "logs": f"/admin/logs?{urlencode({'run': run.id})}",
            "run_page": f"{LIST}/{quote(run.id, safe='')}",
            "may_replay": visit.may(LOGS) and not goes_on(run),
            "replay": replay,
            "sides": () if replay is None else sides_of(replay),
        }
        return Shown("run.html", "Run", values, ABOVE)

    async def _live(self, visit: Visit) -> Answer:
        """The part of the page that changes. It never asks for the program."""
        run, _ = await _read(visit, wanted=False)
        return Shown("run_live.html", "Run", {"part": _part(visit, run, lines=visit.query("program") == "on")})

    async def _end(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", ITEM, run_id=visit.id())
        return Went(f"{LIST}/{quote(visit.id(), safe='')}", "run-ended")


def list_query(asked: Mapping[str, str], before: str) -> Mapping[str, str]:
    """The query of the API for the filters of the page. A time without a zone is in UTC, as the page says."""
    query = {name: value for name, value in asked.items() if value}
    if query.get("outcome") == RUNNING:
        del query["outcome"]
        query["live"] = "true"
    for name in ("since", "until"):
        if name in query:
            query[name] = in_utc(query[name])
    return {**query, "limit": PER_PAGE, **({"before": before} if before else {})}


def in_utc(moment: str) -> str:
    """A moment as a field of a form has it, with a zone: that of UTC where it has none."""
    _, _, time = moment.partition("T")
    return moment if not time or time.endswith("Z") or "+" in time or "-" in time else f"{moment}Z"


def for_field(moment: str) -> str:
    """A moment as a field of a form takes it, "" for what is none: browsers complain of others."""
    return moment[:19] if _MOMENT.match(moment) else ""


def goes_on(run: ShownRun) -> bool:
    """Whether it has not ended: it is under way here, or parked."""
    return run.live or run.state in LIVE


def sides_of(replay: ShownReplay) -> list[tuple[str, str]]:
    """Both sides of the difference of a replay, with nothing hidden."""
    found = replay.difference
    sides = () if found is None else (("In the run", found.then), ("In the replay", found.now))
    return [(name, seen_words(text)) for name, text in sides if text]


def waits_in_words(run: ShownRun) -> list[tuple[str, str]]:
    """What it waits for: the tool and the words of each wait, those of its parking where nothing else is known."""
    waits = [(one.tool, _wait_words(one)) for one in run.waiting]
    return waits or [("", words) for words in (parked_words(run),) if words]


def parked_words(run: ShownRun) -> str:
    """What a parked run waits for, "" for one that is not parked."""
    return WAITS.get(run.parked_for, "") if run.state == "parked" and not run.live else ""


def _wait_words(wait: ShownWait) -> str:
    return wait.text or (WAITS.get(wait.kind, "") if wait.kind != "question" else "")


def view_of(run: RunWithCalls) -> RunView:
    """The run as its page shows it."""
    calls = [
        RunCallView(
            number=one.call,
            server=one.server,
            tool=one.tool,
            start_ms=one.start_ms,
            duration_ms=one.duration_ms,
            outcome=one.outcome,
            line=one.line,
            policy=one.policy,
            reason=one.reason,
            bytes_in=one.bytes_in,
            bytes_out=one.bytes_out,
            labels=one.labels,
            findings=one.findings,
            log_id=one.log_id,
        )
        for one in run.calls
    ]
    return RunView(
        id=run.id,
        outcome=run.outcome,
        reason=run.reason,
        policy=run.policy,
        started_at=run.started_at,
        duration_ms=run.duration_ms,
        bytes_in=run.bytes_in,
        bytes_out=run.bytes_out,
        tokens_saved=run.tokens_saved,
        calls=tuple(calls),
        made=run.calls_made,
        more=run.more,
        width=run.width,
        bytes_unseen=run.bytes_unseen,
        program=run.program,
        message=run.failure,
        parked=parked_words(run),
        expires_at=run.expires_at.isoformat(timespec="seconds") if run.expires_at and goes_on(run) else "",
    )


async def _read(visit: Visit, *, wanted: bool) -> tuple[RunWithCalls, str]:
    """The run, with its program if that is wanted and can be opened; and why it cannot."""
    if not wanted:
        return await visit.api.show(RunWithCalls, ITEM, run_id=visit.id()), ""
    try:
        return await visit.api.show(RunWithCalls, ITEM, {"program": "true"}, run_id=visit.id()), ""
    except AdminError as error:
        if error.status != UNAVAILABLE:
            raise
        return await visit.api.show(RunWithCalls, ITEM, run_id=visit.id()), _words(error)


def _part(visit: Visit, run: RunWithCalls, *, lines: bool) -> RunPart:
    # The page on which it goes on is for its person alone.
    waits = [RunWait(run.id, one.tool, _wait_words(one)) for one in run.waiting]
    here, link = f"{LIST}/{quote(run.id, safe='')}", partial(_row_link, visit)
    return run_part(view_of(run), here, waits, lines=lines, may_end=visit.may(PORTALS), row_link=link)


def _row_link(visit: Visit, id: int) -> str:
    return visit.visitor.address.path(f"/admin/logs/{id}")


def _older(kept: Mapping[str, str], info: RunPageInfo | None) -> str:
    if info is None or not info.more or info.before is None:
        return ""
    return "?" + urlencode({**kept, "before": info.before})


def _words(error: AdminError) -> str:
    problems = Problems.of(error)
    return " ".join([*(f"{name}: {words}" for name, words in problems.fields.items()), *problems.loose])
