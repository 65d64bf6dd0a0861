"""The native compiler is fetched once, by npm or Deno, and only with the hash that is written down."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from codemode import CheckUnavailable, install_checker
from codemode.check.compiler import Compiler, deno_path, find, home, package_name
from codemode.check.install import _INTEGRITY
from tests import node_tools
from tests.codemode.checking import checked


@pytest.fixture(scope="module")
def npm() -> str:
    node_tools.needs(node_tools.tsc)  # npm is there, and what it fetches it has in its cache
    return str(Path(shutil.which("npm") or "").parent)


def environment(cache: Path, **more: str) -> dict[str, str]:
    """This process's own, which knows the way to the registry, with a cache of its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(cache), **more}


def assert_checks(compiler: Compiler) -> None:
    found = asyncio.run(checked("return totl", {"CODEMODE_TYPE_CHECKER": str(compiler.path)}))
    assert [one.code for one in found.findings] == ["TS2304"]


def test_npm_fetches_the_compiler_once(npm: str, tmp_path: Path) -> None:
    at = environment(tmp_path, PATH=f"{npm}:/usr/bin:/bin")
    compiler = install_checker(at)
    assert compiler.kind == "tsc" and compiler.path.is_relative_to(home(at)) and find(at) == compiler
    assert install_checker({**at, "PATH": ""}) == compiler
    assert [path.name for path in home(at).parent.iterdir()] == [home(at).name]
    assert_checks(compiler)


def test_deno_fetches_the_compiler_where_npm_is_not(npm: str, tmp_path: Path) -> None:
    assert deno_path() is not None, "the development environment has Deno"
    compiler = install_checker(environment(tmp_path, PATH=""))
    assert compiler.kind == "tsc"
    assert_checks(compiler)


@pytest.mark.parametrize("with_npm", [True, False])
def test_a_package_with_another_hash_is_refused(npm: str, tmp_path: Path, with_npm: bool) -> None:
    package = package_name()
    assert package is not None
    at = environment(tmp_path, PATH=f"{npm}:/usr/bin:/bin" if with_npm else "")
    with pytest.raises(CheckUnavailable, match="has the hash|[Ii]ntegrity|checksum"):
        install_checker(at, integrity={package: "sha512-" + "A" * 86 + "=="})
    assert not home(at).exists()


def test_every_platform_has_a_hash_of_its_own() -> None:
    assert len(set(_INTEGRITY.values())) == len(_INTEGRITY) == 6
    assert package_name() in (*_INTEGRITY, None)


def test_a_compiler_on_the_path_is_found_behind_the_script_that_npm_puts_there(npm: str, tmp_path: Path) -> None:
    modules = node_tools.needs(node_tools.install, node_tools.TYPESCRIPT) / "node_modules"
    found = find(environment(tmp_path, PATH=str(modules / ".bin")))
    assert found is not None and found.path == node_tools.tsc()


def test_a_chosen_compiler_is_the_one_and_none_is_none(tmp_path: Path) -> None:
    assert find({"CODEMODE_TYPE_CHECKER": "none"}) is None
    assert find({"CODEMODE_TYPE_CHECKER": str(tmp_path / "absent")}) is None
