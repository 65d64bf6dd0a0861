"""The examples of the chapter run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import portal.admin
from tests.portal.admin.conftest import Api

CHAPTER = (Path(portal.admin.__file__).parent / "README.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", CHAPTER, re.S)
    assert found is not None
    return found[1]


def test_the_examples_make_a_portal_and_turn_its_code_mode_off(api: Api) -> None:
    names: dict[str, Any] = {}
    exec(example("python"), names)
    names["without_code_mode"](api.base_url, api.token, api.account)
    portals = api.sdk().zero_trust.access.ai_controls.mcp.portals
    assert portals.read("team", account_id=api.account).code_mode == "off"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_a_portal_is_read_and_put_back_without_code_mode_by_curl(api: Api) -> None:
    portals = api.sdk().zero_trust.access.ai_controls.mcp.portals
    portals.create(account_id=api.account, id="team", name="Team", hostname="team.example.com")
    assert portals.read("team", account_id=api.account).code_mode == "opt_in"
    settings = {"BASE_URL": api.base_url, "ACCOUNT_ID": api.account, "API_TOKEN": api.token}
    subprocess.run(["sh", "-c", example("sh")], env={**os.environ, **settings}, check=True, capture_output=True)
    assert portals.read("team", account_id=api.account).code_mode == "off"


def test_the_table_of_operations_is_complete(shared: Api) -> None:
    table = CHAPTER.split("## Operations")[1].split("**Tokens.**")[0]
    collections = {operation.path.split("/{")[0].lstrip("/") for operation in shared.admin.operations}
    for path in collections:
        stem = re.sub(r"/(rotate|verify|permission_groups)$", "", path)
        assert f"`{stem}`" in table, path
