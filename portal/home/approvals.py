"""The pages on which a person decides about calls: one approval, and all that wait for them or are theirs.

A link to an approval gives nobody anything: whoever opens it is signed in as somebody, and to them there is no approval
but what is theirs and what they may decide, at this portal. GET changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.approvals import (
    MAX_COMMENT,
    MAX_JUSTIFICATION,
    Approval,
    ApprovalConflict,
    ApprovalError,
    ApprovalRefused,
    Approvals,
    ApprovalUnknown,
    Decider,
    may_see,
)
from portal.home.approval_views import (
    MAX_USES,
    approval_view,
    call_lines,
    digest_of_list,
    drawing_of,
    grant_view,
    remember_choices,
    remember_of,
)
from portal.home.moments import ago, ahead
from portal.identity import Identity
from portal.login import Login, LoginSession, form_endpoint, see_other
from portal.logs import LogUnavailable
from portal.pages import (
    HTMX_CONFIG,
    HTMX_SCRIPTS,
    STRICT,
    ArgumentsDrawing,
    CallLineView,
    Pages,
    Visitor,
    cards,
    in_ascii,
    part_or_page,
    shipped_assets,
)
from portal.runs import PersonRuns
from portal.shares import Full, Shares
from portal.state import SecretUnreadable, StateUnavailable, utc_now

APPROVE_PATH, APPROVALS_PATH = "/approve", "/approvals"
APPROVAL_FORMS = (f"{APPROVE_PATH}/", f"{APPROVALS_PATH}/")
"""Below these paths bodies are forms."""
MOST_WAITING, MOST_DECIDED = 200, 20
LATELY = timedelta(days=7)
MAX_ID = 100
INLINE, INLINE_IN_ALL = 8_192, 131_072
"""Characters of the arguments of one call that stand in a list, and of all that stand in it."""
AT_ONCE, AT_ONCE_EACH = 16, 4
"""Such pages that are made at once, and those of one person."""
_IN_A_THREAD = 32_768
"""Characters of arguments from which on they are drawn off the loop."""
UNKNOWN = "There is no such approval, or it is not for you. Check that you are signed in as who was asked to decide."
BUSY = "Several of your pages are being made at this moment. Wait a moment, then load this one again."
SILENT = "The portal cannot read its approvals now. Nothing was decided. Try again."
NO_PERSON = "Calls are decided by people. You are signed in with a credential of a service."


async def _nameless(client: str) -> str:
    """No client is known by a name."""
    return ""


@dataclass(frozen=True, slots=True)
class _Looking:
    """Somebody who looks: `decider` is what they decide as."""

    visitor: Visitor
    session: LoginSession
    decider: Decider


@dataclass(frozen=True, slots=True)
class _Inbox:
    """What waits, and what was decided lately, of one person."""

    waiting: Sequence[Approval]
    decided: Sequence[Approval]


class ApprovalPages:
    """The pages of one portal. `runs` gives the runs of the person with this key; `client` what the client with this id
    calls itself, "" where that is not known."""

    def __init__(
        self,
        login: Login,
        approvals: Approvals,
        portal: str,
        runs: Callable[[str], PersonRuns],
        now: Callable[[], datetime] = utc_now,
        client: Callable[[str], Awaitable[str]] = _nameless,
    ) -> None:
        self._login = login
        self._approvals = approvals
        self._portal = portal
        self._runs = runs
        self._now = now
        self._client = client
        self._room = Shares(AT_ONCE, AT_ONCE_EACH)
        self._pages = Pages(own_scripts=True)
        self._assets = shipped_assets()
        self._log = structlog.get_logger("portal.home")

    def routes(self) -> list[Route]:
        one, many = f"{APPROVE_PATH}/{{id}}", APPROVALS_PATH
        return [
            Route(many, self._list, methods=["GET"]),
            Route(f"{many}/live", self._news, methods=["GET"]),
            Route(f"{many}/decide", form_endpoint(self._login, self._decide_some), methods=["POST"]),
            Route(f"{many}/grants/{{grant}}/revoke", form_endpoint(self._login, self._revoke), methods=["POST"]),
            Route(one, self._show, methods=["GET"]),
            Route(one, form_endpoint(self._login, self._decide), methods=["POST"]),
            Route(f"{one}/live", self._live, methods=["GET"]),
            Route(f"{one}/arguments", self._text, methods=["GET"]),
        ]

    async def count(self, identity: Identity) -> int:
        """How many calls somebody may decide about now, or has to say something of. 0 where that cannot be read."""
        try:
            decider = Decider.of(identity, "browser")
            waiting = await self._waiting(decider)
        except (ValueError, StateUnavailable):
            return 0
        views = (approval_view(one, decider) for one in waiting)
        return sum(one.may_approve or one.must_say for one in views)

    # Looking

    async def _list(self, request: Request) -> Response:
        looking = await self._looking(request, APPROVALS_PATH)
        if isinstance(looking, Response):
            return looking
        decider = looking.decider
        try:
            with self._room.held(decider.subject):
                inbox = await self._inbox(decider)
                drawings = await self._drawings(inbox.waiting)
                grants = await self._approvals.grants(portal=self._portal, subject=decider.subject)
        except (StateUnavailable, Full) as error:
            return await self._not_now(looking.visitor, error)
        clients = [one.client for one in (*inbox.waiting, *inbox.decided)]
        names = await self._names([*clients, *(one.client for one in grants)])
        views = [approval_view(one, decider, names) for one in inbox.waiting]
        return await self._page(
            "person_approvals.html",
            looking,
            "Approvals",
            cards=cards(views[:MOST_WAITING], drawings),
            left_out=max(0, len(views) - MOST_WAITING),
            decided=[approval_view(one, decider, names) for one in inbox.decided],
            grants=[grant_view(one, decider, names) for one in grants],
            changed=False,
            page=APPROVALS_PATH,
            poll=_news_path(inbox),
        )

    async def _news(self, request: Request) -> Response:
        """Whether the list has changed since it was loaded."""
        looking = await self._looking(request, APPROVALS_PATH)
        if isinstance(looking, Response):
            return part_or_page(request, looking)
        try:
            with self._room.held(looking.decider.subject):
                inbox = await self._inbox(looking.decider)
        except (StateUnavailable, Full) as error:
            return await self._not_now(looking.visitor, error)
        seen = request.query_params.get("seen", "")[:MAX_ID]
        poll = f"{APPROVALS_PATH}/live?seen={quote(seen, safe='')}"
        changed = seen != _digest(inbox)
        return await self._page(
            "approvals_live.html", looking, "Approvals", changed=changed, page=APPROVALS_PATH, poll=poll
        )

    async def _show(self, request: Request) -> Response:
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        looking, approval = found
        return await self._shown(looking, approval)

    async def _live(self, request: Request) -> Response:
        """The part of the page of an approval that changes."""
        found = await self._found(request)
        if isinstance(found, Response):
            return part_or_page(request, found)
        looking, approval = found
        view = approval_view(approval, looking.decider, await self._names([approval.client]))
        return await self._page("approval_live.html", looking, "Approval", view=view, poll=f"{_path(approval.id)}/live")

    async def _text(self, request: Request) -> Response:
        """The arguments as one text: as canonical JSON, in ASCII so that nothing in it hides."""
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        looking, approval = found
        try:
            text = await self._approvals.arguments(approval.id)
        except (ApprovalUnknown, SecretUnreadable):
            text = None
        if text is None:
            return await self._unknown(looking.visitor)
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        headers = {**STRICT, "Content-Security-Policy": policy}
        return Response(in_ascii(text), headers=headers, media_type="text/plain; charset=utf-8")

    async def _shown(
        self,
        looking: _Looking,
        approval: Approval,
        kept: Mapping[str, str] | None = None,
        problem: str = "",
        status: int = 200,
    ) -> Response:
        try:
            with self._room.held(looking.decider.subject):
                drawing = await self._drawing(approval)
                calls = await self._calls(approval)
        except (StateUnavailable, Full) as error:
            return await self._not_now(looking.visitor, error)
        view = approval_view(approval, looking.decider, await self._names([approval.client]))
        return await self._page(
            "person_approval.html",
            looking,
            "Approval",
            status=status,
            view=view,
            drawing=drawing,
            choices=remember_choices(approval),
            calls=calls,
            kept=kept or {},
            problem=problem,
            run_link=f"/runs/{quote(approval.run, safe='')}" if view.own and approval.run else "",
        )

    # Deciding

    async def _decide(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        id = request.path_params["id"]
        looking = await self._sender(request, visitor, form, _path(id[:MAX_ID]))
        if isinstance(looking, Response):
            return looking
        approval = await self._of(id, looking.decider)
        if approval is None:
            return await self._unknown(visitor)
        try:
            await self._done(approval, looking.decider, form)
        except ApprovalUnknown:
            return await self._unknown(visitor)
        except ApprovalConflict as error:
            return await self._conflict(visitor, str(error), _path(id))
        except (ApprovalRefused, ValueError) as error:
            return await self._shown(looking, approval, form, str(error), 400)
        except StateUnavailable as error:
            return await self._not_now(visitor, error)
        return visitor.remember(see_other(visitor.address.path(_path(id))))

    async def _done(self, approval: Approval, decider: Decider, form: Mapping[str, str]) -> None:
        """
        Raises:
            ApprovalError: it was not done. The message says why.
            ValueError: the same, of what was typed.
        """
        justification = form.get("justification", "")
        match form.get("decision"):
            case "justify":
                await self._approvals.justify(approval.id, decider, justification)
            case "approve":
                await self._approvals.decide(
                    approval.id,
                    decider,
                    True,
                    comment=form.get("comment", ""),
                    justification=justification,
                    remember=remember_of(form),
                )
            case "deny":
                await self._approvals.decide(approval.id, decider, False, comment=form.get("comment", ""))
            case _:
                raise ValueError("Press one of the buttons: nothing was decided.")

    async def _decide_some(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        """Decide about those of a card. All are those that were shown: what a run has asked for since is not meant."""
        looking = await self._sender(request, visitor, form, APPROVALS_PATH)
        if isinstance(looking, Response):
            return looking
        approves = "approve" in form
        chosen = form.get("approve" if approves else "deny", "")
        shown = form.get("shown" if approves else "deniable", "").split()[:MOST_WAITING]
        ids = shown if chosen == "all" else [chosen]
        refused, now = list[str](), self._now()
        for id in ids:
            approval = await self._of(id, looking.decider)
            try:
                if approval is None:
                    raise ApprovalUnknown
                await self._approvals.decide(id, looking.decider, approves, at=now)
            except StateUnavailable as error:
                return await self._not_now(visitor, error)
            except ApprovalError as error:
                refused.append(str(error))
        if refused:
            words = " ".join(dict.fromkeys(refused))
            if len(ids) > 1:
                words = f"{len(ids) - len(refused)} of {len(ids)} are decided as you wanted. Of the others: {words}"
            return await self._conflict(visitor, words, APPROVALS_PATH)
        return visitor.remember(see_other(visitor.address.path(APPROVALS_PATH)))

    async def _revoke(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        looking = await self._sender(request, visitor, form, APPROVALS_PATH)
        if isinstance(looking, Response):
            return looking
        id, back = request.path_params["grant"][:MAX_ID], visitor.address.path(APPROVALS_PATH)
        try:
            here = await self._approvals.grants(portal=self._portal, subject=looking.decider.subject)
            if id not in {one.id for one in here}:
                raise ApprovalUnknown
            await self._approvals.revoke(id, looking.decider)
        except (ApprovalUnknown, ApprovalRefused):
            text = "It has ended already, or it is somebody else's."
            return await self._login.message(visitor, 404, "Nothing to revoke", text, back, "Approvals")
        except StateUnavailable as error:
            return await self._not_now(visitor, error)
        return visitor.remember(see_other(back))

    # Who, and what

    async def _looking(self, request: Request, path: str) -> _Looking | Response:
        """Who is signed in, or the answer for somebody who is not."""
        visitor = self._login.visitors.of(request)
        session = await self._login.session(request, visitor)
        if session is None:
            return self._login.sign_in(visitor, visitor.address.path(path))
        return await self._as_decider(visitor, session)

    async def _sender(
        self, request: Request, visitor: Visitor, form: Mapping[str, str], path: str
    ) -> _Looking | Response:
        """Who has sent this form from a page of their own, or the answer for anybody else."""
        session = await self._login.sender(request, visitor, form, visitor.address.path(path))
        return session if isinstance(session, Response) else await self._as_decider(visitor, session)

    async def _as_decider(self, visitor: Visitor, session: LoginSession) -> _Looking | Response:
        try:
            return _Looking(visitor, session, Decider.of(session.identity, "browser"))
        except ValueError:
            return await self._login.message(visitor, 403, "Nothing to decide", NO_PERSON)

    async def _found(self, request: Request) -> tuple[_Looking, Approval] | Response:
        """The approval that is asked for, or the answer in its place: the same for one that is not there and for one of
        others."""
        id = request.path_params["id"]
        looking = await self._looking(request, _path(id[:MAX_ID]))
        if isinstance(looking, Response):
            return looking
        try:
            approval = await self._of(id, looking.decider)
        except StateUnavailable as error:
            return await self._not_now(looking.visitor, error)
        return await self._unknown(looking.visitor) if approval is None else (looking, approval)

    async def _of(self, id: str, decider: Decider) -> Approval | None:
        """The approval with this id, None if it is not at this portal or not for this person."""
        if not id.isascii() or not id.isprintable() or len(id) > MAX_ID:
            return None
        try:
            approval = await self._approvals.get(id)
        except ApprovalUnknown:
            return None
        return approval if approval.portal == self._portal and may_see(approval, decider) else None

    async def _waiting(self, decider: Decider) -> list[Approval]:
        found = await self._approvals.listed(
            portal=self._portal, states=("pending",), decider=decider, limit=MOST_WAITING + 1
        )
        now = self._now()
        return [one for one in found if one.expires_at > now]

    async def _inbox(self, decider: Decider) -> _Inbox:
        ended = await self._approvals.listed(
            portal=self._portal,
            states=("approved", "used", "denied", "expired", "withdrawn"),
            decider=decider,
            limit=MOST_DECIDED,
        )
        since = self._now() - LATELY
        return _Inbox(await self._waiting(decider), [one for one in ended if one.created_at > since])

    async def _drawings(self, approvals: Sequence[Approval]) -> Mapping[str, ArgumentsDrawing]:
        """The arguments of those that are short enough to stand in a list."""
        drawn: dict[str, ArgumentsDrawing] = {}
        left = INLINE_IN_ALL
        for one in approvals[:MOST_WAITING]:
            text = await self._arguments(one.id)
            if text is not None and len(text) <= min(INLINE, left):
                left -= len(text)
                drawn[one.id] = drawing_of(one)(text)
        return drawn

    async def _drawing(self, approval: Approval) -> ArgumentsDrawing | None:
        text = await self._arguments(approval.id)
        if text is None or len(text) <= _IN_A_THREAD:
            return None if text is None else drawing_of(approval)(text)
        return await asyncio.to_thread(drawing_of(approval), text)

    async def _arguments(self, id: str) -> str | None:
        try:
            return await self._approvals.arguments(id)
        except (ApprovalUnknown, SecretUnreadable):
            return None

    async def _names(self, clients: Iterable[str]) -> Mapping[str, str]:
        """What each of these clients is called."""
        return {id: await self._client(id) or id for id in dict.fromkeys(clients)}

    async def _calls(self, approval: Approval) -> Sequence[CallLineView]:
        """What the run of a call has called besides, as far as it is known here."""
        if not approval.run:
            return ()
        try:
            story = await self._runs(approval.subject).find(approval.run, with_program=False)
        except (LogUnavailable, SecretUnreadable, StateUnavailable, ValueError):
            return ()
        if story is None:
            return ()
        return call_lines([(one.number, one.server, one.tool, one.outcome) for one in story.calls], approval.call)

    # Answers

    async def _page(
        self, template: str, looking: _Looking, title: str, *, status: int = 200, **values: object
    ) -> Response:
        visitor, now = looking.visitor, self._now()
        design = (await self._login.directory.rules()).design
        made: Callable[..., Response] = self._pages.page
        return made(
            template,
            design,
            visitor,
            status=status,
            person=looking.session.binding,
            title=title,
            viewer=looking.session.identity.label,
            htmx_config=HTMX_CONFIG,
            htmx=[visitor.address.path(source) for source in self._assets.paths(*HTMX_SCRIPTS)],
            ago=partial(_ago, now),
            ahead=partial(_ahead, now),
            max_comment=MAX_COMMENT,
            max_justification=MAX_JUSTIFICATION,
            max_uses=MAX_USES,
            **values,
        )

    async def _unknown(self, visitor: Visitor) -> Response:
        back = visitor.address.path(APPROVALS_PATH)
        return await self._login.message(visitor, 404, "There is nothing here for you", UNKNOWN, back, "Your approvals")

    async def _conflict(self, visitor: Visitor, words: str, path: str) -> Response:
        text = f"{words} See what it is now."
        return await self._login.message(
            visitor, 409, "It is not as you saw it", text, visitor.address.path(path), "Look"
        )

    async def _not_now(self, visitor: Visitor, error: Exception) -> Response:
        back = visitor.address.path(APPROVALS_PATH)
        self._log.debug("approvals are not shown", reason=str(error))
        text = BUSY if isinstance(error, Full) else SILENT
        return await self._login.message(visitor, 503, "Not now", text, back, "Try again")


def _path(id: str) -> str:
    """The page of an approval, below the prefix."""
    return f"{APPROVE_PATH}/{quote(id, safe='')}"


def _digest(inbox: _Inbox) -> str:
    return digest_of_list((*inbox.waiting, *inbox.decided))


def _news_path(inbox: _Inbox) -> str:
    return f"{APPROVALS_PATH}/live?seen={_digest(inbox)}"


def _ago(now: datetime, at: datetime) -> str:
    return ago(at, now)


def _ahead(now: datetime, at: datetime) -> str:
    return ahead(at, now)
