"""A person's programs on their pages: those under way, those that are parked, what waits for them, those that have
ended, and each of them beside its waterfall.

Everything is read through `PersonRuns`: to a person there is no run but their own at this portal, whatever id is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.home.moments import ago, ahead
from portal.identity import Identity
from portal.login import Login, LoginSession, form_endpoint, see_other
from portal.logs import LogRow, LogUnavailable, event
from portal.pages import (
    HOME,
    HTMX_CONFIG,
    HTMX_SCRIPTS,
    WAITS,
    Pages,
    RunCallView,
    RunPart,
    RunView,
    RunWait,
    Visitor,
    assets_route,
    duration_words,
    outcome_words,
    part_or_page,
    run_part,
    shipped_assets,
    tone_of,
)
from portal.runs import PersonRuns, RunFacts, RunStory
from portal.shares import Full, Shares
from portal.state import SecretUnreadable, StateUnavailable, utc_now

RUNS_PATH = "/runs"
RUN_FORMS = (f"{RUNS_PATH}/",)
"""Below these paths bodies are forms."""
MOST_ON_HOME = 5
PER_PAGE = 30
READING, READING_EACH = 16, 4
"""Pages of people that read the log at once, and those of one person."""
MAX_ID = 100
LOG_SILENT = "What has ended cannot be shown now: the log of the portal does not answer. Try again."
SILENT = "Your runs cannot be shown now: the database of the portal does not answer. Try again."
GONE = "There is no such run of yours at this portal."
NOT_ENDED = "It has not been ended: the database of the portal does not answer. Try again."
ENDED_ALREADY = "It has ended already, or it was never yours."


@dataclass(frozen=True, slots=True)
class OwnRunLine:
    """A run in a list. `live`: it has not ended. `parked` says what a parked one waits for, and `ends` when one that is
    kept in the database ends if it has not gone on; "" for all others."""

    id: str
    live: bool
    outcome: str
    tone: str
    client: str
    when: str
    took: str
    made: int | None
    parked: str = ""
    ends: str = ""


@dataclass(frozen=True, slots=True)
class OwnRunPage:
    """A page of runs, those under way first. `trouble` says why those that ended are missing; `before` is where the
    next page begins, None if there is none."""

    waits: Sequence[RunWait] = ()
    runs: Sequence[OwnRunLine] = ()
    trouble: str = ""
    before: int | None = None


class PersonRunPages:
    """`of` gives the runs at this portal of the person with a key."""

    def __init__(self, login: Login, of: Callable[[str], PersonRuns], now: Callable[[], datetime] = utc_now) -> None:
        self._login = login
        self._of = of
        self._now = now
        self._room = Shares(READING, READING_EACH)
        self._pages = Pages(own_scripts=True)
        self._assets = shipped_assets()
        self._log = structlog.get_logger("portal.home")

    def routes(self) -> list[Route]:
        one = f"{RUNS_PATH}/{{id}}"
        return [
            Route(RUNS_PATH, self._list, methods=["GET"]),
            Route(one, self._show, methods=["GET"]),
            Route(f"{one}/live", self._live, methods=["GET"]),
            Route(f"{one}/end", form_endpoint(self._login, self._end), methods=["POST"]),
            assets_route(self._assets),
        ]

    async def recent(self, identity: Identity, before: int | None = None, limit: int = MOST_ON_HOME) -> OwnRunPage:
        """The newest runs of somebody, and what waits for them. Nothing for who cannot be told from others."""
        if not identity.key:
            return OwnRunPage()
        own, now = self._of(identity.key), self._now()
        waits: list[RunWait] = []
        try:
            with self._room.held(identity.key):
                if before is None:
                    waits = [_wait(run, one.tool, one.text, one.url) for run, one in await own.waiting()]
                page = await own.recent(before, limit)
        except (LogUnavailable, Full):
            return OwnRunPage(waits, trouble=LOG_SILENT)
        except StateUnavailable:
            return OwnRunPage(waits, trouble=SILENT)
        return OwnRunPage(waits, [_listed(one, now) for one in (*page.live, *page.ended)], before=page.reached)

    async def _list(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, visitor.address.path(RUNS_PATH))
        asked = request.query_params.get("before", "")
        before = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
        found = await self.recent(session.identity, before, PER_PAGE)
        return await self._page("person_runs.html", visitor, session, "Your runs", found=found, first=before is None)

    async def _show(self, request: Request) -> Response:
        found = await self._found(request, with_program=True)
        if isinstance(found, Response):
            return found
        visitor, session, story = found
        part = _part(story, lines=story.program is not None)
        return await self._page("person_run.html", visitor, session, "Your run", part=part, row=story.run.row)

    async def _live(self, request: Request) -> Response:
        """The part of the page of a run that changes."""
        found = await self._found(request, with_program=False)
        if isinstance(found, Response):
            return part_or_page(request, found)
        visitor, session, story = found
        part = _part(story, lines=request.query_params.get("program") == "on")
        return await self._page("run_live.html", visitor, session, "Your run", part=part)

    async def _end(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        run_id = request.path_params["id"][:MAX_ID]
        here = visitor.address.path(_path_of(run_id))
        session = await self._login.sender(request, visitor, form, here)
        if isinstance(session, Response):
            return session
        home = visitor.address.path(HOME)
        try:
            ended = bool(session.identity.key) and await self._of(session.identity.key).end(run_id)
        except StateUnavailable:
            return await self._login.message(visitor, 503, "Not now", NOT_ENDED, here, "Back")
        if not ended:
            return await self._login.message(visitor, 404, "Nothing to end", ENDED_ALREADY, home, "Back")
        self._login.events.write(
            event("change", "DELETE", who=session.identity, ip=visitor.ip, name=_path_of(run_id), client="own page")
        )
        self._log.info("a run was ended by its person", who=session.identity.key, run=run_id)
        return visitor.remember(see_other(here))

    async def _found(
        self, request: Request, *, with_program: bool
    ) -> tuple[Visitor, LoginSession, RunStory] | Response:
        """The run that is asked for, or the answer in its place."""
        visitor, run_id = self._login.visitors.of(request), request.path_params["id"]
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, visitor.address.path(_path_of(run_id[:MAX_ID])))
        home = visitor.address.path(HOME)
        story: RunStory | None = None
        try:
            if session.identity.key and len(run_id) <= MAX_ID:
                with self._room.held(session.identity.key):
                    story = await _story(self._of(session.identity.key), run_id, with_program=with_program)
        except (LogUnavailable, Full):
            return await self._login.message(visitor, 503, "Not now", LOG_SILENT, home, "Back")
        except StateUnavailable:
            return await self._login.message(visitor, 503, "Not now", SILENT, home, "Back")
        if story is None:
            return await self._login.message(visitor, 404, "There is nothing here", GONE, home, "Back")
        return visitor, session, story

    async def _page(
        self,
        template: str,
        visitor: Visitor,
        session: LoginSession,
        title: str,
        *,
        part: RunPart | None = None,
        row: LogRow | None = None,
        found: OwnRunPage | None = None,
        first: bool = True,
    ) -> Response:
        design = (await self._login.directory.rules()).design
        return self._pages.page(
            template,
            design,
            visitor,
            person=session.binding,
            title=title,
            viewer=session.identity.label,
            htmx_config=HTMX_CONFIG,
            htmx=[visitor.address.path(source) for source in self._assets.paths(*HTMX_SCRIPTS)],
            part=part,
            row=row,
            found=found,
            first=first,
        )


def own_view_of(story: RunStory) -> RunView:
    """The run as its page shows it. Its rows in the log are for administrators."""
    run = story.run
    calls = [
        RunCallView(
            number=one.number,
            server=one.server,
            tool=one.tool,
            start_ms=one.start_ms,
            duration_ms=one.ms,
            outcome=one.outcome,
            line=one.line,
            policy=one.policy,
            reason=one.reason,
            bytes_in=one.bytes_in,
            bytes_out=one.bytes_out,
            labels=one.labels,
            findings=one.findings,
            log_id=None,
        )
        for one in story.calls
    ]
    return RunView(
        id=run.row.run,
        outcome=run.outcome,
        reason=run.row.reason,
        policy=run.row.policy,
        started_at=run.row.time,
        duration_ms=run.us / 1000,
        bytes_in=run.row.bytes_in,
        bytes_out=run.row.bytes_out,
        tokens_saved=run.row.tokens_saved,
        calls=tuple(calls),
        made=run.made,
        more=story.more,
        width=story.width,
        bytes_unseen=story.bytes_unseen,
        program=story.program,
        message=story.failure,
        parked=WAITS.get(run.parked_for, ""),
        expires_at="" if run.expires_at is None else run.expires_at.isoformat(timespec="seconds"),
    )


async def _story(own: PersonRuns, run_id: str, *, with_program: bool) -> RunStory | None:
    try:
        return await own.find(run_id, with_program=with_program)
    except SecretUnreadable:
        # Its text was changed or its key is gone; its calls are there.
        return await own.find(run_id, with_program=False)


def _part(story: RunStory, *, lines: bool) -> RunPart:
    waits = [_wait(story.run, one.tool, one.text, one.url) for one in story.run.waiting]
    return run_part(own_view_of(story), _path_of(story.run.row.run), waits, lines=lines)


def _wait(run: RunFacts, tool: str, text: str, url: str | None) -> RunWait:
    return RunWait(run.row.run, tool, text, url or "")


def _listed(run: RunFacts, now: datetime) -> OwnRunLine:
    return OwnRunLine(
        id=run.row.run,
        live=run.goes_on,
        outcome=outcome_words(run.outcome),
        tone=tone_of(run.outcome),
        client=run.row.client,
        when=ago(datetime.fromisoformat(run.row.time), now),
        took=duration_words(run.us / 1000),
        made=run.made,
        parked=WAITS.get(run.parked_for, ""),
        ends="" if run.expires_at is None else ahead(run.expires_at, now),
    )


def _path_of(run_id: str) -> str:
    """The page of a run, below the prefix."""
    return f"{RUNS_PATH}/{quote(run_id, safe='')}"
