"""The pages of people: who has signed in or has an account, what they have begun, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.routing import Route

from portal.admin import LOGS, ORGANIZATION, POLICIES, RevokedCounts, ShownAgent, ShownProvider, ShownSession, ShownUser
from portal.console.frame import PEOPLE_PATH, Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "people", PEOPLE_PATH
API = "/access/users"
ITEM = f"{API}/{{id}}"
SESSIONS, AGENTS = f"{ITEM}/active_sessions", f"{ITEM}/agents"
REVOKE = "/access/organizations/revoke_user"
PROVIDERS = "/access/identity_providers"
ABOVE = (Crumb("People", LIST),)
OWN_METHODS = {"local": "Local account", "onetimepin": "One-time PIN"}
VOUCHED = {
    "document": ("Vouched for by {}", "good"),
    "administrator": ("Connected by an administrator", "good"),
    "nobody": ("Nobody vouches for the name", "warn"),
}


class PeoplePages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/people", HERE, self._list),
            page("/people/{id}", HERE, self._show),
            form("/people/{id}/sessions/{nonce}/end", HERE, self._end_session, self._show),
            *self._frame.confirmation("/people/{id}/agents/{agent}/end", HERE, self._end_agent, ORGANIZATION),
            *self._frame.confirmation("/people/{id}/offboard", HERE, self._offboard, ORGANIZATION),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownUser, API, visit.page_query())
        methods = await _methods(visit)
        rows = [(one, label_of(one), method_of(one, methods)) for one in found.items]
        return Shown("people.html", "People", {"found": found, "rows": rows, "search": visit.query("search")})

    async def _show(self, visit: Visit) -> Answer:
        user = await visit.api.show(ShownUser, ITEM, id=visit.id())
        key = urlencode({"identity": user.identity})
        links = [
            ("Calls in the log", f"/admin/logs?{key}", LOGS),
            ("Runs of programs", f"/admin/runs?{key}", LOGS),
            ("What policies let them do", f"/admin/policy-tester?{urlencode({'email': user.email})}", POLICIES),
        ]
        values = {
            "user": user,
            "method": method_of(user, await _methods(visit)),
            "account": f"/admin/administrators/{account_of(user)}" if account_of(user) else "",
            "links": [(words, to) for words, to, area in links if visit.may(area, writing=False)],
            "sessions": (await visit.api.list(ShownSession, SESSIONS, id=user.id)).items,
            "agents": [(one, *_vouched(one)) for one in (await visit.api.list(ShownAgent, AGENTS, id=user.id)).items],
        }
        return Shown("person.html", label_of(user), values, ABOVE)

    async def _end_session(self, visit: Visit) -> Answer:
        await visit.api.change("DELETE", f"{SESSIONS}/{{nonce}}", id=visit.id(), nonce=visit.id("nonce"))
        return Went(f"{LIST}/{visit.id()}#browsers", "ended-browser")

    async def _end_agent(self, visit: Visit) -> Confirmation | Went:
        agents = (await visit.api.list(ShownAgent, AGENTS, id=visit.id())).items
        agent = next((one for one in agents if one.id == visit.id("agent")), None)
        here = f"{LIST}/{visit.id()}"
        if agent is None:
            return Went(f"{here}#agents", "gone-agent")
        return Confirmation(
            f"End {name_of(agent)}?",
            name=name_to_type(name_of(agent), agent.id),
            back=here,
            deed="End it",
            consequences=(
                "Its tokens are good no longer, and programs that it has running are stopped.",
                "To come back it must ask the person again.",
            ),
            act=deletion(visit, f"{AGENTS}/{{agent}}", f"{here}#agents", "ended-agent", id=visit.id(), agent=agent.id),
        )

    async def _offboard(self, visit: Visit) -> Confirmation:
        user = await visit.api.show(ShownUser, ITEM, id=visit.id())
        same = await _same_address(visit, user)
        several = f"{len(same)} people of different login methods have this address. It ends for all of them."
        consequences = (
            *([several] if len(same) > 1 else []),
            "Every browser in which they are signed in, every agent that they let in and their logins at servers end "
            "at once, at every portal. Programs that they have running are stopped.",
            "It keeps nobody from signing in again. Take them out of the identity provider or the policies first.",
            *(["Their account as an administrator stays: remove it under Administrators."] if account_of(user) else []),
            *(["This is you: you are signed out."] if is_viewer(visit, same) else []),
        )

        async def act() -> Answer:
            body = {"email": user.email} if user.email else {"user_uid": user.id}
            account = account_of(user)
            counts = await visit.api.told(RevokedCounts, "POST", REVOKE, body)
            values = {"user": user, "counts": counts, "account": f"/admin/administrators/{account}" if account else ""}
            return Shown("person_ended.html", f"All that {label_of(user)} had begun has ended", values, ABOVE)

        return Confirmation(
            f"End all that {label_of(user)} has begun?",
            name=name_to_type(label_of(user), user.id),
            back=f"{LIST}/{user.id}",
            deed="End everything",
            consequences=consequences,
            act=act,
        )


def label_of(user: ShownUser) -> str:
    """What a page calls a person: by their address, where they have one."""
    return user.email or user.name or user.identity


def account_of(user: ShownUser) -> str:
    """The id of the local account of a person, "" without one."""
    return user.identity.removeprefix("local:") if user.idp.id == "local" else ""


def method_of(user: ShownUser, methods: Sequence[ShownProvider]) -> str:
    """How a person signs in, as it is called."""
    if (own := OWN_METHODS.get(user.idp.type)) is not None:
        return own
    named = next((one.name for one in methods if one.id == user.idp.id and one.name), "")
    return named or user.idp.id or user.idp.type


def name_of(agent: ShownAgent) -> str:
    """What a page calls an agent. A name of nothing that is visible is none."""
    return " ".join(agent.name.split()) or agent.client or agent.id


def is_viewer(visit: Visit, people: Sequence[ShownUser]) -> bool:
    return any(one.identity == visit.identity.key for one in people)


def _vouched(agent: ShownAgent) -> tuple[str, str, str]:
    words, tone = VOUCHED[agent.vouched]
    return name_of(agent), words.format(agent.publisher), tone


async def _methods(visit: Visit) -> Sequence[ShownProvider]:
    return (await visit.api.list(ShownProvider, PROVIDERS)).items


async def _same_address(visit: Visit, user: ShownUser) -> Sequence[ShownUser]:
    """Everybody with the address of this person; only this person where they have none."""
    if not user.email:
        return [user]
    found = await visit.api.list(ShownUser, API, {"email": user.email})
    return [one for one in found.items if one.email.lower() == user.email.lower()]
