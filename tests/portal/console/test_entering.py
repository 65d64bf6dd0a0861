"""Who may enter the console, whose forms count there, and what its answers say to browsers, errors too."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from portal.objects import SERVER, ServerDocument
from tests.portal.app.many_portals import browser_of, many_portals, sign_in_at
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal, sign_in

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE = "grace@example.com"
HTML = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
FORM = "/admin/servers/notes/edit"


async def with_server(portal: Guarded) -> None:
    server = ServerDocument(name="Notes", hostname="https://n.example/mcp", auth_type="unauthenticated")
    await portal.store.create(SERVER, "notes", server, by="test")


async def is_unchanged(portal: Guarded) -> bool:
    found = await portal.store.get(SERVER, "notes")
    return found is not None and found.revision == 1


async def token_of(person: Browser) -> dict[str, str]:
    return (await person.open("/logout")).form("/logout").fields


async def test_a_form_counts_in_the_browser_session_and_for_the_person_it_was_made_for_only(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada, browser_at(portal.url) as grace:
        await with_server(portal)
        await portal.account()
        await portal.account(GRACE)
        url, name = portal.url + FORM, {"name": "Changed"}
        await sign_in(ada, await ada.open("/admin"))
        await sign_in(grace, await grace.open("/admin"), GRACE)
        of_ada, of_grace = await token_of(ada), await token_of(grace)
        field = next(iter(of_ada))
        browser_part = {field: of_ada[field].partition(".")[0]}
        for fields in ({}, of_grace, browser_part, {field: ""}, {field: "é"}, {field: "." + of_ada[field]}):
            answer = await ada.client.post(url, data={**fields, **name})
            assert answer.status_code == 403, fields
        for origin in ("https://evil.example", "null", "http://evil.example:8787"):
            answer = await ada.client.post(url, data={**of_ada, **name}, headers={"Origin": origin})
            assert answer.status_code == 403, origin
        answer = await ada.client.post(url, data={**of_ada, **name}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code in (303, 403)
        if answer.status_code == 403:
            assert await is_unchanged(portal)
        before = await portal.store.get(SERVER, "notes")
        await ada.submit(await ada.open("/logout"), "/logout")
        signed_out = await ada.client.post(url, data={**of_ada, **name})
        assert signed_out.status_code in (303, 403) and "/admin/servers" not in signed_out.headers.get("location", "")
        await sign_in(ada, await ada.open("/admin"))
        stale = await ada.client.post(url, data={**of_ada, **name})
        assert stale.status_code == 403
        await ada.submit(await ada.open("/logout"), "/logout")
        await sign_in(ada, await ada.open("/admin"), GRACE)
        assert (await ada.client.post(url, data={**of_ada, **name})).status_code == 403
        assert await portal.store.get(SERVER, "notes") == before


async def test_no_page_is_a_form_and_no_odd_body_is_a_fault(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada:
        await with_server(portal)
        await portal.account()
        await sign_in(ada, await ada.open("/admin"))
        token, url = await token_of(ada), portal.url + FORM
        got = await ada.client.get(url, params={**token, "name": "Changed"})
        assert got.status_code == 200
        many = urlencode({**token, **{f"f{number}": "x" for number in range(10_000)}})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        odd: list[tuple[bytes, dict[str, str]]] = [
            (many.encode(), form),
            (urlencode({**token, "name": "x" * 70_000}).encode(), form),
            (b'{"name": "Changed"}', {"Content-Type": "application/json"}),
            (urlencode(token).encode(), {"Content-Type": "text/plain"}),
            (urlencode(token).encode(), {}),
            (b"\xff\xfe%zz=%ff&" + urlencode(token).encode(), form | {"Content-Encoding": "gzip"}),
            (b"--x\r\nbroken", {"Content-Type": "multipart/form-data; boundary=x"}),
            (b"x", {"Content-Type": "multipart/form-data"}),
        ]
        for body, headers in odd:
            answer = await ada.client.post(url, content=body, headers={**HTML, **headers})
            assert 400 <= answer.status_code < 500, (body[:40], headers, answer.status_code)
        file = {"name": ("evil.html", b"<script>", "text/html")}
        answer = await ada.client.post(url, data=token, files=file, headers=HTML)
        assert 400 <= answer.status_code < 500
        assert await is_unchanged(portal)
        twice = urlencode([*token.items(), *((one, "forged") for one in token), ("name", "Changed")])
        answer = await ada.client.post(url, content=twice.encode(), headers=form)
        assert answer.status_code == 403


async def test_nobody_but_an_administrator_comes_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada:
        await with_server(portal)
        await portal.account()
        made = await portal.admin.tokens.create_with_all("test", "test")
        async with httpx2.AsyncClient(trust_env=False) as stranger:
            for headers in (
                {},
                {"Authorization": f"Bearer {made.value}"},
                {"Cookie": f"portal_session={made.value}; portal_browser={'a' * 43}"},
            ):
                answer = await stranger.get(f"{portal.url}/admin/servers", headers=headers)
                assert answer.status_code == 303 and answer.headers["location"].startswith("/login?"), headers
                answer = await stranger.post(portal.url + FORM, data={"name": "x"}, headers=headers)
                assert answer.status_code in (303, 403)
        await sign_in(ada, await ada.open("/admin"))
        token = await token_of(ada)
        # Between a page and its form the role may be another, or the session may have ended.
        await portal.change_role("auditor")
        answer = await ada.client.post(portal.url + FORM, data={**token, "name": "Changed"}, headers=HTML)
        assert answer.status_code == 403
        for path in ("/admin/servers/notes/login", "/admin/servers/notes/sync", "/admin/new-server", "/admin/settings"):
            assert (await ada.client.post(portal.url + path, data=token, headers=HTML)).status_code == 403, path
        found = await portal.identity.administrators.find(EMAIL)
        assert found is not None
        await portal.identity.administrators.remove(found.id, by="test")
        answer = await ada.client.post(portal.url + FORM, data={**token, "name": "Changed"}, headers=HTML)
        assert answer.status_code in (303, 403)
        answer = await ada.client.get(f"{portal.url}/admin/servers", headers=HTML)
        assert answer.status_code in (303, 403)
        assert await is_unchanged(portal)


async def test_every_answer_below_the_console_is_strict_also_an_error(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada:
        await with_server(portal)
        await portal.account()
        await sign_in(ada, await ada.open("/admin"))
        asked = [
            *(
                ("GET", one)
                for one in ("/admin/servers", "/admin/servers/gone", "/admin/nothing", "/admin/servers/a/b/c")
            ),
            *(("GET", one) for one in ("/admin/servers/notes/sync", "/admin/", "/admin//servers", "/admin/%2e%2e/x")),
            *(("POST", one) for one in ("/admin/servers", "/admin/nothing", FORM)),
            *(("PUT", "/admin/servers"), ("DELETE", FORM), ("TRACE", "/admin/servers")),
        ]
        for method, path in asked:
            answer = await ada.client.request(method, portal.url + path, headers=HTML)
            headers, about = answer.headers, (method, path, answer.status_code)
            assert answer.status_code < 500, about
            assert "no-store" in headers.get("cache-control", ""), about
            assert headers.get("x-content-type-options") == "nosniff", (about, dict(headers))
            if "html" in headers.get("content-type", ""):
                assert "frame-ancestors 'none'" in headers["content-security-policy"], about
                assert headers["x-frame-options"] == "DENY", about
                assert headers["referrer-policy"] in ("same-origin", "no-referrer"), about
        asset = next(one for one in (await ada.open("/admin/servers")).html.split('"') if "/assets/" in one)
        answer = await ada.client.get(portal.url + asset)
        assert "immutable" in answer.headers["cache-control"]
        for other in (
            asset.replace("/assets/", "/assets/0"),
            asset + "x",
            asset.rpartition("/")[0] + "/..%2f..%2fvisit.py",
        ):
            gone = await ada.client.get(portal.url + other)
            assert gone.status_code == 404 and "immutable" not in gone.headers.get("cache-control", "")


async def test_the_console_is_at_the_documents_own_portal_and_at_no_other(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        await sign_in_at(browser, many.docs, "/docs/")
        for path in ("/admin", "/admin/servers", "/admin/new-server"):
            page = await browser.open(many.docs.url + path)
            assert page.status == 404, path
            answer = await browser.client.post(many.docs.url + path, data={"name": "x"})
            assert 400 <= answer.status_code < 500, path
        # The session of one portal is nothing at the console of another.
        page = await browser.open(f"{many.own.url}/admin/servers")
        assert "/login" in page.url
        page = await sign_in_at(browser, many.own, "/admin/servers")
        assert page.status == 200 and page.url.endswith("/admin/servers")
