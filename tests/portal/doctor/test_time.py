"""The doctor comes to an end, whatever it looks at, and says what it could not finish."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from portal.clients import Machine
from portal.doctor import ExaminationScope, examine
from tests.portal.doctor.finding import found

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_has_not_ended_in_time_is_a_trouble_and_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.doctor.doctor.MOST_SECONDS", 1.0)
    file = tmp_path / "codemode.json"
    silent = {"command": sys.executable, "args": ["-c", "import sys; list(sys.stdin)"]}
    file.write_text(json.dumps({"mcpServers": {"silent": silent}, "portal": {"state": "sqlite:///state.db"}}))
    told: list[tuple[str, bool]] = []
    wanted = ExaminationScope(file, "", Machine("linux", tmp_path, tmp_path, {"PATH": "/usr/bin:/bin"}), "silent")
    examination = await examine(wanted, lambda part, ended: told.append((part, ended)))
    one = found(examination.findings, "doctor.time", "silent")
    assert (one.level, one.fix) == ("trouble", "codemode doctor silent")
    assert told == [("silent", False)] and examination.level == "trouble"


async def test_a_check_that_fails_by_a_fault_of_ours_is_a_trouble_and_nothing_seems_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("hunter2-hunter2")

    monkeypatch.setattr("portal.doctor.doctor.environment_facts", broken)
    wanted = ExaminationScope(None, "none", Machine("linux", tmp_path, tmp_path, {}))
    examination = await examine(wanted, lambda part, ended: None)
    one = found(examination.findings, "doctor.time", "environment")
    assert one.level == "trouble" and "KeyError" in one.text and "hunter2" not in one.text


async def test_what_is_looked_at_is_told_as_it_begins_and_ends(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    wanted = ExaminationScope(None, "none", Machine("linux", tmp_path, tmp_path, {}))
    await examine(wanted, lambda part, ended: told.append((part, ended)))
    assert {part for part, _ in told} == {"engine", "environment"}
    assert all((part, True) in told for part, _ in told)
