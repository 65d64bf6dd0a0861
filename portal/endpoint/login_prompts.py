"""A call that needs a login of the person behind it: how their client learns of it, and how the call goes on.

    client                     2026-07-28                           2025
    opens URLs for a person    `input_required` with the URL        asked for the URL within the call
    shows forms to a person    `input_required`, the link in text   asked with the link in text within the call
    neither                    a tool's result with the link        the same

The link is always in the text too. It gives nobody any rights: the page it leads to is for the same person, signed in.
A client that was sent to the page may come back before the person is through with it; the call then waits a while.
Source: MCP 2025-11-25 and 2026-07-28, "Elicitation"; 2026-07-28, "Multi Round-Trip Requests".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mcp.shared.exceptions import MCPError
from starlette.types import Scope

from codemode import OnWait, Waiting
from portal.calls import Call
from portal.endpoint.request import ClientRequest, RawResult
from portal.errors import LoginRequired, RpcError
from portal.identity import Identity
from portal.servers import Servers
from portal.upstream import OnRequest

# Seconds that a call waits for a person who is at the page: clients give up after 60 s without progress, and most of
# those that show progress after 300 s.
PATIENCE, PATIENCE_WITH_PROGRESS = 45.0, 240.0
PROGRESS_SECONDS = 15.0
# A program waits longer: its client is answered meanwhile, and the program ends when it is no longer kept.
RUN_PATIENCE = 3600.0
ANSWER = "portal/login"
"""The key of the portal's own question among those of a call."""
NO_FIELDS: Mapping[str, object] = {"type": "object", "properties": {}}
ELICIT = "elicitation/create"

Attempt = Callable[[Call], Awaitable[RawResult]]
Channel = Literal["url", "form"]


@dataclass(frozen=True, slots=True)
class LoginPage:
    """Where a person logs in to a server: `url` leads there, and `id` is another one for each such link."""

    url: str
    id: str


LoginPages = Callable[[Scope, Identity, Mapping[str, str]], Awaitable[LoginPage]]
"""The page for a person who is behind a request. It shows first the servers that are wanted, each with the reason."""


class LoginPrompts:
    """Asks for logins. Without `pages` nobody can log in, and a call that needs it fails."""

    def __init__(self, servers: Servers, pages: LoginPages | None = None) -> None:
        self._servers = servers
        self._pages = pages

    async def answer(self, request: ClientRequest, call: Call, attempt: Attempt) -> RawResult:
        """The result of `attempt(call)`, or what asks for the login that it needs.

        Raises:
            CallError: as `attempt` raises.
            MCPError: there is no result with a link for this method.
        """
        call, action = _came_back(call)
        looked = False
        while True:
            try:
                return await attempt(call)
            except LoginRequired as required:
                if not looked and await self._servers.logged_in(required, 0):
                    looked = True
                    continue
                if (page := await self.page_for(request, required)) is None:
                    raise
                words = login_words(required)
                channel = channel_of(request)
                if channel is None:
                    return _told(call, required, words, page)
                if request.modern:
                    if action is None:
                        return _asked(channel, words, page)
                    accepted, action = action, None
                else:
                    accepted = await _ask(request, channel, words, page)
                if accepted != "accept":
                    declined = "The person has declined to log in. " if accepted in ("decline", "cancel") else ""
                    return _told(call, required, declined + words, page)
                if await self._wait(request, required):
                    await self._complete(request, channel, page)
                elif request.modern:
                    return _asked(channel, words, page)
                else:
                    return _told(call, required, words, page)

    def of_program(self, request: ClientRequest, ask: OnRequest | None) -> ProgramLogins:
        """The logins that a program needs; `ask` asks its client."""
        return ProgramLogins(self, request, ask)

    async def page_for(self, request: ClientRequest, required: LoginRequired) -> LoginPage | None:
        """The page where the person behind a request logs in; None if it is nobody who could."""
        if self._pages is None or request.principal is None or not request.principal.logged_in:
            return None
        why = f"{required.reason[:1].upper()}{required.reason[1:]}."
        return await self._pages(request.scope, request.principal, {required.server: why})

    async def logged_in(self, required: LoginRequired, seconds: float) -> bool:
        """Whether the person has another login by now, or within some seconds."""
        return await self._servers.logged_in(required, seconds)

    async def show(self, request: ClientRequest, words: str) -> RawResult:
        """A tool's result with a link to the page, which a client that can shows to its person as well."""
        assert self._pages is not None and request.principal is not None
        page, channel = await self._pages(request.scope, request.principal, {}), channel_of(request)
        action = _action_in(request.params)
        if channel is not None and action is None:
            if request.modern:
                return _asked(channel, words, page)
            await _ask(request, channel, words, page)
        return {"content": [{"type": "text", "text": f"{words}: {page.url}"}]}

    async def _wait(self, request: ClientRequest, required: LoginRequired) -> bool:
        """Whether the person logs in while the client has patience."""
        on_progress = request.context.on_progress
        patience = PATIENCE if on_progress is None else PATIENCE_WITH_PROGRESS
        began, left = time.monotonic(), patience
        while left > 0:
            if await self._servers.logged_in(required, min(left, PROGRESS_SECONDS)):
                return True
            waited = time.monotonic() - began
            left = patience - waited
            if on_progress is not None:
                await on_progress(round(waited, 1), None, f"waiting for the login to {required.server}")
        return False

    async def _complete(self, request: ClientRequest, channel: Channel, page: LoginPage) -> None:
        """Tell a 2025 client that was given the URL that the person is through with it."""
        if channel == "url" and request.session is not None:
            params = {"elicitationId": page.id}
            await request.session.connection.notify("notifications/elicitation/complete", params)


class ProgramLogins:
    """The logins that one program needs. Each server is asked for once, however many calls wait for it; what a person
    has declined is not asked for again.
    """

    def __init__(self, prompts: LoginPrompts, request: ClientRequest, ask: OnRequest | None) -> None:
        self._prompts = prompts
        self._request = request
        self._ask = ask
        self._declined: set[str] = set()
        self._asking: dict[str, asyncio.Lock] = {}

    async def log_in(self, required: LoginRequired, on_wait: OnWait | None) -> bool:
        """Whether there is another login now. Implements `portal.upstream.OnLogin`."""
        if await self._prompts.logged_in(required, 0):
            return True
        page = await self._prompts.page_for(self._request, required)
        if page is None or on_wait is None:
            return False
        text = login_words(required).removesuffix(". Log in here")
        lock = self._asking.setdefault(required.server, asyncio.Lock())
        if lock.locked():
            # Another call asks for the same login. Only one question is shown, and all of them wait.
            async with on_wait(Waiting(text, page.url, kind="login", repeatable=True)), lock:
                return required.server not in self._declined and await self._prompts.logged_in(required, 0)
        async with lock:
            if required.server in self._declined or not await self._accepted(required, page, text, on_wait):
                return False
            async with on_wait(Waiting(text, page.url, kind="login", repeatable=True)):
                return await self._prompts.logged_in(required, RUN_PATIENCE)

    async def _accepted(self, required: LoginRequired, page: LoginPage, text: str, on_wait: OnWait) -> bool:
        """Whether the person has not declined. A client that cannot show the link is not asked: its answer has it."""
        channel = channel_of(self._request) if self._ask is not None else None
        if channel is None or self._ask is None:
            return True
        question = _question(channel, login_words(required), page, modern=self._request.modern)
        try:
            async with on_wait(Waiting(text, page.url, asked=True, kind="login")):
                action = (await self._ask(ELICIT, question)).get("action")
        except RpcError:
            return True
        if action in ("decline", "cancel"):
            self._declined.add(required.server)
            return False
        return True


def channel_of(request: ClientRequest) -> Channel | None:
    """How the client can show a person a link; None if it cannot."""
    channels = shows(request)
    return "url" if "url" in channels else "form" if "form" in channels else None


def shows(request: ClientRequest) -> frozenset[Channel]:
    """What the client can show its person. Without a mode a client shows forms."""
    client = request.context.client
    elicitation = client.capabilities.get("elicitation") if client is not None else None
    if not isinstance(elicitation, Mapping) or (not request.modern and request.context.on_request is None):
        return frozenset()
    declared: tuple[Channel, ...] = ("url", "form")
    found = frozenset(channel for channel in declared if channel in elicitation)
    return found if elicitation else frozenset({"form"})


def login_words(required: LoginRequired) -> str:
    """What a person is told of the login that is needed, without the link."""
    what = "a new login of yours" if required.login else "your login"
    return f"The server {required.server!r} needs {what}: {required.reason}. Log in here"


def _question(channel: Channel, words: str, page: LoginPage, *, modern: bool) -> dict[str, object]:
    text = f"{words}: {page.url}"
    if channel == "url":
        legacy = {} if modern else {"elicitationId": page.id}
        return {"mode": "url", "message": text, "url": page.url, **legacy}
    return {"message": f"{text} (answer when you have)", "requestedSchema": dict(NO_FIELDS)}


def _asked(channel: Channel, words: str, page: LoginPage) -> RawResult:
    """The result that has a client of 2026-07-28 show the link and call again. It needs no state: nothing ran."""
    question = {"method": ELICIT, "params": _question(channel, words, page, modern=True)}
    return {"resultType": "input_required", "inputRequests": {ANSWER: question}}


async def _ask(request: ClientRequest, channel: Channel, words: str, page: LoginPage) -> str:
    """What a client of 2025 answers, as the action of an elicitation."""
    assert request.context.on_request is not None
    try:
        answer = await request.context.on_request(ELICIT, _question(channel, words, page, modern=False))
    except RpcError:
        # It does not do what it has declared. The person gets the link all the same.
        return ""
    return str(answer.get("action"))


def _told(call: Call, required: LoginRequired, words: str, page: LoginPage) -> RawResult:
    """The result of a tool that needs a login first.

    Raises:
        MCPError: it is not a tool that was called, and there is no such result.
    """
    text = f"{words}: {page.url} Then make the call again: it did not run."
    if call.method != "tools/call":
        raise MCPError(required.code, text, {"server": required.server, "url": page.url})
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _came_back(call: Call) -> tuple[Call, str | None]:
    """The call without the answer to the portal's question, and the action of that answer, None without one."""
    action, responses = _action_in(call.params), call.params.get("inputResponses")
    if action is None or not isinstance(responses, Mapping):
        return call, None
    others = {key: value for key, value in responses.items() if key != ANSWER}
    params = {key: value for key, value in call.params.items() if key != "inputResponses"}
    if others:
        params["inputResponses"] = others
    return replace(call, params=params), action


def _action_in(params: Mapping[str, object]) -> str | None:
    """What the person did, by the answer to the portal's question; None if there is none."""
    responses = params.get("inputResponses")
    if not isinstance(responses, Mapping) or ANSWER not in responses:
        return None
    answer = responses[ANSWER]
    return str(answer.get("action")) if isinstance(answer, Mapping) else ""
