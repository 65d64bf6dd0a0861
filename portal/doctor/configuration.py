"""Checks of the configuration: is it there and valid, what of it is left out, and may others read its secrets."""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portal.app import OwnAddress, without_itself
from portal.config import Config, load_config, load_document
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.errors import ConfigError
from stubs import Server, assign_names

_UNSET = re.compile(r"environment variable ([A-Za-z_][A-Za-z0-9_]*)")
_CONFIDENTIAL = re.compile(r"key|token|secret|passw|pwd|auth|credential|bearer|cookie", re.IGNORECASE)
_SHORTEST = 6
_MOST_DEPTH = 20


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """What there is of a configuration. `missing` says why there is no file, `problem` why it cannot be used; `config`
    is without the servers that lead back to the portal, whose ids are `itself`."""

    file: Path | None = None
    missing: str = ""
    problem: ConfigError | None = None
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    config: Config | None = field(default=None, repr=False)
    itself: Sequence[str] = ()
    mode: int = 0


def config_facts(file: Path | None, missing: str) -> ConfigFacts:
    """Read the configuration in `file`; `missing` says why there is none."""
    if file is None:
        return ConfigFacts(missing=missing)
    try:
        mode = file.stat().st_mode
        document = load_document(file)
        whole = load_config(file)
    except ConfigError as error:
        return ConfigFacts(file, problem=error)
    except OSError as error:
        return ConfigFacts(file, problem=ConfigError(error.strerror or "cannot be read.", file=str(file)))
    config = without_itself(whole, OwnAddress.of(whole, names=(socket.gethostname(),)))
    itself = [id for id in whole.servers if id not in config.servers]
    return ConfigFacts(file, document=document, config=config, itself=itself, mode=stat.S_IMODE(mode))


def config_findings(facts: ConfigFacts) -> Iterator[Diagnosis]:
    """Everything about the configuration. Pure."""
    if facts.file is None:
        # Without one there is nothing to serve.
        yield trouble("config.valid", "configuration", facts.missing, "codemode init")
        return
    about, config = facts.file.name, facts.config
    if facts.problem is not None or config is None:
        yield _invalid(facts)
        return
    count = len(config.servers)
    yield ok("config.valid", about, f"{facts.file} is valid: {count} server{'' if count == 1 else 's'}.")
    yield from _permissions(facts)
    yield from _left_out(facts, config)
    lines = {one.why for one in config.omissions}
    for note in config.notes:
        if note not in lines:
            yield notice("config.keys", about, note, f"correct it in {facts.file}, or leave it")
    yield from _names(config)


def _invalid(facts: ConfigFacts) -> Diagnosis:
    error = facts.problem
    assert error is not None and facts.file is not None
    where = f"{error.file}: {error.key}" if error.key else error.file
    unset = _UNSET.search(error.problem)
    check = "config.variables" if unset else "config.valid"
    fix = f"export {unset[1]}=..." if unset else error.fix or f"correct {facts.file}"
    return trouble(check, facts.file.name, f"{where}: {error.problem}", fix)


def _permissions(facts: ConfigFacts) -> Iterator[Diagnosis]:
    assert facts.file is not None
    found = sorted(set(literal_secrets(facts.document)))
    if found and facts.mode & 0o077:
        others = "others" if facts.mode & 0o007 else "its group"
        text = f"{facts.file} has secrets in it ({_some(found)}), and {others} may read or write it."
        yield trouble("config.permissions", facts.file.name, text, f"chmod 600 {facts.file}")
    elif found:
        yield ok("config.permissions", facts.file.name, "It has secrets in it, and only its owner may read it.")


def _left_out(facts: ConfigFacts, config: Config) -> Iterator[Diagnosis]:
    for one in config.omissions:
        about = one.id or "a server"
        if one.id in facts.itself:
            fix = f"nothing; or remove it from {facts.file}"
            yield notice("config.itself", about, one.why, fix)
        elif unset := _UNSET.search(one.why):
            # What mends it is said beside it.
            text = f"{one.why.partition('; set ')[0].rstrip('.')}."
            yield trouble("config.variables", about, text, f"export {unset[1]}=...")
        else:
            yield trouble("config.servers", about, one.why, f"correct {config.section} in {facts.file}, or remove it")


def _names(config: Config) -> Iterator[Diagnosis]:
    seen: dict[str, str] = {}
    spelled = {id: name for name, id in assign_names(Server(id) for id in config.servers).servers.items() if name != id}
    for server in config.servers.values():
        other = seen.setdefault(server.id.lower(), server.id)
        if other != server.id:
            text = f"{server.id} and {other} differ in capital letters only, and their logs are one file on some disks."
            yield notice("config.names", server.id, text, "rename one of them")
        if server.name != server.id:
            text = f"`{server.name}` is called `{server.id}` here: ids have letters, digits and hyphens."
            yield notice("config.names", server.id, text, f"rename it to {server.id}, or leave it")
        if (spelling := spelled.get(server.id, server.id)) != server.id.replace("-", "_"):
            text = f"Programs call it `codemode.{spelling}`: its own name is no identifier of JavaScript."
            yield notice("config.names", server.id, text, "rename it, or leave it")


def literal_secrets(value: object, key: str = "", depth: int = _MOST_DEPTH) -> Iterator[str]:
    """The keys of a document whose names say that the value is a secret, and whose value stands there itself."""
    if not depth:
        return
    if isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, str) and _CONFIDENTIAL.search(str(name)) and _is_literal(member):
                yield f"{key}.{name}".removeprefix(".")
            else:
                yield from literal_secrets(member, f"{key}.{name}".removeprefix("."), depth - 1)
    elif isinstance(value, list):
        for member in value:
            yield from literal_secrets(member, key, depth - 1)


def _is_literal(text: str) -> bool:
    return len(text) >= _SHORTEST and "${" not in text and "{env:" not in text and "://" not in text


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return ", ".join(found[:2]) + more
