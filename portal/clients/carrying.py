"""Turns the entry of a client into one of ours, wherever our document is. Pure but for a look whether a file is there.

What only makes sense where the client reads it gets a meaning of its own: the folder that an editor has open, the
questions that it asks, paths relative to its document. What only the client understands is named and left behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.clients.known import Machine
from portal.clients.reading import ClientServer
from portal.config import (
    ENTRY_KEYS,
    Config,
    EntryUnusable,
    Notes,
    ServerConfig,
    editor_variables,
    in_our_words,
    input_values,
    input_variable,
    parse_config,
)
from portal.errors import ConfigError

_SECTION = "mcpServers"
_INPUT = re.compile(r"\$\{input:(?P<id>[^}]+)\}")
_REFERENCE = re.compile(r"(?<!\$)\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}")
_ANY_REFERENCE = re.compile(r"\$\{[^}]*\}")
# What stands for a variable that is not set, to see whether nothing else is wrong.
_STAND_INS = ("x", "http://x.invalid")
_MAX_SHOWN = 12


@dataclass(frozen=True, slots=True)
class CarriedServer:
    """A server of a client as ours. `entry` is None if it cannot be; `why` says so. `config` is what the portal makes
    of it. `sentences` are what the person should know, without the name of the server and of the client."""

    server: ClientServer
    entry: Mapping[str, object] | None = field(default=None, repr=False)
    config: ServerConfig | None = field(default=None, repr=False)
    why: str = ""
    sentences: tuple[str, ...] = ()

    @property
    def has_literal_secrets(self) -> bool:
        """Whether a value that may be a secret stands in the entry itself, and not in the environment."""
        return self.entry is not None and holds_literal_secrets(self.entry, self.config)


def carry(server: ClientServer, machine: Machine) -> CarriedServer:
    """The server as an entry of our document, with absolute paths and our own words."""
    if not isinstance(server.entry, dict):
        return CarriedServer(server, why="it is no object")
    sentences: list[str] = []
    entry = _with_meaning_of_its_own(server, server.entry, machine, sentences)
    notes = Notes()
    try:
        ours = in_our_words(entry, ENTRY_KEYS, server.name, str(server.file.path), machine.environment, notes)
    except EntryUnusable as reason:
        return CarriedServer(server, why=str(reason))
    except ConfigError as error:
        return CarriedServer(server, why=_problem(error, server.name))
    except RecursionError:
        return CarriedServer(server, why="it is nested too deeply")
    ours = {name: value for name, value in ours.items() if value not in ({}, []) and (name, value) != ("type", "stdio")}
    if ours.get("enabled") is False:
        sentences.append("is switched off there, and stays so here")
    _placed(ours, server, sentences)
    sentences += [_as_clause(one, server.name) for one in notes.sentences]
    if notes.foreign_keys:
        keys = [key.removeprefix(f"{server.name}.") for key in dict.fromkeys(notes.foreign_keys)][:_MAX_SHOWN]
        sentences.append(f"loses what only its client understands: {', '.join(f'`{key}`' for key in keys)}")
    config, missing, why = _as_the_portal_reads(ours, machine)
    if config is None:
        return CarriedServer(server, why=why)
    if missing:
        # In this spelling a variable that is not set costs its own server alone, also where there is no other.
        plain = re.compile(rf"(?<!\$)\$\{{({'|'.join(missing)})\}}")
        ours = {name: _mapped(value, lambda text: plain.sub(r"${env:\1}", text)) for name, value in ours.items()}
        names = ", ".join(missing[:_MAX_SHOWN])
        sentences.append(f"needs {names} in the environment of the portal, which is not set now")
    return CarriedServer(server, ours, config, "", tuple(sentences))


def holds_literal_secrets(entry: Mapping[str, object], config: ServerConfig | None) -> bool:
    """Whether a text of the entry that is a secret to the portal is not one of the environment."""
    if config is None:
        return False
    written = "\n".join(_texts(entry))
    literal = _ANY_REFERENCE.sub("\n", written)
    return any(secret in literal for secret in config.secrets)


def identity_of(entry: Mapping[str, object]) -> tuple[object, ...]:
    """What makes two entries the same server: the command with its words and variables, or the URL."""
    if "url" in entry:
        return ("url", _reference(entry["url"]))
    args, env = entry.get("args"), entry.get("env")
    words = tuple(map(_reference, args)) if isinstance(args, list) else ()
    variables = sorted((str(name), _reference(value)) for name, value in env.items()) if isinstance(env, dict) else []
    return ("command", _reference(entry.get("command")), words, tuple(variables))


def _reference(value: object) -> str:
    """A text in which both spellings of a variable are one."""
    return str(value).replace("${env:", "${")


def _with_meaning_of_its_own(
    server: ClientServer, entry: Mapping[str, object], machine: Machine, sentences: list[str]
) -> dict[str, object]:
    """The entry with the folder of its editor and the questions of its client replaced."""
    if not server.file.client.fills_in:
        # To this client `${` is text like any other.
        return {name: _mapped(value, lambda text: text.replace("${", "$${")) for name, value in entry.items()}
    variables = editor_variables(server.folder, str(machine.home))
    inputs = input_values(server.inputs, {})
    of_folder = set[str]()
    asked: dict[str, str] = {}

    def replaced(text: str) -> str:
        for name, value in variables.items():
            if f"${{{name}}}" in text and name not in machine.environment:
                if name not in ("userHome", "pathSeparator", "/"):
                    of_folder.add(name)
                text = text.replace(f"${{{name}}}", value)
        return _INPUT.sub(answer, text)

    def answer(found: re.Match[str]) -> str:
        variable, default = input_variable(found["id"]), inputs.get(found["id"])
        variable = variable if re.match(r"[A-Z_]", variable) else f"_{variable}"
        asked[found["id"]] = variable
        usable = default is not None and not re.search(r"[{}]", default)
        return f"${{env:{variable}:-{default}}}" if usable else f"${{env:{variable}}}"

    ours = {name: _mapped(value, replaced) for name, value in entry.items()}
    if of_folder and server.everywhere:
        named = ", ".join(f"${{{name}}}" for name in sorted(of_folder))
        sentences.append(f"has {named}, which is {server.folder} from now on")
    sentences += [f"asks for the input `{id}`: set {variable} in its place" for id, variable in asked.items()]
    return ours


def _placed(ours: dict[str, object], server: ClientServer, sentences: list[str]) -> None:
    """Make the paths of a program independent of where our document is."""
    if "command" not in ours:
        if ours.pop("envFile", None) is not None:
            sentences.append("loses its `envFile`, which is for programs only")
        return
    for name in ("cwd", "envFile"):
        written = ours.get(name)
        if isinstance(written, str) and written and not written.startswith(("~", "$", "/", "\\")):
            ours[name] = str(server.folder / written)
    if "cwd" not in ours and not server.everywhere:
        # Its client starts it there, and its words may be paths.
        ours["cwd"] = str(server.folder)
    file = ours.get("envFile")
    if isinstance(file, str):
        is_there = "$" in file or _is_file(Path(file).expanduser())
        sentences.append(f"reads {file} when it starts" + ("" if is_there else ", which is not there now"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _as_the_portal_reads(
    entry: Mapping[str, object], machine: Machine
) -> tuple[ServerConfig | None, tuple[str, ...], str]:
    """The server, the variables that it needs and that are not set, and why there is none."""
    missing = tuple(
        dict.fromkeys(
            found["name"]
            for text in _texts(entry)
            for found in _REFERENCE.finditer(text)
            if found["default"] is None and found["name"] not in machine.environment
        )
    )
    why = ""
    for stand_in in _STAND_INS if missing else _STAND_INS[:1]:
        environment = {**machine.environment, **dict.fromkeys(missing, stand_in)}
        try:
            config = parse_config({_SECTION: {"server": dict(entry)}}, file="", env=environment, folder=machine.folder)
        except ConfigError as error:
            why = why or _problem(error, f"{_SECTION}.server")
            continue
        if (server := _only(config)) is not None:
            return server, missing, ""
        why = why or config.omissions[0].why.partition(" is left out: ")[2].removesuffix(".")
    return None, missing, why


def _only(config: Config) -> ServerConfig | None:
    return next(iter(config.servers.values()), None)


def _problem(error: ConfigError, key: str) -> str:
    place = error.key.removeprefix(key).removeprefix(".")
    return f"{f'its `{place}`' if place else 'it'} {error.problem} {error.fix}".strip().removesuffix(".")


def _as_clause(sentence: str, name: str) -> str:
    """A sentence about `name.key` as a clause about the server."""
    key, _, rest = sentence.removeprefix(f"{name}.").partition(" ")
    return f"has a `{key}` that {rest}".removesuffix(".")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inside for text in _texts(one)]


def _mapped(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return {name: _mapped(one, change) for name, one in value.items()} if isinstance(value, dict) else value
