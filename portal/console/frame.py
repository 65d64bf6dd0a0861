"""What every page of the console has: who may see it, the navigation around it, and how its forms are answered.

A page reads through the operations of the admin API, a form changes something through them and sends the browser on to
a page (RFC 9110 section 15.4.4). Where the API refuses a form, its page comes back with what was typed and with what is
wrong beside each field. Nothing here needs a script.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, compile_path

from portal.admin import (
    Actions,
    AdminError,
    ApiCaller,
    Area,
    ChangedMeanwhile,
    Marks,
    Operations,
    ShownName,
    forbidden,
    invalid,
)
from portal.console.notices import NOTICES
from portal.console.url_state import link_to
from portal.console.visit import (
    BUTTON,
    Answer,
    ConsoleRole,
    NamedKey,
    Overtaken,
    Problems,
    Shown,
    Visit,
    Went,
    portal_said,
)
from portal.home import Connecting, ago, ahead
from portal.http import PortalAddress
from portal.identity import Identity
from portal.login import Login, LoginSession, form_endpoint
from portal.pages import CHART_SCRIPTS, HTMX_CONFIG, HTMX_SCRIPTS, Assets, Pages, Visitor, part_or_page
from portal.state import Clock, utc_now

CONSOLE_PATH = "/admin"
PEOPLE_PATH = "/admin/people"
NAMES_API = "/access/ai-controls/names"
MARKS = "marks"
"""The field of a form with the state of what its page shows (`Marks`)."""
KEYS_AT_ONCE, MAX_KEY = 100, 512
PageHandler = Callable[[Visit], Awaitable[Answer]]
CountOf = Callable[[Visit], Awaitable[int]]
"""How many things wait in a part of the console."""
RoleOf = Callable[[Identity], Awaitable[ConsoleRole | None]]
NOT_ADMINISTRATOR = (
    "You are signed in as {who}, and as such you are no administrator of this portal. If you are one by another login, "
    "such as an account with a password, sign out and sign in with that. If not, ask an administrator to invite you."
)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is asked before something that cannot be undone. `act` does it, once somebody has typed the `name` of the
    thing; `back` is the page without it. `query` are the parameters of the URL of the form, and `boxes` fields with
    their words, ticked at first."""

    title: str
    _: KW_ONLY
    name: str
    back: str
    act: Callable[[], Awaitable[Answer]]
    deed: str = "Remove"
    consequences: Sequence[str] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    boxes: Sequence[tuple[str, str]] = ()


ConfirmationHandler = Callable[[Visit], Awaitable[Confirmation | Went]]


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A part of the console in the navigation. Who may not read its `area` does not see it; None is for everybody."""

    id: str
    title: str
    path: str
    area: Area | None = None


@dataclass(frozen=True, slots=True)
class MenuGroup:
    title: str
    sections: Sequence[MenuEntry]


class ConsoleSection(Protocol):
    """The pages of one part of the console."""

    def routes(self) -> list[Route]: ...


class ConsoleFrame:
    """Makes endpoints of the handlers of pages and forms. `role_of` says what somebody may do, None for nothing, and
    `connect` how an agent connects to the portal at an address."""

    def __init__(
        self,
        login: Login,
        operations: Operations,
        role_of: RoleOf,
        menu: Sequence[MenuGroup],
        connect: Callable[[PortalAddress], Connecting],
        assets: Assets,
        now: Clock = utc_now,
    ) -> None:
        self.connect = connect
        self._login = login
        self._operations = operations
        self._role_of = role_of
        self._menu = menu
        self._assets = assets
        self._now = now
        self._pages = Pages("portal.console", own_scripts=True)
        self._paths: list[str] = []
        self._counts: dict[str, CountOf] = {}

    @property
    def now(self) -> Clock:
        """The clock of the pages."""
        return self._now

    def count(self, here: str, of: CountOf) -> None:
        """Show beside the entry `here` of the navigation how many things wait there."""
        self._counts[here] = of

    async def _waiting(self, visit: Visit) -> Mapping[str, int]:
        # A part of a page has no navigation, and is read again each second.
        if visit.request.headers.get("hx-request") == "true":
            return {}
        return {here: await of(visit) for here, of in self._counts.items()}

    def page(self, path: str, here: str, handle: PageHandler, changes: Area | None = None) -> Route:
        """The route of a page. `here` is the id of its entry in the navigation. Who may not change what belongs to the
        area `changes` is not shown the page: a page that is there to change something names it. One that shows
        something has its forms where it is `editable` alone."""

        async def endpoint(request: Request) -> Response:
            visitor = self._login.visitors.of(request)
            found = await self._visit(request, visitor)
            if isinstance(found, Response):
                return part_or_page(request, found)
            visit, session = found
            if changes is not None and not visit.may(changes):
                return await self._answer(visit, session, here, _refuse)
            return part_or_page(request, await self._answer(visit, session, here, handle))

        self._paths.append(CONSOLE_PATH + path)
        return Route(CONSOLE_PATH + path, endpoint, methods=["GET"])

    def form(
        self, path: str, here: str, handle: PageHandler, again: PageHandler, names: Mapping[str, str] | None = None
    ) -> Route:
        """The route of a form. Where the API refuses what it does, `again` makes its page with the problems; `names`
        are the fields of members of the body that are called otherwise."""

        async def endpoint(request: Request, visitor: Visitor, fields: Mapping[str, str]) -> Response:
            back = visitor.address.path(CONSOLE_PATH)
            session = await self._login.sender(request, visitor, fields, back)
            if isinstance(session, Response):
                return session
            found = await self._visit(request, visitor, session, fields.get(MARKS, ""))
            if isinstance(found, Response):
                return found
            visit = replace(found[0], fields=fields)
            try:
                answer = await handle(visit)
            except AdminError as error:
                problems = _problems(error, visit, names)
                for changed in error.problems:
                    if isinstance(changed, ChangedMeanwhile):
                        # The form comes back for what stands there now: sent once more, it is in place of that.
                        visit.api.marks.forget()
                        problems = _overtaken(changed, visit, self._page_of(visit))
                refused = replace(visit, problems=problems)
                return await self._answer(refused, session, here, again, status=error.status)
            return await self._rendered(visit, session, here, answer)

        return Route(CONSOLE_PATH + path, form_endpoint(self._login, endpoint), methods=["POST"])

    def confirmation(self, path: str, here: str, ask: ConfirmationHandler, changes: Area) -> list[Route]:
        """The routes of something that cannot be undone: the page that asks for the name of the thing, and its form,
        which does nothing without that name."""

        async def show(visit: Visit) -> Answer:
            asked = await ask(visit)
            if isinstance(asked, Went):
                return asked
            ids = {name: quote(str(value), safe="") for name, value in visit.request.path_params.items()}
            action = link_to(CONSOLE_PATH + path.format_map(ids), asked.query)
            values = {"name": asked.name, "action": action, "back": asked.back, "deed": asked.deed}
            return Shown("sure.html", asked.title, {**values, "consequences": asked.consequences, "boxes": asked.boxes})

        async def act(visit: Visit) -> Answer:
            asked = await ask(visit)
            if isinstance(asked, Went):
                return asked
            require_name(visit, asked.name)
            return await asked.act()

        return [self.page(path, here, show, changes), self.form(path, here, act, show)]

    # Who it is

    async def _visit(
        self, request: Request, visitor: Visitor, session: LoginSession | None = None, sent: str = ""
    ) -> tuple[Visit, LoginSession] | Response:
        session = session or await self._login.session(request, visitor)
        if session is None:
            query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
            return self._login.sign_in(visitor, visitor.address.path(_within(request, visitor)) + query)
        identity = replace(session.identity, ip=visitor.ip)
        role = await self._role_of(identity)
        if role is None:
            home, text = visitor.address.path("/"), NOT_ADMINISTRATOR.format(who=identity.label)
            return await self._login.message(
                visitor, 403, "This is the administrators' console", text, home, "Go to your own page"
            )
        api = self._actions(request, visitor, session, Marks(sent))
        return Visit(request, visitor, identity, role, api), session

    def _actions(self, request: Request, visitor: Visitor, session: LoginSession, marks: Marks) -> Actions:
        async def caller() -> ApiCaller:
            # Asked again for what lasts: the session may have ended, or the role be another.
            known = await self._login.session(request, visitor)
            role = await self._role_of(session.identity) if known is not None else None
            permissions = role.permissions if role is not None else frozenset[str]()
            key = session.identity.key
            return ApiCaller(key, permissions, name="console", person=key, via="browser")

        return self._operations.of(caller, visitor.ip, marks)

    def _page_of(self, visit: Visit) -> str:
        """The page of a form, which has its path or is above it."""
        path = _within(visit.request, visit.visitor)
        while path != CONSOLE_PATH and not any(compile_path(one)[0].match(path) for one in self._paths):
            path = path.rpartition("/")[0] or CONSOLE_PATH
        return f"{path}?{visit.request.url.query}" if visit.request.url.query else path

    # How it is answered

    async def _answer(
        self, visit: Visit, session: LoginSession, here: str, handle: PageHandler, status: int = 200
    ) -> Response:
        """The page that a handler makes; where the API refuses, a page that says why."""
        try:
            answer = await handle(visit)
        except AdminError as error:
            title = "There is nothing here" if error.status == 404 else "This does not work"
            problems = _problems(error, visit)
            text = " ".join(problems.fields.values()) or " ".join(problems.loose)
            answer = Shown("refused.html", title, {"text": text, "back": CONSOLE_PATH}, status=error.status)
        if isinstance(answer, Shown) and answer.status == 200:
            answer = replace(answer, status=status)
        return await self._rendered(visit, session, here, answer)

    async def _rendered(self, visit: Visit, session: LoginSession, here: str, answer: Answer) -> Response:
        visitor = visit.visitor
        if isinstance(answer, Went):
            target = visitor.address.path(_going(answer))
            return visitor.remember(RedirectResponse(target, 303, {"Cache-Control": "no-store"}))
        overtaken = visit.problems.overtaken
        keys = [*answer.keys, overtaken.by] if overtaken is not None else answer.keys
        design, named = (await self._login.directory.rules()).design, await named_keys(visit, keys)
        return self._pages.page(
            answer.template,
            design,
            visitor,
            status=answer.status,
            person=session.binding,
            title=answer.title,
            crumbs=answer.crumbs,
            menu=[*self._seen_by(visit)],
            here=here,
            menu_counts=await self._waiting(visit),
            viewer=visit.identity.label,
            viewer_role=visit.role.name,
            editable=self._editable(visit, here),
            said=NOTICES.get(visit.query("said"), "") if not visit.fields else "",
            problems=visit.problems,
            marks=str(visit.api.marks),
            marks_field=MARKS,
            sent=visit.fields if answer.refill or visit.problems else {},
            htmx_config=HTMX_CONFIG,
            htmx=[visitor.address.path(source) for source in self._assets.paths(*HTMX_SCRIPTS)],
            chart_sheet=visitor.address.path(self._assets.path("uplot.min.css")),
            chart_scripts=[visitor.address.path(source) for source in self._assets.paths(*CHART_SCRIPTS)],
            ago=partial(_ago, self._now),
            ahead=partial(_ahead, self._now),
            named_by=lambda key: named.get(key, NamedKey(key)),
            portal_said=portal_said,
            **answer.values,
        )

    def _editable(self, visit: Visit, here: str) -> bool:
        """Whether the administrator may change something on pages of this entry."""
        areas = [one.area for group in self._menu for one in group.sections if one.id == here]
        return any(area is None or visit.may(area) for area in areas)

    def _seen_by(self, visit: Visit) -> Sequence[MenuGroup]:
        groups = []
        for group in self._menu:
            seen = [one for one in group.sections if one.area is None or visit.may(one.area, writing=False)]
            if seen:
                groups.append(MenuGroup(group.title, seen))
        return groups


def deletion(visit: Visit, path: str, to: str, said: str = "removed", **ids: str) -> Callable[[], Awaitable[Answer]]:
    """What a `Confirmation` does that deletes what is at this path of the API: it leads on `to` a page."""

    async def act() -> Answer:
        await visit.api.change("DELETE", path, None, **ids)
        return Went(to, said)

    return act


def once_unused(users: Sequence[str], otherwise: str) -> Sequence[str]:
    """The consequences of the removal of what goes only once nothing uses it; `otherwise` says that nothing does."""
    used = f"{', '.join(users[:5])} use it: it is removed only when they do not any more."
    return (used,) if users else (otherwise,)


def name_to_type(name: str, id: str) -> str:
    """What somebody types before a thing goes: its name, or its id where nobody could type its name as it is."""
    return name if name and name.isprintable() and len(name) <= 80 and name == " ".join(name.split()) else id


def require_name(visit: Visit, name: str) -> None:
    """
    Raises:
        AdminError: the form does not have the name of the thing.
    """
    if visit.sent("name") != name:
        raise invalid("this is not its name; nothing was done", "/name")


async def named_keys(visit: Visit, keys: Sequence[str]) -> Mapping[str, NamedKey]:
    """What a page calls those who have these keys, by key. Of whom nothing is known, and who may not be known to this
    administrator, is left out."""
    asked = [key for key in dict.fromkeys(keys) if key and len(key) <= MAX_KEY and key.isprintable()]
    named: dict[str, NamedKey] = {}
    for first in range(0, len(asked), KEYS_AT_ONCE):
        try:
            found = await visit.api.list(ShownName, NAMES_API, {"keys": "\n".join(asked[first : first + KEYS_AT_ONCE])})
        except AdminError:
            return named
        named |= {one.key: _named(one) for one in found.items if one.kind != "unknown"}
    return named


def _named(one: ShownName) -> NamedKey:
    if one.kind == "api_token":
        return NamedKey(f"API token {one.name}")
    return NamedKey(one.name, f"{PEOPLE_PATH}/{one.id}")


async def _refuse(visit: Visit) -> Answer:
    raise forbidden()


def _problems(error: AdminError, visit: Visit, names: Mapping[str, str] | None = None) -> Problems:
    """What is wrong, in words for an administrator: what they may not do is said by their role and not by a token."""
    if error.status == 403:
        refused = f"Your role, {visit.role.name}, does not allow this."
        asked_to_change = visit.request.method not in ("GET", "HEAD")
        return Problems(loose=(f"{refused} Nothing was changed." if asked_to_change else refused,))
    problems = Problems.of(error, names)
    return problems.of_no_field() if visit.fields.get("of_form") == BUTTON else problems


def _overtaken(changed: ChangedMeanwhile, visit: Visit, path: str) -> Problems:
    """What a form says whose object somebody else has changed. A button is pressed again, on what is shown now."""
    if visit.fields.get("of_form") == BUTTON:
        words = (
            f"The {changed.noun} was changed by somebody else at the same time, and not by this. See what it is now."
        )
        return Problems(loose=(words,))
    return Problems(overtaken=Overtaken(changed.noun, changed.by, changed.at, path))


def _going(answer: Went) -> str:
    """The path that a browser is sent to, with the key of what that page says."""
    parts = urlsplit(answer.path)
    said = urlencode({"said": answer.said}) if answer.said else ""
    return parts._replace(query="&".join(filter(None, (parts.query, said)))).geturl()


def _ago(now: Clock, at: object) -> str:
    return ago(at, now()) if hasattr(at, "tzinfo") else str(at)  # type: ignore[arg-type]


def _ahead(now: Clock, at: object) -> str:
    return ahead(at, now()) if hasattr(at, "tzinfo") else str(at)  # type: ignore[arg-type]


def _within(request: Request, visitor: Visitor) -> str:
    """The path that is asked for, below the portal's prefix."""
    return request.url.path.removeprefix(visitor.address.prefix)
