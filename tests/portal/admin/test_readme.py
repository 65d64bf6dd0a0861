"""The examples of the chapter run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import portal.admin
from tests.portal.admin.conftest import Api
from tests.portal.admin.test_logs import calls, logged

CHAPTER = (Path(portal.admin.__file__).parent / "README.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    return examples(language)[0]


def examples(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", CHAPTER, re.S)
    assert found
    return found


def test_the_examples_make_a_portal_and_turn_its_code_mode_off(api: Api) -> None:
    names: dict[str, Any] = {}
    exec(example("python"), names)
    names["without_code_mode"](api.base_url, api.token, api.account)
    portals = api.sdk().zero_trust.access.ai_controls.mcp.portals
    assert portals.read("team", account_id=api.account).code_mode == "off"


def test_the_example_makes_an_api_of_a_document(api: Api) -> None:
    (found,) = (one for one in examples("python") if "openapi_url" in one)
    names: dict[str, Any] = {"client": api.sdk(), "account_id": api.account, "token": "of-the-shop"}
    exec(found, names)
    assert names["shop"].openapi_url == "https://api.shop.example.com/openapi.json"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_a_portal_is_read_and_put_back_without_code_mode_by_curl(api: Api) -> None:
    portals = api.sdk().zero_trust.access.ai_controls.mcp.portals
    portals.create(account_id=api.account, id="team", name="Team", hostname="team.example.com")
    assert portals.read("team", account_id=api.account).code_mode == "opt_in"
    settings = {"BASE_URL": api.base_url, "ACCOUNT_ID": api.account, "API_TOKEN": api.token}
    subprocess.run(["sh", "-c", example("sh")], env={**os.environ, **settings}, check=True, capture_output=True)
    assert portals.read("team", account_id=api.account).code_mode == "off"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_a_portal_is_changed_by_curl_while_its_etag_holds(api: Api) -> None:
    portals = api.sdk().zero_trust.access.ai_controls.mcp.portals
    portals.create(account_id=api.account, id="team", name="Team", hostname="team.example.com")
    url = api.at("/access/ai-controls/mcp/portals/team")
    environment = {**os.environ, "PORTAL": url, "API_TOKEN": api.token}
    script = examples("sh")[1]
    done = subprocess.run(["sh", "-c", script], env=environment, check=True, capture_output=True)
    assert b'"success":true' in done.stdout
    assert portals.read("team", account_id=api.account).code_mode == "off"


def test_the_table_of_operations_is_complete(shared: Api) -> None:
    table = CHAPTER.split("## Operations")[1].split("**Tokens.**")[0]
    collections = {operation.path.split("/{")[0].lstrip("/") for operation in shared.admin.operations}
    for path in collections:
        stem = re.sub(r"/(rotate|verify|permission_groups)$", "", path)
        assert f"`{stem}`" in table, path


async def list_failures(api: Api) -> list[str]:
    names: dict[str, Any] = {}
    exec(examples("python")[1], names)
    found = await asyncio.to_thread(lambda: [*names["failures"](api.sdk(), api.account, "s0")])
    return [one["capability"] for one in found]


@pytest.mark.anyio
async def test_the_example_of_the_log_finds_every_failure_of_a_server(tmp_path: Path) -> None:
    async with logged(tmp_path, calls(1_500)) as (api, _):
        assert await list_failures(api) == [f"tool_{n}" for n in range(1_490, -1, -10)]
