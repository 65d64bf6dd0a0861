"""Installs TypeScript's native compiler for this user: one npm package of a pinned version and hash.

npm or Deno fetches it, without running any script of a package. It is put in place whole or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from codemode.check.compiler import VERSION, Compiler, deno_path, find, home, package_name
from codemode.errors import CheckUnavailable

SECONDS = 300
_MAX_BYTES = 200 * 1024 * 1024
_INTEGRITY = {
    "@typescript/typescript-linux-x64": (
        "sha512-EYdf2cNg7rgCWJnxCdJ+F3V39O8ihb37eHAu1LK8oAFizgTQbPOK7zHHXbPt8rX24COqODXeI3sIf0fCXG7H/A=="
    ),
    "@typescript/typescript-linux-arm64": (
        "sha512-Qh4eU4/y3yDjnfjjyPYihMj5/ODIlmt+Bzu17OI+fiSRDW57QmU5SiN63exPRNJPKUzcc1INa1NXdrJ+MqHjUQ=="
    ),
    "@typescript/typescript-darwin-x64": (
        "sha512-SZ9xZInqApNlNGc9s0W1VSsktYSOe9cFqNOIqmN1Gs8SmkjKZYFt017G4VwPxASInODuAdbTW7sXiFUf893RgA=="
    ),
    "@typescript/typescript-darwin-arm64": (
        "sha512-gowzar9MwS/aRWp6f3a4KUqzRjAZjOsmGNCM6LcTgXum+dBfgsBVMN+AgvOCCbguXyick6LJhpBszxMebJ8syA=="
    ),
    "@typescript/typescript-win32-x64": (
        "sha512-0BQ3HkAHHlKLSp1qRvf3SUhGpGsDuhB/jgFw75guyqbxJqEaS0Cw/VFO8i2nHglJUzQCRtMMR/IBAKE3ETMC4g=="
    ),
    "@typescript/typescript-win32-arm64": (
        "sha512-Gyl1Vy6OsWesLzmq+EP0Fb7b4Nid5232AvcA2SFcdYreldpNtYFFofPjnt62y9hQy7VTaZp65ICJjuAQRaVcIQ=="
    ),
}
HOW_TO = "pip install 'codemode-portal[typecheck]' && codemode typecheck install"


def install(environment: Mapping[str, str] = os.environ, *, integrity: Mapping[str, str] = _INTEGRITY) -> Compiler:
    """Install the compiler, unless it is installed. Blocks for seconds. Raises `CheckUnavailable` with a remedy."""
    package = package_name()
    if package is None or package not in integrity:
        raise CheckUnavailable("there is no native TypeScript compiler for this machine; `deno check` is used instead")
    target = home(environment)
    present = find(environment) if (target / "lib").is_dir() else None
    if present is not None and present.path.is_relative_to(target):
        return present
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="installing-") as scratch:
        content = _fetched(package, integrity[package], Path(scratch), environment)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(content, target)
    installed = find(environment)
    if installed is None or not installed.path.is_relative_to(target):
        raise CheckUnavailable(f"{package} {VERSION} was installed, but has no compiler for this machine in it")
    return installed


def _fetched(package: str, integrity: str, scratch: Path, environment: Mapping[str, str]) -> Path:
    """The folder of the unpacked package, after its hash was checked."""
    npm, deno = shutil.which("npm", path=environment.get("PATH")), deno_path(environment)
    if npm is not None:
        command = [npm, "pack", "--ignore-scripts", "--silent", f"{package}@{VERSION}"]
        _run(command, scratch, environment)
        archives = list(scratch.glob("*.tgz"))
        if len(archives) != 1:
            raise CheckUnavailable(f"npm did not bring {package} {VERSION}")
        return _unpacked(archives[0], integrity, scratch)
    if deno is not None:
        # Deno refuses a package whose hash is not that of the lock file.
        key = f"{package}@{VERSION}"
        system, machine = package.rsplit("-", 2)[1:]
        locked = {"integrity": integrity, "os": [system], "cpu": [machine]}
        dependencies = {"packageJson": {"dependencies": [f"npm:{key}"]}}
        lock = {"version": "5", "specifiers": {f"npm:{key}": VERSION}, "npm": {key: locked}, "workspace": dependencies}
        (scratch / "package.json").write_text(json.dumps({"dependencies": {package: VERSION}}))
        (scratch / "deno.lock").write_text(json.dumps(lock))
        command = [str(deno), "install", "--frozen", "--node-modules-dir=auto", "--quiet"]
        _run(
            command,
            scratch,
            {**environment, "DENO_DIR": str(scratch / "deno"), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        )
        return (scratch / "node_modules" / package).resolve()
    raise CheckUnavailable(f"neither npm nor Deno is there to fetch the compiler: {HOW_TO}")


def _unpacked(archive: Path, integrity: str, scratch: Path) -> Path:
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != integrity:
        raise CheckUnavailable(f"the compiler that npm brought is not the one expected: it has the hash {digest}")
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
        if sum(member.size for member in members) > _MAX_BYTES:
            raise CheckUnavailable("the compiler's package is larger than any of its versions was")
        packed.extractall(scratch, members, filter="data")
    return scratch / "package"


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckUnavailable(f"{Path(command[0]).name} could not fetch the compiler: {error}") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise CheckUnavailable(f"{Path(command[0]).name} could not fetch the compiler: {words}")
