"""The chapter's examples run, and its table has every selector."""

from __future__ import annotations

import json
import re
from pathlib import Path

from portal.access import NO_SERVERS, SELECTORS, ToolPolicy

CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "access" / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", CHAPTER, re.S | re.M)


def test_the_example_runs() -> None:
    [example] = fenced("python")
    exec(compile(example, "README.md", "exec"), {})


def test_the_tool_policy_is_one() -> None:
    [example] = fenced("json")
    assert ToolPolicy.model_validate(json.loads(example)).tools.names == ("refund*",)


def test_every_selector_has_a_row() -> None:
    rows = re.findall(r"^\| (`.*?) \|", CHAPTER, re.M)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set(SELECTORS)
    assert f"`{NO_SERVERS}`" in CHAPTER
