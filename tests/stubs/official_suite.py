"""The official JSON Schema Test Suite, as the source distribution of `jsonschema` on PyPI carries it.

Fetched once through pip into the user's cache directory, by name and version; nothing of it is kept here.
"""

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = "jsonschema==4.26.0"
SECONDS = 240


class Group(NamedTuple):
    """One schema of the suite, the values the suite calls valid, and those it calls invalid."""

    name: str
    schema: Any
    valid: list[Any]
    invalid: list[Any]


def groups(draft: str) -> Iterator[Group]:
    """All groups of a draft, such as `draft2020-12`, but those about formats. Skips the test where pip cannot fetch."""
    folder = _suite() / "json" / "tests" / draft
    for path in sorted(folder.rglob("*.json")):
        if "format" in path.relative_to(folder).parts:
            continue
        for group in json.loads(path.read_text(encoding="utf-8")):
            valid = [test["data"] for test in group["tests"] if test["valid"]]
            invalid = [test["data"] for test in group["tests"] if not test["valid"]]
            yield Group(f"{path.stem}: {group['description']}", group["schema"], valid, invalid)


def _suite() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codemode-portal" / "python"
    root = base / SOURCE.replace("==", "-")
    base.mkdir(parents=True, exist_ok=True)
    with root.with_name(root.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _fetch(root)
    return root


def _fetch(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", SOURCE]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"pip download {SOURCE} took over {SECONDS} s")
        archives = list(Path(scratch).glob("*.tar.gz"))
        if done.returncode or not archives:
            pytest.skip(f"pip download {SOURCE} failed: {done.stderr.strip()[-400:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(scratch, filter="data")
        (Path(scratch) / root.name).rename(root)
