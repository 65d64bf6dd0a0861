"""ETag and If-Match: a change that somebody else was ahead of is refused with 412, and none is lost."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from anyio.from_thread import BlockingPortal
from hypothesis import given
from hypothesis import strategies as st

from portal.admin import ALL, Actions, AdminError, ApiCaller, ShownQuota, create_admin, read_if_match
from portal.admin.api.revisions import expected_by
from portal.dlp import predefined_uuid
from portal.objects import DLP_PROFILE, PORTAL, QUOTA, QuotaDocument
from portal.state import KeyRing, Store, plain
from tests.portal.admin.conftest import Api

pytest.importorskip("re2")
MCP = "/access/ai-controls/mcp"
QUOTAS = f"{MCP}/quotas"
EVERYONE: list[dict[str, Any]] = [{"everyone": {}}]
QUOTA_BODY: dict[str, Any] = {"name": "a", "calls": 5, "period": 60, "per": ["person"]}
PATTERN: dict[str, Any] = {"name": "Staff", "enabled": True, "pattern": {"regex": "EMP-[0-9]{6}"}}
FINANCIAL, CARD = predefined_uuid("financial"), predefined_uuid("financial", "card")
SERVER: dict[str, Any] = {
    "id": "docs",
    "name": "Docs",
    "hostname": "http://127.0.0.1:9/mcp",
    "auth_type": "unauthenticated",
}
TOOL: dict[str, Any] = {"updated_tools": [{"name": "search", "enabled": False}]}


def made(api: Api, path: str, body: Mapping[str, object]) -> str:
    """The id of a new object."""
    answer = api.http.post(api.at(path), headers=api.headers(), json=body)
    assert answer.status_code in (200, 201), answer.text
    result = answer.json()["result"]
    return str(result.get("id") or result.get("uid") or result["dataset"]["id"])


def entry(api: Api) -> str:
    profile = made(api, "/dlp/profiles/custom", {"name": "Own", "entries": [PATTERN]})
    shown = api.http.get(api.at(f"/dlp/profiles/{profile}"), headers=api.headers()).json()
    return str(shown["result"]["entries"][0]["id"])


def entries_of_portal(api: Api) -> str:
    made(api, f"{MCP}/servers", SERVER)
    return made(
        api, f"{MCP}/portals", {"id": "team", "name": "T", "hostname": "t.example", "servers": [{"server_id": "docs"}]}
    )


def token(api: Api) -> tuple[str, dict[str, Any]]:
    groups = api.http.get(api.at("/tokens/permission_groups"), headers=api.headers()).json()["result"]
    resources = {f"com.cloudflare.api.account.{api.account}": "*"}
    policy = {"effect": "allow", "permission_groups": [{"id": groups[0]["id"]}], "resources": resources}
    body = {"name": "CI", "policies": [policy]}
    return made(api, "/tokens", body), body


class Revisable:
    """An object over HTTP: where it is shown, where it is changed and with what, where it is removed."""

    def __init__(
        self,
        shown: str,
        body: Mapping[str, object],
        make: Callable[[Api], str] = lambda api: "",
        *,
        changed: str = "",
        removed: str | None = "",
        method: str = "PUT",
    ) -> None:
        self.shown, self.body, self.make, self.method = shown, body, make, method
        self.changed = changed or shown
        self.removed = self.changed if removed == "" else removed


def of(path: str, body: Mapping[str, object], **more: Any) -> Revisable:
    return Revisable(f"{path}/<id>", body, lambda api: made(api, path, body), **more)


APP: dict[str, Any] = {"type": "mcp_portal", "name": "A", "domain": "a.example"}
FLOW: dict[str, Any] = {"name": "f", "when": ["confidential"], "target": ["external"]}
REVISABLE = {
    "policy": of("/access/policies", {"name": "p", "decision": "allow", "include": EVERYONE}),
    "group": of("/access/groups", {"name": "g", "include": EVERYONE}),
    "application": of("/access/apps", APP),
    "identity provider": of("/access/identity_providers", {"name": "i", "type": "onetimepin"}),
    "service token": of("/access/service_tokens", {"name": "s"}),
    "custom page": of("/access/custom_pages", {"name": "c", "type": "forbidden", "custom_html": "<p>No</p>"}),
    "list": of("/gateway/lists", {"name": "l", "type": "EMAIL"}),
    "items of a list": of("/gateway/lists", {"name": "l", "type": "EMAIL"}, method="PATCH", removed=None),
    "gateway rule": of("/gateway/rules", {"name": "r", "action": "block", "traffic": 'mcp.tool.name == "rm"'}),
    "data-flow rule": of(f"{MCP}/data-flow/rules", FLOW),
    "quota": of(QUOTAS, QUOTA_BODY),
    "job": of("/logpush/jobs", {"name": "j", "destination_conf": "https://siem.example.com/in"}),
    "server": of(f"{MCP}/servers", SERVER),
    "tools of a server": Revisable(
        f"{MCP}/servers/<id>", TOOL, lambda api: made(api, f"{MCP}/servers", SERVER), method="PATCH", removed=None
    ),
    "portal": of(f"{MCP}/portals", {"id": "team", "name": "T", "hostname": "t.example"}),
    "server of a portal": Revisable(
        f"{MCP}/portals/<id>", TOOL, entries_of_portal, method="PATCH", changed=f"{MCP}/portals/<id>/servers/docs"
    ),
    "profile": Revisable(
        "/dlp/profiles/<id>",
        {"name": "Own"},
        lambda api: made(api, "/dlp/profiles/custom", {"name": "Own"}),
        changed="/dlp/profiles/custom/<id>",
    ),
    "predefined profile": Revisable(
        f"/dlp/profiles/predefined/{FINANCIAL}/config",
        {"allowed_match_count": 3},
        removed=f"/dlp/profiles/predefined/{FINANCIAL}",
    ),
    "entry": Revisable("/dlp/entries/<id>", {**PATTERN, "type": "custom"}, entry),
    "pattern": Revisable("/dlp/entries/<id>", PATTERN, entry, changed="/dlp/entries/custom/<id>", removed=None),
    "predefined entry": Revisable(
        f"/dlp/entries/{CARD}", {"enabled": False}, changed=f"/dlp/entries/predefined/{CARD}"
    ),
    "dataset": of("/dlp/datasets", {"name": "d"}),
    "organization": Revisable("/access/organizations", {"name": "Acme"}, removed=None),
    "roles": Revisable("/access/ai-controls/roles", {}, removed=None),
    "keys": Revisable("/access/keys", {"key_rotation_interval_days": 30}, removed=None),
    "member": Revisable(
        "/members/<id>", {"roles": ["auditor"]}, lambda api: made(api, "/members", {"email": "g@example.com"})
    ),
    "edited member": Revisable(
        "/members/<id>",
        {"roles": ["auditor"]},
        lambda api: made(api, "/members", {"email": "g@example.com"}),
        method="PATCH",
        removed=None,
    ),
    "API token": Revisable("/tokens/<id>", {}, lambda api: token(api)[0]),
    "value of an API token": Revisable(
        "/tokens/<id>", {}, lambda api: token(api)[0], changed="/tokens/<id>/value", removed=None
    ),
}
UNREVISED = {
    f"{MCP}/servers/{{id}}/login",
    f"{MCP}/data-flow/reads/{{id}}",
    f"{MCP}/approval-grants/{{grant_id}}",
    f"{MCP}/runs/{{run_id}}",
    "/access/assessments/{id}",
    "/access/users/{id}/active_sessions/{nonce}",
    "/access/users/{id}/agents/{agent}",
}
"""What is only ended or forgotten: nobody edits it."""


@pytest.mark.parametrize("kind", REVISABLE)
def test_a_change_that_somebody_was_ahead_of_is_refused_and_changes_nothing(
    api: Api, loop: BlockingPortal, kind: str
) -> None:
    one = REVISABLE[kind]
    id = one.make(api)
    body = token(api)[1] if kind == "API token" else one.body
    shown, changed = (api.at(path.replace("<id>", id)) for path in (one.shown, one.changed))

    def send(method: str, url: str, tag: str | None) -> httpx2.Response:
        headers = {**api.headers(), **({} if tag is None else {"If-Match": tag})}
        return api.http.request(method, url, headers=headers, json=None if method == "DELETE" else body)

    def get(**headers: str) -> httpx2.Response:
        return api.http.get(shown, headers={**api.headers(), **headers})

    read = get()
    tag = read.headers["etag"]
    assert re.fullmatch('"[!#-~]+"', tag) and get().headers["etag"] == tag
    # Somebody else changes it, who has not read it first.
    assert send(one.method, changed, None).status_code == 200
    newer = get()
    assert newer.headers["etag"] != tag
    refused = send(one.method, changed, tag)
    assert refused.status_code == 412, refused.text
    [error] = refused.json()["errors"]
    assert error["code"] == 12142 and "was changed by 'api-token:" in error["message"]
    assert "has changed nothing" in error["message"] and not refused.json()["success"]
    assert get().headers["etag"] == newer.headers["etag"] and get().json()["result"] == newer.json()["result"]
    assert get(**{"If-Match": tag}).status_code == 412
    if one.removed is not None:
        assert send("DELETE", api.at(one.removed.replace("<id>", id)), tag).status_code == 412
    assert send(one.method, changed, f'"other", {newer.headers["etag"]}').status_code == 200
    assert send(one.method, changed, f"W/{get().headers['etag']}").status_code == 412
    assert send(one.method, changed, "*").status_code == 200
    if one.removed is not None:
        url = api.at(one.removed.replace("<id>", id))
        assert send("DELETE", url, get().headers["etag"]).status_code in (200, 202)


def test_every_operation_that_changes_an_object_says_which(shared: Api) -> None:
    writing = [one for one in shared.admin.operations if one.method in ("PUT", "PATCH", "DELETE")]
    assert {one.path for one in writing if one.of is None} == UNREVISED
    tried = {
        (one.method, re.sub(r"<id>|docs$|" + f"{FINANCIAL}|{CARD}", "*", one.changed)) for one in REVISABLE.values()
    }
    removed = [one.removed for one in REVISABLE.values() if one.removed]
    tried |= {("DELETE", re.sub(r"<id>|docs$|" + f"{FINANCIAL}|{CARD}", "*", path)) for path in removed}
    assert {(one.method, re.sub(r"{\w+}", "*", one.path)) for one in writing if one.of is not None} == tried


def test_an_operation_without_an_etag_refuses_one(shared: Api) -> None:
    url = shared.at("/access/policies/test")
    body = {"portal_id": "team", "email": "ann@example.com"}
    refused = shared.http.post(url, headers={**shared.headers(), "If-Match": '"1"'}, json=body)
    assert refused.status_code == 412 and "Send it without If-Match" in refused.text


@pytest.mark.parametrize("header", ["1-2", '"1', "W/1", '*, "1"', '"a" "b"', "'1'"])
def test_a_header_that_is_no_list_of_entity_tags_is_refused_and_changes_nothing(shared: Api, header: str) -> None:
    url = shared.at("/access/organizations")
    refused = shared.http.put(url, headers={**shared.headers(), "If-Match": header}, json={"name": "Changed"})
    assert refused.status_code == 400 and "If-Match cannot be read" in refused.text
    assert shared.http.get(url, headers=shared.headers()).json()["result"]["name"] == ""


def test_of_an_object_that_is_not_there_nothing_else_is_said(shared: Api) -> None:
    headers = {**shared.headers(), "If-Match": '"1-2"'}
    assert shared.http.put(shared.at(f"{QUOTAS}/none"), headers=headers, json=QUOTA_BODY).status_code == 404


def test_an_object_that_is_made_again_under_its_id_has_another_etag(api: Api) -> None:
    path = api.at(f"{MCP}/servers/docs")
    made(api, f"{MCP}/servers", SERVER)
    first = api.http.get(path, headers=api.headers()).headers["etag"]
    assert api.http.delete(path, headers=api.headers()).status_code == 200
    made(api, f"{MCP}/servers", SERVER)
    assert api.http.get(path, headers=api.headers()).headers["etag"] != first


TAG = st.text(st.characters(codec="latin-1", min_codepoint=0x21, exclude_characters='"\x7f'), max_size=8)
SPACE = st.sampled_from(["", " ", "\t", " \t "])


@given(st.lists(st.tuples(st.booleans(), TAG, SPACE, SPACE), max_size=5), st.integers(0, 2))
def test_a_list_of_entity_tags_is_read_and_weak_ones_match_nothing(
    tags: list[tuple[bool, str, str, str]], commas: int
) -> None:
    elements = [f'{before}{"W/" if weak else ""}"{tag}"{after}' for weak, tag, before, after in tags]
    header = ",".join([*elements, *[""] * commas])
    assert read_if_match(header) == frozenset(tag for weak, tag, _, _ in tags if not weak)


@pytest.mark.parametrize("header", [f",{' ' * 60_000}x", f'"a"{" " * 60_000}x', '"' * 60_001, f"{',' * 60_000}x"])
def test_a_long_header_that_cannot_be_read_is_refused_at_once(header: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="entity tags"):
        read_if_match(header)
    assert time.process_time() - began < 2


@given(st.text(st.characters(codec="latin-1"), max_size=24))
def test_any_header_is_read_or_refused(header: str) -> None:
    try:
        tags = read_if_match(header)
    except ValueError:
        return
    assert tags is None or all('"' not in tag for tag in tags)
    if tags is None:
        assert header.strip(" \t") == "*" and expected_by(None, header) is None


# Writers at the same time


async def everything() -> ApiCaller:
    return ApiCaller("test", ALL)


async def add(actions: Actions, id: str, word: str) -> bool:
    """Read a quota, add a word to its tools, and write it; whether it was written. What was read is what is sent."""
    quota = await actions.show(ShownQuota, f"{QUOTAS}/{{id}}", id=id)
    await asyncio.sleep(0)
    body = {**quota.model_dump(mode="json"), "tools": [*quota.tools, word]}
    try:
        await actions.change("PUT", f"{QUOTAS}/{{id}}", body, id=id)
    except AdminError as error:
        assert error.status == 412
        return False
    return True


async def until_added(new: Callable[[], Actions], id: str, word: str) -> None:
    while not await add(new(), id, word):
        pass


@pytest.mark.anyio
async def test_of_many_writers_in_two_processes_each_adds_its_word_once(url: str) -> None:
    """Two stores over one database are what two processes have."""
    words, keys = [f"w{number}" for number in range(12)], KeyRing.in_memory()
    async with Store.open(url, keys) as one, Store.open(url, keys) as other:
        document = QuotaDocument.model_validate({**QUOTA_BODY, "tools": []})
        await one.create(QUOTA, "q", document, by="test")
        apis = [(await create_admin(store)).actions() for store in (one, other)]
        actions = [partial(api.of, everything, "127.0.0.1") for api in apis]
        await asyncio.gather(*(until_added(actions[place % 2], "q", word) for place, word in enumerate(words)))
        found = await one.get(QUOTA, "q")
        assert found is not None and sorted(found.document.tools) == sorted(words)
        assert found.revision == 1 + len(words)


STEPS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["read", "write"])), min_size=1, max_size=12)


@given(STEPS)
def test_however_two_writers_take_turns_no_word_of_a_change_that_was_made_is_lost(
    shared: Api, steps: list[tuple[int, str]]
) -> None:
    id = made(shared, QUOTAS, {**QUOTA_BODY, "name": uuid4().hex})
    url, headers = shared.at(f"{QUOTAS}/{id}"), shared.headers()
    read: dict[int, tuple[str, dict[str, Any]]] = {}
    is_fresh: dict[int, bool] = {}
    added: list[str] = []
    for number, (writer, step) in enumerate(steps):
        if step == "read" or writer not in read:
            answer = shared.http.get(url, headers=headers)
            read[writer], is_fresh[writer] = (answer.headers["etag"], answer.json()["result"]), True
            continue
        tag, quota = read[writer]
        body = {**quota, "tools": [*quota["tools"], f"w{number}"]}
        written = shared.http.put(url, headers={**headers, "If-Match": tag}, json=body)
        assert written.status_code == (200 if is_fresh[writer] else 412)
        if written.status_code == 200:
            added.append(f"w{number}")
            is_fresh = dict.fromkeys(is_fresh, False)
    assert shared.http.get(url, headers=headers).json()["result"]["tools"] == added
    assert shared.http.delete(url, headers=headers).status_code == 202


# What cannot be read


def test_a_server_that_cannot_be_read_stays_at_its_portal(api: Api, loop: BlockingPortal) -> None:
    entries_of_portal(api)
    made(api, f"{MCP}/servers", {**SERVER, "id": "wiki"})
    url, headers = api.at(f"{MCP}/portals/team"), api.headers()
    settings = {"updated_tools": [{"name": "search", "alias": "find"}]}
    assert api.http.patch(f"{url}/servers/docs", headers=headers, json=settings).status_code == 200
    before = loop.call(api.store.get, PORTAL, "team")
    assert before is not None
    broken = {"name": "Docs", "hostname": 3}

    async def damage() -> None:
        await api.store.replace(plain("server"), "docs", broken, by="test")
        await api.store.create(plain("server"), "odd", broken, by="test")

    loop.call(damage)
    # What is shown of the portal, sent back with another server, and with the one that cannot be read in its list.
    shown = api.http.get(url, headers=headers).json()["result"]
    assert shown["servers"] == []
    for servers in ([{"server_id": "wiki"}], [{"server_id": "docs"}, {"server_id": "wiki"}], []):
        answer = api.http.put(url, headers=headers, json={**shown, "servers": servers})
        assert answer.status_code == 200, answer.text
        after = loop.call(api.store.get, PORTAL, "team")
        assert after is not None
        assert [one for one in after.document.servers if one.server_id == "docs"] == list(before.document.servers)
        assert {one.server_id for one in after.document.servers} == {"docs", *(one["server_id"] for one in servers)}
    refused = api.http.put(url, headers=headers, json={"servers": [{"server_id": "odd"}]})
    assert refused.status_code == 400 and "cannot be read; remove it and add it again" in refused.text
    # Who wants it gone says so.
    assert api.http.delete(f"{url}/servers/docs", headers=headers).status_code == 200
    after = loop.call(api.store.get, PORTAL, "team")
    assert after is not None and after.document.servers == ()


def test_a_dataset_that_cannot_be_read_stays_in_its_profile(api: Api, loop: BlockingPortal) -> None:
    dataset = made(api, "/dlp/datasets", {"name": "Customers"})
    body = {"name": "Own", "shared_entries": [{"entry_id": dataset, "enabled": True, "entry_type": "exact_data"}]}
    profile = made(api, "/dlp/profiles/custom", body)
    loop.call(lambda: api.store.replace(plain("dlp_dataset"), dataset, {"name": 3}, by="test"))
    url = api.at(f"/dlp/profiles/custom/{profile}")
    shown = api.http.get(url, headers=api.headers()).json()["result"]
    assert shown["shared_entries"] == []
    sent = api.http.put(url, headers=api.headers(), json={"name": "Other", "shared_entries": []})
    assert sent.status_code == 200, sent.text
    stored = loop.call(api.store.get, DLP_PROFILE, profile)
    assert stored is not None and [one.id for one in stored.document.shared_entries] == [dataset]
