"""A recorded run on its page in the console: replayed, equal or with both sides of the difference, by who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from codemode import CodeTool
from tests.portal.app.test_events import rows_of
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.console.running import agent_of
from tests.portal.console.test_entering import HTML, token_of
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import PASSWORD, guarded_portal, sign_in
from tests.portal.runs.recordings import change_recording, stored_recording
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
BIDI, AUDITOR = "\u202e", "grace@example.com"


async def test_a_run_is_replayed_on_its_page_and_what_differs_is_text(tmp_path: Path, code_tool: CodeTool) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True, runs={"record": "on"}) as portal,
        agent_of(portal) as agent,
        browser_at(portal.url) as ada,
        browser_at(portal.url) as grace,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        ran = await agent.code("console.log('a'); return (await codemode.fix.echo({text: '<b>now</b>'}))")
        run_id = ran.structured_content["executionId"]
        await stored_recording(portal.instance, run_id)
        await sign_in(ada, await ada.open("/admin"))
        here = f"{portal.url}/admin/runs/{run_id}"
        assert ">Replay</button>" in (await ada.client.get(here, headers=HTML)).text
        token, sent = await token_of(ada), {**HTML, "Origin": portal.url}
        equal = await ada.client.post(f"{here}/replay", data=token, headers=sent)
        assert equal.status_code == 200
        assert "equal: 1 call, 1 line of its logs, and its end" in equal.text
        assert f'href="/admin/runs/{run_id}?program=on"' in equal.text
        await change_recording(portal.instance, run_id, value=f"<b>{BIDI}then</b>")
        await admin.open(f"/runs/{run_id}")
        await admin.press("Replay")
        await admin.check(axe_source(), PICTURES, "run-replayed")
        other = await ada.client.post(f"{here}/replay", data=token, headers=sent)
        assert "different: <bdi>it returned something else</bdi>" in other.text
        assert "&lt;b&gt;\\u{202e}then&lt;/b&gt;" in other.text and "&lt;b&gt;now&lt;/b&gt;" in other.text
        assert BIDI not in other.text and "<b>" not in other.text
        elsewhere = {**HTML, "Origin": "https://evil.example"}
        assert (await ada.client.post(f"{here}/replay", data=token, headers=elsewhere)).status_code == 403
        unknown = await ada.client.post(f"{portal.url}/admin/runs/exec_none/replay", data=token, headers=sent)
        assert unknown.status_code == 404
        await portal.identity.administrators.create(AUDITOR, "Grace", PASSWORD, by="test", role="auditor")
        await sign_in(grace, await grace.open("/admin"), AUDITOR, PASSWORD)
        assert ">Replay</button>" not in (await grace.client.get(here, headers=HTML)).text
        refused = await grace.client.post(f"{here}/replay", data=await token_of(grace), headers=sent)
        assert refused.status_code == 403 and "now&lt;/b&gt;" not in refused.text
        replays = [row for row in await rows_of(portal.instance.shared.log) if row.name.endswith("/replay")]
        outcomes = [(row.method, row.outcome) for row in replays if run_id in row.name]
        assert outcomes == [("POST", "ok"), ("POST", "ok"), ("POST", "ok"), ("POST", "denied")]
