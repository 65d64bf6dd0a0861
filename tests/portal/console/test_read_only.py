"""Who may read and not change: every page of the console, whatever leads to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.admin import ApiCaller, permissions_of_role
from portal.console import AdminConsole
from portal.console.logs import FILTERS
from portal.login import People
from portal.pages import Assets
from tests.portal.home.approving import asked, rule
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
NOBODY = cast(Any, None)
REFUSED = "Your role, auditor, does not allow this."
FORM = re.compile(r'<form[^>]* method="post"[^>]* action="[^"]*/admin/')
ELSEWHERE = r"/(runs|logs|servers/{id}/(tool|prompt)|portals/.*/prompt|configured/(?!servers|portals))"
FIX = "https://fix.example.com/mcp"
EVERYONE: list[dict[str, object]] = [{"everyone": {}}]
MADE: Mapping[str, tuple[str, dict[str, object]]] = {
    "/policies/groups/{id}": ("/access/groups", {"name": "Staff", "include": EVERYONE}),
    "/policies/lists/{id}": ("/gateway/lists", {"name": "Guests", "type": "EMAIL", "items": []}),
    "/policies/reusable/{id}": ("/access/policies", {"name": "All", "decision": "allow", "include": EVERYONE}),
    "/policies/apps/{id}": ("/access/apps", {"name": "Team", "type": "mcp_portal", "domain": "team.example.com",
                                             "policies": [{"name": "Own", "decision": "allow", "include": EVERYONE}]}),
    "/login-methods/{id}": ("/access/identity_providers", {"name": "PIN", "type": "onetimepin", "config": {}}),
    "/service-tokens/{id}": ("/access/service_tokens", {"name": "Job"}),
    "/settings/pages/{id}": ("/access/custom_pages", {"name": "No", "type": "identity_denied",
                                                      "custom_html": "<p>No</p>"}),
    "/servers/{id}": ("/access/ai-controls/mcp/servers", {"id": "notes", "name": "Notes", "hostname": FIX,
                                                          "auth_type": "unauthenticated"}),
    "/portals/{id}": ("/access/ai-controls/mcp/portals", {"id": "team", "name": "Team", "hostname": "team.example.com",
                                                          "servers": [{"server_id": "notes"}]}),
    "/gateway/{id}": ("/gateway/rules", {"name": "No", "action": "block", "filters": ["http"]}),
    "/dlp/profiles/{id}": ("/dlp/profiles/custom", {"name": "House", "entries": [
        {"name": "One", "enabled": True, "pattern": {"regex": "ab+"}}]}),
    "/dlp/datasets/{id}": ("/dlp/datasets", {"name": "Values", "secret": False}),
    "/data-flow/rules/{id}": ("/access/ai-controls/mcp/data-flow/rules", {"name": "F", "when": ["a"], "target": ["b"]}),
    "/quotas/{id}": ("/access/ai-controls/mcp/quotas", {"name": "All", "calls": 5, "period": 60, "per": ["person"]}),
    "/logpush/{id}": ("/logpush/jobs", {"destination_conf": "https://siem.example.com/in", "enabled": False}),
    "/api-tokens/{id}": ("/tokens", {}),
}  # fmt: skip
"""Something of each kind, made by the API at the path, for the pages of it."""


def paths() -> list[str]:
    """Every page that the console has, by its path below `/admin`."""
    console = AdminConsole(NOBODY, NOBODY, NOBODY, NOBODY, Assets())
    found = [route.path for route in console.routes() if "GET" in (route.methods or ())]
    return [path.removeprefix("/admin") for path in found if not path.startswith("/admin/assets")]


async def filled(portal: Guarded) -> dict[str, dict[str, str]]:
    """Make something of each kind: the parameters of its pages, by how their paths begin."""

    async def owner() -> ApiCaller:
        return ApiCaller("test", permissions_of_role("owner"))

    api, made = portal.admin.actions().of(owner, ""), dict[str, dict[str, str]]()
    for path, (to, body) in MADE.items():
        if to == "/tokens":
            made[path] = {"id": (await portal.admin.tokens.create_with_all("Terraform", "test")).id}
            continue
        result: Any = await api.change("POST", to, body)
        known = result if isinstance(result, dict) else result.model_dump()
        made[path] = {"id": str(known.get("id") or known.get("uid") or known.get("dataset", {}).get("id"))}
        if path == "/policies/apps/{id}":
            made[path]["policy"] = known["policies"][0]["id"]
        if path == "/dlp/profiles/{id}":
            made["/dlp/entries/{id}"] = {"id": known["entries"][0]["id"]}
    account = await portal.identity.administrators.find("ada@example.com")
    (person,) = [one for one in await People(portal.store).list() if one.identity.email == "ada@example.com"]
    assert account is not None
    made["/administrators/{id}"] = {"id": account.id, "role": "auditor"}
    made["/administrators/by-rules/{role}"] = {"role": "owner"}
    made["/people/{id}"] = {"id": person.id, "agent": "none"}
    made["/approvals/{id}"] = {"id": (await asked(portal, rule(), {})).id}
    made["/configured/servers/{id}"] = {"id": "fix"}
    made["/configured/portals/{id}"] = {"id": "_"}
    made["/portals/{id}"]["server"] = "notes"
    return made


def address(path: str, made: Mapping[str, Mapping[str, str]]) -> str:
    """The path of a page about what was made."""
    of = max((one for one in made if path.startswith(one)), key=len, default="")
    filled_in = re.sub(r"{(\w+)}", lambda found: made.get(of, {}).get(found.group(1), "none"), path)
    return f"/admin{filled_in}"


@asynccontextmanager
async def as_auditor(folder: Path) -> AsyncIterator[tuple[Guarded, Browser, dict[str, dict[str, str]]]]:
    pytest.importorskip("re2")
    async with (
        hosted() as upstream,
        guarded_portal(folder, upstream=upstream.url, has_log=True) as portal,
        browser_at(portal.url) as browser,
    ):
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        made = await filled(portal)
        await portal.change_role("auditor")
        yield portal, browser, made


async def test_no_page_has_a_form_for_who_may_change_nothing_and_one_that_is_for_a_change_is_refused_in_words(
    tmp_path: Path,
) -> None:
    async with as_auditor(tmp_path) as (_, browser, made):
        wrong, refused, there = list[str](), set[str](), set[str]()
        for path in paths():
            page = await browser.open(address(path, made))
            if page.status == 403:
                refused.add(path)
                if REFUSED not in page.text or "Nothing was changed" in page.text:
                    wrong.append(f"{path}: refused without the words about the role, or as if something was sent")
            elif FORM.search(page.html):
                wrong.append(f"{path}: {page.status}, with a form")
            elif page.status == 200:
                there.add(path)
            # Where there is nothing there is no form either; runs, rows of the log and what the document says, which
            # has no form for anybody, are for other tests.
            elif page.status != 404 or not re.match(ELSEWHERE, path):
                wrong.append(f"{path}: {page.status} at {page.url}")
        assert not wrong, "\n".join(wrong)
        # What is there to change something: that and no more is refused.
        ends = r"/(new|new-\w+|remove|edit|roll|reset|offboard|forget|words|destination|end|settings|tool|prompt)$"
        known = r"/start/(name|sign-in|server|policy)$|/lower/{role}$|/by-rules/{role}$"
        expected = {path for path in paths() if re.search(f"{ends}|{known}", path)} - {"/settings"}
        assert refused == expected, (refused - expected, expected - refused)
        assert len(there) > 45


async def test_no_link_leads_an_auditor_to_a_refusal_and_links_to_the_log_filter_it(tmp_path: Path) -> None:
    async with as_auditor(tmp_path) as (_, browser, made):
        waiting, seen, wrong = [address(path, made) for path in paths()], set[str](), list[str]()
        linked_from, refused = dict[str, str](), set[str]()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            page = await browser.open(path)
            if page.status == 403:
                refused.add(path)
            for _, href in page.links if page.status == 200 else ():
                target = urlsplit(href)
                if target.path == "/admin/logs" and not {*parse_qs(target.query)} <= {
                    *FILTERS,
                    "before",
                    "after",
                    "live",
                }:
                    wrong.append(f"{path} has a link to the log that does not filter it: {href}")
                # Of a page only the ways to others matter, and not each of its own views.
                if target.path.startswith("/admin/") and "/assets/" not in target.path:
                    linked_from.setdefault(target.path, path)
                    waiting.append(target.path)
        wrong += [f"{linked_from[path]} leads to {path}" for path in refused & linked_from.keys()]
        assert not wrong, "\n".join(sorted({*wrong}))
        assert len(seen) > 100
