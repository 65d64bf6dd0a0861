"""The example of the chapter runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import portal.login
from portal.login import Administrators, LastAdministrator, Passwords
from portal.state import KeyRing, Store
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK

pytestmark = pytest.mark.anyio
CHAPTER = (Path(portal.login.__file__).parent / "README.md").read_text(encoding="utf-8")


async def test_one_administrator_hands_over_to_another_but_the_last_one_stays(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", CHAPTER, re.S)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    async with Store.open(f"sqlite:///{tmp_path}/state.db", KeyRing.in_memory()) as store:
        administrators = Administrators(store, Passwords(QUICK))
        for email in (EMAIL, "grace@example.com"):
            await administrators.create(email, "", PASSWORD, by="test")
        path = await names["hand_over"](store, EMAIL.upper(), "hal@example.com")
        assert path.startswith("/login/invitation?token=")
        assert [one.email for one in await administrators.list()] == ["grace@example.com"]
        with pytest.raises(LastAdministrator):
            await names["hand_over"](store, "grace@example.com", "ivy@example.com")
