"""`codemode add`: writes a server into the configuration document, connects to it, and says what it offers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from portal.app import open_upstreams, store_for_calls
from portal.cli.document_change import APPLIES, ChangeOptions, OpenDocument, open_to_change, show_difference
from portal.cli.exits import CommandError, Exit
from portal.cli.session import usable
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.config import (
    Config,
    NewAddress,
    NewApi,
    NewProgram,
    ServerConfig,
    is_reference,
    new_entry,
    server_id,
    sounds_secret,
)
from portal.credentials import may_log_in
from portal.errors import ConfigError
from portal.logs import Discard, configure_logging

SETTLE_SECONDS = 60.0
_UNAUTHORIZED = 401
_MOST_NOTICES = 5
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEEDED = re.compile(r"(?<!\$)\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")

TrialState = Literal["ready", "login", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class AddOptions:
    """The words and options of `codemode add`."""

    name: str
    words: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    headers: tuple[str, ...]
    transport: Literal["http", "sse"] | None
    replace: bool
    check: bool
    change: ChangeOptions
    openapi: str = ""
    url: str = ""
    credentials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of connecting to the new server. `tools` is how many it lists, `why` a part of a sentence. `notices`
    are lines about what is left out of its lists."""

    state: TrialState
    tools: int = 0
    why: str = ""
    notices: tuple[str, ...] = ()


async def add(options: AddOptions) -> Exit:
    """Write the server and connect to it. The exit code is 3 if it does not answer; its entry stays."""
    stdout, stderr = consoles()
    configure_logging(level="critical", terminal=stderr.is_terminal)
    server = new_server(options)
    opened = open_to_change(options.change, stderr, make=True)
    taken = opened.place.named(options.name)
    if taken is not None and not options.replace:
        raise CommandError(
            f"{opened.name} has a server {taken!r} already. `codemode add {options.name} --replace ...` puts this one "
            "in its place."
        )
    name = taken or options.name
    if isinstance(server, NewProgram) and server.cwd:
        server = replace(server, cwd=_folder(server.cwd, opened.file.path.parent))
    if isinstance(server, NewApi) and "://" not in server.openapi:
        server = replace(server, openapi=_folder(server.openapi, opened.file.path.parent))
    missing = sorted(_needed(server) - os.environ.keys())
    try:
        text = opened.with_server(name, new_entry(server, opened.place))
        config = opened.parsed(text, {**_stand_ins(server, missing), **os.environ})
    except ConfigError as error:
        raise CommandError(str(error)) from error
    id = server_id(name)
    served = require_served(config, id, name)
    if not options.change.json:
        show_difference(opened, text, stdout)
        _suggest_references(server, stderr)
    if options.change.dry_run:
        return _say(options, opened, text, name, Trial("skipped", why="nothing was written"), stdout)
    if text != opened.file.text:
        opened.write(text)
    if not options.change.json:
        made = f"Made {opened.name} with" if opened.file.data is None else f"{opened.name} has"
        stdout.print(Text(f"{made} the server {name}."), soft_wrap=True)
    if missing:
        trial = Trial("skipped", why=_without(missing))
    elif options.check:
        trial = await _tried(config, served, stderr)
    else:
        trial = Trial("skipped", why="not tried")
    return _say(options, opened, text, name, trial, stdout)


def new_server(options: AddOptions) -> NewProgram | NewAddress | NewApi:
    """The server that the words describe: one URL, or a command.

    Raises:
        CommandError: they describe none, or an option is not for this kind.
    """
    if options.openapi:
        return _new_api(options)
    _only_for(options.url or options.credentials, "--url and --credential are", "an API, with --openapi")
    if not options.words:
        raise CommandError(
            f"Say what {options.name} is: its URL, or `--` and its command, as in "
            f"`codemode add {options.name} -- npx -y some-server`."
        )
    first = options.words[0]
    if len(options.words) == 1 and ("://" in first or first.startswith("${")):
        if not first.lower().startswith(("http://", "https://")) and not first.startswith("${"):
            raise CommandError(f"{first.partition(':')[0]}:// is no http:// or https:// URL; other servers have none.")
        _only_for(options.env or options.cwd, "--env and --cwd are", "a program")
        return NewAddress(first, _pairs(options.headers, ":", "--header", "'Name: value'"), options.transport)
    if len(options.words) == 1 and " " in first and not Path(first).exists():
        raise CommandError(f"Write the command as words of their own: `codemode add {options.name} -- {first}`.")
    _only_for(options.headers or options.transport, "--header and --transport are", "a URL")
    env = _pairs(options.env, "=", "--env", "KEY=VALUE")
    if wrong := next((key for key in env if not _NAME.fullmatch(key)), None):
        raise CommandError(f"{wrong!r} is no name of an environment variable.")
    return NewProgram(first, options.words[1:], env, options.cwd)


def _new_api(options: AddOptions) -> NewApi:
    """
    Raises:
        CommandError: an option is not for an API.
    """
    if options.words:
        raise CommandError("With --openapi there is no URL and no command; --url is the base address of the API.")
    _only_for(options.env or options.cwd, "--env and --cwd are", "a program")
    _only_for(options.transport, "--transport is", "the URL of an MCP server")
    if "://" not in options.openapi and not Path(options.openapi).expanduser().is_file():
        raise CommandError(f"{options.openapi} is no file. --openapi takes the file or the URL of an OpenAPI document.")
    headers = _pairs(options.headers, ":", "--header", "'Name: value'")
    return NewApi(
        options.openapi, options.url, headers, _pairs(options.credentials, "=", "--credential", "SCHEME=VALUE")
    )


def require_served(config: Config, id: str, name: str) -> ServerConfig:
    """The server of this id, which a portal with this configuration would serve.

    Raises:
        CommandError: it would not.
    """
    server = config.servers.get(id)
    if server is None:
        why = next((one.why for one in config.omissions if one.id == id), f"{name} would not be served.")
        raise CommandError(f"{why} Nothing was written.")
    if id not in usable(config).servers:
        raise CommandError(f"{name} would lead back to this portal itself. Nothing was written.")
    return server


def _only_for(given: object, what: str, kind: str) -> None:
    if given:
        raise CommandError(f"{what} for {kind}.")


def _pairs(written: Sequence[str], separator: str, option: str, form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in written:
        name, found, value = one.partition(separator)
        if not found or not name.strip():
            # The value itself is not repeated, because it may be a secret.
            raise CommandError(f"{option} wants {form}.")
        if name.strip() in pairs:
            raise CommandError(f"{option} has {name.strip()!r} twice.")
        pairs[name.strip()] = value.strip() if separator == ":" else value
    return pairs


def _folder(written: str, document: Path) -> str:
    """A folder that means the same from the document as it does from here."""
    relative = not written.startswith(("~", "$")) and not Path(written).is_absolute()
    return str(Path.cwd() / written) if relative and document.absolute() != Path.cwd() else written


def _strings(server: NewProgram | NewAddress | NewApi) -> Iterator[str]:
    if isinstance(server, NewProgram):
        yield from (server.command, *server.args, *server.env.values(), server.cwd)
    elif isinstance(server, NewApi):
        yield from (server.openapi, server.url, *server.headers.values(), *server.credentials.values())
    else:
        yield from (server.url, *server.headers.values())


def _needed(server: NewProgram | NewAddress | NewApi) -> set[str]:
    """The environment variables without which the server cannot be used."""
    return {name for text in _strings(server) for name in _NEEDED.findall(text)}


def _stand_ins(server: NewProgram | NewAddress | NewApi, missing: Sequence[str]) -> Mapping[str, str]:
    """Values for variables that are not set here, with which the entry can be checked."""
    values = dict.fromkeys(missing, "x")
    if isinstance(server, NewAddress) and (found := _NEEDED.match(server.url)):
        values[found[1]] = "https://example.invalid"
    return values


def _without(missing: Sequence[str]) -> str:
    names = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
    return f"not tried, because {names} {'are' if len(missing) > 1 else 'is'} not set in this environment"


def _suggest_references(server: NewProgram | NewAddress | NewApi, stderr: Console) -> None:
    pairs = server.env if isinstance(server, NewProgram) else server.headers
    literal = [name for name, value in pairs.items() if sounds_secret(name) and not is_reference(value)]
    if isinstance(server, NewApi):
        literal += [name for name, value in server.credentials.items() if not is_reference(value)]
    for name in literal:
        advice = f"The value of {name} is in the file as it is; '${{NAME}}' takes it from the environment instead."
        stderr.print(Text(advice, style="yellow"), soft_wrap=True)


async def _tried(config: Config, server: ServerConfig, stderr: Console) -> Trial:
    """Connect to the server alone."""
    if not server.enabled:
        return Trial("skipped", why="not tried, because it is disabled")
    alone = config.model_copy(update={"servers": {server.id: server}})
    async with store_for_calls(alone) as store, open_upstreams(alone, Discard(), store) as upstreams:
        with WaitLine(stderr, f"Connecting to {server.name} ..."):
            snapshot = await upstreams.servers.settled(SETTLE_SECONDS)
        found = snapshot.servers[server.id]
    if found.state == "ready":
        return Trial("ready", tools=len(found.tools), notices=found.notices)
    if found.status == _UNAUTHORIZED and may_log_in(server):
        return Trial("login", why=f"codemode login {server.id}")
    return Trial("error", why=found.reason or f"it has not answered within {SETTLE_SECONDS:g} seconds")


def _say(options: AddOptions, opened: OpenDocument, text: str, name: str, trial: Trial, stdout: Console) -> Exit:
    """Print what came of it."""
    if options.change.json:
        stdout.print_json(data=_as_json(options, opened, text, name, trial))
    else:
        for line in _lines(options, opened, name, trial):
            stdout.print(Text(line), soft_wrap=True)
    return Exit.UPSTREAM if trial.state == "error" else Exit.OK


def _lines(options: AddOptions, opened: OpenDocument, name: str, trial: Trial) -> Iterator[str]:
    id = server_id(name)
    called = "" if id == name else f" Its id is {id}."
    if options.change.dry_run:
        yield "Nothing was written (--dry-run)."
        return
    if trial.state == "ready":
        yield f"It answers with {trial.tools} {'tool' if trial.tools == 1 else 'tools'}.{called}"
        yield from (f"  {line}" for line in trial.notices[:_MOST_NOTICES])
        if len(trial.notices) > _MOST_NOTICES:
            yield f"  and {len(trial.notices) - _MOST_NOTICES} more; `codemode tools {id}` shows them"
    elif trial.state == "login":
        yield f"It needs a login: {trial.why}.{called}"
    elif trial.state == "error":
        config = f" --config {opened.name}" if options.change.config is not None else ""
        yield f"It does not answer: {trial.why.rstrip('.')}."
        yield f"Its entry stays; `codemode remove {id}{config}` takes it out."
    else:
        yield f"It was {trial.why}.{called}"
    yield APPLIES


def _as_json(options: AddOptions, opened: OpenDocument, text: str, name: str, trial: Trial) -> Mapping[str, object]:
    return {
        "file": opened.name,
        "made": opened.file.data is None and not options.change.dry_run,
        "written": text != opened.file.text and not options.change.dry_run,
        "section": opened.place.key,
        "name": name,
        "id": server_id(name),
        "diff": opened.difference(text),
        "check": {
            "state": trial.state,
            "tools": trial.tools if trial.state == "ready" else None,
            "why": trial.why,
            **({"notices": list(trial.notices)} if trial.notices else {}),
        },
    }
