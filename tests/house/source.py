"""Reads the project's own source tree, so that the house rules can be checked as tests."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("stubs", "sandbox", "codemode", "portal")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module and where it is imported: `top_level` is False inside a function."""

    importer: Path
    module: str
    line: int
    top_level: bool

    @property
    def package(self) -> str:
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{self.importer.relative_to(ROOT)}:{self.line} imports {self.module}"


def modules(*packages: str) -> list[Path]:
    """Python files of the given packages, sorted."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Absolute names of everything a file imports, relative imports resolved, type-checking ones included."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.parent.relative_to(ROOT).parts
    top_level = {id(node) for node in _module_level(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, alias.name, node.lineno, id(node) in top_level)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield Import(path, module, node.lineno, id(node) in top_level)


def third_party(found: Import) -> bool:
    return found.package not in (*FLOORS, "tests", "benchmarks") and found.package not in sys.stdlib_module_names


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If | ast.Try):
            pending.extend([*node.body, *node.orelse])
