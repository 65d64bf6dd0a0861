"""The pages of service tokens: what programs sign in with that act for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.routing import Route

from portal.admin import SERVICE_TOKENS, NewServiceTokenAnswer, ShownServiceToken
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.rule_words import RuleUser, read_rule_users, refers_to
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "service-tokens", "/admin/service-tokens"
API = "/access/service_tokens"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Service tokens", LIST),)
DURATIONS = (
    ("720h", "30 days"),
    ("8760h", "1 year"),
    ("17520h", "2 years"),
    ("43800h", "5 years"),
    ("forever", "Non-expiring"),
)
GRACES = {
    "0": "ends at once",
    "1": "works for one hour more",
    "24": "works for one day more",
    "168": "works for a week",
}


class ServiceTokenPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        item = "/service-tokens/{id}"
        return [
            page("/service-tokens", HERE, self._list),
            page("/service-tokens/new", HERE, self._new, changes=SERVICE_TOKENS),
            form("/service-tokens/new", HERE, self._add, self._new),
            page(item, HERE, self._show),
            form(item, HERE, self._save, self._show),
            form(f"{item}/refresh", HERE, self._refresh, self._show),
            form(f"{item}/rotate", HERE, self._rotate, self._show),
            *self._frame.confirmation(f"{item}/remove", HERE, self._remove, SERVICE_TOKENS),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownServiceToken, API, visit.page_query())
        rows = [(one, state_of(one, self._frame.now())) for one in found.items]
        return Shown(
            "service_tokens.html", "Service tokens", {"found": found, "rows": rows, "search": visit.query("search")}
        )

    async def _new(self, visit: Visit) -> Answer:
        return Shown("service_token_new.html", "Make a service token", {"durations": DURATIONS}, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        body = {"name": visit.sent("name"), "duration": visit.sent("duration")}
        return _told(await visit.api.made(NewServiceTokenAnswer, "POST", API, body))

    async def _show(self, visit: Visit) -> Answer:
        token = await visit.api.show(ShownServiceToken, ITEM, id=visit.id())
        other = () if token.duration in dict(DURATIONS) else ((token.duration, token.duration),)
        values = {
            "token": token,
            "state": state_of(token, self._frame.now()),
            "durations": (*DURATIONS, *other),
            "duration": dict(DURATIONS).get(token.duration, token.duration),
            "graces": tuple(GRACES.items()),
            "users": await _users(visit, token.id),
        }
        return Shown("service_token.html", token.name, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        token = await visit.api.show(ShownServiceToken, ITEM, id=visit.id())
        body = {"name": visit.sent("name")}
        if visit.sent("duration") != token.duration:
            # The API counts a duration from the moment at which it is sent.
            body["duration"] = visit.sent("duration")
        await visit.api.change("PUT", ITEM, body, id=token.id)
        return Went(f"{LIST}/{token.id}", "saved")

    async def _refresh(self, visit: Visit) -> Answer:
        await visit.api.change("POST", f"{ITEM}/refresh", id=visit.id())
        return Went(f"{LIST}/{visit.id()}", "refreshed")

    async def _rotate(self, visit: Visit) -> Answer:
        """A new secret; the former one works for as long as the form says."""
        grace = visit.sent("grace")
        hours = int(grace) if grace in GRACES else 0
        until = (self._frame.now() + timedelta(hours=hours)).isoformat() if hours else None
        body = {"previous_client_secret_expires_at": until}
        return _told(await visit.api.made(NewServiceTokenAnswer, "POST", f"{ITEM}/rotate", body, id=visit.id()))

    async def _remove(self, visit: Visit) -> Confirmation:
        token = await visit.api.show(ShownServiceToken, ITEM, id=visit.id())
        users = await _users(visit, token.id)
        consequences = ["Programs that sign in with it are refused from then on."]
        if users:
            consequences.append(f"Rules that name it match nothing any more: {', '.join(n for n, _ in users[:6])}.")
        return Confirmation(
            f"Revoke {token.name}?",
            name=token.name,
            back=f"{LIST}/{token.id}",
            deed="Revoke",
            consequences=consequences,
            act=deletion(visit, ITEM, LIST, id=token.id),
        )


def state_of(token: ShownServiceToken, now: datetime) -> tuple[str, str]:
    """Whether a token is valid, in words, and the tone of these."""
    if token.expires_at is None:
        return "Valid, non-expiring", "good"
    if token.expires_at <= now:
        return "Expired", "bad"
    days = (token.expires_at - now).days
    return (f"Valid for {days} days", "good") if days > 14 else (f"Ends in {days} days", "warn")


def _told(made: NewServiceTokenAnswer) -> Shown:
    return Shown("service_token_made.html", f"The secret of {made.name}", {"made": made}, ABOVE)


async def _users(visit: Visit, id: str) -> Sequence[RuleUser]:
    """The policies and groups with a rule that names this token."""
    return await read_rule_users(visit, lambda one: refers_to(one, "service_token", id, "token_id"))
