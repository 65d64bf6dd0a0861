"""The pages of API tokens: what programs use the admin API with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import Route

from portal.admin import API_TOKENS, ListedPermission, NewToken, ShownToken, TokenValue, invalid
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.visit import PER_PAGE, Answer, Crumb, Shown, Visit, Went

HERE, LIST = "api-tokens", "/admin/api-tokens"
API = "/tokens"
ITEM = f"{API}/{{token_id}}"
ABOVE = (Crumb("API tokens", LIST),)
TONES = {"active": "good", "disabled": "off", "expired": "bad"}
CHOICES = (("", "No permission"), ("Read", "Read"), ("Write", "Edit"))
EVERY_ACCOUNT: Mapping[str, object] = {"com.cloudflare.api.account.*": "*"}
"""An instance has one account."""
FIELDS = {"policies": "permissions", "condition": "ip_in"}


@dataclass(frozen=True, slots=True)
class PermissionChoice:
    """An area of the API, with what a token may do there: "", "Read" or "Write"."""

    field: str
    area: str
    chosen: str
    ids: Mapping[str, str]


class ApiTokenPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        item = "/api-tokens/{id}"
        return [
            page("/api-tokens", HERE, self._list),
            page("/api-tokens/new", HERE, self._new, changes=API_TOKENS),
            form("/api-tokens/new", HERE, self._add, self._new, FIELDS),
            page(item, HERE, self._show),
            form(item, HERE, self._save, self._show, FIELDS),
            *self._frame.confirmation(f"{item}/roll", HERE, self._roll, API_TOKENS),
            *self._frame.confirmation(f"{item}/remove", HERE, self._remove, API_TOKENS),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownToken, API, {"page": visit.query("page", "1"), "per_page": str(PER_PAGE)})
        names = {one.id: one.name for one in await _permissions(visit)}
        rows = [(one, granted(one, names)) for one in found.items]
        return Shown("api_tokens.html", "API tokens", {"found": found, "rows": rows, "tones": TONES})

    async def _new(self, visit: Visit) -> Answer:
        areas = choices(await _permissions(visit), frozenset())
        values = {"token": None, "areas": areas, "choices": CHOICES, "action": f"{LIST}/new"}
        return Shown("api_token.html", "Create an API token", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        policy = _policy(visit, choices(await _permissions(visit), frozenset()))
        body: dict[str, object] = {"name": visit.sent("name"), "policies": [policy], **_limits(visit)}
        made = await visit.api.made(NewToken, "POST", API, body)
        return _told(made.name, made.id, made.value)

    async def _show(self, visit: Visit) -> Answer:
        token = await visit.api.show(ShownToken, ITEM, token_id=visit.id())
        permissions = await _permissions(visit)
        ip = token.condition.request_ip if token.condition is not None else None
        values = {
            "token": token,
            "tone": TONES[token.status],
            "granted": granted(token, {one.id: one.name for one in permissions}),
            "areas": choices(permissions, simple(token) or frozenset()) if simple(token) is not None else (),
            "choices": CHOICES,
            "ip_in": "\n".join(ip.in_) if ip is not None else "",
            "ip_not_in": "\n".join(ip.not_in) if ip is not None else "",
            "expires_on": token.expires_on.date().isoformat() if token.expires_on is not None else "",
            "action": f"{LIST}/{token.id}",
        }
        return Shown("api_token.html", token.name, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        token = await visit.api.show(ShownToken, ITEM, token_id=visit.id())
        former = token.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"status"})
        body: dict[str, object] = {**former, "name": visit.sent("name"), **_limits(visit, token)}
        if visit.sent("status") != token.status:
            body["status"] = visit.sent("status") or None
        if simple(token) is not None:
            body["policies"] = [_policy(visit, choices(await _permissions(visit), frozenset()))]
        await visit.api.change("PUT", ITEM, body, token_id=token.id)
        return Went(f"{LIST}/{token.id}", "saved")

    async def _roll(self, visit: Visit) -> Confirmation:
        token = await visit.api.show(ShownToken, ITEM, token_id=visit.id())

        async def act() -> Answer:
            value = await visit.api.made(TokenValue, "PUT", f"{ITEM}/value", token_id=token.id)
            return _told(token.name, token.id, value.root)

        return Confirmation(
            f"Give {token.name} a new value?",
            name=token.name,
            back=f"{LIST}/{token.id}",
            deed="Roll the value",
            consequences=("Programs that use the former value are refused at once.",),
            act=act,
        )

    async def _remove(self, visit: Visit) -> Confirmation:
        token = await visit.api.show(ShownToken, ITEM, token_id=visit.id())
        return Confirmation(
            f"Delete {token.name}?",
            name=token.name,
            back=f"{LIST}/{token.id}",
            deed="Delete",
            consequences=("Programs that use it are refused at once.",),
            act=deletion(visit, ITEM, LIST, token_id=token.id),
        )


def simple(token: ShownToken) -> frozenset[str] | None:
    """The ids of what a token is allowed, if one policy says it all; None where the form cannot show its policies."""
    if len(token.policies) != 1 or token.policies[0].effect != "allow":
        return None
    return frozenset(one.id for one in token.policies[0].permission_groups)


def granted(token: ShownToken, names: Mapping[str, str]) -> list[str]:
    """What the policies of a token say, in words."""
    return [
        f"{'' if policy.effect == 'allow' else 'not: '}{names.get(group.id, group.id)}"
        for policy in token.policies
        for group in policy.permission_groups
    ]


def choices(permissions: Sequence[ListedPermission], held: frozenset[str]) -> list[PermissionChoice]:
    """A choice for each area of the API, with what is held there."""
    areas: dict[str, dict[str, str]] = {}
    for one in permissions:
        area, _, kind = one.name.rpartition(" ")
        areas.setdefault(area, {})[kind] = one.id
    return [
        PermissionChoice(f"area_{place}", area, next((k for k in ("Write", "Read") if ids.get(k) in held), ""), ids)
        for place, (area, ids) in enumerate(areas.items())
    ]


def _policy(visit: Visit, areas: Sequence[PermissionChoice]) -> Mapping[str, object]:
    """The policy that a form makes.

    Raises:
        AdminError: it allows nothing.
    """
    ids = [id for one in areas if (id := one.ids.get(visit.sent(one.field))) is not None]
    if not ids:
        raise invalid("choose at least one permission", "/policies")
    return {"effect": "allow", "permission_groups": [{"id": id} for id in ids], "resources": EVERY_ACCOUNT}


def _limits(visit: Visit, token: ShownToken | None = None) -> dict[str, object]:
    """From where, and until when, a token is good. A day ends a token as it begins, in UTC."""
    inside, outside, day = visit.lines("ip_in"), visit.lines("ip_not_in"), visit.sent("expires_on")
    condition = {"request_ip": {"in": inside, "not_in": outside}} if inside or outside else None
    former = token.expires_on if token is not None else None
    if former is not None and day == former.date().isoformat():
        return {"condition": condition, "expires_on": former.isoformat()}
    return {"condition": condition, "expires_on": f"{day}T00:00:00Z" if day else None}


def _told(name: str, id: str, value: str) -> Shown:
    values = {"value": value, "back": f"{LIST}/{id}"}
    return Shown("api_token_made.html", f"The value of {name}", values, ABOVE)


async def _permissions(visit: Visit) -> Sequence[ListedPermission]:
    return (await visit.api.list(ListedPermission, f"{API}/permission_groups")).items
