"""Private parts of third parties are used in three files only, each with its reason: an update is no surprise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.house.source import FLOORS, ROOT, modules

MAY_USE = {"portal/sdk.py", "portal/http/uvicorn.py", "portal/state/sqlite.py", "codemode/transformer.py"}

# Public names that are not documented for what we do with them.
UNDOCUMENTED = {"HttpToolsProtocol", "capture_signals", "send_400_response", "event_store", "path_regex"}
# Names with an underscore that are documented.
DOCUMENTED = {"_exit", "_replace", "_asdict", "_fields", "_make"}
OURS = {*FLOORS, "tests", "benchmarks"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def names_defined(tree: ast.AST) -> Iterator[str]:
    """What a file defines: functions, classes, variables, attributes of its objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def private_uses(path: Path, tree: ast.Module, defined_anywhere: frozenset[str]) -> Iterator[str]:
    """Where a file imports or reads something private that is not of this project, or something undocumented."""
    defined_here = set(names_defined(tree))
    for node in ast.walk(tree):
        used = ""
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules_named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            parts = [*".".join(modules_named).split("."), *(alias.name for alias in node.names)]
            if parts[0] not in OURS and any(is_private(part) or part in UNDOCUMENTED for part in parts):
                used = f"import of {'.'.join(parts)}"
        elif isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            known = defined_anywhere if of_itself else defined_here
            if node.attr in UNDOCUMENTED or (is_private(node.attr) and node.attr not in known):
                used = ast.unparse(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in UNDOCUMENTED:
            used = f"def {node.name}"
        if used:
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {used}"


@cache
def uses() -> dict[str, list[str]]:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules(*FLOORS)}
    anywhere = frozenset(name for tree in trees.values() for name in names_defined(tree))
    return {str(path.relative_to(ROOT)): list(private_uses(path, tree, anywhere)) for path, tree in trees.items()}


def test_private_parts_of_third_parties_are_used_in_their_files_only() -> None:
    assert [use for file, found in uses().items() if file not in MAY_USE for use in found] == []


def test_the_files_that_may_use_them_do() -> None:
    assert {file for file in MAY_USE if uses()[file]} == MAY_USE
