"""Checks of servers that are programs: what starts them is there, and they start, answer and list their tools."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from portal.config import StdioServer
from portal.doctor.attempts import SLOW_SECONDS, ConnectionAttempt, attempt
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.upstream import ProcessLogs

_NODE = ("npx", "npm", "node", "pnpm", "pnpx", "yarn", "tsx")
_UV = ("uvx", "uv")
_DOCKER = ("docker", "podman")
_PYTHON = re.compile(r"python[\d.]*")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY")


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What there is of a program. `found` is its path; `proxied` whether the environment names a proxy, and
    `told` whether Node is told to use it. `tried` is None if it was not started."""

    id: str
    command: str
    found: str | None
    folder_missing: str = ""
    tried: ConnectionAttempt | None = None
    proxied: bool = False
    told: bool = False


async def program_facts(
    server: StdioServer, environment: Mapping[str, str], logs: ProcessLogs, seconds: float
) -> ProgramFacts:
    """Look for the program, and start it. It is another process than those of a running portal."""
    path = server.env.get("PATH") or environment.get("PATH", os.defpath)
    found = _found(server, path)
    missing = str(server.cwd) if server.cwd is not None and not server.cwd.is_dir() else ""
    tried = None
    if found is not None and not missing:
        tried = await attempt(server, seconds=seconds, logs=logs)
    seen = {**environment, **server.env}
    proxied = any(seen.get(name) or seen.get(name.lower()) for name in _PROXIES)
    return ProgramFacts(server.id, server.command, found, missing, tried, proxied, bool(seen.get("NODE_USE_ENV_PROXY")))


def _found(server: StdioServer, path: str) -> str | None:
    if os.sep not in server.command:
        return shutil.which(server.command, path=path)
    file = (server.cwd or Path()) / server.command
    return str(file) if file.is_file() and os.access(file, os.X_OK) else None


def program_findings(facts: ProgramFacts) -> Iterator[Diagnosis]:
    """Everything about a program. Pure."""
    if facts.folder_missing:
        text = f"Its folder {facts.folder_missing} is not there."
        yield trouble("program.folder", facts.id, text, f"mkdir -p {facts.folder_missing}, or correct its `cwd`")
    if facts.found is None:
        yield _not_found(facts)
        return
    is_its_path = facts.command == facts.found
    yield ok("program.found", facts.id, f"{facts.command} is {'there' if is_its_path else facts.found}.")
    if facts.tried is not None:
        yield _answered(facts, facts.tried)
    if facts.proxied and not facts.told and _name(facts.command) in _NODE:
        text = "The environment names a proxy, and Node does not use it unless it is told to."
        yield notice("program.proxy", facts.id, text, 'export NODE_USE_ENV_PROXY=1 (Node 24, 22.21), or "env" of it')


def _not_found(facts: ProgramFacts) -> Diagnosis:
    if len(facts.command.split()) > 1 and not facts.command.startswith(("/", ".")):
        text = "Its `command` has arguments in it."
        fix = "write only the program into `command`, and each of its arguments into `args`"
        return trouble("program.found", facts.id, text, fix)
    if os.sep in facts.command:
        text = f"{facts.command} is not there, or may not be started."
        return trouble("program.found", facts.id, text, f"correct its `command`, or chmod +x {facts.command}")
    text = f"{facts.command} is not on the PATH of this command."
    return trouble("program.found", facts.id, text, how_to_install(facts.command))


def how_to_install(command: str) -> str:
    """What to do about a program that is not there."""
    name = _name(command)
    if name in _NODE:
        return "install Node.js (https://nodejs.org/en/download), or write the whole path into `command`"
    if name in _UV:
        return "pipx install uv, or see https://docs.astral.sh/uv/getting-started/installation"
    if name in _DOCKER:
        return "install Docker (https://docs.docker.com/get-started/get-docker) or write another `command`"
    if _PYTHON.fullmatch(name):
        return "write python3, or the whole path of an interpreter, into `command`"
    return f"install {name}, or write its whole path into `command`"


def _answered(facts: ProgramFacts, tried: ConnectionAttempt) -> Diagnosis:
    if tried.ready:
        what = f"It lists {tried.offers} within {tried.seconds:.1f} s."
        if tried.seconds > SLOW_SECONDS:
            return notice("program.answers", facts.id, f"{what} That is slow.", _faster(facts))
        return ok("program.answers", facts.id, what)
    fix = f"codemode logs {facts.id}"
    if tried.out_of_time and _name(facts.command) in (*_NODE, *_UV, *_DOCKER):
        fix = f"start it once by hand, as it may have to be downloaded first; then codemode logs {facts.id}"
    return trouble("program.answers", facts.id, _sentence(tried.reason), fix)


def _faster(facts: ProgramFacts) -> str:
    return "install it for good instead of fetching it at each start" if _name(facts.command) in _NODE + _UV else ""


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}".rstrip(".") + "."


def _name(command: str) -> str:
    return PurePath(command).name.lower().removesuffix(".exe").removesuffix(".cmd")


def programs_of(servers: Sequence[object]) -> list[StdioServer]:
    """Those that are programs, and not disabled."""
    return [one for one in servers if isinstance(one, StdioServer) and one.enabled]
