"""The console while the database or the log is away, and at a server whose words are meant for the reader's browser."""

from __future__ import annotations

from asyncio import gather
from pathlib import Path
from typing import Any

import pytest

from portal.objects import SERVER, ServerDocument
from tests.portal.console.test_entering import HTML, token_of, with_server
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in
from tests.portal.state import troubles
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
PAGES = (
    *("", "/start", "/servers", "/servers/notes", "/servers/notes/tools", "/portals", "/policies", "/policy-tester"),
    *("/login-methods", "/service-tokens", "/api-tokens", "/settings", "/settings/keys", "/gateway", "/quotas"),
    *("/logpush", "/data-flow", "/policies/lists"),
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr("portal.state.trouble.QUIET_SECONDS", 0.5)


async def test_while_the_database_is_away_every_page_says_so_and_afterwards_it_is_there(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    if not state.startswith("sqlite"):
        pytest.skip("the file of a database is moved away")
    async with guarded_portal(tmp_path, state=state) as portal, browser_at(portal.url) as ada:
        await with_server(portal)
        await portal.account()
        await sign_in(ada, await ada.open("/admin"))
        token, url = await token_of(ada), f"{portal.url}/admin"
        with troubles.moved_away(state):
            answers: list[Any] = await gather(*(ada.client.get(url + path, headers=HTML) for path in PAGES))
            answers.append(await ada.client.post(f"{url}/new-server", data={**token, "name": "x"}, headers=HTML))
        for answer in answers:
            about = (str(answer.url), answer.status_code, answer.text[:300])
            assert answer.status_code in (200, 303, 400, 503), about
            if answer.status_code == 503:
                assert "database" in answer.text and "html" in answer.headers["content-type"], about
                assert answer.headers["retry-after"] and "no-store" in answer.headers["cache-control"], about
        assert sum(answer.status_code == 503 for answer in answers) > 3
        assert (await ada.client.get(f"{url}/servers", headers=HTML)).status_code == 200


async def test_while_the_log_is_away_the_pages_are_there(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    if not state.startswith("sqlite"):
        pytest.skip("the file of a log is moved away")
    async with guarded_portal(tmp_path, state=state, has_log=True) as portal, browser_at(portal.url) as ada:
        await with_server(portal)
        await portal.account()
        await sign_in(ada, await ada.open("/admin"))
        with troubles.without_log(state):
            answers = await gather(*(ada.client.get(f"{portal.url}/admin{path}", headers=HTML) for path in PAGES))
        assert all(one.status_code in (200, 303, 503) for one in answers), [
            (str(o.url), o.status_code) for o in answers
        ]


async def test_what_a_hostile_server_says_is_text_on_every_page_about_it(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e\u2066</td>\"'><script>alert(1)</script>"
    schema = {"type": "object", "properties": {evil: {"type": "string", "description": evil}}}
    names = (evil, "plain", "javascript:alert(1)", "a/../b", "x" * 200)
    more = [{"name": name, "title": evil, "description": evil + "x" * 3000, "inputSchema": schema} for name in names]
    upstream_says = Behaviour(name=evil, more=more, said={"echo": {"description": evil}})

    async with hosted(upstream_says) as upstream, guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada:
        await portal.account()
        await sign_in(ada, await ada.open("/admin"))
        document = ServerDocument(name=evil, hostname=upstream.url, auth_type="unauthenticated", description=evil)
        await portal.store.create(SERVER, "evil", document, by="test")
        token, base = await token_of(ada), f"{portal.url}/admin/servers/evil"
        assert (await ada.client.post(f"{base}/sync", data=token)).status_code == 303
        paths = ("", "/tools", "/prompts", "/tool?name=plain", "/tool?name=javascript:alert(1)", "/edit", "/remove")
        portal_pages, seen = ("/admin/servers", "/admin/start", "/admin/policies"), 0
        for path in paths:
            answer = await ada.client.get(base + path, headers=HTML)
            assert answer.status_code == 200, (path, answer.status_code)
            assert "<img src=x" not in answer.text and "<script>alert" not in answer.text, path
            assert 'href="javascript:' not in answer.text.lower()
            seen += "&lt;img src=x" in answer.text
        assert seen >= 5
        for path in portal_pages:
            assert "<img src=x" not in (await ada.open(path)).html, path
