"""Watches the configuration file and hands on each new version that can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from watchfiles import awatch

from portal.config.config import Config, load_config
from portal.errors import ConfigError

# Editors write a file in several steps.
_SETTLE_MS = 200


async def watch_config(
    path: Path,
    on_config: Callable[[Config], Awaitable[None]],
    on_error: Callable[[ConfigError], None],
    *,
    env: Mapping[str, str] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Call `on_config` with each new configuration, until `stop` is set or the task is cancelled.

    A document that cannot be used goes to `on_error`, and what was there before stays. The folder is watched and not
    the file, because editors and orchestrators replace files.
    """
    known = _read(path)
    path = path.absolute()
    async for _ in awatch(path.parent, stop_event=stop, debounce=_SETTLE_MS, step=50, recursive=False):
        # A mounted ConfigMap changes by a symbolic link beside the file: compare content, not names.
        content = _read(path)
        if content is None or content == known:
            continue
        known = content
        try:
            config = load_config(path, env)
        except ConfigError as error:
            on_error(error)
        else:
            await on_config(config)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
