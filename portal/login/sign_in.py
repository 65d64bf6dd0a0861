"""Who is signed in at a portal, and where everybody else is sent: what the authorization server needs of the login."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal
from urllib.parse import urlencode

import structlog
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from portal.errors import Outcome
from portal.identity import Identity
from portal.login.directory import Directory
from portal.login.sessions import LoginSession, LoginSessions
from portal.logs import NO_EVENTS, EventSink, event
from portal.pages import DENIED, FORM_FIELD, Block, Pages, Visitor, Visitors, safe_return

SignInMethod = Literal["sign_in", "pin", "claim", "invitation", "reset", "sign_out", "sign_out_everywhere"]
"""What a row about a sign-in says was done: `pin` asked for a PIN, `claim` and `invitation` made an account, `reset` a
new password."""
LOGIN_PATH = "/login"
MAX_FIELDS = 300
"""Fields of one form: a policy has some twenty, and one for each box that is ticked."""
STALE_FORM = "This form is not from a page opened in this browser. Open the page again."
ANOTHER_SIGN_IN = "Nothing was done: the page is of another sign-in in this browser. You are signed in as {who} now."
"""The sentence for a person whose form is from a page about somebody else."""


class Login:
    """The login of one portal, as others see it. Its own pages are `LoginRoutes`.

    `events` takes the rows of sign-ins.

    Targets and links are paths of the origin, with the portal's prefix (`Visitor.address.path`). A place is a path of
    the portal, or `app:` and the id of an application.
    """

    def __init__(
        self,
        visitors: Visitors,
        sessions: LoginSessions,
        directory: Directory,
        pages: Pages,
        refused_for_identity: Callable[[Identity, str], Awaitable[bool]] | None = None,
        contact: str = "",
        events: EventSink = NO_EVENTS,
    ) -> None:
        self.events = events
        self.visitors = visitors
        self.sessions = sessions
        self.directory = directory
        self.pages = pages
        self._refused_for_identity = refused_for_identity
        self._contact = contact
        self._log = structlog.get_logger("portal.login")

    async def session(self, request: Request, visitor: Visitor) -> LoginSession | None:
        """The session of this browser at this portal, or None if nobody is signed in."""
        return await self.sessions.find(request, visitor.address)

    def sign_in(self, visitor: Visitor, target: str) -> Response:
        """Send the browser to the login page, and from there back to `target`."""
        return visitor.remember(see_other(f"{visitor.address.path(LOGIN_PATH)}?{urlencode({'return': target})}"))

    async def sender(
        self, request: Request, visitor: Visitor, fields: Mapping[str, str], back: str
    ) -> LoginSession | Response:
        """The person who has sent this form, from a page that was about them.

        Otherwise the answer: the way to sign in where nobody is signed in, or, where the page was about somebody else,
        a page that says who is signed in now. Both lead to the page of the form at `back`, which names that person.
        """
        session = await self.session(request, visitor)
        if session is None:
            return self.sign_in(visitor, back)
        if visitor.sent_by(session.binding, fields.get(FORM_FIELD, "")):
            return session
        who = session.identity.label
        text = ANOTHER_SIGN_IN.format(who=who)
        return await self.message(visitor, 403, "Somebody else's page", text, back, f"Go on as {who}")

    async def block(self, identity: Identity, place: str) -> Block:
        """The page or redirect for somebody who may not use this place."""
        return await self.directory.block(place, person=await self._is_about_identity(identity, place))

    async def blocked(self, visitor: Visitor, identity: Identity, place: str) -> Response:
        """The page for somebody who may not use this place: who they are, why they are refused, and whom to ask."""
        reason = "no policy lets them in"
        row = event("refusal", "enter", "denied", who=identity, ip=visitor.ip, name=place, reason=reason)
        self.events.write(row)
        person = await self._is_about_identity(identity, place)
        rules, block = await self.directory.rules(), await self.directory.block(place, person=person)
        who = identity.label if identity.logged_in else ""
        contact = self._contact or (f"the administrators of {rules.design.name}" if block.message == DENIED else "")
        return self.pages.blocked(
            rules.design, visitor, block, who=who, reason=_reason_of(who, person=person), contact=contact
        )

    async def _is_about_identity(self, identity: Identity, place: str) -> bool:
        if self._refused_for_identity is None:
            return identity.logged_in
        return await self._refused_for_identity(identity, place)

    async def message(
        self, visitor: Visitor, status: int, title: str, text: str, link: str = "", link_text: str = ""
    ) -> Response:
        """A page that says one thing, with a link to go on by."""
        rules = await self.directory.rules()
        values = {"title": title, "text": text, "link": link, "link_text": link_text}
        return self.pages.page("message.html", rules.design, visitor, status=status, **values)

    def note(
        self,
        visitor: Visitor,
        method: SignInMethod,
        who: Identity | None = None,
        *,
        provider: str = "",
        refused: str = "",
        email: str = "",
    ) -> None:
        """Write into the log that somebody has signed in or out, or why not (`refused`, in our own words).

        What was typed is for no log: it may be a password in the wrong field. `email` is an address that is known.
        """
        name = provider or ("" if who is None else who.login_method)
        outcome: Outcome = "denied" if refused else "ok"
        self.events.write(
            event("sign_in", method, outcome, who=who, ip=visitor.ip, email=email, name=name, reason=refused)
        )

    async def signed_in(self, request: Request, visitor: Visitor, identity: Identity, target: str) -> Response:
        """Begin a session for this person, and send the browser on to `target` if that is a path of the portal."""
        rules = await self.directory.rules()
        response = see_other(safe_return(target, visitor.address.prefix))
        await self.sessions.begin(response, request, visitor.address, identity, rules.session_duration, visitor.ip)
        self._log.info("signed in", who=identity.key, method=identity.login_method, ip=visitor.ip)
        return visitor.remember(response)

    async def read_form(self, request: Request, visitor: Visitor) -> Mapping[str, str] | None:
        """The fields of a form that was filled in on a page of this portal, in this browser; None for any other."""
        fields = text_fields(await request.form(max_files=0, max_fields=MAX_FIELDS))
        return fields if visitor.sent(fields.get(FORM_FIELD, "")) else None


def _reason_of(who: str, *, person: bool) -> str:
    """Why somebody is refused, without what only those may know who write policies."""
    if not who:
        return "No policy lets in who comes with these credentials."
    if person:
        return "No policy lets this account in."
    return (
        "A policy looks at more than the account: the network, the country, the device, or how you signed in. "
        "One of these is not as it asks."
    )


def form_endpoint(
    login: Login, handle: Callable[[Request, Visitor, Mapping[str, str]], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a form. `handle` gets the fields if a page of this portal was filled in, in this browser.

    Of a form that acts for a person it asks for `Login.sender` first.
    """

    async def endpoint(request: Request) -> Response:
        visitor = login.visitors.of(request)
        fields = await login.read_form(request, visitor)
        if fields is None:
            page = visitor.address.path(LOGIN_PATH)
            return await login.message(visitor, 403, "Open the page again", STALE_FORM, page, "Sign in")
        return await handle(request, visitor, fields)

    return endpoint


def text_fields(form: FormData) -> dict[str, str]:
    """The text fields of a form, each once."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def see_other(url: str) -> RedirectResponse:
    """A redirect to a page, also after a form (RFC 9110 section 15.4.4)."""
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})
