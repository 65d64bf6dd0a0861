"""The example of the chapter runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import portal.logs

pytestmark = pytest.mark.anyio

CHAPTER = (Path(portal.logs.__file__).parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", CHAPTER, re.S)


async def test_the_example_finds_what_failed(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[0], names)
    assert [(row.outcome, row.name) for row in await names["what_failed"](tmp_path)] == [("timeout", "read")]
