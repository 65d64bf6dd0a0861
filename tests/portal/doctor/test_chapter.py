"""The chapter of the doctor has every check, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from portal.doctor import CHECKS

CHAPTER = Path(__file__).parents[3] / "portal" / "doctor" / "README.md"


def test_the_table_of_the_chapter_has_every_check_with_its_words() -> None:
    rows = dict(re.findall(r"^\| `([a-zA-Z]+\.[a-zA-Z]+)` \| (.+?) \|", CHAPTER.read_text(encoding="utf-8"), re.M))
    assert rows == CHECKS


def test_each_check_is_tried_by_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    untried = [check for check in CHECKS if f'"{check}"' not in tests and check != "doctor.time"]
    assert untried == []
