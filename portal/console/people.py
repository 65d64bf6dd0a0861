"""The pages of people: who has signed in or has an account, what they have begun, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.routing import Route

from portal.admin import (
    API_TOKENS,
    LOGS,
    ORGANIZATION,
    POLICIES,
    RevokedCounts,
    ShownAgent,
    ShownProvider,
    ShownSession,
    ShownToken,
    ShownUser,
)
from portal.console.api_tokens import TONES
from portal.console.frame import PEOPLE_PATH, Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.url_state import tried
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "people", PEOPLE_PATH
API = "/access/users"
ITEM = f"{API}/{{id}}"
SESSIONS, AGENTS, TOKENS = f"{ITEM}/active_sessions", f"{ITEM}/agents", f"{ITEM}/api_tokens"
REVOKE = "/access/organizations/revoke_user"
PROVIDERS = "/access/identity_providers"
ABOVE = (Crumb("People", LIST),)
MOST_NAMED = 20
"""API tokens or groups whose names a sentence has."""

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
        links = [
            ("Calls in the log", f"/admin/logs?{urlencode({'person': user.identity})}", LOGS),
            ("Runs of programs", f"/admin/runs?{urlencode({'identity': user.identity})}", LOGS),
            ("What policies let them do", f"/admin/policy-tester?{urlencode({'email': user.email})}", POLICIES),
        ]
        values = {
            "user": user,
            "method": method_of(user, await _methods(visit)),
            "account": f"/admin/administrators/{account_of(user)}" if account_of(user) else "",
            "links": [(words, to) for words, to, area in links if visit.may(area, writing=False)],
            "sessions": (await visit.api.list(ShownSession, SESSIONS, id=user.id)).items,
            "most_groups": MOST_NAMED,
            "tokens": await _tokens(visit, [user]),
            "token_tones": TONES,
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
        tokens, may_end = await _tokens(visit, same), visit.may(API_TOKENS)
        several = f"{len(same)} people of different login methods have this address. It ends for all of them."
        consequences = (
            *([several] if len(same) > 1 else []),
            "Every browser in which they are signed in, every agent that they let in and their logins at servers end "
            "at once, at every portal. Programs that they have running are stopped.",
            "It keeps nobody from signing in again. Take them out of the identity provider or the policies first.",
            *([f"{_tokens_in_words(tokens)} {_WHAT_TO_DO[may_end]}"] if tokens else []),
            *(["Their account as an administrator stays: remove it under Administrators."] if account_of(user) else []),
            *(["This is you: you are signed out."] if is_viewer(visit, same) else []),
        )

        async def act() -> Answer:
            body: dict[str, object] = {"email": user.email} if user.email else {"user_uid": user.id}
            if visit.ticked("api_tokens"):
                body["api_tokens"] = True
            account = account_of(user)
            counts = await visit.api.told(RevokedCounts, "POST", REVOKE, body)
            values = {
                "user": user,
                "counts": counts,
                "account": f"/admin/administrators/{account}" if account else "",
                # Whoever ends their own may read nothing any more.
                "tokens": (await tried(_tokens(visit, same))).value or (),
            }
            return Shown("person_ended.html", f"All that {label_of(user)} had begun has ended", values, ABOVE)

        return Confirmation(
            f"End all that {label_of(user)} has begun?",
            name=name_to_type(label_of(user), user.id),
            back=f"{LIST}/{user.id}",
            deed="End everything",
            consequences=consequences,
            boxes=[("api_tokens", "Delete these API tokens, too")] if tokens and may_end else (),
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


_WHAT_TO_DO: Mapping[bool, str] = {
    True: "Programs that use them are refused once they are deleted. Those that stay are good for whoever has a value.",
    False: "They stay good for whoever has a value. Ask an owner to delete them, or to give them new values.",
}
"""By whether the administrator may do it themselves."""


async def _tokens(visit: Visit, people: Sequence[ShownUser]) -> Sequence[ShownToken]:
    """The API tokens that have not expired and whose values these people know; none where the administrator may not
    read tokens."""
    if not visit.may(API_TOKENS, writing=False):
        return ()
    known = [token for one in people for token in (await visit.api.list(ShownToken, TOKENS, id=one.id)).items]
    return list({token.id: token for token in known if token.status != "expired"}.values())


def _tokens_in_words(tokens: Sequence[ShownToken]) -> str:
    names = ", ".join(one.name for one in tokens[:MOST_NAMED])
    more = f" and {len(tokens) - MOST_NAMED} more" if len(tokens) > MOST_NAMED else ""
    return f"They know the value of {len(tokens)} API token{'s' if len(tokens) != 1 else ''}: {names}{more}."


async def _methods(visit: Visit) -> Sequence[ShownProvider]:
    return (await visit.api.list(ShownProvider, PROVIDERS)).items


async def _same_address(visit: Visit, user: ShownUser) -> Sequence[ShownUser]:
    """Everybody with the address of this person; only this person where they have none."""
    if not user.email:
        return [user]
    found = await visit.api.list(ShownUser, API, {"email": user.email})
    return [one for one in found.items if one.email.lower() == user.email.lower()]
