"""The login as HTTP: its pages, its forms, and the way to identity providers and back.

Every path is below the prefix of the portal; what is begun at one portal is finished there.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.accounts import AccountRoutes
from portal.login.administrators import Administrators
from portal.login.attempts import TOO_MANY, TOO_MANY_ATTEMPTS, TOO_OFTEN, Attempts
from portal.login.directory import Offer
from portal.login.invitations import Invitations
from portal.login.pin import Pins, RightPin, WrongPin
from portal.login.providers import OneTimePin
from portal.login.remote import LoginFailed, LoginRefused, SignedIn
from portal.login.sign_in import LOGIN_PATH, Login, form_endpoint, see_other
from portal.notices import normal_email
from portal.objects import Document
from portal.pages import HOME, ICON_PATH, STYLE_PATH, Visitor, icon, safe_return, style
from portal.shares import Full
from portal.state import Kind, Tokens, utc_now

CALLBACK_PATH = "/login/callback"


class StateDocument(Document):
    """A login at an identity provider elsewhere, until the browser comes back."""

    browser: str
    nonce: str = Field(repr=False)
    verifier: str = Field(repr=False)
    target: str


STATE = Kind("login_state", StateDocument)
STATE_LASTS = timedelta(minutes=10)
EXPIRED = "This sign-in has expired, was used already, or was begun in another browser. Begin again."
ENDED = "the sign-in had expired, was used already, or was begun in another browser"
CHOOSE = f"{LOGIN_PATH}?choose"
"""The login page, also where it would be skipped."""


async def _keep_nothing(signed_in: SignedIn) -> None:
    """No identity provider's tokens are kept."""


class LoginRoutes:
    """The routes of one portal: `/login` and everything below it. `pin_allowed` says whether a PIN may be sent to
    somebody. `keep` stores the tokens of a sign-in at an identity provider, in place of the former ones.
    """

    def __init__(
        self,
        login: Login,
        tokens: Tokens,
        administrators: Administrators,
        invitations: Invitations,
        pins: Pins,
        attempts: Attempts,
        *,
        pin_allowed: Callable[[Identity], Awaitable[bool]] | None = None,
        keep: Callable[[SignedIn], Awaitable[None]] = _keep_nothing,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._login = login
        self._directory = login.directory
        self._tokens = tokens
        self._administrators = administrators
        self._accounts = AccountRoutes(login, administrators, invitations, attempts)
        self._pins = pins
        self._attempts = attempts
        self._pin_allowed = pin_allowed
        self._keep = keep
        self._now = now
        self._log = structlog.get_logger("portal.login")

    def routes(self) -> list[Route]:
        return [
            Route(LOGIN_PATH, self._page, methods=["GET"]),
            Route(STYLE_PATH, self._style, methods=["GET"]),
            Route(ICON_PATH, self._icon, methods=["GET"]),
            Route("/login/password", form_endpoint(self._login, self._password), methods=["POST"]),
            Route("/login/pin", form_endpoint(self._login, self._pin), methods=["POST"]),
            Route("/login/pin/check", form_endpoint(self._login, self._pin_check), methods=["POST"]),
            Route("/login/with/{provider}", self._begin, methods=["GET"]),
            Route(CALLBACK_PATH, self._callback, methods=["GET"]),
            *self._accounts.routes(),
        ]

    async def aclose(self) -> None:
        await self._pins.aclose()

    async def _style(self, request: Request) -> Response:
        return style((await self._directory.rules()).design)

    async def _icon(self, request: Request) -> Response:
        return icon()

    # The login page and its forms

    async def _page(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        target = _target(visitor, request.query_params)
        if await self._login.session(request, visitor) is not None:
            return visitor.remember(see_other(target))
        offer = await self._offer()
        if offer.straight_to and "choose" not in request.query_params:
            begin = visitor.address.path(f"/login/with/{quote(offer.straight_to)}")
            return visitor.remember(see_other(f"{begin}?{urlencode({'return': target})}"))
        return self._methods(visitor, offer, target)

    def _methods(self, visitor: Visitor, offer: Offer, target: str, problem: str = "", status: int = 200) -> Response:
        return self._login.pages.page(
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
        target, email = _target(visitor, form), form.get("email", "")[:254].strip().lower()
        account = f"password:{email}"
        if not self._attempts.allows(visitor.ip, account):
            self._login.note(visitor, "sign_in", provider=LOCAL_ACCOUNTS, refused=TOO_MANY_ATTEMPTS)
            return self._methods(visitor, await self._offer(), target, TOO_OFTEN, 429)
        administrator = await self._administrators.sign_in(email, form.get("password", "")[:4096])
        if administrator is not None:
            response = await self._login.signed_in(request, visitor, administrator.identity, target)
            # Asked after the session is there: a removal or reset before this moment is seen, a later one ends it.
            if await self._administrators.is_unchanged(administrator):
                self._attempts.forgive(account)
                self._login.note(visitor, "sign_in", administrator.identity)
                return response
        self._log.warning("a sign-in failed", method="local", ip=visitor.ip)
        known = await self._administrators.find(email)
        address = "" if known is None else known.email
        self._login.note(visitor, "sign_in", provider=LOCAL_ACCOUNTS, refused="wrong e-mail or password", email=address)
        return self._methods(visitor, await self._offer(), target, "E-mail or password is wrong.", 403)

    async def _pin(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        target, offer = _target(visitor, form), await self._offer()
        email = normal_email(form.get("email", ""))
        if offer.pin is None:
            return await self._login.message(visitor, 404, "Not offered", "This portal sends no PINs.")
        if email is None:
            return self._methods(visitor, offer, target, "That is not an e-mail address.", 400)
        if not self._attempts.allows(visitor.ip, f"pin:{email}"):
            self._login.note(visitor, "pin", provider=offer.pin.id, refused=TOO_MANY_ATTEMPTS, email=email)
            return self._methods(visitor, offer, target, TOO_OFTEN, 429)
        try:
            self._attempts.begin(visitor.ip)
        except Full as full:
            self._login.note(visitor, "pin", provider=offer.pin.id, refused="too many sign-ins are under way")
            return self._methods(visitor, offer, target, TOO_MANY, 429 if full.own else 503)
        send = self._pin_allowed is None or await self._pin_allowed(_pin_identity(offer.pin, email))
        refused = "" if send else "no policy could let this address in"
        self._login.note(visitor, "pin", provider=offer.pin.id, refused=refused, email=email)
        flow = await self._pins.begin(visitor, email, target, portal=offer.rules.design.name, send=send)
        return self._pin_page(visitor, offer, email, flow, target)

    def _pin_page(
        self, visitor: Visitor, offer: Offer, email: str, flow: str, target: str, problem: str = "", status: int = 200
    ) -> Response:
        values = {"email": email, "flow": flow, "target": target, "problem": problem}
        return self._login.pages.page("pin.html", offer.rules.design, visitor, status=status, **values)

    async def _pin_check(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        offer = await self._offer()
        if offer.pin is None or not self._attempts.allows(visitor.ip):
            why = "no PINs are offered" if offer.pin is None else TOO_MANY_ATTEMPTS
            self._login.note(visitor, "sign_in", refused=why)
            return self._methods(visitor, offer, visitor.address.path(HOME), TOO_OFTEN, 429)
        match await self._pins.finish(visitor, form.get("flow", "")[:200], form.get("pin", "")[:40]):
            case RightPin(email, target):
                person = _pin_identity(offer.pin, email)
                response = await self._login.signed_in(request, visitor, person, target)
                self._login.note(visitor, "sign_in", person)
                return response
            case WrongPin(flow, email, target):
                self._login.note(visitor, "sign_in", provider=offer.pin.id, refused="wrong PIN", email=email)
                return self._pin_page(visitor, offer, email, flow, target, "That PIN is wrong.", 403)
            case _:
                return await self._ended(visitor, offer.pin.id)

    # Identity providers

    async def _begin(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        provider = request.path_params["provider"]
        remote = await self._directory.remote(provider)
        if remote is None:
            return await self._login.message(visitor, 404, "Not offered", "This portal has no such identity provider.")
        if not self._attempts.allows(visitor.ip):
            self._login.note(visitor, "sign_in", provider=provider, refused=TOO_MANY_ATTEMPTS)
            return await self._login.message(visitor, 429, "Slow down", TOO_OFTEN)
        try:
            self._attempts.begin(visitor.ip)
        except Full as full:
            return await self._login.message(visitor, 429 if full.own else 503, "Slow down", TOO_MANY)
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        try:
            url = await remote.begin(visitor.address.url(CALLBACK_PATH), state, nonce, verifier)
        except LoginFailed as error:
            return await self._provider_failed(visitor, provider, error)
        await self._tokens.issue(
            STATE,
            state,
            subject=provider,
            document=StateDocument(
                browser=visitor.binding,
                nonce=nonce,
                verifier=verifier,
                target=_target(visitor, request.query_params),
            ),
            expires_at=self._now() + STATE_LASTS,
        )
        return visitor.remember(see_other(url))

    async def _callback(self, request: Request) -> Response:
        visitor = self._login.visitors.of(request)
        parameters = request.query_params
        state = parameters.get("state", "")[:200]
        begun = await self._tokens.find(STATE, state) if state else None
        if begun is None or not visitor.owns(begun.document.browser):
            return await self._ended(visitor, "")
        used = await self._tokens.consume(STATE, state)
        remote = await self._directory.remote(begun.subject)
        if used is None or used.reused or remote is None:
            return await self._ended(visitor, begun.subject)
        try:
            if parameters.get("error") or not parameters.get("code"):
                raise LoginRefused("The identity provider ended the sign-in.")
            signed_in = await remote.finish(
                visitor.address.url(CALLBACK_PATH),
                parameters["code"],
                parameters.get("iss", ""),
                begun.document.nonce,
                begun.document.verifier,
            )
        except LoginFailed as error:
            return await self._provider_failed(visitor, begun.subject, error)
        # Before the session: whoever has one finds everything that belongs to it.
        await self._keep(signed_in)
        response = await self._login.signed_in(request, visitor, signed_in.identity, begun.document.target)
        self._login.note(visitor, "sign_in", signed_in.identity)
        return response

    async def _provider_failed(self, visitor: Visitor, provider: str, error: LoginFailed) -> Response:
        self._log.warning(
            "a sign-in failed", method=provider, ip=visitor.ip, reason=str(error), cause=repr(error.__cause__)[:300]
        )
        # What follows a colon may be the provider's words.
        refused = str(error).partition(":")[0]
        self._login.note(visitor, "sign_in", provider=provider, refused=refused)
        choose = visitor.address.path(CHOOSE)
        return await self._login.message(visitor, error.status, "Sign-in failed", str(error), choose, "Begin again")

    # What they have in common

    async def _ended(self, visitor: Visitor, provider: str) -> Response:
        self._login.note(visitor, "sign_in", provider=provider, refused=ENDED)
        login = visitor.address.path(LOGIN_PATH)
        return await self._login.message(visitor, 400, "Sign-in ended", EXPIRED, login, "Begin again")

    async def _offer(self) -> Offer:
        return await self._directory.offer(password=await self._administrators.exist())


def _target(visitor: Visitor, parameters: Mapping[str, str]) -> str:
    """Where a login leads: the parameter `return`, if that is a path of this portal."""
    return safe_return(parameters.get("return", ""), visitor.address.prefix)


def _pin_identity(provider: OneTimePin, email: str) -> Identity:
    """The person who reads the mail of this address."""
    return Identity(
        id=f"{provider.id}:{email}",
        email=email,
        idp_id=provider.id,
        idp_type=provider.type,
        login_method=provider.id,
        auth_methods=("otp",),
    )
