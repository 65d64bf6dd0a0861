"""The MCP SDK's own everything-server, the upstream the conformance suite is written for.

It is an example that the SDK ships in its source distribution only, so that is taken from the package index (its hash
checked) and the example unpacked into the user's cache. Run it with `everything_server()`.
"""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

VERSION = "2.3.0"
SHA256 = "8b147a50441cf059dc88c684e0aeed3687f0aa0f39c6cde7b90330effd2b34d8"
EXAMPLE = f"mcp-{VERSION}/examples/servers/everything-server/mcp_everything_server/"
DOWNLOAD_SECONDS = 300
START_SECONDS = 60


class ExampleUnavailable(Exception):
    """The source distribution cannot be had here; the message says why."""


def source() -> Path:
    """The folder to put on the path; downloads on first use. Raises `ExampleUnavailable`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(base) / "codemode-portal" / f"mcp-{VERSION}-everything-server"
    if not (root / "mcp_everything_server" / "server.py").exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix="unpacking-") as scratch:
            _unpack(_download(Path(scratch)), Path(scratch) / "tree")
            try:
                (Path(scratch) / "tree").rename(root)
            except OSError:
                # Another worker was faster, and its copy is as good.
                if not root.exists():
                    raise
    return root


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"mcp=={VERSION} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", "mcp", "--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ExampleUnavailable(f"pip download took over {DOWNLOAD_SECONDS} s") from error
    if result.returncode:
        raise ExampleUnavailable(f"pip download mcp=={VERSION} failed: {result.stderr.strip()[-800:]}")
    return folder / f"mcp-{VERSION}.tar.gz"


def _unpack(archive: Path, into: Path) -> None:
    package = into / "mcp_everything_server"
    package.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(EXAMPLE) and (content := tar.extractfile(member)):
                (package / Path(member.name).name).write_bytes(content.read())


@asynccontextmanager
async def everything_server() -> AsyncIterator[str]:
    """Run the server on a port of its own; gives the URL of its MCP endpoint."""
    folder = await asyncio.to_thread(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "mcp_everything_server.server", "--port", "0"),
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _announced(process.stdout)
        draining = asyncio.create_task(process.stdout.read())
        yield f"{url}/mcp"
        draining.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _announced(output: asyncio.StreamReader) -> str:
    said = b""
    async for line in output:
        said += line
        if found := re.search(rb"http://127\.0\.0\.1:[1-9]\d*(?=[^/\d])", line):
            return found.group().decode()
    raise ExampleUnavailable(f"the everything-server ended: {said[-800:].decode(errors='replace')}")
