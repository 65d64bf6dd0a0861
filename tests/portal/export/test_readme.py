"""The example of the chapter runs, and its table has every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from anyio.to_thread import run_sync

import portal.export
from portal.admin import PREFIX
from portal.config import parse_config
from portal.export import FIELDS, THEIR_FIELDS
from tests.portal.export.receivers import receiver
from tests.portal.export.test_api import served

pytestmark = pytest.mark.anyio

CHAPTER = (Path(portal.export.__file__).parent / "README.md").read_text(encoding="utf-8")


async def test_the_example_sends_what_failed(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", CHAPTER, re.S)[0], names)
    async with receiver() as sink, served(tmp_path) as api:
        base = str(api.sdk.base_url).rstrip("/")
        assert base.endswith(PREFIX)
        id = await run_sync(names["send_failures"], base, api.sdk.api_token, api.account, sink.url)
        await api.portal.write(0, 3, at=2**60, outcome="timeout", reason="TimedOut")
        await api.portal.write(3, 5, at=2**60)
        await api.portal.all_delivered(str(id))
        [record, *others] = [record for one in sink.stored for record in one.records]
        assert record["Error"] == "TimedOut" and len(others) == 2
        assert list(record) == ["Datetime", "UserEmail", "ServerID", "ToolCallName", "Error"]


def test_the_example_of_the_document_is_one() -> None:
    text = re.findall(r"```json\n(.*?)```", CHAPTER, re.S)[0]
    exports = parse_config(orjson.loads(text), env={}).portal.exports
    assert exports.allow_private and [str(one) for one in exports.folders] == ["/var/log/portal"]


def test_the_table_has_every_field() -> None:
    table = CHAPTER.split("## Fields")[1].split("All rows")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(THEIR_FIELDS)
    assert len(THEIR_FIELDS) == 19
    assert {name for name in FIELDS if f"`{name}`" not in table} == set()
