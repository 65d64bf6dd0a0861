"""The login as HTTP: its pages, its forms, the way to identity providers and back, and signing out."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

import structlog
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portal.http import Rate
from portal.identity import Identity
from portal.login.administrators import Administrators
from portal.login.directory import Directory, Offer
from portal.login.passwords import MIN_LENGTH, why_unfit
from portal.login.pin import Accepted, Again, Pins, normal_email
from portal.login.providers import OneTimePin
from portal.login.remote import LoginFailed
from portal.login.sessions import Session, Sessions
from portal.pages import FORM_FIELD, HOME, STYLE_PATH, Block, Pages, Visitor, Visitors, safe_return, style
from portal.state import Tokens, utc_now

CALLBACK_PATH = "/login/callback"
STATE = "login_state"
STATE_LASTS = timedelta(minutes=10)
STALE_FORM = "This form is not from a page opened in this browser. Open the page again."
EXPIRED = "This sign-in has expired, was used already, or was begun in another browser. Begin again."
TOO_OFTEN = "Too many attempts. Wait a minute and try again."
Handler = Callable[[Request], Awaitable[Response]]


class Login:
    """Everything under `/login` and `/logout`, and who is signed in."""

    def __init__(
        self,
        tokens: Tokens,
        directory: Directory,
        administrators: Administrators,
        sessions: Sessions,
        pins: Pins,
        visitors: Visitors,
        pages: Pages,
        *,
        endpoint: str = "/mcp",
        pin_allowed: Callable[[Identity], Awaitable[bool]] | None = None,
        refused_for_identity: Callable[[Identity, str], Awaitable[bool]] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.directory = directory
        self.administrators = administrators
        self.sessions = sessions
        self.visitors = visitors
        self.pages = pages
        self._tokens = tokens
        self._pins = pins
        self._endpoint = endpoint
        self._pin_allowed = pin_allowed
        self._refused_for_identity = refused_for_identity
        self._now = now
        self._tries = Rate(burst=20, per_minute=20)
        self._tries_each = Rate(burst=6, per_minute=2)
        self._log = structlog.get_logger("portal.login")

    def routes(self) -> list[Route]:
        return [
            Route(HOME, self._home, methods=["GET"]),
            Route("/login", self._page, methods=["GET"]),
            Route(STYLE_PATH, self._style, methods=["GET"]),
            Route("/login/password", self._form(self._password), methods=["POST"]),
            Route("/login/pin", self._form(self._pin), methods=["POST"]),
            Route("/login/pin/check", self._form(self._pin_check), methods=["POST"]),
            Route("/login/with/{provider}", self._begin, methods=["GET"]),
            Route(CALLBACK_PATH, self._callback, methods=["GET"]),
            Route("/login/claim", self._claim_page, methods=["GET"]),
            Route("/login/claim", self._form(self._claim), methods=["POST"]),
            Route("/logout", self._logout_page, methods=["GET"]),
            Route("/logout", self._form(self._logout), methods=["POST"]),
        ]

    async def aclose(self) -> None:
        await self._pins.aclose()

    async def session(self, request: Request, visitor: Visitor) -> Session | None:
        return await self.sessions.find(request, visitor.origin)

    def sign_in(self, visitor: Visitor, target: str) -> Response:
        """Send the browser to the login page, and from there back to `target`."""
        return visitor.remember(_see(f"/login?{urlencode({'return': target})}"))

    async def block(self, identity: Identity, place: str) -> Block:
        """What is shown to somebody who may not use this place (`Directory.block`)."""
        asked = self._refused_for_identity
        person = identity.logged_in if asked is None else await asked(identity, place)
        return await self.directory.block(place, person=person)

    async def blocked(self, visitor: Visitor, identity: Identity, place: str) -> Response:
        rules, block = await self.directory.rules(), await self.block(identity, place)
        who = identity.label if identity.logged_in else ""
        return self.pages.blocked(rules.design, visitor, block, who=who)

    async def message(
        self, visitor: Visitor, status: int, title: str, text: str, link: str = "", link_text: str = ""
    ) -> Response:
        rules = await self.directory.rules()
        values = {"title": title, "text": text, "link": link, "link_text": link_text}
        return self.pages.page("message.html", rules.design, visitor, status=status, **values)

    async def read_form(self, request: Request, visitor: Visitor) -> Mapping[str, str] | None:
        """The fields of a form of ours; None when it was not filled in on a page of ours, in this browser."""
        fields = text_fields(await request.form(max_files=0, max_fields=30))
        return fields if visitor.sent(fields.get(FORM_FIELD, "")) else None

    async def _style(self, request: Request) -> Response:
        return style((await self.directory.rules()).design)

    async def _home(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        session = await self.session(request, visitor)
        design = (await self.directory.rules()).design
        who = session.identity.label if session is not None else ""
        return self.pages.page("home.html", design, visitor, who=who, endpoint=visitor.origin + self._endpoint)

    async def _page(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        target = safe_return(request.query_params.get("return", ""))
        if await self.session(request, visitor) is not None:
            return visitor.remember(_see(target))
        offer = await self._offer()
        if offer.straight_to and "choose" not in request.query_params:
            return visitor.remember(_see(f"/login/with/{quote(offer.straight_to)}?{urlencode({'return': target})}"))
        return self._methods(visitor, offer, target)

    def _methods(self, visitor: Visitor, offer: Offer, target: str, problem: str = "", status: int = 200) -> Response:
        return self.pages.page(
            "login.html",
            offer.rules.design,
            visitor,
            status=status,
            target=target,
            problem=problem,
            redirects=offer.redirects,
            pin=offer.pin,
            password=offer.password,
        )

    async def _password(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        target, email = safe_return(form.get("return", "")), form.get("email", "")[:254].strip().lower()
        if not self._may_try(visitor, f"password:{email}"):
            return self._methods(visitor, await self._offer(), target, TOO_OFTEN, 429)
        identity = await self.administrators.sign_in(email, form.get("password", "")[:4096])
        if identity is None:
            self._log.warning("a sign-in failed", method="local", ip=visitor.ip)
            return self._methods(visitor, await self._offer(), target, "E-mail or password is wrong.", 403)
        self._tries_each.forgive(f"password:{email}")
        return await self._signed_in(request, visitor, identity, target)

    async def _pin(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        target, offer = safe_return(form.get("return", "")), await self._offer()
        email = normal_email(form.get("email", ""))
        if offer.pin is None:
            return await self.message(visitor, 404, "Not offered", "This portal sends no PINs.")
        if email is None:
            return self._methods(visitor, offer, target, "That is not an e-mail address.", 400)
        if not self._may_try(visitor, f"pin:{email}"):
            return self._methods(visitor, offer, target, TOO_OFTEN, 429)
        send = self._pin_allowed is None or await self._pin_allowed(_by_pin(offer.pin, email))
        flow = await self._pins.begin(visitor, email, target, portal=offer.rules.design.name, send=send)
        return self._ask_pin(visitor, offer, email, flow, target)

    def _ask_pin(
        self, visitor: Visitor, offer: Offer, email: str, flow: str, target: str, problem: str = "", status: int = 200
    ) -> Response:
        values = {"email": email, "flow": flow, "target": target, "problem": problem}
        return self.pages.page("pin.html", offer.rules.design, visitor, status=status, **values)

    async def _pin_check(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        offer = await self._offer()
        if offer.pin is None or not self._tries.allows(visitor.ip):
            return self._methods(visitor, offer, HOME, TOO_OFTEN, 429)
        outcome = await self._pins.finish(visitor, form.get("flow", "")[:200], form.get("pin", "")[:40])
        if isinstance(outcome, Again):
            email = normal_email(form.get("email", "")) or ""
            return self._ask_pin(visitor, offer, email, outcome.flow, HOME, "That PIN is wrong.", 403)
        if not isinstance(outcome, Accepted):
            return await self.message(visitor, 400, "Sign-in ended", EXPIRED, "/login", "Begin again")
        return await self._signed_in(request, visitor, _by_pin(offer.pin, outcome.email), outcome.target)

    async def _begin(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        provider = request.path_params["provider"]
        remote = await self.directory.remote(provider)
        if remote is None:
            return await self.message(visitor, 404, "Not offered", "This portal has no such identity provider.")
        if not self._tries.allows(visitor.ip):
            return await self.message(visitor, 429, "Slow down", TOO_OFTEN)
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        try:
            url = await remote.begin(visitor.origin + CALLBACK_PATH, state, nonce, verifier)
        except LoginFailed as error:
            return await self._provider_failed(visitor, provider, error)
        await self._tokens.issue(
            STATE,
            state,
            subject=provider,
            document={
                "browser": visitor.binding,
                "nonce": nonce,
                "verifier": verifier,
                "target": safe_return(request.query_params.get("return", "")),
            },
            expires_at=self._now() + STATE_LASTS,
        )
        return visitor.remember(_see(url))

    async def _callback(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        asked = request.query_params
        state = asked.get("state", "")[:200]
        begun = await self._tokens.find(STATE, state) if state else None
        if begun is None or not visitor.owns(begun.document["browser"]):
            return await self.message(visitor, 400, "Sign-in ended", EXPIRED, "/login", "Begin again")
        used = await self._tokens.consume(STATE, state)
        remote = await self.directory.remote(begun.subject)
        if used is None or used.reused or remote is None:
            return await self.message(visitor, 400, "Sign-in ended", EXPIRED, "/login", "Begin again")
        try:
            if "error" in asked or not asked.get("code"):
                raise LoginFailed("The identity provider ended the sign-in.")
            identity = await remote.finish(
                visitor.origin + CALLBACK_PATH,
                asked["code"],
                asked.get("iss", ""),
                str(begun.document["nonce"]),
                str(begun.document["verifier"]),
            )
        except LoginFailed as error:
            return await self._provider_failed(visitor, begun.subject, error)
        return await self._signed_in(request, visitor, identity, safe_return(str(begun.document["target"])))

    async def _provider_failed(self, visitor: Visitor, provider: str, error: LoginFailed) -> Response:
        self._log.warning(
            "a sign-in failed", method=provider, ip=visitor.ip, reason=str(error), cause=repr(error.__cause__)[:300]
        )
        return await self.message(visitor, 502, "Sign-in failed", str(error), "/login?choose", "Begin again")

    async def _claim_page(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        token = request.query_params.get("token", "")[:200]
        if not await self.administrators.claimable(token):
            return await self._not_claimable(visitor)
        return await self._ask_claim(visitor, token)

    async def _claim(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        token, name = form.get("token", "")[:200], form.get("name", "").strip()[:100]
        email, password = normal_email(form.get("email", "")), form.get("password", "")
        if not self._tries.allows(visitor.ip):
            return await self.message(visitor, 429, "Slow down", TOO_OFTEN)
        if not await self.administrators.claimable(token):
            return await self._not_claimable(visitor)
        problem = why_unfit(password) if email else "That is not an e-mail address."
        if problem or email is None:
            return await self._ask_claim(visitor, token, problem or "", name, form.get("email", "")[:254])
        identity = await self.administrators.claim(token, email, name or email, password)
        if identity is None:
            return await self._not_claimable(visitor)
        self._log.warning("the portal was claimed by its first administrator", who=identity.key, ip=visitor.ip)
        return await self._signed_in(request, visitor, identity, HOME)

    async def _ask_claim(
        self, visitor: Visitor, token: str, problem: str = "", name: str = "", email: str = ""
    ) -> Response:
        design = (await self.directory.rules()).design
        return self.pages.page(
            "claim.html",
            design,
            visitor,
            status=400 if problem else 200,
            token=token,
            problem=problem,
            name=name,
            email=email,
            shortest=MIN_LENGTH,
        )

    async def _not_claimable(self, visitor: Visitor) -> Response:
        text = "The link was used, has expired, or the portal has an administrator. A restart prints a new one if not."
        return await self.message(visitor, 400, "This link does not work", text, "/login", "Sign in")

    async def _logout_page(self, request: Request) -> Response:
        visitor = self.visitors.of(request)
        session = await self.session(request, visitor)
        if session is None:
            return await self._signed_out(visitor)
        design = (await self.directory.rules()).design
        return self.pages.page("logout.html", design, visitor, who=session.identity.label)

    async def _logout(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        session = await self.session(request, visitor)
        if session is not None and form.get("where") == "everywhere":
            await self.sessions.end_everywhere(session.identity)
        response = await self._signed_out(visitor)
        await self.sessions.end(response, request, visitor.origin)
        return response

    async def _signed_out(self, visitor: Visitor) -> Response:
        return await self.message(visitor, 200, "You are signed out", "This browser is.", "/login?choose", "Sign in")

    async def _signed_in(self, request: Request, visitor: Visitor, identity: Identity, target: str) -> Response:
        rules = await self.directory.rules()
        response = _see(safe_return(target))
        await self.sessions.begin(response, visitor, identity, request, rules.session_duration)
        self._log.info("signed in", who=identity.key, method=identity.login_method, ip=visitor.ip)
        return visitor.remember(response)

    async def _offer(self) -> Offer:
        return await self.directory.offer(password=await self.administrators.exist())

    def _may_try(self, visitor: Visitor, key: str) -> bool:
        return self._tries.allows(visitor.ip) and self._tries_each.allows(key)

    def _form(self, handle: Callable[[Request, Visitor, Mapping[str, str]], Awaitable[Response]]) -> Handler:
        async def handled(request: Request) -> Response:
            visitor = self.visitors.of(request)
            form = await self.read_form(request, visitor)
            if form is None:
                return await self.message(visitor, 403, "Open the page again", STALE_FORM, "/login", "Sign in")
            return await handle(request, visitor, form)

        return handled


def _by_pin(provider: OneTimePin, email: str) -> Identity:
    """Whom a PIN that went to this address lets in."""
    return Identity(
        id=f"{provider.id}:{email}",
        email=email,
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        auth_methods=("otp",),
    )


def text_fields(form: FormData) -> dict[str, str]:
    """The text fields of a form, each once."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _see(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})
