"""The pages of settings: how people sign in and how pages look, the pages of the refused, and the signing keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from starlette.routing import Route

from portal.admin import (
    CUSTOM_PAGES,
    AdminError,
    ConfiguredSetting,
    NumberedPage,
    ShownApp,
    ShownKeys,
    ShownOrganization,
    ShownPage,
    ShownProvider,
)
from portal.console.configured import SETTINGS as CONFIGURED_SETTINGS
from portal.console.frame import Confirmation, ConsoleFrame, deletion, once_unused
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, HOME = "settings", "/admin/settings"
ORGANIZATION_PATH, KEYS, PAGES = "/access/organizations", "/access/keys", "/access/custom_pages"
PAGE = f"{PAGES}/{{id}}"
ABOVE = (Crumb("Custom pages", f"{HOME}/pages"),)
LOOKS = ("background_color", "text_color", "logo_path", "header_text", "footer_text")
TEXTS = ("name", "session_duration", "custom_deny_message", "custom_deny_url", "custom_deny_html")
PIN = "onetimepin"
SETTINGS_A_PAGE = 100
MAX_HTML = 40_000
"""Characters of a page that a form takes: forms have at most 64 KiB, in which many characters are three."""
PAGE_TYPES = (
    ("identity_denied", "Refused for who somebody is"),
    ("forbidden", "Refused for anything else"),
    ("login", "Login: stored and not shown here"),
    ("interstitial", "Interstitial: stored and not shown here"),
)


class SettingsPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        item = "/settings/pages/{id}"
        return [
            page("/settings", HERE, self._show),
            form("/settings", HERE, self._save, self._show),
            page("/settings/keys", HERE, self._keys),
            form("/settings/keys", HERE, self._set_interval, self._keys),
            form("/settings/keys/rotate", HERE, self._rotate, self._keys),
            page("/settings/configuration", HERE, self._configuration),
            page("/settings/pages", HERE, self._pages),
            page("/settings/pages/new", HERE, self._new_page, changes=CUSTOM_PAGES),
            form("/settings/pages/new", HERE, self._add_page, self._new_page),
            page(item, HERE, self._page),
            form(item, HERE, self._save_page, self._page),
            *self._frame.confirmation(f"{item}/remove", HERE, self._remove, CUSTOM_PAGES),
        ]

    async def _show(self, visit: Visit) -> Answer:
        organization = await visit.api.show(ShownOrganization, ORGANIZATION_PATH)
        values = {
            "organization": organization,
            "stored": stored_texts(organization),
            "documented": documented_texts(organization),
            "instant": is_instant(organization),
            "idps": [(f"idp_{id}", name, id in organization.allowed_idps) for id, name in await _idps(visit)],
        }
        return Shown("settings.html", "Settings", values)

    async def _save(self, visit: Visit) -> Answer:
        organization = await visit.api.show(ShownOrganization, ORGANIZATION_PATH)
        idps = [id for id, _ in await _idps(visit)]
        body = changes(visit, organization, idps)
        try:
            await visit.api.change("PUT", ORGANIZATION_PATH, body)
        except AdminError as error:
            raise _placed(error) from None
        return Went(HOME, "saved")

    async def _configuration(self, visit: Visit) -> Answer:
        """All settings of the operator's document."""
        search, written = visit.query("search"), "true" if visit.query("written") == "true" else ""
        query = {"search": search, "page": visit.query("page", "1"), "per_page": str(SETTINGS_A_PAGE)}
        found = await visit.api.list(ConfiguredSetting, CONFIGURED_SETTINGS, {**query, "written": written or "false"})
        values = {"found": found, "search": search, "written": written}
        return Shown("settings_configuration.html", "Configuration", values)

    # Keys

    async def _keys(self, visit: Visit) -> Answer:
        return Shown("settings_keys.html", "Signing keys", {"keys": await visit.api.show(ShownKeys, KEYS)})

    async def _set_interval(self, visit: Visit) -> Answer:
        days = visit.sent("key_rotation_interval_days")
        body = {"key_rotation_interval_days": int(days) if days.isdecimal() and len(days) < 9 else days}
        await visit.api.change("PUT", KEYS, body)
        return Went(f"{HOME}/keys", "saved")

    async def _rotate(self, visit: Visit) -> Answer:
        await visit.api.change("POST", f"{KEYS}/rotate")
        return Went(f"{HOME}/keys", "rotated")

    # Custom pages

    async def _pages(self, visit: Visit) -> Answer:
        found: NumberedPage[ShownPage] = await visit.api.list(ShownPage, PAGES, visit.page_query())
        values = {
            "found": found,
            "rows": [(one, await _users(visit, one.uid)) for one in found.items],
            "search": visit.query("search"),
            "types": dict(PAGE_TYPES),
            "can_change": visit.may(CUSTOM_PAGES),
        }
        return Shown("settings_pages.html", "Custom pages", values)

    async def _new_page(self, visit: Visit) -> Answer:
        values = {"page": None, "types": PAGE_TYPES, "action": f"{HOME}/pages/new", "is_long": False, "users": ()}
        return Shown("settings_page.html", "Add a custom page", values | {"can_change": visit.may(CUSTOM_PAGES)}, ABOVE)

    async def _add_page(self, visit: Visit) -> Answer:
        body = {name: visit.sent(name) for name in ("name", "type", "custom_html")}
        made = await visit.api.made(ShownPage, "POST", PAGES, body)
        return Went(f"{HOME}/pages/{made.uid}", "made")

    async def _page(self, visit: Visit) -> Answer:
        page = await visit.api.show(ShownPage, PAGE, id=visit.id())
        values = {
            "page": page,
            "types": PAGE_TYPES,
            "action": f"{HOME}/pages/{page.uid}",
            "is_long": len(page.custom_html) > MAX_HTML,
            "users": await _users(visit, page.uid),
            "can_change": visit.may(CUSTOM_PAGES),
        }
        return Shown("settings_page.html", page.name, values, ABOVE)

    async def _save_page(self, visit: Visit) -> Answer:
        page = await visit.api.show(ShownPage, PAGE, id=visit.id())
        body = page.model_dump(mode="json", exclude_none=True) | {n: visit.sent(n) for n in ("name", "type")}
        if "custom_html" in visit.fields:
            body["custom_html"] = visit.sent("custom_html")
        await visit.api.change("PUT", PAGE, body, id=page.uid)
        return Went(f"{HOME}/pages/{page.uid}", "saved")

    async def _remove(self, visit: Visit) -> Confirmation:
        page = await visit.api.show(ShownPage, PAGE, id=visit.id())
        users = await _users(visit, page.uid)
        return Confirmation(
            f"Remove {page.name}?",
            name=page.name,
            back=f"{HOME}/pages/{page.uid}",
            consequences=once_unused([one.name for one in users], "No application uses it."),
            act=deletion(visit, PAGE, f"{HOME}/pages", id=page.uid),
        )


def stored_texts(organization: ShownOrganization) -> Mapping[str, str]:
    """The texts that are stored, by the name of their field; "" for those that are not."""
    members = organization.model_dump()
    texts = {name: str(members[name]) if name in organization.stored else "" for name in TEXTS}
    return {**texts, **{name: str(members["login_design"][name]) for name in LOOKS}}


def documented_texts(organization: ShownOrganization) -> Mapping[str, str]:
    """What the configuration document says, by the name of the field, where nothing else is stored."""
    said = {name: value for name, value in organization.document.items() if name not in organization.stored}
    looks = said.get("login_design")
    found = {**said, **(looks if isinstance(looks, Mapping) else {})}
    return {name: str(value)[:300] for name, value in found.items() if name in (*TEXTS, *LOOKS)}


def is_instant(organization: ShownOrganization) -> bool:
    """Whether Instant Auth is on."""
    if "auto_redirect_to_identity" in organization.stored:
        return organization.auto_redirect_to_identity
    return organization.document.get("auto_redirect_to_identity") is True


def changes(visit: Visit, organization: ShownOrganization, idps: Sequence[str]) -> dict[str, object]:
    """The members that a form changes. What is as it was is not sent: it may be the document's."""
    stored = stored_texts(organization)
    # A browser sends a line break as two characters.
    sent = {name: visit.sent(name).replace("\r\n", "\n") for name in (*TEXTS, *LOOKS)}
    body: dict[str, object] = {name: sent[name] for name in TEXTS if sent[name] != stored[name].strip()}
    looks = {name: sent[name] for name in LOOKS}
    if any(looks[name] != stored[name] for name in LOOKS):
        body["login_design"] = {name: value for name, value in looks.items() if value}
    if visit.ticked("auto_redirect_to_identity") != is_instant(organization):
        body["auto_redirect_to_identity"] = visit.ticked("auto_redirect_to_identity")
    allowed = [id for id in idps if visit.ticked(f"idp_{id}")]
    if set(allowed) != set(organization.allowed_idps):
        body["allowed_idps"] = allowed
    return body


def _placed(error: AdminError) -> AdminError:
    """The error with the fields of the form in place of the members of `login_design`."""
    problems = [replace(one, pointer=one.pointer.replace("/login_design/", "/", 1)) for one in error.problems]
    return AdminError(error.status, problems)


async def _idps(visit: Visit) -> Sequence[tuple[str, str]]:
    """The ids and names of what people can sign in with."""
    stored = (await visit.api.list(ShownProvider, "/access/identity_providers")).items
    return [*((one.id, one.name or one.type) for one in stored), (PIN, "One-time PIN of the configuration document")]


async def _users(visit: Visit, uid: str) -> Sequence[ShownApp]:
    return [one for one in (await visit.api.list(ShownApp, "/access/apps")).items if uid in one.custom_pages]
