"""`codemode doctor`, as a person runs it: what it prints, what scripts read, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.cli.exits import Exit
from portal.doctor import CHECKS
from tests.patience import PATIENCE
from tests.portal.cli.command import as_forked, in_process
from tests.portal.upstreams.hosting import stdio_entry

SECRET = "hunter2-hunter2-hunter2"
BROKEN = {
    "command": sys.executable,
    "args": ["-c", "import os; raise RuntimeError('refused: ' + os.environ['TOKEN'])"],
    "env": {"TOKEN": SECRET},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the home too, without the variables of this machine."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # How long a check may take is no subject here, and the machine of tests is busy.
    for name in ("doctor.MOST_SECONDS", "doctor.SERVER_SECONDS", "engine.ENGINE_SECONDS"):
        monkeypatch.setattr(f"portal.doctor.{name}", PATIENCE)
    return tmp_path


def configured(folder: Path, **servers: Any) -> None:
    file = folder / "codemode.json"
    file.write_text(json.dumps({"mcpServers": servers, "portal": {"port": 0}}))
    file.chmod(0o600)


def test_a_good_installation_ends_with_0(folder: Path) -> None:
    configured(folder, up=stdio_entry())
    done = in_process(folder, "doctor")
    assert done.returncode == Exit.OK, done.stdout
    assert "Nothing is wrong" in done.stdout and "FAIL" not in done.stdout
    assert "A worker starts and runs `1 + 2`" in done.stdout


def test_each_trouble_is_shown_with_what_mends_it_within_80_columns(folder: Path) -> None:
    configured(folder, up=stdio_entry(), broken=BROKEN)
    done = in_process(folder, "doctor", columns=80)
    assert done.returncode == Exit.PROGRAM_FAILED
    assert "RuntimeError: refused: [redacted]" in " ".join(done.stdout.split())
    assert "-> codemode logs broken" in done.stdout and "1 to mend" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_scripts_read_levels_and_ids_that_stay(folder: Path) -> None:
    configured(folder, broken=BROKEN)
    done = in_process(folder, "doctor", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == Exit.PROGRAM_FAILED and document["level"] == "trouble"
    assert {one["id"] for one in document["findings"]} <= set(CHECKS)
    (trouble,) = [one for one in document["findings"] if one["level"] == "trouble"]
    assert (trouble["id"], trouble["about"], trouble["fix"]) == ("program.answers", "broken", "codemode logs broken")
    assert SECRET not in done.stdout


def test_one_server_is_looked_at_alone(folder: Path) -> None:
    configured(folder, up=stdio_entry(), broken=BROKEN, off={**BROKEN, "disabled": True})
    done = in_process(folder, "doctor", "up", "--json")
    assert done.returncode == Exit.OK, done.stdout
    assert {one["about"] for one in json.loads(done.stdout)["findings"]} == {"up"}
    # A process has the seconds of a person, and on this machine a server may need more: this one is not started.
    assert "disabled" in as_forked(folder, "doctor", "off").stdout


def test_a_server_that_is_not_there_is_a_mistake_with_the_nearest(folder: Path) -> None:
    configured(folder, tickets=BROKEN)
    done = in_process(folder, "doctor", "tickts")
    assert done.returncode == Exit.USAGE and "Did you mean tickets?" in done.stderr


def test_without_a_configuration_it_says_what_to_do_and_looks_at_the_rest(folder: Path) -> None:
    done = in_process(folder, "doctor", "--json")
    found = {one["id"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == Exit.PROGRAM_FAILED
    assert found["config.valid"]["fix"] == "codemode init" and found["engine.runs"]["level"] == "ok"
    assert in_process(folder, "doctor", "--config", "none.json").returncode == Exit.USAGE


def test_a_variable_that_is_not_set_and_a_program_that_is_not_there_are_two_troubles(folder: Path) -> None:
    configured(folder, a={"command": "no-such-program"}, b={**BROKEN, "env": {"TOKEN": "${NOT_SET_ANYWHERE}"}})
    done = in_process(folder, "doctor", "--json")
    troubles = {one["id"] for one in json.loads(done.stdout)["findings"] if one["level"] == "trouble"}
    assert troubles == {"program.found", "config.variables"}
