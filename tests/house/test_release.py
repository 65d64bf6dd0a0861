"""What is shipped says who it is: versions agree, nothing third-party or binary is committed, no machine is named."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from tests.house.source import ROOT


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=ROOT)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_changelog_begins_with_the_version_being_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert released[0] == version


def test_no_binary_is_committed() -> None:
    binary = [path.name for path in tracked() if path.suffix != ".png" and b"\0" in path.read_bytes()[:8192]]
    assert binary == []


def test_no_path_of_one_machine_is_committed() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|home/\w+|root)/")
    named = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in tracked()
        if path.suffix in {".py", ".md", ".toml", ".js", ".c", ".h", ".cpp", ".txt", ".json", ""}
        if path != Path(__file__).resolve() and (found := machine.search(path.read_text(encoding="utf-8")))
    ]
    assert named == []
