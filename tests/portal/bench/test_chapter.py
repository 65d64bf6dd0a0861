"""The chapter of the bench: its commands run unchanged in a copy of its examples, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import portal
from portal.bench import cases, mock_rules
from tests import node_tools

ROOT = Path(portal.__file__).parent.parent
BENCH = ROOT / "portal" / "bench"
CHAPTER = (BENCH / "README.md").read_text(encoding="utf-8")
# One process for all of them: what is tested is the chapter, not how long Python takes to start.
DRIVER = """
import json, sys
import pytest
from portal.cli import main
for program, *arguments in json.loads(sys.argv[1]):
    try:
        if program == "pytest":
            sys.exit(pytest.main(["-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments]))
        main(arguments)
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{program} {arguments} ended with {ended.code}")
    sys.stdout.flush()
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", CHAPTER, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, as the chapter has it, and its test in Python."""
    copy = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(BENCH / "examples", copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (copy / "test_chapter.py").write_text(blocks("python")[0])
    return copy


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """The output of the commands of the chapter, in order."""
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 10 and {words[0] for words in commands} == {"codemode", "pytest"}
    return run(folder, sys.executable, "-c", DRIVER, json.dumps([*commands, ["pytest", "test_chapter.py"]]))


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=250, env={**environment, "PATH": path}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_chapter_run_as_they_stand(folder: Path, printed: str) -> None:
    for part in (
        "Nothing changed.",
        "came to what was recorded",
        "4 passed",
        "1 passed, 3 deselected",
        "test_waiting.py ..",
    ):
        assert part in printed
    assert (folder / "results.xml").is_file()


def test_the_python_of_the_chapter_runs_as_it_stands(folder: Path, printed: str) -> None:
    assert "test_chapter.py ." in printed
    assert run(folder, sys.executable, "-c", blocks("python")[1]) == "12 after 2 hours\n"


def test_an_editor_understands_the_examples_and_finds_mistakes(folder: Path, printed: str) -> None:
    compiler = node_tools.needs(node_tools.tsc)
    project = folder.with_name("project")
    project.mkdir()
    for name in ("waiting.js", "refund.ts", "codemode.d.ts"):
        shutil.copy(folder / name, project)
    (project / "jsconfig.json").write_text(blocks("json")[0])
    right = (project / "waiting.js").read_text()
    wrong = right.replace("get_customer({ customer_id })", "get_customer({ customer: 1 })").replace("status:", "state:")
    (project / "wrong.js").write_text(wrong)
    command = [str(compiler), "-p", "jsconfig.json", "--pretty", "false"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=250, check=False)
    assert re.findall(r"^([\w.]+)\((\d+),", done.stdout, re.M) == [("wrong.js", "2"), ("wrong.js", "4")], done.stdout


def test_every_member_and_module_is_in_its_table() -> None:
    named = set(re.findall(r"`(\$?\w+)`", CHAPTER))
    operators = set(re.findall(r'"(\$\w+)"|`(\$\w+)`', CHAPTER))
    shown = named | {first or second for first, second in operators}
    assert {*mock_rules.MEMBERS} - shown == set()
    assert {*mock_rules.OPERATORS} - shown == set()
    assert set(cases.KEYS) - shown == set()
    assert {*cases.EXPECTED} - shown == set()
    modules = {path.stem for path in BENCH.glob("*.py")} - {"__init__"}
    assert modules - shown == set()
