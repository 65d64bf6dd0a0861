"""Node programs the tests need (TypeScript's compiler, MCP clients and the like), installed from npm on first use.

Packages land in the user's cache directory, one folder for each set of package specs, so every checkout and every
xdist worker shares them. A lock file makes the first of several concurrent workers install while the others wait.
Tests that need one of these call it through `needs`, which skips with the reason where npm is absent, or fails
instead when `CODEMODE_REQUIRE_NODE=1` (as continuous integration sets it).

`python -m tests.node_tools [SPEC ...]` installs ahead of time.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from tests.patience import PATIENCE

P = ParamSpec("P")
T = TypeVar("T")

TYPESCRIPT = "typescript@7.0.2"
NODE_MAJOR = 24
OLDEST_NODE = (22, 19)
INSTALL_SECONDS = 300


class NodeToolUnavailable(Exception):
    """A Node program cannot be had on this machine; the message says why and what would help."""


def cache_root() -> Path:
    """Where the installed packages live: `$XDG_CACHE_HOME/codemode-portal/node`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codemode-portal" / "node"


def install(*package_specs: str) -> Path:
    """Install npm packages together and return the folder that holds their `node_modules`.

    A spec is what `npm install` takes (`name@version`). Install scripts do not run. The second call with the same
    specs returns at once. Raises `NodeToolUnavailable` without npm or when the install fails.
    """
    if not package_specs:
        raise ValueError("install() needs at least one package spec")
    root = cache_root() / _folder_name(package_specs)
    done = root / ".complete"
    if done.exists():
        return root
    with _locked(root.with_name(root.name + ".lock")):
        if not done.exists():
            _npm_install(root, package_specs)
            done.touch()
    return root


def executable(root: Path, name: str) -> Path:
    """The path of a command that an installed package provides, `name` as in its `bin` entry."""
    path = root / "node_modules" / ".bin" / name
    if not path.exists():
        raise NodeToolUnavailable(f"no command {name!r} in {root}; it has {sorted(_commands(root))}")
    return path


def node() -> Path:
    """A Node binary of at least version 22.19: the one on PATH when new enough, else the one npm carries."""
    on_path = shutil.which("node")
    if on_path and _node_version(on_path) >= OLDEST_NODE:
        return Path(on_path)
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if system is None or machine is None:
        raise NodeToolUnavailable(f"npm has no Node binary for {platform.system()} on {platform.machine()}")
    root = install(f"node-{system}-{machine}@{NODE_MAJOR}")
    return executable(root, "node").resolve()


def tsc() -> Path:
    """TypeScript 7's native compiler: one static binary, no Node needed to run it."""
    found = sorted((install(TYPESCRIPT) / "node_modules" / "@typescript").glob("typescript-*/lib/tsc*"))
    binaries = [path for path in found if path.name in {"tsc", "tsc.exe"}]
    if not binaries:
        raise NodeToolUnavailable(f"{TYPESCRIPT} brought no native compiler for this platform")
    return binaries[0]


@asynccontextmanager
async def listening_script(package_spec: str, script: Path, settings: object) -> AsyncIterator[str]:
    """A script that uses a package, running until the block ends, and the URL that it prints when it listens.

    `settings` are its first argument, as JSON. Skips the test as `needs` does.
    """
    folder = await asyncio.to_thread(needs, install, package_spec)
    program = await asyncio.to_thread(needs, node)
    # Beside the package, where Node finds it.
    placed = folder / script.name
    await asyncio.to_thread(placed.write_bytes, script.read_bytes())
    process = await asyncio.create_subprocess_exec(
        str(program),
        *(str(placed), json.dumps(settings)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while not (line := (await process.stdout.readline()).decode()).startswith("http"):
                assert line, f"{script.name} ended"
        yield line.strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def needs(tool: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `install`, `node` or `tsc`; skip the test with the reason where the tool cannot be had."""
    try:
        return tool(*args, **kwargs)
    except NodeToolUnavailable as error:
        if os.environ.get("CODEMODE_REQUIRE_NODE") == "1":
            raise
        pytest.skip(str(error))


def _folder_name(package_specs: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(package_specs).encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", package_specs[0]).strip("-")
    return f"{readable}-{digest}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _npm_install(root: Path, package_specs: tuple[str, ...]) -> None:
    """Install into a fresh folder and move it in place, so that a broken install never looks finished."""
    npm = shutil.which("npm")
    if npm is None:
        raise NodeToolUnavailable(f"npm is not on PATH, needed to install {' '.join(package_specs)}")
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="installing-") as scratch:
        (Path(scratch) / "package.json").write_text('{"private": true}\n')
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *package_specs]
        try:
            result = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise NodeToolUnavailable(
                f"npm install took over {INSTALL_SECONDS} s: {' '.join(package_specs)}"
            ) from error
        if result.returncode:
            raise NodeToolUnavailable(f"npm install {' '.join(package_specs)} failed: {result.stderr.strip()[-800:]}")
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for entry in Path(scratch).iterdir():
            entry.rename(root / entry.name)


def _commands(root: Path) -> list[str]:
    folder = root / "node_modules" / ".bin"
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _node_version(binary: str) -> tuple[int, ...]:
    result = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.(\d+)", result.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


if __name__ == "__main__":
    for spec in sys.argv[1:] or [TYPESCRIPT]:
        install(spec)
    node()
