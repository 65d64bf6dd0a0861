"""The examples of the chapter run."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

import portal.state
from portal.state import KeyRing, Store, plain
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

CHAPTER = (Path(portal.state.__file__).parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", CHAPTER, re.S)


async def test_the_first_example_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(EXAMPLES[0], names)
    await names["remember"]()
    assert (tmp_path / "state.db").exists()


async def test_the_snapshot_of_the_second_example_follows_what_is_stored(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[2], names)
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory()) as store:
        servers = names["Servers"](store)
        following = asyncio.create_task(servers.follow())
        await store.create(plain("server"), "a", {}, by="ann")
        with anyio.fail_after(PATIENCE):
            while [stored.id for stored in servers.current] != ["a"]:
                await asyncio.sleep(0.005)
        following.cancel()


async def test_the_names_of_the_third_example_are_those_that_are_stored(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    exec(EXAMPLES[3], found)
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory()) as store:
        names = found["Names"](store)
        assert await names.name("a") is None
        await store.create(plain("server"), "a", {"name": "First"}, by="ann")
        assert await names.name("a") == "First"
        await store.replace(plain("server"), "a", {"name": "Second"}, by="ann")
        assert await names.name("a") == "Second"
