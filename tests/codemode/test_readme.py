"""The examples of this floor's chapter run, and its tables name what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import codemode
from codemode.answer import OUTPUT_SCHEMA
from sandbox import Engine, Limits
from tests.codemode.bench import bench

ROOT = Path(codemode.__file__).parent.parent
CHAPTER = (ROOT / "codemode" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", CHAPTER, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", blocks("python"))
def test_a_python_example_runs_as_it_stands(example: str) -> None:
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.strip()
    assert not printed or f"It prints `{printed}`" in CHAPTER


@pytest.mark.anyio
@pytest.mark.parametrize("example", blocks("js"))
async def test_a_program_of_the_chapter_gives_what_it_says(engines: Callable[[Limits], Engine], example: str) -> None:
    program, _, expected = example.partition("// -> ")
    async with bench(engines) as b:
        assert (await b.run(program)).value == json.loads(expected)


def test_every_kind_of_error_and_status_of_a_call_is_named() -> None:
    error = OUTPUT_SCHEMA["properties"]["error"]["properties"]
    call = OUTPUT_SCHEMA["properties"]["calls"]["items"]["properties"]
    for word in [*error["kind"]["enum"], *call["status"]["enum"], *OUTPUT_SCHEMA["properties"]]:
        assert f"`{word}`" in CHAPTER, word


def test_every_module_is_in_the_table() -> None:
    for path in (ROOT / "codemode").glob("*.py"):
        assert path.stem in ("__init__", "errors") or f"`{path.stem}`" in CHAPTER, path.stem
