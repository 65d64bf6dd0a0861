"""Upstream servers as published: npm ones through `tests.node_tools`, PyPI ones in a venv of their own.

Like the npm packages, the venv lives in the user's cache directory under the specs it holds; the first of several
concurrent workers makes it while the others wait. Our own environment stays as it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest

from tests import node_tools

NPM = (
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
)
# Whose tools are read and never called: they would need accounts, browsers or the internet.
LISTED_NPM = (
    "@modelcontextprotocol/server-sequential-thinking@2026.8.31",
    "@playwright/mcp@0.0.83",
    "chrome-devtools-mcp@1.11.0",
    "@notionhq/notion-mcp-server@2.5.2",
    "@upstash/context7-mcp@4.1.1",
)
LISTED_PYPI = ("mcp-server-fetch==2026.10.24",)
PYPI = ("mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19")
INSTALL_SECONDS = 300


class PythonToolUnavailable(Exception):
    """A Python package cannot be had on this machine; the message says why."""


def npm_server(name: str) -> tuple[str, list[str]]:
    """Command and arguments that start a server of `NPM`, such as `mcp-server-memory`; skips where npm is absent."""
    root = node_tools.needs(node_tools.install, *NPM)
    node = node_tools.needs(node_tools.node)
    return str(node), [str(node_tools.needs(node_tools.executable, root, name).resolve())]


def python_server(name: str) -> tuple[str, list[str]]:
    """Command and arguments that start a server of `PYPI`, such as `mcp-server-git`; skips where it cannot be had."""
    try:
        root = install(*PYPI)
    except PythonToolUnavailable as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))
    return str(root / "bin" / name), []


def install(*specs: str) -> Path:
    """A venv holding these packages; made on first use. Raises `PythonToolUnavailable`."""
    root = _cache() / hashlib.sha256("\n".join((sys.version, *specs)).encode()).hexdigest()[:12]
    done = root / ".complete"
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)
            venv.create(root, with_pip=True)
            _pip_install(root, specs)
            done.touch()
    return root


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codemode-portal" / "python"


def _pip_install(root: Path, specs: tuple[str, ...]) -> None:
    command = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *specs]
    with tempfile.TemporaryFile("w+") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=log, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise PythonToolUnavailable(f"pip install took over {INSTALL_SECONDS} s: {' '.join(specs)}") from error
        log.seek(0)
        if done.returncode:
            raise PythonToolUnavailable(f"pip install {' '.join(specs)} failed: {log.read().strip()[-800:]}")


if __name__ == "__main__":
    node_tools.install(*NPM)
    node_tools.install(*LISTED_NPM)
    node_tools.node()
    install(*PYPI)
    install(*LISTED_PYPI)
