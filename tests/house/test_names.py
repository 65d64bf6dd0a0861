"""House rule for names: a public class name means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.house.source import FLOORS, ROOT, modules


def definitions() -> dict[str, list[str]]:
    """The files that define each public class at the top level of a module, by the name of the class."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in modules(*FLOORS):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_a_public_class_name_is_defined_once() -> None:
    repeated = {name: files for name, files in definitions().items() if len(files) > 1}
    assert repeated == {}
