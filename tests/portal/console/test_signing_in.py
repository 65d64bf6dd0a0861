"""The pages of login methods and of settings: what people sign in with, how pages look, signing keys, custom pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.objects import IDENTITY_PROVIDER, ProviderDocument
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.guarded import guarded_portal
from tests.portal.login.test_providers import Issuer, served
from tests.portal.upstreams.server import listen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def add_provider(admin: Administered) -> str:
    """The id of an OpenID Connect provider that was added."""
    await admin.open("/login-methods/new")
    await admin.page.get_by_role("link", name="OpenID Connect").click()
    await admin.page.get_by_label("Name", exact=False).first.fill("Staff accounts")
    await admin.page.get_by_label("Client ID").fill("portal")
    await admin.page.get_by_label("Client secret").fill("a secret of mine")
    await admin.page.get_by_label("Issuer").fill("https://login.example.com")
    await admin.press("Add the login method")
    return admin.page.url.split("?")[0].rpartition("/")[2]


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_login_method_is_added_changed_without_its_secret_and_removed(tmp_path: Path, scripts: bool) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/login-methods/new?type=oidc")
        await page.get_by_label("Client ID").fill("portal")
        await page.get_by_label("Issuer").fill("http://example.com")
        await admin.press("Add the login method")
        assert await page.locator("#issuer-wrong").inner_text() == "Must be an https:// URL."
        id = await add_provider(admin)
        await page.get_by_text("Created.").wait_for()
        assert await portal.store.secret(IDENTITY_PROVIDER, id) == b"a secret of mine"
        assert "a secret of mine" not in await page.content()

        await page.get_by_text("More settings").click()
        await page.get_by_label("OIDC claims").fill("team, office")
        await page.get_by_label("Other settings, as JSON").fill('{"pkce_enabled": true}')
        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        stored = await portal.store.get(IDENTITY_PROVIDER, id)
        assert stored is not None
        assert stored.document.config == {
            "issuer": "https://login.example.com",
            "client_id": "portal",
            "claims": ["team", "office"],
            "pkce_enabled": True,
        }
        assert await portal.store.secret(IDENTITY_PROVIDER, id) == b"a secret of mine"

        await page.get_by_label("Issuer").fill("https://evil.example.com")
        await admin.press("Save")
        assert "Must be sent again" in await page.locator("#client_secret-wrong").inner_text()
        await page.get_by_label("Client secret").fill("another secret")
        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        assert await portal.store.secret(IDENTITY_PROVIDER, id) == b"another secret"

        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("Staff accounts")
        await page.get_by_text("No login methods yet").wait_for()


async def test_a_login_method_is_tested_step_by_step_with_what_to_do(tmp_path: Path) -> None:
    axe = axe_source()
    listening = listen(0)
    issuer = Issuer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    async with (
        served(issuer.app(), 0, listening),
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        config = {"client_id": "portal", "issuer": f"{issuer.url}/elsewhere"}
        provider = ProviderDocument(name="Staff accounts", type="oidc", config=config)
        await portal.store.create(IDENTITY_PROVIDER, "staff", provider, by="test", secret=b"a secret of mine")
        await admin.open("/login-methods/staff")
        await admin.press("Test")
        await page.get_by_role("heading", name="Test of Staff accounts").wait_for()
        await page.get_by_text("People cannot sign in with it.").wait_for()
        row = page.get_by_role("row").filter(has=page.get_by_text("Discovery", exact=True))
        await row.get_by_text("Does not work", exact=True).wait_for()
        assert await row.locator(".small").inner_text() != ""
        await page.get_by_text(f"{portal.url}/login/callback").first.wait_for()
        assert "a secret of mine" not in await page.content()
        await admin.check(axe, PICTURES, "login-method-tested-badly")
        config["issuer"] = issuer.url
        await portal.store.replace(
            IDENTITY_PROVIDER, "staff", provider.model_copy(update={"config": config}), by="test"
        )
        await admin.press("Test again")
        await page.get_by_text("Nothing was found that would keep people from signing in.").wait_for()
        await page.get_by_text("Cannot be tested", exact=True).first.wait_for()
        await admin.check(axe, PICTURES, "login-method-tested")
        await page.get_by_role("link", name="Back to the login method").click()
        await page.get_by_role("heading", name="Staff accounts").wait_for()


@WITH_AND_WITHOUT_SCRIPTS
async def test_settings_are_seen_on_the_page_and_what_the_document_says_stays_the_documents(
    tmp_path: Path, scripts: bool
) -> None:
    said = {"login_design": {"header_text": "With your badge."}, "auto_redirect_to_identity": True}
    async with (
        guarded_portal(tmp_path, organization=said) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/settings")
        await page.get_by_text("The configuration document says: With your badge.").wait_for()
        assert await page.get_by_label("Instant Auth").is_checked()
        await page.get_by_label("Name", exact=False).first.fill("Acme tools")
        await page.get_by_label("Session duration").fill("a while")
        await admin.press("Save")
        assert "such as 24h" in await page.locator("#session_duration-wrong").inner_text()
        await page.get_by_label("Session duration").fill("8h")
        await admin.press("Save")
        await page.get_by_text("Sign in to Acme tools").wait_for()
        rules = await portal.identity.login.directory.rules()
        assert (rules.design.header, rules.instant, rules.session_duration.total_seconds()) == (
            "With your badge.",
            True,
            8 * 3600,
        )
        await page.get_by_label("Text above").fill("With your key.")
        await page.get_by_label("Session duration").fill("")
        await page.get_by_label("Instant Auth").uncheck()
        await page.get_by_label("Background color").fill("blue")
        await admin.press("Save")
        await page.locator("#background_color-wrong").wait_for()
        await page.get_by_label("Background color").fill("#003366")
        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        rules = await portal.identity.login.directory.rules()
        assert (rules.design.header, rules.instant, rules.session_duration.total_seconds()) == (
            "With your key.",
            False,
            24 * 3600,
        )

        await admin.open("/settings/keys")
        await admin.press("Rotate now")
        await page.get_by_text("Rotated.").wait_for()
        await page.get_by_label("Days between").fill("400")
        await admin.press("Save")
        await page.locator("#key_rotation_interval_days-wrong").wait_for()
        await page.get_by_label("Days between").fill("30")
        await admin.press("Save")
        await page.get_by_text("30 days", exact=True).wait_for()

        await admin.open("/settings/pages/new")
        await page.get_by_label("Name").fill("No entry")
        await page.get_by_label("HTML").fill("<h1>No entry</h1>")
        await admin.press("Add the page")
        await page.get_by_label("HTML").fill("<h1>No way</h1>")
        await admin.press("Save")
        await page.get_by_text("Saved.").wait_for()
        assert await page.get_by_label("HTML").input_value() == "<h1>No way</h1>"


async def test_their_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await admin.open("/login-methods")
        await admin.check(axe, PICTURES, "login-methods-empty")
        await admin.open("/login-methods/new")
        await admin.check(axe, PICTURES, "login-method-types")
        await admin.open("/login-methods/new?type=okta")
        await admin.check(axe, PICTURES, "login-method-new")
        await add_provider(admin)
        await admin.page.get_by_text("More settings").click()
        await admin.check(axe, PICTURES, "login-method")
        await admin.open("/login-methods")
        await admin.check(axe, PICTURES, "login-methods")
        await admin.open("/policies/reusable/new")
        await admin.page.get_by_text("IP ranges, countries").first.click()
        await admin.check(axe, PICTURES, "policy-new-with-a-provider")
        await admin.open("/settings")
        await admin.page.get_by_label("Background color").fill("#003366")
        await admin.page.get_by_label("Text below the page").fill("Ask ada@example.com.")
        await admin.press("Save")
        await admin.check(axe, PICTURES, "settings")
        await admin.open("/settings/keys")
        await admin.check(axe, PICTURES, "settings-keys")
        await admin.open("/settings/pages")
        await admin.check(axe, PICTURES, "settings-pages-empty")
        await admin.open("/settings/pages/new")
        await admin.page.get_by_label("Name").fill("No entry")
        await admin.page.get_by_label("HTML").fill("<h1>No entry</h1>")
        await admin.press("Add the page")
        await admin.check(axe, PICTURES, "settings-page")
        await admin.open("/settings/pages")
        await admin.check(axe, PICTURES, "settings-pages")
