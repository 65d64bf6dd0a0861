"""Approvals over the API: what waits for people, the decision of one person, and what is remembered of them. Ours.

`access/ai-controls/mcp/approvals`, `.../approvals/{id}`, `.../decision`, `.../decisions`, `approval-grants`. Who has
the permission to read sees them; who decides is always a person (`deciding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from portal.admin.api import errors
from portal.admin.api.answers import InfoAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import AdminError, Problem, forbidden, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import APPROVALS
from portal.admin.approval_shapes import (
    ApprovalPageInfo,
    DecisionResult,
    ShownApproval,
    ShownGrant,
    shown_approval,
    shown_grant,
)
from portal.admin.deciding import Deciding
from portal.admin.log_reading import MCP, LogReading, Text
from portal.approvals import (
    Approval,
    ApprovalConflict,
    ApprovalError,
    ApprovalRefused,
    Approvals,
    ApprovalState,
    ApprovalUnknown,
    Decider,
    Remember,
    may_see,
)
from portal.logs import event
from portal.state import Clock, SecretUnreadable

PATH, GRANTS = f"{MCP}/approvals", f"{MCP}/approval-grants"
MAX_APPROVALS, MAX_DECISIONS = 200, 100
_LOOKED_AT, _SAME_MOMENT = 500, 50
"""Approvals of which one page is made that is filtered here, and more than a page that may be of one moment."""
_LAST = datetime.max.replace(tzinfo=UTC)
Id = Annotated[str, Field(min_length=1, max_length=64)]
Comment = Annotated[str, Field(max_length=1000)]


class ApprovalQuery(BaseModel):
    """`identity` is the key of the person whose call it is, `email` their address, in whatever case. `since` and
    `until` are when it was asked for. `before` is the id of an approval: older ones are shown."""

    model_config = ConfigDict(extra="forbid")

    state: ApprovalState | None = None
    portal_id: Text | None = None
    identity: Text | None = None
    email: Text | None = None
    server_id: Text | None = None
    tool: Text | None = None
    run: Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    before: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_APPROVALS)] = 50


class OneApprovalQuery(BaseModel):
    """With `arguments` the whole arguments of the call are in the answer. That takes `MCP Approvals Write`."""

    model_config = ConfigDict(extra="forbid")

    arguments: bool = False


class RememberBody(BaseModel):
    """For how many `seconds` further calls of this tool by this person and client need no approval, at most `uses` of
    them. `this_run`: only those of the same program."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[int, Field(ge=60, le=30 * 86_400)]
    uses: Annotated[int, Field(ge=1, le=1000)] | None = None
    this_run: bool = False


class DecisionBody(BaseModel):
    """`comment` is for the person whose call it is, and for others who decide. Only an approval is remembered."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "deny"]
    comment: Comment = ""
    remember: RememberBody | None = None


class DecisionsBody(DecisionBody):
    """About all that a `run` waits for, or about these `ids`, at most 100."""

    run: Text | None = None
    ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_DECISIONS)] | None = None


class GrantQuery(BaseModel):
    """`identity` is the key of the person whose calls need no approval."""

    portal_id: Text | None = None
    identity: Text | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A decision that somebody makes."""

    decider: Decider
    approves: bool
    comment: str
    remember: Remember | None
    at: datetime


class CallApprovalOperations:
    def __init__(
        self, approvals: Approvals, deciding: Deciding, reading: LogReading, settings: AdminSettings, clock: Clock
    ) -> None:
        self._approvals = approvals
        self._deciding = deciding
        self._reading = reading
        self._settings = settings
        self._clock = clock

    def operations(self) -> list[Operation]:
        one, area = f"{PATH}/{{approval_id}}", APPROVALS
        return [
            Operation(
                "GET",
                PATH,
                "List approvals of calls",
                self._list,
                ShownApproval,
                area,
                query=ApprovalQuery,
                info=ApprovalPageInfo,
            ),
            Operation("GET", one, "Show an approval", self._get, ShownApproval, area, query=OneApprovalQuery),
            Operation(
                "POST",
                f"{one}/decision",
                "Approve or deny a call",
                self._decide,
                ShownApproval,
                area,
                DecisionBody,
            ),
            Operation(
                "POST",
                f"{PATH}/decisions",
                "Approve or deny several calls",
                self._decide_several,
                DecisionResult,
                area,
                DecisionsBody,
                listed=True,
                whole=True,
            ),
            Operation(
                "GET",
                GRANTS,
                "List remembered approvals",
                self._grants,
                ShownGrant,
                area,
                listed=True,
                query=GrantQuery,
            ),
            Operation(
                "DELETE",
                f"{GRANTS}/{{grant_id}}",
                "Revoke a remembered approval",
                self._revoke,
                ShownGrant,
                area,
            ),
        ]

    # Looking

    async def _list(self, request: ApiRequest) -> InfoAnswer:
        asked = request.asked(ApprovalQuery)
        seeing = await self._deciding.seeing(request)
        last = await self._last(asked.before, seeing) if asked.before is not None else None
        before = asked.until
        if last is not None:
            # Those of the same moment too: which of them are older is seen below.
            after = last.created_at + datetime.resolution
            before = after if before is None else min(before, after)
        is_filtered = asked.email is not None or asked.tool is not None
        most = _LOOKED_AT if is_filtered else asked.limit + _SAME_MOMENT
        found = await self._approvals.listed(
            portal=await self._reading.portal(request, asked.portal_id),
            subject=asked.identity or "",
            run=asked.run or "",
            server=asked.server_id or "",
            states=() if asked.state is None else (asked.state,),
            decider=seeing,
            before=before,
            limit=most,
        )
        older = [one for one in sorted(found, key=_place) if last is None or _place(one) > _place(last)]
        wanted = [one for one in older if _is_wanted(one, asked)]
        page = wanted[: asked.limit]
        reached = page[-1] if len(wanted) > len(page) else older[-1] if older and len(found) == most else None
        if reached is not None and asked.since is not None and reached.created_at < asked.since:
            reached = None
        info = ApprovalPageInfo(
            count=len(page), limit=asked.limit, more=reached is not None, before=None if reached is None else reached.id
        )
        return InfoAnswer([shown_approval(one) for one in page], info)

    async def _last(self, id: str, seeing: Decider | None) -> Approval:
        try:
            found = await self._approvals.get(id)
        except ApprovalUnknown:
            raise invalid("before is the id of an approval that there is") from None
        if seeing is not None and not may_see(found, seeing):
            raise invalid("before is the id of an approval that there is")
        return found

    async def _get(self, request: ApiRequest) -> ShownApproval:
        id, with_arguments = request.path["approval_id"], request.asked(OneApprovalQuery).arguments
        if with_arguments and not APPROVALS.allows(request.caller.permissions, writing=True):
            raise forbidden(f"the arguments of a call are shown with the permission `{APPROVALS.write}`")
        found = await self._found(id, await self._deciding.seeing(request))
        if not with_arguments:
            return shown_approval(found)
        try:
            arguments = await self._approvals.arguments(id)
        except SecretUnreadable as error:
            message = f"the arguments of this call cannot be opened: {error}"
            raise AdminError(503, [Problem(errors.UNAVAILABLE, message)]) from None
        if arguments is not None:
            row = event("change", "OPEN", name=f"{PATH}/{id}", client=request.caller.name)
            self._settings.events.write(row._replace(identity=request.by))
        return shown_approval(found, arguments)

    async def _found(self, id: str, seeing: Decider | None) -> Approval:
        """The approval, if the caller may know of it.

        Raises:
            AdminError: 404, there is none for them.
        """
        try:
            found = await self._approvals.get(id)
        except ApprovalUnknown:
            raise not_found("approval") from None
        if seeing is not None and not may_see(found, seeing):
            raise not_found("approval")
        return found

    # Deciding

    async def _decide(self, request: ApiRequest) -> ShownApproval:
        body, decider = request.read(DecisionBody), await self._deciding.decider(request)
        await self._found(request.path["approval_id"], decider)
        wanted = _wanted(body, decider, self._clock())
        return shown_approval(await self._decided(request.path["approval_id"], wanted))

    async def _decide_several(self, request: ApiRequest) -> list[DecisionResult]:
        body, decider = request.read(DecisionsBody), await self._deciding.decider(request)
        if (body.run is None) is (body.ids is None):
            raise invalid("say either `run` or `ids`: what is decided about")
        wanted = _wanted(body, decider, self._clock())
        if body.run is not None:
            return await self._decide_run(body.run, wanted)
        return [await self._result(id, wanted) for id in dict.fromkeys(body.ids or ())]

    async def _decide_run(self, run: str, wanted: _Wanted) -> list[DecisionResult]:
        """What becomes of all that a run waits for. Several that are denied with one decision are one denial."""
        if not run:
            raise invalid("a run has an id", "/run")
        waiting = [one for one in await self._approvals.of_run(run) if one.state == "pending"]
        seen = [one.id for one in waiting if may_see(one, wanted.decider)]
        if not seen:
            raise AdminError(404, [Problem(errors.NOT_FOUND, "no call of this run waits for an approval of yours")])
        decided = await self._approvals.decide_all(
            run, wanted.decider, wanted.approves, comment=wanted.comment, remember=wanted.remember
        )
        done = {one.id: DecisionResult(id=one.id, status=200, approval=shown_approval(one)) for one in decided}
        # Of the others the same decision says why not; one that came meanwhile is none of those that were seen.
        return [done.get(id) or await self._result(id, wanted) for id in seen]

    async def _result(self, id: str, wanted: _Wanted) -> DecisionResult:
        try:
            await self._found(id, wanted.decider)
            return DecisionResult(id=id, status=200, approval=shown_approval(await self._decided(id, wanted)))
        except AdminError as error:
            return DecisionResult(id=id, status=error.status, error=str(error))

    async def _decided(self, id: str, wanted: _Wanted) -> Approval:
        """The approval after the decision.

        Raises:
            AdminError: it is not decided so; the words say why.
        """
        try:
            return await self._approvals.decide(
                id,
                wanted.decider,
                wanted.approves,
                comment=wanted.comment,
                remember=wanted.remember,
                at=wanted.at,
            )
        except ApprovalUnknown:
            raise not_found("approval") from None
        except ApprovalRefused as error:
            raise forbidden(_words(error)) from None
        except ApprovalConflict as error:
            over = await self._is_over(id)
            raise AdminError(410 if over else 409, [Problem(errors.CONFLICT, _words(error))]) from None
        except ApprovalError as error:
            raise invalid(_words(error)) from None

    async def _is_over(self, id: str) -> bool:
        try:
            found = await self._approvals.get(id)
        except ApprovalUnknown:
            return True
        return found.state in ("expired", "withdrawn") or (
            found.state == "pending" and found.expires_at <= self._clock()
        )

    # Remembered

    async def _grants(self, request: ApiRequest) -> list[ShownGrant]:
        asked, seeing = request.asked(GrantQuery), await self._deciding.seeing(request)
        subject = asked.identity or ""
        if seeing is not None and not seeing.administers:
            if subject not in ("", seeing.subject):
                return []
            subject = seeing.subject
        portal = await self._reading.portal(request, asked.portal_id)
        search = request.paging.search.lower()
        found = await self._approvals.grants(portal=portal, subject=subject)
        return [shown_grant(one) for one in found if search in f"{one.server}.{one.tool}".lower()]

    async def _revoke(self, request: ApiRequest) -> ShownGrant:
        decider = await self._deciding.decider(request)
        try:
            return shown_grant(await self._approvals.revoke(request.path["grant_id"], decider))
        except ApprovalUnknown:
            raise not_found("remembered approval") from None
        except ApprovalRefused:
            # Of what is somebody else's nobody learns that it is there.
            raise not_found("remembered approval") from None


def _wanted(body: DecisionBody, decider: Decider, at: datetime) -> _Wanted:
    """
    Raises:
        AdminError: a denial is to be remembered.
    """
    said = body.remember
    if said is not None and body.decision == "deny":
        raise invalid("only an approval is remembered", "/remember")
    remember = None if said is None else Remember(seconds=said.seconds, uses=said.uses, this_run=said.this_run)
    return _Wanted(decider, body.decision == "approve", body.comment, remember, at)


def _is_wanted(approval: Approval, asked: ApprovalQuery) -> bool:
    """Whether it has what the store does not look for."""
    if asked.email is not None and asked.email.lower() != approval.email.lower():
        return False
    if asked.since is not None and approval.created_at < asked.since:
        return False
    return asked.tool in (None, approval.tool)


def _place(approval: Approval) -> tuple[timedelta, str]:
    """Where it is in a list: the newest first."""
    return _LAST - approval.created_at, approval.id


def _words(error: ApprovalError) -> str:
    """The sentence of an error of approvals, as those of this API are: small, and without its stop."""
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]
