"""How people sign in, written through `access/organizations` by Cloudflare's own SDK, and read by the next page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from portal.admin.login_settings import OrganizationBody, SettableSettings
from portal.pages import read_rules
from portal.state import plain
from tests.portal.admin.conftest import Api
from tests.portal.admin.ruled import ruled_portal
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, sign_in

pytestmark = [pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
DESIGN: Any = {
    "background_color": "#102030",
    "text_color": "#fefefe",
    "logo_path": "https://acme.example/logo.svg",
    "header_text": "Sign in with your staff account.",
    "footer_text": "help@acme.example",
}


@pytest.mark.anyio
async def test_what_the_sdk_writes_of_the_login_shows_on_the_next_page(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.person()
        organizations = portal.sdk.zero_trust.organizations
        before = await browser.open("/login")
        assert "Sign in to codemode-portal" in before.text
        made = await organizations.create(
            account_id=portal.account, name="Acme", auth_domain="localhost", login_design=DESIGN
        )
        assert made is not None and made.login_design is not None
        assert (made.name, made.auth_domain, made.session_duration) == ("Acme", "localhost", "24h")
        assert made.login_design.to_dict() == DESIGN
        page = await browser.open("/login")
        for text in ("Sign in to Acme", DESIGN["header_text"], DESIGN["footer_text"]):
            assert text in page.text
        assert f'src="{DESIGN["logo_path"]}"' in page.html
        sheet = (await browser.open("/login/style.css")).html
        assert "--background: #102030; --text: #fefefe" in sheet
        changed = await organizations.update(
            account_id=portal.account, session_duration="30m", login_design={"text_color": "#000000"}
        )
        # What is not sent stays; the design is one value.
        assert changed is not None and changed.login_design is not None
        assert (changed.name, changed.session_duration) == ("Acme", "30m")
        assert changed.login_design.header_text == ""
        answer = await browser.client.post(
            f"{portal.url}/login/password",
            data=(await browser.open("/login")).form("/login/password").fields
            | {"email": EMAIL, "password": "correct horse battery"},
        )
        assert "Max-Age=1800" in answer.headers["set-cookie"]
        read = await organizations.list(account_id=portal.account)
        assert read is not None and read.to_dict() == changed.to_dict()
        with pytest.raises(cloudflare.ConflictError):
            await organizations.create(account_id=portal.account, name="Acme", auth_domain="localhost")
        newest = (await portal.store.audit(limit=1))[0]
        assert (newest.action, newest.kind, newest.id) == ("replace", "settings", "login")
        assert newest.by.startswith("api-token:")


@pytest.mark.anyio
async def test_who_is_refused_and_which_providers_are_offered_is_written_too(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path, pin=True) as portal, browser_at(portal.url) as browser:
        await portal.person()
        github: Any = {"name": "GitHub", "type": "github", "config": {"client_id": "us", "client_secret": "hush"}}
        provider: Any = await portal.sdk.zero_trust.identity_providers.create(account_id=portal.account, **github)

        async def put(body: dict[str, Any]) -> Any:
            return await browser.client.put(portal.at("/access/organizations"), headers=portal.headers(), json=body)

        unknown = await put({"allowed_idps": [provider.id, "nobody"]})
        assert (unknown.status_code, unknown.json()["errors"][0]["source"]["pointer"]) == (400, "/allowed_idps/1")
        page = await browser.open("/login")
        assert "With a PIN" in page.text and "Sign in with GitHub" in page.text
        assert (await put({"allowed_idps": ["onetimepin"]})).status_code == 200
        page = await browser.open("/login")
        assert "With a PIN" in page.text and "Sign in with GitHub" not in page.text
        # A password is no provider: the last way in stays.
        await sign_in(browser, page)
        assert EMAIL in (await browser.open("/logout")).text
        shown = (await put({"custom_deny_message": "Ask Grace"})).json()["result"]
        assert shown["stored"] == ["allowed_idps", "custom_deny_message"]
        # What is sent back is stored, also where it was a default.
        changed: dict[str, Any] = {"updated_at": "", "stored": []}
        assert (await put(shown)).json()["result"] | changed == shown | changed


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"login_design": {"text_color": "hush-7"}}, "/login_design/text_color", "a colour such as #1c1c1a"),
        ({"login_design": {"background_color": "#12345"}}, "/login_design/background_color", "a colour"),
        ({"login_design": {"logo_path": "http://hush.example/a.svg"}}, "/login_design/logo_path", "https:// URL"),
        ({"login_design": {"logo_path": "https://hush.example;x/"}}, "/login_design/logo_path", "https:// URL"),
        ({"login_design": {"header_text": "x" * 501}}, "/login_design/header_text", "at most 500 characters"),
        ({"login_design": "hush"}, "/login_design", "must be an object"),
        ({"session_duration": "hush"}, "/session_duration", "a duration such as 24h"),
        ({"session_duration": "10s"}, "/session_duration", "at least one minute"),
        ({"custom_deny_url": "javascript:hush"}, "/custom_deny_url", "https:// URL"),
        ({"name": "x" * 101}, "/name", "at most 100 characters"),
        ({"auth_domain": "hush.cloudflareaccess.com"}, "/auth_domain", "publicUrl"),
        ({"auto_redirect_to_identity": "hush"}, "/auto_redirect_to_identity", "boolean"),
        ({"mfa_required_for_all_apps": True}, "/mfa_required_for_all_apps", "not supported"),
        ({"is_ui_read_only": True}, "/is_ui_read_only", "not supported"),
        ({"mfa_config": {"session_duration": "5m"}}, "/mfa_config", "not supported"),
        ({"custom_pages": {"forbidden": "hush"}}, "/custom_pages", "not supported"),
        ({"warp_auth_session_duration": "24h"}, "/warp_auth_session_duration", "not supported"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_changes_nothing(
    shared: Api, body: dict[str, Any], pointer: str, words: str
) -> None:
    url = shared.at("/access/organizations")
    answer = shared.http.put(url, headers=shared.headers(), json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["source"]["pointer"] == pointer
    assert words in answer.text and "hush" not in answer.text
    assert shared.http.get(url, headers=shared.headers()).json()["result"]["created_at"] is None


def test_what_is_not_supported_may_be_said_to_be_off(api: Api) -> None:
    off: Any = {"is_ui_read_only": False, "mfa_required_for_all_apps": False, "warp_auth_session_duration": ""}
    answer = api.sdk().zero_trust.organizations.update(account_id=api.account, name="Acme", **off)
    assert answer is not None and answer.name == "Acme"
    assert "mfa" not in str(answer.to_dict())


def test_settings_that_cannot_be_used_are_shown_without_what_is_wrong_and_mended_by_the_next_change(
    api: Api, loop: Any
) -> None:
    wrong = {"name": "Acme", "session_duration": 5, "login_design": {"text_color": "red"}, "of_a_newer_program": True}
    loop.call(lambda: api.store.create(plain("settings"), "login", wrong, by="test"))
    organizations = api.sdk().zero_trust.organizations
    shown = organizations.list(account_id=api.account)
    assert shown is not None and (shown.name, shown.session_duration) == ("Acme", "24h")
    organizations.update(account_id=api.account, login_design={"text_color": "#112233"})
    stored = loop.call(lambda: api.store.get(plain("settings"), "login"))
    assert stored.document == {
        "name": "Acme",
        "of_a_newer_program": True,
        "login_design": {"text_color": "#112233"},
    }
    assert read_rules(stored.document).design.text == "#112233"


texts = st.text(max_size=600)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "session_duration": texts | st.sampled_from(["30m", "1h30m", "59s", "100000h"]),
        "custom_deny_message": texts,
        "custom_deny_url": texts | st.sampled_from(["https://a.example", "https://", "//a"]),
        "login_design": st.dictionaries(
            st.sampled_from(list(DESIGN)), texts | st.sampled_from(["#abcdef", "https://a.example/x"]), max_size=5
        ),
        "allowed_idps": st.lists(texts, max_size=3),
    },
)


@given(SETTINGS)
def test_accepted_settings_can_be_read_by_the_pages(members: dict[str, Any]) -> None:
    try:
        accepted = OrganizationBody.model_validate(members)
    except ValidationError:
        return
    rules = read_rules(json.loads(json.dumps(SettableSettings.model_validate(members).model_dump(mode="json"))))
    assert rules.design.header == accepted.login_design.header_text
