"""The pages of quotas: how many calls there may be in which time, for whom, and who is how far."""

from __future__ import annotations

from starlette.routing import Route

from portal.admin import PORTALS, ShownQuota, ShownUse
from portal.console.configured import configured
from portal.console.frame import Confirmation, ConsoleFrame, deletion, name_to_type
from portal.console.quota_words import about_words, lasting, quota_words
from portal.console.visit import OWN_PORTAL_NAME, Answer, Crumb, Shown, Visit, Went

HERE, LIST = "quotas", "/admin/quotas"
API = "/access/ai-controls/mcp/quotas"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Quotas", LIST),)
PARTS = (("person", "Each person"), ("portal", "Each portal"), ("server", "Each server"), ("tool", "Each tool"))
UNITS = (("1", "seconds"), ("60", "minutes"), ("3600", "hours"), ("86400", "days"))
OWN_PORTAL = "own_portal"
"""The box of the document's own portal, whose id is empty."""
FULL, NEARLY = 1.0, 0.8


class QuotaPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        names = {"per": "per-person"}
        return [
            page("/quotas", HERE, self._list),
            page("/quotas/new", HERE, self._new, changes=PORTALS),
            form("/quotas/new", HERE, self._add, self._new, names),
            page("/quotas/{id}", HERE, self._show),
            form("/quotas/{id}", HERE, self._save, self._show, names),
            *self._frame.confirmation("/quotas/{id}/remove", HERE, self._remove, PORTALS),
        ]

    async def _list(self, visit: Visit) -> Answer:
        """The quotas of the store and of the document, and below them a page of who is how far in any of them."""
        quotas = await visit.api.list(ShownQuota, API)
        used = await visit.api.list(ShownUse, f"{API}/usage", visit.page_query())
        values = {
            "quotas": quotas,
            "configured": await configured(visit, "quotas"),
            "used": used,
            "search": visit.query("search"),
            "words": quota_words,
            "about": about_words,
            "whose": whose,
            "tone": tone_of,
            "soon": soon,
        }
        return Shown("quotas.html", "Quotas", values)

    async def _new(self, visit: Visit) -> Answer:
        return Shown("quota.html", "Add a quota", _form(None), ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        await visit.api.made(ShownQuota, "POST", API, _said(visit))
        return Went(LIST, "saved")

    async def _show(self, visit: Visit) -> Answer:
        quota = await visit.api.show(ShownQuota, ITEM, id=visit.id())
        return Shown("quota.html", quota.name, _form(quota), ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        quota = await visit.api.show(ShownQuota, ITEM, id=visit.id())
        await visit.api.change("PUT", ITEM, {**quota.model_dump(mode="json"), **_said(visit)}, id=quota.id)
        return Went(LIST, "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        quota = await visit.api.show(ShownQuota, ITEM, id=visit.id())
        return Confirmation(
            f"Remove the quota {quota.name}?",
            name=name_to_type(quota.name, quota.id),
            back=LIST,
            consequences=("It refuses no call any more, and its counts are forgotten.",),
            act=deletion(visit, ITEM, LIST, id=quota.id),
        )


def _form(quota: ShownQuota | None) -> dict[str, object]:
    amount, unit = written_period(quota.period) if quota is not None else ("1", "60")
    return {
        "quota": quota,
        "amount": amount,
        "unit": unit,
        "parts_of": PARTS,
        "units": UNITS,
        "action_path": LIST + ("/new" if quota is None else f"/{quota.id}"),
    }


def _said(visit: Visit) -> dict[str, object]:
    portals = visit.lines("portals") + ([""] if visit.ticked(OWN_PORTAL) else [])
    return {
        "name": visit.sent("name"),
        "calls": visit.sent("calls"),
        "period": read_period(visit.sent("period"), visit.sent("unit")),
        "per": [part for part, _ in PARTS if visit.ticked(f"per-{part}")],
        "portals": portals,
        "servers": visit.lines("servers"),
        "tools": visit.lines("tools"),
    }


def read_period(amount: str, unit: str) -> int | str:
    """The seconds of so many units; what was typed, if that is no whole number of at most nine digits."""
    known = {seconds for seconds, _ in UNITS}
    is_whole = amount.isascii() and amount.isdecimal() and len(amount) <= 9
    return int(amount) * int(unit) if is_whole and unit in known else amount


def written_period(seconds: int) -> tuple[str, str]:
    """A period as an amount of the largest unit of which it is a whole number."""
    unit = next(one for one, _ in reversed(UNITS) if seconds % int(one) == 0)
    return str(seconds // int(unit)), unit


def soon(seconds: int) -> str:
    """A time from now, in whole minutes or hours where it is long."""
    step = 3600 if seconds > 36_000 else 60 if seconds > 600 else 1
    return lasting(-(-seconds // step) * step)


def whose(used: ShownUse) -> str:
    """Whose calls these are."""
    portal = None if used.portal is None else used.portal or OWN_PORTAL_NAME.lower()
    return ", ".join(part for part in (used.person, portal, used.server, used.tool) if part) or "All together"


def tone_of(used: ShownUse) -> str:
    share = used.calls / used.limit
    return "bad" if share >= FULL else "warn" if share >= NEARLY else "good"
