"""The bounds of libraries: none keeps out the fixes of cryptography, and each exact one has its reason."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from tests.house.source import ROOT

NAME = re.compile(r"[A-Za-z0-9_.-]+")
SECURITY = {"argon2-cffi", "cryptography"}


def requirements() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    yield from project["dependencies"]
    for name, extra in project["optional-dependencies"].items():
        if name != "bench":
            yield from extra


def named(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found is not None, requirement
    return found[0]


def reasons() -> str:
    chapter = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Dependencies")[2]
    return chapter.partition("\n## ")[0]


def test_nothing_keeps_out_the_fixes_of_what_keeps_secrets() -> None:
    bounds = {named(one): one for one in requirements()}
    assert SECURITY <= bounds.keys()
    assert [bounds[name] for name in SECURITY if "<" in bounds[name] or "==" in bounds[name]] == []


def test_a_library_that_is_pinned_exactly_or_without_an_upper_bound_has_its_reason() -> None:
    unusual = {named(one) for one in requirements() if "==" in one or "<" not in one}
    assert {name for name in unusual if f"`{name}`" not in reasons()} == {"types-pyyaml"}


def test_every_exact_version_is_the_one_that_is_installed_for_development() -> None:
    pinned = (ROOT / "constraints-dev.txt").read_text(encoding="utf-8")
    exact = {one for one in requirements() if "==" in one}
    assert exact and all(f"\n{one} " in pinned for one in exact)
