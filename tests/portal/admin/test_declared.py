"""A file that says what there should be: planned, carried out, written back, and nothing left to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portal.admin import Admin, AdminError, create_admin
from portal.admin.applying import apply_changes, export_objects, read_existing
from portal.admin.declared import DeclaredError, Plan, plan
from portal.state import KeyRing, Store, plain
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio

EVERYTHING: dict[str, Any] = {
    "identity_providers": {
        "Company": {
            "type": "oidc",
            "config": {
                "client_id": "portal",
                "client_secret": "idp-secret",
                "auth_url": "https://idp.example/auth",
                "token_url": "https://idp.example/token",
                "certs_url": "https://idp.example/keys",
            },
        }
    },
    "custom_pages": {"Sorry": {"type": "forbidden", "custom_html": "<p>Ask the platform team.</p>"}},
    "lists": {"Founders": {"type": "EMAIL", "items": [{"value": "ada@acme.example"}]}},
    "groups": {
        "Engineers": {"include": [{"email_domain": {"domain": "acme.example"}}, {"email_list": {"id": "Founders"}}]},
        "On call": {"include": [{"group": {"id": "Engineers"}}], "require": [{"login_method": {"id": "Company"}}]},
    },
    "policies": {"Engineers may": {"decision": "allow", "include": [{"group": {"id": "Engineers"}}]}},
    "servers": {
        "docs": {
            "name": "Docs",
            "hostname": "https://docs.example/mcp",
            "auth_type": "unauthenticated",
            "labels": ["external"],
        },
        "crm": {
            "name": "CRM",
            "hostname": "https://crm.example/mcp",
            "auth_type": "bearer",
            "auth_credentials": "crm-secret",
            "labels": ["confidential"],
            "updated_tools": [
                {"name": "delete_customer", "enabled": False},
                {"name": "ping", "labels": ["-confidential"]},
            ],
        },
        "files": {
            "name": "Files",
            "hostname": "https://files.example/mcp",
            "auth_type": "oauth",
            "auth_credentials": '{"auth_mode": "manual", "registration_info": {"client_id": "us"}}',
            "client_secret": "files-secret",
        },
    },
    "portals": {
        "team": {
            "name": "Team",
            "hostname": "Team.Acme.example",
            "code_mode": "default_on",
            "servers": [{"server_id": "docs", "on_behalf": False}, {"server_id": "crm", "default_disabled": True}],
        }
    },
    "data_flow_rules": {
        "no leaks": {"when": ["confidential"], "target": ["external"], "exempt": ["docs.search"]},
    },
    "apps": {
        "Team portal": {
            "type": "mcp_portal",
            "domain": "team.acme.example",
            "allowed_idps": ["Company"],
            "policies": [
                "Engineers may",
                {"name": "Nobody else", "decision": "deny", "include": [{"everyone": {}}]},
            ],
        },
    },
}


@asynccontextmanager
async def administered(folder: Path) -> AsyncIterator[tuple[Admin, Store]]:
    async with Store.open(new_state(folder), KeyRing.in_memory()) as store:
        yield await create_admin(store), store


async def planned(store: Store, declared: Any, *, prune: bool = False) -> Plan:
    return plan(declared, await read_existing(store), prune=prune)


async def applied(admin: Admin, store: Store, declared: Any, *, prune: bool = False) -> list[str]:
    existing = await read_existing(store)
    steps = plan(declared, existing, prune=prune)
    return [
        f"{change.action} {change.section.name} {change.name}: {' '.join(change.fields)}".removesuffix(": ")
        async for change in apply_changes(admin, steps.changes, existing)
    ]


async def test_what_was_applied_leaves_nothing_to_do_and_is_written_back_without_secrets(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        done = await applied(admin, store, EVERYTHING)
        assert [line.split(":")[0] for line in done] == [
            "make identity_providers Company",
            "make custom_pages Sorry",
            "make lists Founders",
            "make groups Engineers",
            "make groups On call",
            "make policies Engineers may",
            "make servers docs",
            "make servers crm",
            "make servers files",
            "make portals team",
            "make data_flow_rules no leaks",
            "make apps Team portal",
        ]
        assert (await planned(store, EVERYTHING)).changes == []
        written: Any = export_objects(await read_existing(store))
        assert "secret" not in str(written).replace("client_secret_version", "")
        assert written["lists"] == EVERYTHING["lists"]
        assert written["policies"]["Engineers may"]["include"] == [{"group": {"id": "Engineers"}}]
        assert written["apps"]["Team portal"]["policies"][0]["id"] == "Engineers may"
        docs, crm = written["portals"]["team"]["servers"]
        assert (docs["on_behalf"], crm["on_behalf"], crm["default_disabled"]) == (False, True, True)
        assert (await planned(store, written)).changes == []


async def test_what_was_written_makes_the_same_elsewhere(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        await applied(admin, store, EVERYTHING)
        written: Any = export_objects(await read_existing(store))
    written["identity_providers"]["Company"]["config"]["client_secret"] = "idp-secret"
    written["servers"]["crm"]["auth_credentials"] = "crm-secret"
    written["servers"]["files"] |= EVERYTHING["servers"]["files"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with administered(elsewhere) as (admin, store):
        await applied(admin, store, written)
        assert (await planned(store, EVERYTHING)).changes == []
        assert export_objects(await read_existing(store)) == export_objects(await read_existing(store))


@pytest.mark.parametrize(
    "section, called, change, fields",
    [
        ("groups", "Engineers", {"include": [{"email_domain": {"domain": "other.example"}}]}, ("include",)),
        ("servers", "crm", {"auth_credentials": "another"}, ("auth_credentials",)),
        ("servers", "docs", {"description": "What we know"}, ("description",)),
        ("portals", "team", {"allow_code_mode": False, "code_mode": None}, ("code_mode",)),
        ("portals", "team", {"servers": []}, ("servers",)),
        ("apps", "Team portal", {"policies": []}, ("policies",)),
        (
            "identity_providers",
            "Company",
            {"config": {**EVERYTHING["identity_providers"]["Company"]["config"], "client_secret": "new"}},
            ("client_secret",),
        ),
    ],
)
async def test_one_difference_is_one_change_and_then_gone(
    section: str, called: str, change: dict[str, Any], fields: tuple[str, ...], tmp_path: Path
) -> None:
    async with administered(tmp_path) as (admin, store):
        await applied(admin, store, EVERYTHING)
        entry = {**EVERYTHING[section][called], **change}
        wanted = {**EVERYTHING, section: {**EVERYTHING[section], called: entry}}
        (found,) = (await planned(store, wanted)).changes
        assert (found.action, found.name, found.fields) == ("change", called, fields)
        assert "another" not in repr(found) and "new" not in repr(found)
        await applied(admin, store, wanted)
        assert (await planned(store, wanted)).changes == []


async def test_only_pruning_removes_and_only_from_sections_that_are_there(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        await applied(admin, store, EVERYTHING)
        fewer = {"groups": {"Engineers": EVERYTHING["groups"]["Engineers"]}, "portals": {}, "servers": {}}
        kept = await planned(store, fewer)
        assert kept.changes == []
        assert sorted(one.name for one in kept.unmentioned) == ["On call", "crm", "docs", "files", "team"]
        removed = await applied(admin, store, fewer, prune=True)
        servers = [f"remove servers {id}" for id in ("files", "crm", "docs")]
        assert removed == ["remove portals team", *servers, "remove groups On call"]
        assert "Team portal" in export_objects(await read_existing(store))["apps"]


async def test_what_is_refused_stops_there_and_can_be_gone_on_with(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        await applied(admin, store, EVERYTHING)
        with pytest.raises(AdminError):
            await applied(admin, store, {"servers": {}, "groups": {}}, prune=True)
        assert "Engineers" in export_objects(await read_existing(store))["groups"]
        await applied(admin, store, EVERYTHING)
        assert (await planned(store, EVERYTHING)).changes == []


@pytest.mark.parametrize(
    "declared, message",
    [
        ([], "must be an object with sections"),
        ({"server": {}}, "'server' is no section"),
        ({"servers": []}, "servers: must be an object"),
        ({"servers": {"a": 1}}, "servers.a: must be an object"),
        ({"servers": {"a": {"name": "A"}}}, "servers.a.auth_type: is missing"),
        ({"servers": {"a_b": EVERYTHING["servers"]["docs"]}}, "servers.a_b.id"),
        ({"servers": {"docs": {**EVERYTHING["servers"]["docs"], "id": "x"}}}, "its id is 'docs'"),
        ({"servers": {"docs": {**EVERYTHING["servers"]["docs"], "pasword": "x"}}}, "no member 'pasword'"),
        ({"policies": {"P": {"decision": "maybe", "include": [{"everyone": {}}]}}}, "policies.P.decision"),
        ({"policies": {"P": {"decision": "allow", "include": [{"group": {"id": "No"}}]}}}, "refers to 'No'"),
        ({"apps": {"A": {"type": "self_hosted", "policies": ["No"]}}}, "apps.A: refers to 'No', which is not in pol"),
    ],
)
async def test_a_file_that_cannot_be_used_says_where(declared: Any, message: str, tmp_path: Path) -> None:
    async with administered(tmp_path) as (_, store):
        with pytest.raises(DeclaredError) as refused:
            await planned(store, declared)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)


async def test_where_a_server_is_cannot_be_changed_under_its_id(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        await applied(admin, store, EVERYTHING)
        moved = {"servers": {"docs": {**EVERYTHING["servers"]["docs"], "hostname": "https://other.example/mcp"}}}
        with pytest.raises(DeclaredError, match=r"servers.docs: hostname cannot be changed"):
            await planned(store, moved)


async def test_two_of_one_name_are_said_to_be_so(tmp_path: Path) -> None:
    async with administered(tmp_path) as (_, store):
        for id in ("one", "two"):
            await store.create(plain("group"), id, {"name": "Same", "include": [{"everyone": {}}]}, by="test")
        with pytest.raises(DeclaredError, match="two are called 'Same'"):
            await planned(store, {})


LOGIN: dict[str, Any] = {
    "organization": {
        "name": "Acme",
        "login_design": {"text_color": "#112233", "header_text": "Welcome"},
        "session_duration": "8h",
        "allowed_idps": ["Company"],
        "custom_deny_message": "Ask Grace",
    }
}


async def test_how_people_sign_in_is_declared_and_what_is_left_out_goes_back(tmp_path: Path) -> None:
    declared = {"identity_providers": EVERYTHING["identity_providers"], **LOGIN}
    async with administered(tmp_path) as (admin, store):
        assert (await applied(admin, store, declared))[-1] == (
            "make organization login: allowed_idps custom_deny_message login_design name session_duration"
        )
        stored = await store.get(plain("settings"), "login")
        (provider,) = await store.list(plain("identity_provider"))
        assert stored is not None and stored.document["allowed_idps"] == [provider.id]
        assert (await planned(store, declared)).changes == []
        written: Any = export_objects(await read_existing(store))
        assert written["organization"]["allowed_idps"] == ["Company"]
        assert written["organization"]["login_design"]["text_color"] == "#112233"
        assert (await planned(store, written)).changes == []
        # A file without the section leaves it alone, also when the rest is pruned.
        kept: dict[str, Any] = {name: {} for name in ("identity_providers", "groups")}
        assert [change.section.name for change in (await planned(store, kept, prune=True)).changes] == [
            "identity_providers"
        ]
        fewer = {"organization": {"name": "Acme"}}
        assert await applied(admin, store, fewer) == [
            "change organization login: allowed_idps custom_deny_message login_design session_duration"
        ]
        assert export_objects(await read_existing(store))["organization"] == fewer["organization"]
        # Other settings are not for a file.
        assert {one.section.name for one in await read_existing(store)} == {"identity_providers", "organization"}


@pytest.mark.parametrize(
    "organization, problem",
    [
        ({"nam": "Acme"}, "organization: has no member 'nam'."),
        ([], "organization: must be an object."),
        ({"login_design": {"text_color": "hush"}}, "organization.login_design.text_color: text_color must be a colour"),
        ({"session_duration": "1s"}, "organization.session_duration: session_duration must be at least one minute"),
        ({"allowed_idps": ["nobody"]}, "organization.login: refers to 'nobody', which is not in identity_providers."),
        ({"mfa_required_for_all_apps": False}, "organization: has no member 'mfa_required_for_all_apps'."),
    ],
)
async def test_a_mistake_in_how_people_sign_in_is_named_before_anything_is_done(
    organization: Any, problem: str, tmp_path: Path
) -> None:
    async with administered(tmp_path) as (_, store):
        with pytest.raises(DeclaredError) as refused:
            await planned(store, {"organization": organization})
        assert str(refused.value).startswith(problem)
        assert "hush" not in str(refused.value)


JOB: dict[str, Any] = {
    "logpush_jobs": {
        "siem": {
            "dataset": "mcp_portal_logs",
            "kind": "",
            "destination_conf": "https://logs.example/in?header_Authorization=Bearer%20a-secret",
            "enabled": True,
            "filter": '{"where": {"key": "Success", "operator": "eq", "value": false}}',
            "output_options": {"field_names": ["Datetime", "Error"], "timestamp_format": "unix"},
            "max_upload_records": 1000,
        }
    }
}


async def test_a_job_of_the_export_is_declared_changed_and_removed(tmp_path: Path) -> None:
    async with administered(tmp_path) as (admin, store):
        assert [line.split(":")[0] for line in await applied(admin, store, JOB)] == ["make logpush_jobs siem"]
        assert (await planned(store, JOB)).changes == []
        written: Any = export_objects(await read_existing(store))
        assert "secret" not in str(written) and written["logpush_jobs"]["siem"]["enabled"] is True
        assert (await planned(store, written)).changes == []
        moved = {"logpush_jobs": {"siem": {**JOB["logpush_jobs"]["siem"], "destination_conf": "https://b.example/"}}}
        assert await applied(admin, store, moved) == ["change logpush_jobs siem: destination_conf"]
        off = {"logpush_jobs": {"siem": {"enabled": False}}}
        assert await applied(admin, store, off) == ["change logpush_jobs siem: enabled"]
        assert await applied(admin, store, {"logpush_jobs": {}}, prune=True) == ["remove logpush_jobs siem"]
