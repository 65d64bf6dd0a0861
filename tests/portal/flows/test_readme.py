"""The examples of the chapter run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import portal.flows
from portal.app import flow_settings
from portal.config import parse_config

pytestmark = pytest.mark.anyio

CHAPTER = (Path(portal.flows.__file__).parent / "README.md").read_text(encoding="utf-8")


async def test_the_example_sends_nothing_after_reading() -> None:
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", CHAPTER, re.S)[0], names)
    assert await names["may_send_after_reading"]() == (True, False)


def test_the_configuration_is_one() -> None:
    document = json.loads(re.findall(r"```json\n(.*?)```", CHAPTER, re.S)[0])
    settings = flow_settings(parse_config(document, env={}))
    assert settings.mistakes() == []
    assert settings.labels_of("crm", "list_countries") == frozenset()
    assert settings.labels_of("crm", "export_report") == {"confidential", "external"}
    assert settings.labels_of("crm", "another") == settings.labels_of("crm") == {"confidential"}
