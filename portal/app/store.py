"""The database of a portal, opened from its configuration."""

from __future__ import annotations

import os
from pathlib import Path

from portal.state import Clock, KeyRing, Store, utc_now


def open_store(url: str | None, now: Clock = utc_now) -> Store:
    """The store of this URL; by default an SQLite file of this user. Its keys lie beside the file."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "codemode-portal"
    if url is None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{home / 'state.db'}"
    file = url.partition(":///")[2] if url.startswith("sqlite") else ""
    keys = Path(file).with_suffix(".key") if file else home / "state.key"
    return Store.open(url, KeyRing.open(keys), clock=now)
