"""The fixture `codemode`, in suites of their own, as a developer uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
from pathlib import Path

def test_values_calls_logs(codemode):
    result = codemode.run(
        "console.log('x'); return await codemode.t.get({ id: input })",
        mocks={"t.get": lambda arguments: {"twice": arguments["id"] * 2}}, input=4,
    )
    assert result.ok and result.value == {"twice": 8} and result.logs == ["x"]
    [call] = result.calls
    assert (call.tool, call.arguments, call.status) == ("t.get", {"id": 4}, "ok")
    assert call.result["structuredContent"] == {"twice": 8}

def test_a_failure_is_told_with_its_line(codemode):
    result = codemode.run("const a = 1;\\nnull.x")
    assert result.error["line"] == 2 and not result.ok
    with pytest.raises(AssertionError, match="2 | null.x"):
        result.value

def test_files_beside_the_test_are_found_and_runs_are_recorded(codemode, tmp_path):
    recorded = codemode.run(Path("p.js"), mocks="mocks.json", record=tmp_path)
    assert codemode.run(Path("p.js"), replay=tmp_path).value == recorded.value == 5

async def sleeping():
    import asyncio
    await asyncio.sleep(0)

def test_it_works_inside_a_running_loop(codemode):
    import asyncio

    async def inside():
        await sleeping()
        return codemode.run("1 + 1").value

    assert asyncio.run(inside()) == 2
"""
QUIET = """
import sys

def test_nothing_heavy_was_imported_for_a_suite_without_the_fixture():
    assert "portal.bench.pytest_plugin" in sys.modules
    heavy = ("sandbox", "codemode", "wasmtime", "mcp", "pydantic", "Stemmer", "portal.bench.session", "yaml")
    assert [name for name in heavy if name in sys.modules] == []
"""


# Plugins of others that take seconds to import and that no test here is about.
WITHOUT = [word for name in ("schemathesis", "hypothesispytest", "xdist") for word in ("-p", f"no:{name}")]


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *WITHOUT, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=250, check=False, env=environment
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "p.js").write_text("await codemode.t.count()")
    (tmp_path / "mocks.json").write_text(
        '{"mocks": {"t.count": {"raw": {"content": [{"type": "text", "text": "5"}]}}}}'
    )
    return tmp_path


def test_a_developers_suite_runs_programs_with_warnings_as_errors(suite: Path) -> None:
    (suite / "test_programs.py").write_text(SUITE)
    done = pytest_in(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_suite_that_does_not_use_the_fixture_pays_nothing_for_it(suite: Path) -> None:
    (suite / "test_quiet.py").write_text(QUIET)
    done = pytest_in(suite)
    assert done.returncode == 0, done.stdout + done.stderr
