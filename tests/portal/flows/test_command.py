"""Data flow on the command line: `codemode run` holds the document's rules, `codemode admin` shows what was read."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

from portal.cli.exits import Exit
from portal.state import KeyRing, LabelRead, Store, utc_now
from tests.portal.cli.command import in_process as codemode
from tests.portal.state.databases import new_state
from tests.zygote import quick_entry

RULE = {"name": "no-leaks", "when": ["confidential"], "target": ["external"]}


def test_a_program_of_the_command_line_is_held_by_the_rules_of_the_document(tmp_path: Path) -> None:
    shop = quick_entry("portal.demo.shop")
    servers = {"crm": {**shop, "labels": ["confidential"]}, "mail": {**shop, "labels": ["external"]}}
    document = {"mcpServers": servers, "portal": {"dataFlow": {"rules": [RULE]}}}
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    call = "await codemode.{}.list_orders({{limit: 1}});"
    (tmp_path / "leak.js").write_text(call.format("crm") + call.format("mail"))
    (tmp_path / "other.js").write_text(call.format("mail") + call.format("crm") + "return 'both'")
    done = codemode(tmp_path, "run", "leak.js", "--json")
    assert done.returncode == Exit.PROGRAM_FAILED
    assert "'no-leaks' does not allow" in json.loads(done.stdout)["error"]["message"]
    done = codemode(tmp_path, "run", "other.js", "-q")
    assert (done.returncode, json.loads(done.stdout)) == (Exit.OK, "both")


def test_an_administrator_lists_and_ends_on_the_command_line_what_somebody_has_read(tmp_path: Path) -> None:
    url, now = new_state(tmp_path), utc_now()

    async def written() -> None:
        async with Store.open(url, KeyRing.open(tmp_path / "state.key")) as store:
            read = LabelRead(
                person="ada",
                client="",
                label="confidential",
                portal="",
                server="crm",
                tool="get",
                at=now,
                until=now + timedelta(hours=8),
            )
            await store.labels.put([read])

    asyncio.run(written())
    listed = codemode(tmp_path, "admin", "list", "data-flow-reads", "--state", url)
    assert "ada" in listed.stdout and "confidential" in listed.stdout
    shown = json.loads(codemode(tmp_path, "admin", "show", "data-flow-reads", "ada", "--state", url).stdout)
    assert (shown["labels"], shown["reads"][0]["server"]) == (["confidential"], "crm")
    done = codemode(tmp_path, "admin", "remove", "data-flow-reads", "ada", "--state", url)
    assert done.returncode == Exit.OK
    assert "There are no" in codemode(tmp_path, "admin", "list", "data-flow-reads", "--state", url).stdout
