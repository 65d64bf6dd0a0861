"""Takes up changes of the configuration file while a portal serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from portal.app import Instance, changed_keys
from portal.config import Config, watch_config
from portal.errors import ConfigError
from portal.state import StateUnavailable


class ReloadNews(Protocol):
    """Tells the operator what becomes of a changed file."""

    def notes(self, notes: Sequence[str]) -> None: ...
    def reloaded(self, file: str, keys: Sequence[str]) -> None: ...
    def reload_waits(self, keys: Sequence[str]) -> None: ...
    def reload_refused(self, reason: str) -> None: ...


async def follow_file(file: Path, instance: Instance, news: ReloadNews, usable: Callable[[Config], Config]) -> None:
    """Take up each change, until this is cancelled. `usable` leaves out what cannot be served here."""

    async def apply(document: Config) -> None:
        document, before = usable(document), instance.config
        try:
            waiting = await instance.apply(document)
        except (ConfigError, StateUnavailable) as error:
            news.reload_refused(str(error))
            return
        news.reloaded(file.name, changed_keys(before, instance.config))
        news.notes([note for note in document.notes if note not in before.notes])
        if waiting:
            news.reload_waits(waiting)

    def refuse(error: ConfigError) -> None:
        news.reload_refused(str(error))

    await watch_config(file, apply, refuse)
