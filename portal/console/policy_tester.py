"""The page of the policy tester: what somebody would see of a portal and could call there, and why not the rest.

The question is the query of the URL, so that a test can be shared and done again after a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.routing import Route

from portal.admin import (
    ORGANIZATION,
    OWN_PORTAL,
    PORTALS,
    SERVICE_TOKENS,
    AdminError,
    ServedPortal,
    ShownProvider,
    ShownServiceToken,
    TestedServer,
    TesterAnswer,
    invalid,
)
from portal.console.frame import ConsoleFrame
from portal.console.visit import NO_PROBLEMS, Answer, Problems, Shown, Visit

HERE, PATH = "policy-tester", "/admin/policy-tester"
API = "/access/policies/test"
ASKED = (
    "portal_id",
    "email",
    "groups",
    "idp",
    "login_method",
    "country",
    "ip",
    "service_token_id",
    "server_id",
    "tool",
    "query",
)
MAX_VALUE, FEW_TOOLS = 4096, 50
SOURCES = {
    "stated": ("As you say", "off"),
    "stored": ("From the last sign-in", "good"),
    "known": ("Known now", "good"),
    "assumed": ("Assumed", "warn"),
    "unknown": ("Unknown", "warn"),
}
OUTCOMES = {"matches": "good", "does not match": "off", "cannot be known": "warn"}
PARTS = {"include": "Include", "require": "Require", "exclude": "Exclude"}
FACTS = {
    "email": "E-mail",
    "id": "Who it is",
    "idp": "Identity provider",
    "ip": "IP address",
    "auth_methods": "How they logged in",
    "certificate": "Client certificate",
    "linked_apps": "Linked applications",
}
HIDDEN_BY = {
    "policy": "Hidden by a policy",
    "setting": "Disabled",
    "approval": "Waits for approval",
    "person": "Turned off by this person",
    "login": "Wants a login",
    "server": "The server is away",
    "name": "Its name is taken",
}
MODE_QUERIES = (
    ("", "As the portal has it"),
    ("codemode=search_and_execute", "With code mode"),
    ("codemode=off", "Without code mode"),
    ("optimize_context=minimize_tools", "minimize_tools"),
    ("optimize_context=search_and_execute", "search_and_execute"),
)


@dataclass(frozen=True, slots=True)
class ServerResult:
    """A server of an answer. `narrow` is the query that asks for it alone; `more` counts tools that are not shown."""

    shown: TestedServer
    narrow: str
    more: int


class PolicyTesterPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        return [self._frame.page("/policy-tester", HERE, self._show)]

    async def _show(self, visit: Visit) -> Answer:
        asked = {name: visit.query(name)[:MAX_VALUE].strip() for name in ASKED}
        answer, wrong = None, NO_PROBLEMS
        if asked["email"] or asked["service_token_id"] or visit.query("nobody"):
            try:
                answer = await visit.api.made(TesterAnswer, "POST", API, question(asked))
            except AdminError as error:
                if error.status >= 500:
                    raise
                wrong = Problems.of(error)
        values = {
            "asked": asked,
            "answer": answer,
            "wrong": wrong,
            "servers": _servers(answer, asked) if answer is not None else (),
            "facts": [(one, *SOURCES[one.source]) for one in answer.facts] if answer is not None else (),
            "fact_names": FACTS,
            "unsure": _unsure(answer) if answer is not None else (),
            "outcomes": OUTCOMES,
            "parts_of_policy": PARTS,
            "hidden_by": HIDDEN_BY,
            "modes": MODE_QUERIES,
            **await _choices(visit),
        }
        return Shown("policy_tester.html", "Policy tester", values, status=400 if wrong is not NO_PROBLEMS else 200)


def question(asked: Mapping[str, str]) -> dict[str, object]:
    """The question as the API takes it, without what is empty.

    Raises:
        AdminError: it names a tool without its server.
    """
    if asked["tool"] and not asked["server_id"]:
        raise invalid("must say the server that the tool is of", "/server_id")
    body: dict[str, object] = {name: value for name, value in asked.items() if value and name != "groups"}
    body.setdefault("portal_id", OWN_PORTAL)
    if groups := [one.strip() for one in asked["groups"].replace("\n", ",").split(",") if one.strip()]:
        body["groups"] = groups
    return body


def _unsure(answer: TesterAnswer) -> list[str]:
    """The facts that are assumed or not known."""
    found = [one.fact for one in answer.facts if one.source in ("assumed", "unknown")]
    return [FACTS.get(one, one.replace("_", " ").capitalize()) for one in found]


def _servers(answer: TesterAnswer, asked: Mapping[str, str]) -> Sequence[ServerResult]:
    """The servers of an answer, with all tools of one that is asked for, and of each of many a few."""
    room = None if asked["server_id"] else FEW_TOOLS
    given = {name: value for name, value in asked.items() if value}
    return [
        ServerResult(
            one.model_copy(update={"tools": one.tools[:room]}),
            urlencode({**given, "server_id": one.id}),
            len(one.tools) - len(one.tools[:room]) + one.tools_left_out,
        )
        for one in answer.servers
    ]


async def _choices(visit: Visit) -> dict[str, Sequence[tuple[str, str]]]:
    """What may be chosen in the form, as far as the administrator may read it; nothing where they may not."""
    portals = [(OWN_PORTAL, "The portal of this instance")]
    if visit.may(PORTALS, writing=False):
        served = await visit.api.list(ServedPortal, "/access/ai-controls/mcp/served/portals")
        portals = [(one.id, one.name) for one in served.items]
    providers, tokens = [("", "As at the last sign-in")], [("", "None: a person")]
    if visit.may(ORGANIZATION, writing=False):
        found = await visit.api.list(ShownProvider, "/access/identity_providers")
        providers += [(one.id, one.name or one.type) for one in found.items]
    if visit.may(SERVICE_TOKENS, writing=False):
        stored = await visit.api.list(ShownServiceToken, "/access/service_tokens")
        tokens += [(one.id, one.name) for one in stored.items]
    return {"portals": portals, "providers": providers, "tokens": tokens}
