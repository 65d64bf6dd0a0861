"""The table of the original's features in portal/README.md: its tests, pages and chapters are there, and
README.md leads to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tests.house.source import ROOT
from tests.house.test_security_chapter import defined_in

CHAPTER = ROOT / "portal" / "README.md"
HEADING = "What the original has, and where it is here"
NOTHING = "—"
"""In place of a page that there is not, or of a test where there is nothing to hold."""


def rows() -> list[list[str]]:
    """The cells of each row: the feature, what it is here, its page, its chapter, its tests."""
    table = CHAPTER.read_text(encoding="utf-8").partition(f"## {HEADING}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if "|" in line]
    return [row for row in cells[2:] if not row[0].startswith("**")]


@cache
def anchors_of(file: Path) -> set[str]:
    """The anchors of the headings of a chapter, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_nowhere(target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (CHAPTER.parent / path).resolve() if path else CHAPTER
    return not file.is_file() or bool(anchor) and anchor not in anchors_of(file)


def test_every_test_that_the_table_names_exists() -> None:
    named = [name for row in rows() for name in re.findall(r"`([^`]+)`", row[4])]
    assert len(named) > 80
    missing = []
    for name in named:
        path, _, test = name.partition("::")
        file = ROOT / "tests" / "portal" / path
        if not file.is_file() or f"test_{test}" not in defined_in(file):
            missing.append(name)
    assert missing == []


def test_every_row_has_a_test_or_says_that_the_feature_is_not_here() -> None:
    found = rows()
    assert len(found) > 50 and {len(row) for row in found} == {5}
    without = [row[0] for row in found if not row[1] or "::" not in row[4] and not row[1].startswith("Not here")]
    assert without == []


def test_every_page_and_chapter_of_the_table_is_there() -> None:
    menu = (ROOT / "portal" / "console" / "console.py").read_text(encoding="utf-8")
    pages = {page.strip("`") for row in rows() if (page := row[2]) != NOTHING}
    assert {page for page in pages if f'"{page}"' not in menu} == set()
    links = {target for row in rows() for target in re.findall(r"\]\((?!https://)([^)]+)\)", " ".join(row))}
    assert {target for target in links if leads_nowhere(target)} == set()


def test_the_first_chapter_leads_to_the_table() -> None:
    (anchor,) = {one for one in anchors_of(CHAPTER) if one.startswith("what-the-original")}
    assert f"portal/README.md#{anchor}" in (ROOT / "README.md").read_text(encoding="utf-8")
