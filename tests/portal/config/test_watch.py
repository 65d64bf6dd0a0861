"""Live reload: each usable version of the file is taken up, an unusable one changes nothing and is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from portal.config.config import Config
from portal.config.watch import watch_config
from portal.errors import ConfigError
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def watching(file: Path) -> AsyncIterator[asyncio.Queue[Config | ConfigError]]:
    heard: asyncio.Queue[Config | ConfigError] = asyncio.Queue()

    async def on_config(config: Config) -> None:
        heard.put_nowait(config)

    stop = asyncio.Event()
    task = asyncio.create_task(watch_config(file, on_config, heard.put_nowait, env={}, stop=stop))
    await asyncio.sleep(0)  # Its turn: it looks at the file and begins to watch before it first waits.
    try:
        yield heard
    finally:
        stop.set()
        await task


async def told(heard: asyncio.Queue[Config | ConfigError]) -> Config | ConfigError:
    async with asyncio.timeout(PATIENCE):
        return await heard.get()


def document(*names: str) -> str:
    return json.dumps({"mcpServers": {name: {"command": "x"} for name in names}})


async def test_a_changed_file_is_taken_up_and_an_unusable_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(document("a"), encoding="utf-8")
    async with watching(file) as heard:
        file.write_text(document("a", "b"), encoding="utf-8")
        found = await told(heard)
        assert isinstance(found, Config) and list(found.servers) == ["a", "b"]
        file.write_text("{", encoding="utf-8")
        assert isinstance(await told(heard), ConfigError)
        file.write_text(document("c"), encoding="utf-8")
        found = await told(heard)
        assert isinstance(found, Config) and list(found.servers) == ["c"]


async def test_a_file_that_is_replaced_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(document("a"), encoding="utf-8")
    async with watching(file) as heard:
        (tmp_path / "new").write_text(document("b"), encoding="utf-8")
        (tmp_path / "new").rename(file)
        found = await told(heard)
        assert isinstance(found, Config) and list(found.servers) == ["b"]


async def test_other_files_and_the_same_content_again_are_nothing_new(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(document("a"), encoding="utf-8")
    async with watching(file) as heard:
        (tmp_path / "other.json").write_text("{", encoding="utf-8")
        file.write_text(document("a"), encoding="utf-8")
        file.write_text(document("b"), encoding="utf-8")
        found = await told(heard)
        assert isinstance(found, Config) and list(found.servers) == ["b"]
        assert heard.empty()
