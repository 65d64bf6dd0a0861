"""The pages of approvals: calls that wait for people, those that were decided, and what is remembered.

An administrator sees all and may stop any. They approve what they are asked to approve, like everybody else. To read
the arguments of a call is a row of the log, and so they are on the page of one call, asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, urlencode

from starlette.routing import Route

from portal.access import ApprovalGroup, ApprovalRule
from portal.admin import (
    APPROVALS,
    LOGS,
    AdminError,
    ApprovalPageInfo,
    RunWithCalls,
    ShownApproval,
    ShownGrant,
    invalid,
)
from portal.approvals import (
    MAX_COMMENT,
    MAX_JUSTIFICATION,
    Approval,
    ApprovalGrant,
    ApprovalVote,
    Decider,
)
from portal.console.frame import ConsoleFrame
from portal.console.visit import Answer, Crumb, Problems, Shown, Visit, Went
from portal.home import (
    MAX_USES,
    approval_view,
    call_lines,
    drawing_of,
    grant_view,
    remember_choices,
    remember_of,
)
from portal.pages import ApprovalView, ArgumentsDrawing, CallLineView

HERE, LIST = "approvals", "/admin/approvals"
API = "/access/ai-controls/mcp/approvals"
ITEM, GRANTS = f"{API}/{{approval_id}}", "/access/ai-controls/mcp/approval-grants"
RUN = "/access/ai-controls/mcp/runs/{run_id}"
ABOVE = (Crumb("Approvals", LIST),)
PER_PAGE, MOST_WAITING = 50, 100
FILTERS = ("email", "portal_id", "server_id", "tool", "run", "state")
STATES = (
    ("", "All"),
    ("pending", "Waits"),
    ("approved", "Approved"),
    ("used", "Approved, the call was made"),
    ("denied", "Denied"),
    ("expired", "Not decided in time"),
    ("withdrawn", "Not wanted any more"),
)
READS_ONLY = "Your role reads approvals here. Those that ask you wait on your own page."
SAY_THERE = "It is your own call. Say what it is for on your own page."
MAY_NOT_OPEN = "The arguments of a call are shown to those with the permission `MCP Approvals Write`."


class ApprovalQueuePages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        self._frame.count(HERE, waiting_count)
        return [
            page("/approvals", HERE, self._list),
            page("/approvals/remembered", HERE, self._remembered),
            form("/approvals/remembered/{grant}/revoke", HERE, self._revoke, self._remembered),
            page("/approvals/{id}", HERE, self._show),
            form("/approvals/{id}", HERE, self._decide, self._show),
            page("/approvals/{id}/live", HERE, self._live),
        ]

    async def _list(self, visit: Visit) -> Answer:
        asked = {name: visit.query(name).strip() for name in FILTERS}
        kept = {name: value for name, value in asked.items() if value}
        problem, info = "", None
        waiting: Sequence[ShownApproval] = ()
        ended: Sequence[ShownApproval] = ()
        try:
            if not visit.query("before") and asked["state"] in ("", "pending"):
                query = {**kept, "state": "pending", "limit": str(MOST_WAITING)}
                found = await visit.api.keyed(ShownApproval, ApprovalPageInfo, API, query)
                waiting, info = found.items, found.info
            if asked["state"] != "pending":
                query = {**kept, "limit": str(PER_PAGE)}
                if visit.query("before"):
                    query["before"] = visit.query("before")
                found = await visit.api.keyed(ShownApproval, ApprovalPageInfo, API, query)
                ended, info = [one for one in found.items if one.state != "pending"], found.info
        except AdminError as error:
            if error.status not in (400, 404):
                raise
            problem = _words(error)
        values = {
            "waiting": [(one, _view(visit, one)) for one in waiting],
            "ended": [(one, _view(visit, one)) for one in ended],
            "asked": asked,
            "filtered": bool(kept) or bool(visit.query("before")),
            "first_page": "?" + urlencode(kept),
            "older": _older(kept, info),
            "problem": problem,
            "states": STATES,
        }
        people = [one.identity for one in (*waiting, *ended)]
        return Shown("approvals.html", "Approvals", values, keys=people)

    async def _show(self, visit: Visit) -> Answer:
        shown = await visit.api.show(ShownApproval, ITEM, approval_id=visit.id())
        view, trouble = _view(visit, shown), ""
        wanted = visit.query("arguments") == "on" or view.may_approve
        drawing: ArgumentsDrawing | None = None
        if wanted and not visit.may(APPROVALS):
            wanted, trouble = False, MAY_NOT_OPEN
        if wanted:
            drawing = await _arguments(visit)
        values = {
            **_shown_values(visit, shown, view),
            "shown": shown,
            "drawing": drawing,
            "wanted": wanted,
            "may_open": visit.may(APPROVALS),
            "trouble": trouble,
            "choices": remember_choices(approval_of(shown)),
            "calls": await _calls(visit, shown),
            "kept": visit.fields,
            "run_link": _run_link(visit, shown.run),
        }
        return Shown("approval.html", "Approval", values, ABOVE, keys=[shown.identity])

    async def _live(self, visit: Visit) -> Answer:
        """The part of the page that changes. It never asks for the arguments."""
        shown = await visit.api.show(ShownApproval, ITEM, approval_id=visit.id())
        return Shown("approval_live.html", "Approval", _shown_values(visit, shown, _view(visit, shown)))

    async def _decide(self, visit: Visit) -> Answer:
        body: dict[str, object] = {"decision": visit.sent("decision"), "comment": visit.sent("comment")}
        if body["decision"] == "approve":
            try:
                remember = remember_of(visit.fields)
            except ValueError as error:
                raise invalid(str(error)) from None
            if remember is not None:
                seconds = {"seconds": int(remember.seconds), "this_run": remember.this_run}
                body["remember"] = seconds if remember.uses is None else {**seconds, "uses": remember.uses}
        try:
            await visit.api.change("POST", f"{ITEM}/decision", body, approval_id=visit.id())
        except AdminError as error:
            if error.status == 403 and visit.may(APPROVALS):
                # It is the approval that they may not give, and not their role that does not allow it.
                raise AdminError(409, error.problems) from None
            raise
        return Went(f"{LIST}/{quote(visit.id(), safe='')}", "decided")

    async def _remembered(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownGrant, GRANTS, visit.page_query())
        decider = _decider(visit)
        rows = [(one, grant_view(_grant(one), decider)) for one in found.items]
        values = {"found": found, "rows": rows, "search": visit.query("search")}
        people = [one.identity for one in found.items]
        return Shown("approvals_remembered.html", "Remembered approvals", values, ABOVE, keys=people)

    async def _revoke(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", f"{GRANTS}/{{grant_id}}", grant_id=visit.id("grant"))
        return Went(f"{LIST}/remembered", "revoked")


async def waiting_count(visit: Visit) -> int:
    """How many calls wait for people, up to `MOST_WAITING`; 0 where the administrator may not see them."""
    if not visit.may(APPROVALS, writing=False):
        return 0
    try:
        query = {"state": "pending", "limit": str(MOST_WAITING)}
        return len((await visit.api.keyed(ShownApproval, ApprovalPageInfo, API, query)).items)
    except AdminError:
        return 0


def _decider(visit: Visit) -> Decider:
    return Decider.of(visit.identity, "browser", administers=visit.may(APPROVALS))


def _view(visit: Visit, shown: ShownApproval) -> ApprovalView:
    view = approval_view(approval_of(shown), _decider(visit))
    if view.must_say:
        view = replace(view, justified=False, refusal=SAY_THERE)
    return view if visit.may(APPROVALS) or not view.waits else replace(view, refusal=READS_ONLY, denial=READS_ONLY)


def approval_of(shown: ShownApproval) -> Approval:
    """The approval that the API shows."""
    return Approval(
        id=shown.id,
        portal=shown.portal,
        subject=shown.identity,
        email=shown.email,
        client=shown.client,
        run=shown.run,
        call=shown.call,
        server=shown.server,
        tool=shown.tool,
        digest=bytes.fromhex(shown.arguments_sha256),
        rule=ApprovalRule(
            policy=shown.policy,
            policy_name=shown.policy_name,
            revision="",
            by=shown.approve_by,
            because=shown.because,
            memorable=shown.memorable,
            groups=tuple(ApprovalGroup(one.needed, frozenset(one.emails), one.lists) for one in shown.groups),
            also_person=shown.also_person,
            justified=shown.justification_required,
            prompt=shown.justification_prompt,
        ),
        destructive=shown.destructive,
        justification=shown.justification,
        state=shown.state,
        revision=0,
        created_at=shown.created_at,
        expires_at=shown.expires_at,
        decided_at=shown.decided_at,
        votes=tuple(
            ApprovalVote(
                subject=one.identity,
                email=one.email,
                via=one.via,
                approves=one.decision == "approve",
                at=one.at,
                comment=one.comment,
            )
            for one in shown.votes
        ),
        method=shown.method,
    )


def _grant(shown: ShownGrant) -> ApprovalGrant:
    return ApprovalGrant(
        id=shown.id,
        portal=shown.portal,
        subject=shown.identity,
        client=shown.client,
        run=shown.run,
        server=shown.server,
        tool=shown.tool,
        policy=shown.policy,
        policy_revision="",
        uses_left=shown.uses_left,
        until=shown.until,
        granted_by=shown.granted_by,
        created_at=shown.created_at,
    )


def _shown_values(visit: Visit, shown: ShownApproval, view: ApprovalView) -> Mapping[str, object]:
    here = f"{LIST}/{quote(shown.id, safe='')}"
    return {
        "view": view,
        "action": here,
        "poll": f"{here}/live",
        "max_comment": MAX_COMMENT,
        "max_justification": MAX_JUSTIFICATION,
        "max_uses": MAX_USES,
    }


async def _arguments(visit: Visit) -> ArgumentsDrawing | None:
    found = await visit.api.show(ShownApproval, ITEM, {"arguments": "true"}, approval_id=visit.id())
    draw = drawing_of(approval_of(found))
    return None if found.arguments is None else await asyncio.to_thread(draw, found.arguments)


async def _calls(visit: Visit, shown: ShownApproval) -> Sequence[CallLineView]:
    """What its run has called besides, as far as the administrator may know it."""
    if not shown.run or not visit.may(LOGS, writing=False):
        return ()
    try:
        run = await visit.api.show(RunWithCalls, RUN, run_id=shown.run)
    except AdminError:
        return ()
    return call_lines([(one.call, one.server, one.tool, one.outcome) for one in run.calls], shown.call)


def _run_link(visit: Visit, run: str) -> str:
    """The page of a run, "" where the administrator may not see it."""
    return f"/admin/runs/{quote(run, safe='')}" if run and visit.may(LOGS, writing=False) else ""


def _older(kept: Mapping[str, str], info: ApprovalPageInfo | None) -> str:
    if info is None or not info.more or info.before is None:
        return ""
    return "?" + urlencode({**kept, "before": info.before})


def _words(error: AdminError) -> str:
    problems = Problems.of(error)
    return " ".join([*(f"{name}: {words}" for name, words in problems.fields.items()), *problems.loose])
