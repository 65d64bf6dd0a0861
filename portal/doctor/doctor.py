"""Runs all checks at once, within a time, and puts what they find together without secrets.

Facts are gathered here, at the edge; what they mean is decided by pure functions beside them.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from portal.app import process_logs_folder
from portal.clients import Machine
from portal.config import Config, HttpServer, StdioServer
from portal.doctor.configuration import ConfigFacts, config_facts, config_findings
from portal.doctor.database import DatabaseFacts, database_findings, opened_database
from portal.doctor.engine import engine_facts, engine_findings
from portal.doctor.environment import environment_facts, environment_findings
from portal.doctor.findings import Diagnosis, Examination, in_order, notice, trouble
from portal.doctor.installed import client_facts, client_findings
from portal.doctor.logins import StoredLogins
from portal.doctor.mail import mail_facts, mail_findings
from portal.doctor.own_portal import port_facts, port_findings, public_facts, public_findings
from portal.doctor.programs import program_facts, program_findings, programs_of
from portal.doctor.remotes import now_utc, remote_facts, remote_findings, remotes_of
from portal.errors import PortalError
from portal.upstream import ProcessLogs

MOST_SECONDS = 20.0
SERVER_SECONDS = 12.0
SLOW_SECONDS = 8.0
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_SHORTEST = 6
# Programs that start at the same time: more would only slow each other down.
_AT_ONCE = 8

Told = Callable[[str, bool], None]
"""Called with the name of a part when it begins (False) and when it has ended (True)."""


@dataclass(frozen=True, slots=True)
class ExaminationScope:
    """What to examine. `missing` says why there is no `file`; `server` is the only one of interest, "" for all and
    everything else."""

    file: Path | None
    missing: str
    machine: Machine
    server: str = ""


@dataclass(slots=True)
class _Parts:
    """The parts that run, what they have found, and who is told."""

    told: Told
    findings: list[Diagnosis] = field(default_factory=list)
    tasks: dict[asyncio.Task[None], str] = field(default_factory=dict)

    def begin(self, name: str, work: Coroutine[object, object, Iterable[Diagnosis]]) -> None:
        self.tasks[asyncio.create_task(self._run(name, work))] = name

    async def _run(self, name: str, work: Coroutine[object, object, Iterable[Diagnosis]]) -> None:
        loop = asyncio.get_running_loop()
        self.told(name, False)
        began = loop.time()
        try:
            self.findings += await work
        except (PortalError, OSError) as error:
            text = f"The checks of {name} could not be made: {str(error)[:200].rstrip('.')}."
            self.findings.append(trouble("doctor.time", name, text, "codemode doctor again"))
        except Exception as error:  # the edge of one part: what was not looked at must not seem to be well
            text = f"The checks of {name} could not be made, by a fault of codemode: {type(error).__name__}."
            self.findings.append(trouble("doctor.time", name, text, "report it, with what is unusual about it"))
        self.told(name, True)
        taken = loop.time() - began
        if taken > SLOW_SECONDS:
            self.findings.append(notice("doctor.time", name, f"The checks of {name} took {taken:.0f} s."))

    async def end(self, seconds: float) -> None:
        """Wait for all of them, for so long; those that have not ended by then are a finding each."""
        if not self.tasks:
            return
        _, late = await asyncio.wait(self.tasks, timeout=max(0.0, seconds))
        for task in late:
            name = self.tasks[task]
            text = f"The checks of {name} did not end within {MOST_SECONDS:g} s."
            self.findings.append(trouble("doctor.time", name, text, f"codemode doctor {name}"))
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def examine(wanted: ExaminationScope, told: Told) -> Examination:
    """Everything that is found. Neither the portal's database nor a login is changed by it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    facts = await asyncio.to_thread(config_facts, wanted.file, wanted.missing)
    parts = _Parts(told, [one for one in config_findings(facts) if _is_about(one, wanted.server, facts)])
    config = facts.config
    async with AsyncExitStack() as stack:
        if not wanted.server:
            parts.begin("engine", _engine(config))
            parts.begin("environment", _environment(wanted.machine.environment))
        if config is not None:
            await _begin_with(config, wanted, parts, stack)
        await parts.end(MOST_SECONDS - (loop.time() - began))
    secrets = secrets_of(config, wanted.machine.environment) if config is not None else ()
    return Examination([without_secrets(one, secrets) for one in in_order(parts.findings)], loop.time() - began)


async def _begin_with(config: Config, wanted: ExaminationScope, parts: _Parts, stack: AsyncExitStack) -> None:
    """Begin the parts that need a configuration."""
    if not wanted.server:
        parts.begin("portal", _own_portal(config))
        parts.begin("mail", _mail(config))
        parts.begin("clients", _clients(config, wanted.machine))
    servers = [one for one in config.servers.values() if wanted.server in ("", one.id)]
    database, logins = await stack.enter_async_context(opened_database(config))
    if not wanted.server:
        parts.begin("database", _database(database))
    logs = await stack.enter_async_context(ProcessLogs(process_logs_folder(config)))
    turns = asyncio.Semaphore(_AT_ONCE)
    for program in programs_of(servers):
        parts.begin(program.id, _program(program, wanted.machine.environment, logs, turns))
    for remote in remotes_of(servers):
        parts.begin(remote.id, _remote(remote, config, logins))
    for one in servers:
        if not one.enabled and wanted.server:
            text = "It is disabled in the configuration, and was not looked at."
            parts.findings.append(notice("config.servers", one.id, text, "enable it there"))


async def _program(
    server: StdioServer, environment: Mapping[str, str], logs: ProcessLogs, turns: asyncio.Semaphore
) -> Iterable[Diagnosis]:
    async with turns:
        return list(program_findings(await program_facts(server, environment, logs, SERVER_SECONDS)))


async def _remote(server: HttpServer, config: Config, logins: StoredLogins) -> Iterable[Diagnosis]:
    return list(remote_findings(await remote_facts(server, config, logins, SERVER_SECONDS), now_utc()))


async def _engine(config: Config | None) -> Iterable[Diagnosis]:
    return list(engine_findings(await engine_facts(config)))


async def _environment(environment: Mapping[str, str]) -> Iterable[Diagnosis]:
    return list(environment_findings(await environment_facts(environment)))


async def _own_portal(config: Config) -> Iterable[Diagnosis]:
    port = await port_facts(config)
    public = await public_facts(config, port)
    return [*port_findings(port), *public_findings(public)]


async def _mail(config: Config) -> Iterable[Diagnosis]:
    return list(mail_findings(await mail_facts(config)))


async def _clients(config: Config, machine: Machine) -> Iterable[Diagnosis]:
    return list(client_findings(await asyncio.to_thread(client_facts, config, machine)))


async def _database(facts: DatabaseFacts | None) -> Iterable[Diagnosis]:
    return list(database_findings(facts))


def _is_about(one: Diagnosis, server: str, facts: ConfigFacts) -> bool:
    """Whether a finding of the configuration belongs to an examination of this server, "" for all."""
    return not server or one.about == server or (facts.config is None and one.level == "trouble")


def secrets_of(config: Config, environment: Mapping[str, str]) -> Sequence[str]:
    """What no finding may repeat: the secrets of servers, values of variables, and passwords of proxies."""
    found = {value for server in config.servers.values() for value in server.secrets}
    found.update(value for value in config.expanded if len(value) >= _SHORTEST)
    for proxy in (*urllib.request.getproxies().values(), *map(environment.get, _PROXIES)):
        try:
            password = urlsplit(proxy or "").password or ""
        except ValueError:
            continue
        found.update(word for word in (password, unquote(password)) if word)
    return sorted(found, key=len, reverse=True)


def without_secrets(one: Diagnosis, secrets: Sequence[str]) -> Diagnosis:
    """A finding with every secret in it blotted out. Pure."""
    text, fix = one.text, one.fix
    for secret in secrets:
        text, fix = text.replace(secret, "[redacted]"), fix.replace(secret, "[redacted]")
    return replace(one, text=text, fix=fix)
