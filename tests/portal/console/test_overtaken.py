"""Every form that changes an object: what somebody else has changed since its page was shown is not undone by it."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.routing import Route

from portal.admin import ALL, ApiCaller, ListedPermission
from portal.admin.roles import ROLE_RULES, ROLE_RULES_ID, RolesDocument
from portal.admin.tokens import API_TOKEN
from portal.app.console import ConsoleDoor
from portal.console import CONSOLE_PATH
from portal.dlp import predefined_uuid
from portal.export import EXPORT_JOB
from portal.home import Connecting
from portal.http import PortalAddress
from portal.login import ADMINISTRATOR, LOGIN_SETTINGS, LOGIN_SETTINGS_ID, LoginSettings
from portal.oauth import KEY_SETTINGS, KEY_SETTINGS_ID, SERVICE_TOKEN, KeySettings
from portal.objects import (
    APP,
    CUSTOM_PAGE,
    DATASET,
    DLP_PROFILE,
    FLOW_RULE,
    GATEWAY_RULE,
    GROUP,
    IDENTITY_PROVIDER,
    LIST,
    POLICY,
    PORTAL,
    PREDEFINED_DLP,
    QUOTA,
    SERVER,
    CapabilitySetting,
    PredefinedDlpDocument,
)
from portal.state import Kind, Store, plain
from tests.portal.console.filled import FilledForm, filled_forms
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in

pytest.importorskip("re2")
EVERYONE: list[dict[str, Any]] = [{"everyone": {}}]
OTHER = "grace@example.com"
FINANCIAL = predefined_uuid("financial")
Deed = Callable[["Edited"], Awaitable[None]]
KINDS = [
    kind.name
    for kind in (
        ADMINISTRATOR,
        API_TOKEN,
        APP,
        CUSTOM_PAGE,
        DATASET,
        DLP_PROFILE,
        EXPORT_JOB,
        FLOW_RULE,
        GATEWAY_RULE,
        GROUP,
        IDENTITY_PROVIDER,
        KEY_SETTINGS,
        LIST,
        POLICY,
        PORTAL,
        PREDEFINED_DLP,
        QUOTA,
        ROLE_RULES,
        SERVER,
        SERVICE_TOKEN,
    )
]


@dataclass
class Edited:
    """A portal with one object of each kind, and an administrator at its console. `ids` are those of the objects."""

    portal: Guarded
    person: Browser
    ids: dict[str, str] = field(default_factory=dict)

    def path(self, path: str) -> str:
        return CONSOLE_PATH + re.sub(r"<(\w+)>", lambda name: self.ids[name[1]], path)

    async def page(self, path: str) -> Page:
        return await self.person.open(self.path(path))

    async def send(self, form: FilledForm) -> Page:
        headers = {"Origin": self.portal.url}
        response = await self.person.client.post(
            self.portal.url + form.action, data=form.fields, headers=headers, follow_redirects=False
        )
        return Page(form.action, response.status_code, response.headers, response.text)


def rewritten(kind: Kind[Any], id: str, **update: object) -> Deed:
    """Somebody else changes the object: with the same document, or with these members of it."""

    async def change(edited: Edited) -> None:
        name = edited.ids.get(id, id)
        found = await edited.portal.store.get(kind, name)
        assert found is not None
        await edited.portal.store.replace(kind, name, found.document.model_copy(update=update), by=OTHER)

    return change


def written(kind: Kind[Any], id: str, document: Any) -> Deed:
    """Somebody else writes what may not have been there."""

    async def change(edited: Edited) -> None:
        there = await edited.portal.store.find(kind, id)
        write = edited.portal.store.create if there is None else edited.portal.store.replace
        await write(kind, id, document, by=OTHER)

    return change


async def described(edited: Edited) -> None:
    """Somebody else changes the settings of one tool and one prompt, of the server and at the portal."""
    hidden = CapabilitySetting.model_validate({"name": "search", "description": f"by Grace {edited.ids['count']}"})
    edited.ids["count"] += "+"
    settings = {"updated_tools": (hidden,), "updated_prompts": (hidden,)}
    await rewritten(SERVER, "docs", **settings)(edited)
    team = await edited.portal.store.get(PORTAL, "team")
    assert team is not None
    (entry,) = team.document.servers
    entry = entry.model_copy(update={**settings, "on_behalf": not entry.on_behalf})
    await edited.portal.store.replace(PORTAL, "team", team.document.model_copy(update={"servers": (entry,)}), by=OTHER)


async def reworded(edited: Edited) -> None:
    """Somebody else changes the pattern of a profile."""
    profile = await edited.portal.store.get(DLP_PROFILE, edited.ids["profile"])
    assert profile is not None
    edited.ids["count"] += "+"
    entries = tuple(
        one.model_copy(update={"description": edited.ids["count"]}) if one.type == "custom" else one
        for one in profile.document.entries
    )
    await rewritten(DLP_PROFILE, "profile", entries=entries)(edited)


@dataclass(frozen=True)
class EditForm:
    """A form: the page that has it, where it goes if that is elsewhere, what somebody else does meanwhile, what is
    typed, and what is not shown again because it may be a secret."""

    page: str
    other: Deed
    typed: Mapping[str, str] = field(default_factory=dict)
    to: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def action(self) -> str:
        return self.to or self.page.partition("?")[0]


EDITS = [
    EditForm("/policies/reusable/<policy>", rewritten(POLICY, "policy"), {"name": "Ada's name"}),
    EditForm("/policies/groups/<group>", rewritten(GROUP, "group"), {"name": "Ada's name"}),
    EditForm("/policies/lists/<list>", rewritten(LIST, "list"), {"name": "Ada's name"}),
    EditForm("/policies/apps/<app>/settings", rewritten(APP, "app"), {"name": "Ada's name"}),
    EditForm("/policies/apps/<app>/own/<own>", rewritten(APP, "app"), {"name": "Ada's name"}),
    EditForm("/login-methods/<provider>", rewritten(IDENTITY_PROVIDER, "provider"), {"name": "Ada's name"}),
    EditForm("/service-tokens/<token>", rewritten(SERVICE_TOKEN, "token"), {"name": "Ada's name"}),
    EditForm("/gateway/<rule>", rewritten(GATEWAY_RULE, "rule"), {"name": "Ada's name"}),
    EditForm("/gateway/<rule>?as=text", rewritten(GATEWAY_RULE, "rule"), {"description": "Ada's words"}),
    EditForm("/dlp/profiles/<profile>", rewritten(DLP_PROFILE, "profile"), {"name": "Ada's name"}),
    EditForm(
        "/dlp/profiles/<profile>/words",
        rewritten(DLP_PROFILE, "profile"),
        {"name": "Ada's", "words": "first words\nsecond words"},
    ),
    EditForm("/dlp/profiles/<profile>", rewritten(DLP_PROFILE, "profile"), to="/dlp/profiles/<profile>/share"),
    EditForm("/dlp/profiles/<financial>", written(PREDEFINED_DLP, FINANCIAL, PredefinedDlpDocument())),
    EditForm("/dlp/entries/<entry>", reworded, {"name": "Ada's name"}),
    EditForm("/dlp/datasets/<dataset>", rewritten(DATASET, "dataset"), {"name": "Ada's name"}),
    EditForm("/data-flow/rules/<flow>", rewritten(FLOW_RULE, "flow"), {"name": "Ada's name"}),
    EditForm("/quotas/<quota>", rewritten(QUOTA, "quota"), {"name": "Ada's name"}),
    EditForm("/logpush/<job>/edit", rewritten(EXPORT_JOB, "job"), {"name": "Ada's name"}),
    EditForm(
        "/logpush/<job>/destination", rewritten(EXPORT_JOB, "job"), secrets={"url": "https://other.example.com/in"}
    ),
    EditForm("/settings/pages/<block>", rewritten(CUSTOM_PAGE, "block"), {"name": "Ada's name"}),
    EditForm(
        "/settings",
        written(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, LoginSettings.model_validate({"name": "Theirs"})),
        {"name": "Ada's"},
    ),
    EditForm("/settings/keys", written(KEY_SETTINGS, KEY_SETTINGS_ID, KeySettings(key_rotation_interval_days=40))),
    EditForm("/servers/docs/edit", rewritten(SERVER, "docs"), {"name": "Ada's name"}),
    EditForm("/servers/docs/credentials", rewritten(SERVER, "docs"), secrets={"auth_credentials": "sk-new"}),
    EditForm("/servers/docs/tool?name=search", described, {"alias": "adas-name"}),
    EditForm("/servers/docs/prompt?name=search", described, {"alias": "adas-name"}),
    EditForm("/portals/team/edit", rewritten(PORTAL, "team"), {"name": "Ada's name"}),
    EditForm("/portals/team/servers/docs", described),
    EditForm("/portals/team/servers/docs/tool?name=search", described, {"alias": "adas-name"}),
    EditForm("/portals/team/servers/docs/prompt?name=search", described, {"alias": "adas-name"}),
    EditForm(
        "/administrators/<member>",
        rewritten(ADMINISTRATOR, "member"),
        {"role": "admin"},
        "/administrators/<member>/role",
    ),
    EditForm("/administrators/by-rules/auditor", written(ROLE_RULES, ROLE_RULES_ID, RolesDocument())),
    EditForm("/api-tokens/<api_token>", rewritten(API_TOKEN, "api_token"), {"name": "Ada's name"}),
    EditForm("/start/name", written(LOGIN_SETTINGS, LOGIN_SETTINGS_ID, LoginSettings()), {"name": "Ada's name"}),
]
REMOVALS = [
    EditForm("/policies/reusable/<policy>/remove", rewritten(POLICY, "policy")),
    EditForm("/policies/groups/<group>/remove", rewritten(GROUP, "group")),
    EditForm("/policies/lists/<list>/remove", rewritten(LIST, "list")),
    EditForm("/policies/apps/<app>/remove", rewritten(APP, "app")),
    EditForm("/policies/apps/<app>/own/<own>/remove", rewritten(APP, "app")),
    EditForm("/login-methods/<provider>/remove", rewritten(IDENTITY_PROVIDER, "provider")),
    EditForm("/service-tokens/<token>/remove", rewritten(SERVICE_TOKEN, "token")),
    EditForm("/gateway/<rule>/remove", rewritten(GATEWAY_RULE, "rule")),
    EditForm("/dlp/profiles/<profile>/remove", rewritten(DLP_PROFILE, "profile")),
    EditForm("/dlp/entries/<entry>/remove", reworded),
    EditForm("/dlp/datasets/<dataset>/remove", rewritten(DATASET, "dataset")),
    EditForm("/data-flow/rules/<flow>/remove", rewritten(FLOW_RULE, "flow")),
    EditForm("/quotas/<quota>/remove", rewritten(QUOTA, "quota")),
    EditForm("/logpush/<job>/remove", rewritten(EXPORT_JOB, "job")),
    EditForm("/settings/pages/<block>/remove", rewritten(CUSTOM_PAGE, "block")),
    EditForm("/servers/docs/remove", rewritten(SERVER, "docs")),
    EditForm("/portals/team/remove", rewritten(PORTAL, "team")),
    EditForm("/administrators/<member>/remove", rewritten(ADMINISTRATOR, "member")),
    EditForm("/administrators/<member>/lower/auditor", rewritten(ADMINISTRATOR, "member")),
    EditForm("/api-tokens/<api_token>/roll", rewritten(API_TOKEN, "api_token")),
    EditForm("/api-tokens/<api_token>/remove", rewritten(API_TOKEN, "api_token")),
]
OTHERS = {
    "makes something new": (
        "/administrators/new /api-tokens/new /data-flow/rules/new /dlp/datasets/new /dlp/profiles/new "
        "/dlp/profiles/{id}/patterns/new /gateway/new /login-methods/new /logpush/new /new-portal /new-server "
        "/policies/apps/new /policies/groups/new /policies/lists/new /policies/reusable/new /quotas/new "
        "/service-tokens/new /settings/pages/new /start/policy /start/server /start/sign-in /portals/{id}/attach"
    ),
    "is a button that changes one thing, of what it is when it is pressed": (
        "/gateway/{id}/enabled /gateway/{id}/move /logpush/{id}/enabled /dlp/profiles/{id}/switch "
        "/dlp/profiles/{id}/reset /policies/apps/{id}/detach /policies/apps/{id}/move /policies/lists/{id}/take "
        "/portals/{id}/detach /portals/{id}/servers/{server}/prompts /portals/{id}/servers/{server}/prompts/all "
        "/portals/{id}/servers/{server}/tools /portals/{id}/servers/{server}/tools/all /servers/{id}/prompts "
        "/servers/{id}/prompts/all /servers/{id}/tools /servers/{id}/tools/all /servers/{id}/prompt/forget "
        "/servers/{id}/tool/forget /start/name/undo /start/policy/undo /start/server/undo /start/sign-in/undo"
    ),
    "adds to what is there, whatever that is": "/policies/lists/{id}/add /policies/apps/{id}/attach",
    "has a version of its own": (
        "/dlp/datasets/{id}/values /servers/{id}/approvals /configured/servers/{id}/approvals"
    ),
    "does something that is no edit": (
        "/administrators/{id}/link /administrators/{id}/reset /data-flow/reads/forget /login-methods/{id}/test "
        "/people/{id}/agents/{agent}/end /people/{id}/offboard /people/{id}/sessions/{nonce}/end /runs/{id}/end "
        "/runs/{id}/replay /approvals/{id} /approvals/remembered/{grant}/revoke "
        "/servers/{id}/login /servers/{id}/login/end /servers/{id}/sync /configured/servers/{id}/sync "
        "/service-tokens/{id}/refresh /service-tokens/{id}/rotate /settings/keys/rotate"
    ),
}


@asynccontextmanager
async def edited_portal(folder: Path) -> AsyncIterator[Edited]:
    (folder / "out").mkdir()
    sections = {"exports": {"folders": [str(folder / "out")]}}
    async with (
        guarded_portal(folder, has_log=True, sections=sections) as portal,
        browser_at(portal.url) as person,
    ):
        ada = await portal.account()
        await portal.account(OTHER)
        await sign_in(person, await person.open("/admin"))
        edited = Edited(portal, person)
        await made(edited, ada.key)
        yield edited


async def made(edited: Edited, by: str) -> None:
    """One object of each kind, made as an administrator makes them."""

    async def caller() -> ApiCaller:
        return ApiCaller(by, ALL)

    actions, ids = edited.portal.admin.actions().of(caller, "127.0.0.1"), edited.ids

    async def post(name: str, path: str, body: Mapping[str, object], **names: str) -> Any:
        result: Any = await actions.change("POST", path, body, **names)
        ids[name] = str(getattr(result, "id", None) or getattr(result, "uid", ""))
        return result

    mcp = "/access/ai-controls/mcp"
    server = {"id": "docs", "name": "Docs", "hostname": "http://127.0.0.1:9/mcp", "auth_type": "bearer"}
    await post("server", f"{mcp}/servers", {**server, "auth_credentials": "sk-former"})
    settings = [{"name": "search", "description": "Theirs"}]
    await actions.change(
        "PATCH", f"{mcp}/servers/{{id}}", {"updated_tools": settings, "updated_prompts": settings}, id="docs"
    )
    portal = {"id": "team", "name": "Team", "hostname": "team.example.com"}
    await post(
        "portal",
        f"{mcp}/portals",
        {**portal, "servers": [{"server_id": "docs", "updated_tools": settings, "updated_prompts": settings}]},
    )
    await post("policy", "/access/policies", {"name": "Staff", "decision": "allow", "include": EVERYONE})
    await post("group", "/access/groups", {"name": "Engineers", "include": EVERYONE})
    await post("list", "/gateway/lists", {"name": "Guests", "type": "EMAIL", "items": [{"value": "eve@example.com"}]})
    own = {"name": "Own", "decision": "allow", "include": EVERYONE, "id": "own-1"}
    destinations = [{"type": "via_mcp_server_portal", "mcp_server_id": "docs"}]
    ids["own"] = "own-1"
    await post("app", "/access/apps", {"type": "mcp", "name": "Docs", "destinations": destinations, "policies": [own]})
    await post("provider", "/access/identity_providers", {"name": "Company", "type": "onetimepin"})
    await post("token", "/access/service_tokens", {"name": "Robot"})
    await post("rule", "/gateway/rules", {"name": "No deletes", "action": "block", "traffic": 'mcp.tool.name == "rm"'})
    await post("dataset", "/dlp/datasets", {"name": "Customers"})
    ids["dataset"] = (await edited.portal.store.list(DATASET))[0].id
    pattern = {"name": "Staff", "enabled": True, "pattern": {"regex": "EMP-[0-9]{6}"}}
    await post("profile", "/dlp/profiles/custom", {"name": "Of the house", "entries": [pattern]})
    ids["entry"] = (await edited.portal.store.list(DLP_PROFILE))[0].document.entries[0].id
    await post("flow", f"{mcp}/data-flow/rules", {"name": "No leaks", "when": ["confidential"], "target": ["external"]})
    await post("quota", f"{mcp}/quotas", {"name": "Everybody", "calls": 5, "period": 60, "per": ["person"]})
    await post("job", "/logpush/jobs", {"name": "SIEM", "destination_conf": "https://siem.example.com/in"})
    page = {"name": "Blocked", "type": "forbidden", "custom_html": "<p>No</p>"}
    await post("block", "/access/custom_pages", page)
    groups = (await actions.list(ListedPermission, "/tokens/permission_groups")).items
    account = {f"com.cloudflare.api.account.{edited.portal.admin.account_id}": "*"}
    policy = {"effect": "allow", "permission_groups": [{"id": groups[0].id}], "resources": account}
    await post("api_token", "/tokens", {"name": "CI", "policies": [policy]})
    ids |= {"financial": FINANCIAL, "count": "", "member": await account_of(edited.portal.store)}


async def account_of(store: Store) -> str:
    return next(one.id for one in await store.list(ADMINISTRATOR) if one.document.email == OTHER)


@pytest.fixture(scope="module")
def loop() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def edited(loop: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    """One portal for all forms: each test leaves an object of each kind."""
    with loop.wrap_async_context_manager(edited_portal(tmp_path_factory.mktemp("edited"))) as made_portal:
        yield made_portal


def form_of(page: Page, action: str) -> FilledForm:
    assert page.status in (200, 412), page.text
    found = next((one for one in filled_forms(page.html) if one.path == action and one.method == "post"), None)
    assert found is not None, f"no form goes to {action}: {page.text[:500]}"
    return found


async def all_documents(store: Store) -> dict[str, object]:
    """What is stored, without what the portal itself writes."""
    found: dict[str, object] = {}
    for kind in KINDS:
        found |= {f"{kind}/{one.id}": (one.revision, one.document) for one in await store.list(plain(kind))}
    return found


async def overtaken(edited: Edited, form: EditForm) -> Page:
    """The answer to a form that is sent after somebody else has changed its object, which changes nothing."""
    action = edited.path(form.action)
    page = await edited.page(form.page)
    filled = form_of(page, action)
    assert filled.fields.get("marks"), f"the form of {form.page} does not say what its page has read"
    filled.fields |= {**form.typed, **form.secrets}
    if named := re.search('class="secret">([^<]*)<', page.html):
        filled.fields["name"] = html.unescape(named[1])
    await form.other(edited)
    left = await all_documents(edited.portal.store)
    answer = await edited.send(filled)
    assert answer.status == 412, (answer.status, answer.headers.get("location"), answer.text[:800])
    assert await all_documents(edited.portal.store) == left
    assert (
        "was changed meanwhile by" in answer.text
        and OTHER in answer.text
        and "Nothing that you sent was done" in answer.text
    )
    again = form_of(answer, action)
    kept = {name: again.fields.get(name) for name in form.typed}
    assert kept == dict(form.typed)
    # What stands there now is a link away, at the page of the form.
    shown = await edited.person.open(answer.link("load what stands there now"))
    assert shown.status == 200 and form_of(shown, action).fields["marks"] == again.fields["marks"]
    return answer


@pytest.mark.parametrize("form", EDITS, ids=lambda form: form.page + form.to)
def test_a_form_that_somebody_was_ahead_of_changes_nothing_and_can_be_saved_anyway(
    loop: BlockingPortal, edited: Edited, form: EditForm
) -> None:
    async def check() -> None:
        answer = await overtaken(edited, form)
        again = form_of(answer, edited.path(form.action))
        again.fields |= form.secrets
        left = await all_documents(edited.portal.store)
        saved = await edited.send(again)
        assert saved.status in (200, 303), (saved.status, saved.text[:800])
        assert await all_documents(edited.portal.store) != left

    loop.call(check)


@pytest.mark.parametrize("form", REMOVALS, ids=lambda form: form.page)
def test_nothing_is_removed_that_somebody_else_has_changed_meanwhile(
    loop: BlockingPortal, edited: Edited, form: EditForm
) -> None:
    loop.call(overtaken, edited, form)


def test_every_form_of_the_console_is_in_one_of_these_lists(edited: Edited) -> None:
    posts = {path.removeprefix(CONSOLE_PATH) for path in console_forms(edited)}
    tried = {without_ids(form.action) for form in (*EDITS, *REMOVALS)}
    listed = [path for paths in OTHERS.values() for path in paths.split()]
    assert {without_ids(path) for path in posts} == {*tried, *map(without_ids, listed)}


def console_forms(edited: Edited) -> list[str]:
    """The paths of the forms of the console."""

    def connect(address: PortalAddress) -> Connecting:
        raise NotImplementedError

    routes = ConsoleDoor(edited.portal.instance.shared).routes(edited.portal.identity.login, connect)
    return [one.path for one in routes if isinstance(one, Route) and "POST" in (one.methods or ())]


def without_ids(path: str) -> str:
    """A path with the same word in the place of each id, whether of an object or of a parameter."""
    plain_path = re.sub(r"<\w+>|\{[^}]+\}", "*", path)
    for place, id in (("/servers/", "docs"), ("/portals/", "team"), ("/lower/", "auditor"), ("/by-rules/", "auditor")):
        plain_path = plain_path.replace(place + id, place + "*")
    return plain_path
