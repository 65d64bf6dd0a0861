"""The chapter of threats and their tests in SECURITY.md: every test it names is there, and every row names one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.house.source import ROOT

HEADING = "## Threats and their tests"


def rows() -> list[list[str]]:
    """The cells of each row that is about a threat."""
    chapter = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in chapter.splitlines() if "|" in line]
    return [row for row in cells[2:] if not row[0].startswith("**")]


@cache
def defined_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_the_chapter_names_exists() -> None:
    missing: list[str] = []
    for row in rows():
        file = ROOT
        for name in re.findall(r"`([^`]+)`", row[-1]):
            if name.endswith(".py"):
                file = ROOT / "tests" / "portal" / name
                if not file.is_file():
                    missing.append(name)
            elif file.is_file() and f"test_{name}" not in defined_in(file):
                missing.append(f"{file.name}::{name}")
    assert missing == []


def test_every_threat_of_the_chapter_has_an_answer_and_a_test() -> None:
    found = rows()
    assert len(found) > 40
    assert [row[0] for row in found if len(row) != 3 or not row[1] or ".py` `" not in row[2]] == []
