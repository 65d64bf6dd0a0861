"""House rules that hold for every file: purpose first, rooms of a size one can see across, one front door a floor."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import FLOORS, ROOT, modules

MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 80
MOST_ANY = {"portal": 230, "codemode": 155, "stubs": 86, "sandbox": 24}
"""How often a floor may say `Any`: lower a number when you take some away, and raise none."""


def test_every_module_opens_with_what_it_is_responsible_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(*FLOORS)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_files_and_functions_stay_readable() -> None:
    long: list[str] = []
    for path in modules(*FLOORS, "tests", "benchmarks"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_FILE_LINES:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert long == []


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "service", "core", "common", "misc"}
    assert [str(path) for path in modules(*FLOORS) if path.stem in vague] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_names_its_public_surface_once_and_completely(floor: str) -> None:
    package = importlib.import_module(floor)
    exported: list[str] = list(package.__all__)
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(package, name)] == []


@pytest.mark.parametrize("floor", FLOORS)
def test_the_imported_package_is_ours_and_not_a_namesake(floor: str) -> None:
    package = importlib.import_module(floor)
    assert package.__file__ is not None
    assert Path(package.__file__).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_has_its_chapter(floor: str) -> None:
    chapter = (ROOT / floor / "README.md").read_text(encoding="utf-8")
    assert len(chapter) > 1000


def test_a_broad_except_that_swallows_gives_its_reason_beside_it() -> None:
    silent: list[str] = []
    for path in modules(*FLOORS):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and is_broad(node) and not raises_again(node):
                around = "\n".join(lines[node.lineno - 1 : node.body[0].lineno])
                if "#" not in around:
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert silent == []


def is_broad(handler: ast.ExceptHandler) -> bool:
    named = handler.type
    return named is None or (isinstance(named, ast.Name) and named.id in {"Exception", "BaseException"})


def raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


def test_the_command_line_starts_without_the_heavy_imports() -> None:
    heavy = ("mcp", "wasmtime", "Stemmer", "pydantic", "uvicorn", "starlette", "quickjs_rs")
    program = f"import sys, portal.cli; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_the_newcomers_table_leads_to_files_that_are_there() -> None:
    chapter = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = chapter.partition("### Where is it?")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_]+/[\w/]+\.py)`", table)
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_chapter_of_the_portal_has_every_room() -> None:
    chapter = (ROOT / "portal" / "README.md").read_text(encoding="utf-8").partition("\n## Rooms")[2]
    rooms = {path.name for path in (ROOT / "portal").iterdir() if (path / "__init__.py").is_file()}
    assert {room for room in rooms if f"`{room}/`" not in chapter} == set()


def test_every_link_of_a_chapter_leads_somewhere() -> None:
    chapters = [*ROOT.glob("*.md"), *(path for floor in FLOORS for path in (ROOT / floor).rglob("*.md"))]
    assert len(chapters) > 10
    broken = [
        f"{chapter.relative_to(ROOT)}: {target}"
        for chapter in chapters
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", chapter.read_text(encoding="utf-8"))
        if "://" not in target and not (chapter.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("floor", FLOORS)
def test_any_is_said_no_more_often_than_before(floor: str) -> None:
    said = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for path in modules(floor)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    assert said <= MOST_ANY[floor]


@pytest.mark.parametrize(
    ("reading", "place"),
    [
        (r"yaml\.(?:safe_)?(?:load|parse)\(", "portal/yaml_text.py"),
        ("tomllib", "portal/config/document.py"),
    ],
)
def test_yaml_and_toml_are_each_read_in_one_place(reading: str, place: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in modules("portal", "codemode")
        if re.search(reading, path.read_text(encoding="utf-8"))
    ]
    assert found == [place]


def test_documents_are_written_and_read_by_kinds_that_have_a_model() -> None:
    bare = [
        str(path.relative_to(ROOT))
        for path in modules("portal")
        if path.parent != ROOT / "portal" / "state" and re.search(r"\bplain\(\"", path.read_text(encoding="utf-8"))
    ]
    assert bare == []


def test_what_needs_no_database_loads_none() -> None:
    heavy = ("sqlalchemy", "alembic", "jinja2", "argon2")
    modules = "portal.cli.commands.catalog, portal.app.instance"
    program = f"import sys, {modules}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
