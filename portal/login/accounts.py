"""The pages of local accounts: the claim of the first administrator, invitations, and new passwords.

Each is opened by a link with a one-time token. Opening it shows a form and changes nothing, because mail scanners open
links too. Submitting the form uses the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portal.identity import LOCAL_ACCOUNTS
from portal.login.administrators import Administrator, Administrators
from portal.login.attempts import TOO_MANY_ATTEMPTS, TOO_OFTEN, Attempts
from portal.login.invitations import INVITATION_PATH, RESET_PATH, Invitations
from portal.login.passwords import MIN_LENGTH, why_unfit
from portal.login.sign_in import LOGIN_PATH, Login, SignInMethod, form_endpoint
from portal.notices import normal_email
from portal.pages import HOME, Visitor

CLAIM_PATH = "/login/claim"
CONSOLE_PATH, CLAIMED_PATH = "/admin", "/admin/start"
"""Where an administrator is led, and the first one: the console, which is at the portal of the instance's address."""
NOT_CLAIMABLE = "The link was used, has expired, or the portal has an administrator. A restart prints a new one if not."
NOT_ACCEPTABLE = "The link was used, has expired, or was withdrawn. Ask an administrator for another."
NOT_RESETTABLE = "The link was used, has expired, or was replaced. Ask the operator of the portal for another."
MAX_TOKEN, MAX_NAME = 200, 100


class AccountRoutes:
    """The routes of one portal."""

    def __init__(
        self, login: Login, administrators: Administrators, invitations: Invitations, attempts: Attempts
    ) -> None:
        self._login = login
        self._administrators = administrators
        self._invitations = invitations
        self._attempts = attempts
        self._log = structlog.get_logger("portal.login")

    def routes(self) -> list[Route]:
        return [
            Route(CLAIM_PATH, self._claim_page, methods=["GET"]),
            Route(CLAIM_PATH, form_endpoint(self._login, self._claim), methods=["POST"]),
            Route(INVITATION_PATH, self._invitation_page, methods=["GET"]),
            Route(INVITATION_PATH, form_endpoint(self._login, self._accept), methods=["POST"]),
            Route(RESET_PATH, self._reset_page, methods=["GET"]),
            Route(RESET_PATH, form_endpoint(self._login, self._reset), methods=["POST"]),
        ]

    # The claim of the first administrator

    async def _claim_page(self, request: Request) -> Response:
        visitor, token = self._login.visitors.of(request), _token(request.query_params)
        if not await self._administrators.claimable(token):
            return await self._dead(visitor, "claim", NOT_CLAIMABLE)
        return await self._page(visitor, "claim.html", token=token, name="", email="")

    async def _claim(self, request: Request, visitor: Visitor, fields: Mapping[str, str]) -> Response:
        token, name = _token(fields), _name(fields)
        email, password = normal_email(fields.get("email", "")), fields.get("password", "")
        if not self._attempts.allows(visitor.ip):
            self._login.note(visitor, "claim", provider=LOCAL_ACCOUNTS, refused=TOO_MANY_ATTEMPTS)
            return await self._login.message(visitor, 429, "Slow down", TOO_OFTEN)
        if not await self._administrators.claimable(token):
            return await self._dead(visitor, "claim", NOT_CLAIMABLE)
        problem = why_unfit(password) if email else "That is not an e-mail address."
        if problem or email is None:
            values = {"token": token, "name": name, "email": fields.get("email", "")[:254]}
            return await self._page(visitor, "claim.html", problem or "", **values)
        first = await self._administrators.claim(token, email, name or email, password)
        if first is None:
            return await self._dead(visitor, "claim", NOT_CLAIMABLE)
        self._log.warning("the portal was claimed by its first administrator", who=first.identity.key, ip=visitor.ip)
        return await self._signed_in(request, visitor, "claim", first, NOT_CLAIMABLE, CLAIMED_PATH)

    # Invitations

    async def _invitation_page(self, request: Request) -> Response:
        visitor, token = self._login.visitors.of(request), _token(request.query_params)
        invitation = await self._invitations.acceptable(token)
        if invitation is None:
            return await self._dead(visitor, "invitation", NOT_ACCEPTABLE)
        return await self._page(visitor, "invitation.html", token=token, name="", email=invitation.email)

    async def _accept(self, request: Request, visitor: Visitor, fields: Mapping[str, str]) -> Response:
        token, name, password = _token(fields), _name(fields), fields.get("password", "")
        if not self._attempts.allows(visitor.ip):
            self._login.note(visitor, "invitation", provider=LOCAL_ACCOUNTS, refused=TOO_MANY_ATTEMPTS)
            return await self._login.message(visitor, 429, "Slow down", TOO_OFTEN)
        invitation = await self._invitations.acceptable(token)
        if invitation is None:
            return await self._dead(visitor, "invitation", NOT_ACCEPTABLE)
        if problem := why_unfit(password):
            values = {"token": token, "name": name, "email": invitation.email}
            return await self._page(visitor, "invitation.html", problem, **values)
        accepted = await self._invitations.accept(token, name, password)
        if accepted is None:
            return await self._dead(visitor, "invitation", NOT_ACCEPTABLE)
        self._log.warning("an invited administrator has accepted", who=accepted.identity.key, ip=visitor.ip)
        return await self._signed_in(request, visitor, "invitation", accepted, NOT_ACCEPTABLE)

    # New passwords

    async def _reset_page(self, request: Request) -> Response:
        visitor, token = self._login.visitors.of(request), _token(request.query_params)
        administrator = await self._administrators.resettable(token)
        if administrator is None:
            return await self._dead(visitor, "reset", NOT_RESETTABLE)
        return await self._page(visitor, "reset.html", token=token, email=administrator.email)

    async def _reset(self, request: Request, visitor: Visitor, fields: Mapping[str, str]) -> Response:
        token, password = _token(fields), fields.get("password", "")
        if not self._attempts.allows(visitor.ip):
            self._login.note(visitor, "reset", provider=LOCAL_ACCOUNTS, refused=TOO_MANY_ATTEMPTS)
            return await self._login.message(visitor, 429, "Slow down", TOO_OFTEN)
        administrator = await self._administrators.resettable(token)
        if administrator is None:
            return await self._dead(visitor, "reset", NOT_RESETTABLE)
        if problem := why_unfit(password):
            return await self._page(visitor, "reset.html", problem, token=token, email=administrator.email)
        changed = await self._administrators.reset(token, password)
        if changed is None:
            return await self._dead(visitor, "reset", NOT_RESETTABLE)
        self._log.warning("an administrator has a new password", who=changed.identity.key, ip=visitor.ip)
        self._login.note(visitor, "reset", changed.identity)
        login, text = visitor.address.path(LOGIN_PATH), "Every session of before has ended."
        return await self._login.message(visitor, 200, "Your password is changed", text, login, "Sign in")

    # Shared by all of them

    async def _signed_in(
        self,
        request: Request,
        visitor: Visitor,
        method: SignInMethod,
        administrator: Administrator,
        problem: str,
        then: str = CONSOLE_PATH,
    ) -> Response:
        target = visitor.address.path(HOME if visitor.address.prefix else then)
        response = await self._login.signed_in(request, visitor, administrator.identity, target)
        # Checked after the session is created, as for a login with a password.
        if not await self._administrators.is_unchanged(administrator):
            return await self._dead(visitor, method, problem)
        self._login.note(visitor, method, administrator.identity)
        return response

    async def _page(self, visitor: Visitor, template: str, problem: str = "", **values: Any) -> Response:
        design = (await self._login.directory.rules()).design
        status = 400 if problem else 200
        values |= {"problem": problem, "shortest": MIN_LENGTH}
        return self._login.pages.page(template, design, visitor, status=status, **values)

    async def _dead(self, visitor: Visitor, method: SignInMethod, text: str) -> Response:
        refused = "the link was used, has expired, or was withdrawn"
        self._login.note(visitor, method, provider=LOCAL_ACCOUNTS, refused=refused)
        login = visitor.address.path(LOGIN_PATH)
        return await self._login.message(visitor, 400, "This link does not work", text, login, "Sign in")


def _token(parameters: Mapping[str, str]) -> str:
    return parameters.get("token", "")[:MAX_TOKEN]


def _name(fields: Mapping[str, str]) -> str:
    return fields.get("name", "").strip()[:MAX_NAME]
