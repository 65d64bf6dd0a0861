"""Finds TypeScript's native compiler on this machine, and runs it once over hostile text, within bounds.

A run gets a folder of its own, no environment, no input, its own process group, and limits on time, memory and output.
It loads only the files that it is given: imports, references and directives of a program lead nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codemode.errors import CheckUnavailable
from sandbox import user_cache

VERSION = "7.0.2"
MEMORY = 2 * 1024 * 1024  # KiB of data a compiler may allocate
MAX_OUTPUT = 1024 * 1024
_GRACE = 2.0
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "win32"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_LIMITED = 'ulimit -c 0; ulimit -t 30; ulimit -d {memory} 2>/dev/null; exec "$0" "$@"'
_TSC_OPTIONS = (
    *("--ignoreConfig", "--noEmit", "--noResolve", "--types", "", "--skipLibCheck", "--pretty", "false"),
    *("--allowJs", "--checkJs", "--target", "esnext", "--lib", "esnext", "--module", "esnext"),
    *("--moduleDetection", "force", "--strict", "false", "--singleThreaded"),
)
_DENO_OPTIONS = {"lib": ["esnext"], "strict": False, "noImplicitAny": False, "strictNullChecks": False, "checkJs": True}
_TSC_LINE = re.compile(r"^program\.[jt]s\((\d+),(\d+)\): error TS(\d+): (.*(?:\n  .*)*)", re.MULTILINE)
_DENO_BLOCK = re.compile(
    r"^TS(\d+) \[ERROR\]: (.*?)\n[^\n]*\n[ ]*[~^]*\n    at file://\S*/program\.[jt]s:(\d+):(\d+)$",
    re.MULTILINE | re.DOTALL,
)
# Any text that could make Deno read another file. TypeScript's compiler has an option against that.
_LOADS = re.compile(r"\bimport\b|\brequire\b|\bfrom\b(?!\s*[(.:=,)])|@(?:deno|ts)-|@jsx|<\s*(?:reference|amd)|\\u")
_DIRECTIVE = re.compile(r"@ts-(?=nocheck|check|ignore|expect-error)|(?<=<)[ \t]*r(?=eference\b)")


@dataclass(frozen=True, slots=True)
class Compiler:
    """A program that checks types: TypeScript's own (`tsc`), or Deno, which contains one."""

    kind: Literal["tsc", "deno"]
    path: Path

    def __str__(self) -> str:
        return "TypeScript" if self.kind == "tsc" else "deno check"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message of the compiler: its 1-based line and column, its number, and its text, perhaps of several lines."""

    line: int
    column: int
    number: int
    message: str


def package_name() -> str | None:
    """The npm package with the native compiler for this machine; None when there is none."""
    system, machine = _SYSTEMS.get(sys.platform), _MACHINES.get(platform.machine().lower())
    return f"@typescript/typescript-{system}-{machine}" if system and machine else None


def home(environment: Mapping[str, str]) -> Path:
    """The folder into which `install` puts the compiler of this version, for this user."""
    return user_cache(environment) / "typescript" / VERSION


def find(environment: Mapping[str, str] = os.environ) -> Compiler | None:
    """The best compiler on this machine: the installed one, else the one behind `tsc` on the path, else Deno.

    The variable `CODEMODE_TYPE_CHECKER` overrides this: the path of a `tsc` or `deno`, or `none`.
    """
    if override := environment.get("CODEMODE_TYPE_CHECKER"):
        path = Path(override)
        kind: Literal["tsc", "deno"] = "deno" if path.stem == "deno" else "tsc"
        return Compiler(kind, path) if override != "none" and path.is_file() else None
    name = "tsc.exe" if sys.platform == "win32" else "tsc"
    candidates = [home(environment) / "lib" / name]
    if on_path := shutil.which("tsc", path=environment.get("PATH")):
        resolved = Path(on_path).resolve()
        package = package_name()
        if package is not None:
            candidates += [
                folder / package / "lib" / name for folder in resolved.parents if folder.name == "node_modules"
            ]
        candidates.append(resolved)
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK) and _is_native(path):
            return Compiler("tsc", path)
    deno = deno_path(environment)
    return None if deno is None else Compiler("deno", deno)


def deno_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Deno: in the folder of this Python, where the PyPI package puts it, or on the path."""
    name = "deno.exe" if sys.platform == "win32" else "deno"
    packaged = Path(sys.executable).parent / name
    if packaged.is_file():
        return packaged
    on_path = shutil.which("deno", path=environment.get("PATH"))
    return Path(on_path) if on_path else None


def _is_native(path: Path) -> bool:
    """Whether a file is the native compiler, with its library in the same folder, and not a script that starts Node."""
    with path.open("rb") as file:
        return file.read(2) != b"#!" and (path.parent / "lib.esnext.d.ts").is_file()


async def compile_program(
    compiler: Compiler, program: str, declarations: Mapping[str, str], *, typed: bool, seconds: float
) -> list[Diagnostic]:
    """The compiler's diagnostics for a program, with declaration files by name. Raises `CheckUnavailable`.

    `typed`: the program is TypeScript. The compiler has fewer complaints about JavaScript.
    """
    program = _without_directives(program)
    if compiler.kind == "deno" and _LOADS.search(program):
        raise CheckUnavailable(
            "the program mentions imports, and Deno would follow them: only TypeScript's compiler can"
        )
    name = f"program.{'ts' if typed else 'js'}"
    files = {name: program, **declarations}
    options = _DENO_OPTIONS | {"types": [f"./{one}" for one in declarations]}
    with _room():
        folder = tempfile.mkdtemp(prefix="codemode-check-")
    writing = asyncio.create_task(asyncio.to_thread(_write, folder, files, options))
    try:
        with _room():
            await asyncio.shield(writing)
        output = await _run(_command(compiler, name, declarations), folder, seconds)
    finally:
        await asyncio.shield(_remove(folder, writing))
    return list(_diagnostics(compiler, output))


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """A block that needs room for temporary files. Raises `CheckUnavailable` where there is none."""
    try:
        yield
    except OSError as error:
        raise CheckUnavailable(f"there is no room for temporary files: {error.strerror}") from error


def _without_directives(program: str) -> str:
    """The program with one letter of each directive changed, so that comments neither switch the check off nor name
    files. Nothing moves."""
    return _DIRECTIVE.sub(lambda match: match[0][:-1] + "_", program)


def _write(folder: str, files: Mapping[str, str], options: Mapping[str, object]) -> None:
    for name, text in files.items():
        Path(folder, name).write_text(text, encoding="utf-8", newline="")
    Path(folder, "deno.json").write_text(json.dumps({"compilerOptions": options}), encoding="utf-8")


async def _remove(folder: str, writing: asyncio.Task[None]) -> None:
    """Remove a folder when nothing is written to it any more: a thread goes on when nobody waits for it."""
    await asyncio.gather(writing, return_exceptions=True)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _command(compiler: Compiler, name: str, declarations: Mapping[str, str]) -> list[str]:
    if compiler.kind == "tsc":
        command = [str(compiler.path), *_TSC_OPTIONS, *declarations, name]
    else:
        limits = "--v8-flags=--max-old-space-size=1024"
        offline = ("--no-remote", "--no-npm", "--no-lock", "--cached-only")
        command = [
            str(compiler.path),
            "check",
            limits,
            "--quiet",
            "--check-js",
            *offline,
            "--config",
            "deno.json",
            name,
        ]
    # A shell sets the limits and then becomes the compiler: a hook between fork and exec is not safe with threads.
    shell = shutil.which("sh")
    memory = MEMORY if compiler.kind == "tsc" else 2 * MEMORY
    return command if shell is None else [shell, "-c", _LIMITED.format(memory=memory), *command]


async def _run(command: list[str], folder: str, seconds: float) -> str:
    environment = {"HOME": folder, "DENO_DIR": f"{folder}/deno", "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    nothing, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdin=nothing, stdout=pipe, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CheckUnavailable(f"the type checker could not be started: {error.strerror}") from error
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            output = await _read(process.stdout)
            code = await process.wait()
    except TimeoutError:
        raise CheckUnavailable(f"the type check took longer than {seconds:g} s") from None
    finally:
        await _stop(process)
    if code not in (0, 1, 2):
        raise CheckUnavailable(f"the type checker ended with code {code}")
    return output


async def _read(stream: asyncio.StreamReader) -> str:
    pieces: list[bytes] = []
    size = 0
    while size < MAX_OUTPUT and (piece := await stream.read(64 * 1024)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces).decode("utf-8", "replace")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)


def _diagnostics(compiler: Compiler, output: str) -> Iterator[Diagnostic]:
    if compiler.kind == "tsc":
        for match in _TSC_LINE.finditer(output):
            yield Diagnostic(int(match[1]), int(match[2]), int(match[3]), match[4])
    else:
        for match in _DENO_BLOCK.finditer(output):
            yield Diagnostic(int(match[3]), int(match[4]), int(match[1]), match[2])
