"""Recognises programs that connect to a server by its URL and offer it on their standard input and output. Pure.

A URL among the words of a command says nothing by itself: most programs that take one only report to it or read from
it. For each of these bridges it is known which word is its upstream:

- https://github.com/geelen/mcp-remote
- https://github.com/supercorp-ai/supergateway
- https://github.com/sparfenyuk/mcp-proxy
- https://gofastmcp.com/deployment/running-server#fastmcp-cli
- https://github.com/pyroprompts/mcp-stdio-to-streamable-http-adapter
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

MAX_NESTING = 8
_URL = re.compile(r"https?://[^\s'\"<>]+", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_VERSION = re.compile(r"(?<=.)[@=<>~!:\[].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Bridge:
    """How a bridge is called.

    `upstream` are the options whose value is the URL; without any it is the first word that is neither an option nor
    the value of one, and a command stands there if it is no URL. `values` says how many words follow an option: one, or
    none if it is in `flags`, where it is not named. `commands` are the options whose value is a command to which the
    bridge leads, `verbs` the subcommands that take a URL.
    """

    upstream: frozenset[str] = frozenset()
    values: Mapping[str, int] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MCP_REMOTE = _Bridge(flags=_words("--allow-http --debug --silent --enable-proxy"))
_MCP_PROXY = _Bridge(
    values={"-H": 2, "--headers": 2, "-e": 2, "--env": 2, "--named-server": 2},
    flags=_words(
        "--stateless --no-stateless --pass-environment --no-pass-environment --debug --no-debug --no-verify-ssl"
    ),
)
_BRIDGES = {
    "mcp-remote": _MCP_REMOTE,
    "mcp-remote-client": _MCP_REMOTE,
    "mcp-proxy": _MCP_PROXY,
    "mcp_proxy": _MCP_PROXY,
    "supergateway": _Bridge(upstream=_words("--sse --streamableHttp --streamable-http"), commands=_words("--stdio")),
    "fastmcp": _Bridge(flags=_words("--no-banner --skip-source --skip-env --reload"), verbs=_words("run proxy")),
    "mcp-stdio-to-streamable-http-adapter": _Bridge(),
    "mcp-streamablehttp-client": _Bridge(),
}


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A program that starts the one which its words name. `values` are its options that take a word, `verbs` words
    before that program. `python`: it finds what is installed with Python. `files`: it runs a file, also of a package.
    """

    values: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    python: bool = False
    files: bool = False


_NPM = _Launcher(
    _words("-p --package --prefix --registry --cache --userconfig -w --workspace"), _words("exec x dlx run")
)
_UV = _Launcher(
    _words(
        "--from --with --with-editable --with-requirements -p --python -i --index --index-url --default-index "
        "--extra-index-url -f --find-links --project --directory --env-file --refresh-package -P --cache-dir --spec "
        "--pip-args -C --constraints -c --overrides --extra --group -w"
    ),
    _words("tool run x"),
    python=True,
)
_CONTAINER = _Launcher(
    _words(
        "-e --env --env-file -v --volume --mount --name --network --net -p --publish --add-host -w --workdir -u --user "
        "--entrypoint -l --label -m --memory --cpus --platform --pull -h --hostname --dns --tmpfs --security-opt "
        "--cap-add --cap-drop --restart --log-driver --ip --device --gpus --shm-size --ulimit --userns"
    ),
    _words("run container"),
)
_LAUNCHERS = {
    "npx": _NPM, "npm": _NPM, "pnpx": _NPM, "pnpm": _NPM, "yarn": _NPM, "bunx": _NPM,
    "bun": _Launcher(_NPM.values, _NPM.verbs, files=True),
    "deno": _Launcher(_words("-c --config --import-map --lock -L --log-level"), _words("run x"), files=True),
    "node": _Launcher(_words("-r --require --import --loader --env-file -C --conditions"), files=True),
    "tsx": _Launcher(files=True),
    "uvx": _UV, "uv": _UV, "pipx": _UV,
    "docker": _CONTAINER, "podman": _CONTAINER, "nerdctl": _CONTAINER,
    "env": _Launcher(_words("-u --unset -C --chdir"), python=True),
    "exec": _Launcher(python=True), "nohup": _Launcher(python=True), "setsid": _Launcher(python=True),
    "command": _Launcher(python=True), "start": _Launcher(python=True), "call": _Launcher(python=True),
    "sudo": _Launcher(_words("-u --user -g --group"), python=True), "nice": _Launcher(_words("-n"), python=True),
}  # fmt: skip
_SHELLS = _words("sh bash zsh dash ash ksh fish cmd powershell pwsh")
_SCRIPTS = _words("-c -lc -ic -ec /c /C -Command -command")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*w?")


@dataclass(frozen=True, slots=True)
class Command:
    """The program that a command comes to. `python`: it is found as Python's programs are, and not as Node's."""

    word: str
    args: tuple[str, ...]
    python: bool = True


def final_program(command: str, args: Sequence[str]) -> Command:
    """The program that a command starts in the end: that of `npx`, `uvx`, `docker run`, `sh -c` and the like."""
    found = Command(command, tuple(args))
    for _ in range(MAX_NESTING):
        inner = _inner(found)
        if inner is None:
            break
        found = inner
    return found


def bridged_program(command: str, args: Sequence[str]) -> Command:
    """As `final_program`; of a bridge that leads to a command, the program of that."""
    found = final_program(command, args)
    for _ in range(MAX_NESTING):
        bridge = _BRIDGES.get(program_name(found.word))
        words = _upstream(bridge, found.args)[1] if bridge is not None else []
        if not words:
            break
        found = final_program(words[0], words[1:])
    return found


def upstream_urls(program: Command, env: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs of the servers to which a program bridges; none for one that is no bridge."""
    bridge = _BRIDGES.get(program_name(program.word))
    if bridge is None:
        return ()
    urls, words = _upstream(bridge, program.args)
    if words:
        return ()
    # Some take it from their environment, under a name of their own.
    return urls or tuple(value for value in env.values() if _URL.fullmatch(value))


def program_name(word: str) -> str:
    """The name of a program without folder, scope, version, extras and ending: `npx` of `npx.cmd`."""
    last = PurePath(word.replace("\\", "/").removeprefix("npm:")).name
    name = _VERSION.sub("", last)
    return re.sub(r"\.(?:exe|cmd|bat|ps1|sh|py|js|mjs|cjs|ts)$", "", name, flags=re.IGNORECASE)


def _inner(outer: Command) -> Command | None:
    """What a program starts; None if it starts nothing that is known."""
    name, words = program_name(outer.word).lower(), list(outer.args)
    if name in _SHELLS:
        return _script(words)
    if _PYTHON.fullmatch(name):
        return _of_python(words)
    launcher = _LAUNCHERS.get(name)
    if launcher is None:
        return None
    while words:
        word = words.pop(0)
        if word in launcher.values:
            del words[:1]
        elif not word.startswith("-") and word not in launcher.verbs and not _ASSIGNMENT.fullmatch(word):
            program = _package(word) if launcher.files else word
            return Command(program, tuple(words), outer.python and launcher.python)
    return None


def _script(words: list[str]) -> Command | None:
    """The program of `sh -c "..."`, or of `cmd /c npx ...`, whose words follow."""
    while words and words[0] not in _SCRIPTS:
        if not words[0].startswith(("-", "/")):
            return None
        words.pop(0)
    script = words[1:]
    if script and (len(script) == 1 or " " in script[0]):
        script = _last_command(script[0])
    while script and _ASSIGNMENT.fullmatch(script[0]):
        script.pop(0)
    return Command(script[0], tuple(script[1:])) if script else None


def _last_command(script: str) -> list[str]:
    """The words of the last command of a shell's script: those before it prepare, and it stays."""
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace_split, lexer.whitespace, lexer.commenters = True, " \t\r", ""
    try:
        words = list(lexer)
    except ValueError:
        return script.split()
    command: list[str] = []
    commands = [command]
    for word in words:
        if word and set(word) <= set(";&|\n"):
            commands.append(command := [])
        else:
            command.append(word)
    return next((one for one in reversed(commands) if one), [])


def _of_python(words: list[str]) -> Command | None:
    while words:
        word = words.pop(0)
        if word == "-m" and words:
            return Command(_module(words[0]), tuple(words[1:]))
        if not word.startswith("-"):
            return Command(_package(word), tuple(words))
    return None


def _module(name: str) -> str:
    """`fastmcp.cli` is of `fastmcp`. Our own command is a module inside a package that others have too."""
    return name if name.startswith("portal.") else name.partition(".")[0]


def _package(file: str) -> str:
    """The bridge in whose folder a file lies, `node_modules/mcp-remote/dist/proxy.js`; else the file."""
    parts = PurePath(file.replace("\\", "/")).parts
    return next((part for part in reversed(parts[:-1]) if program_name(part) in _BRIDGES), file)


def _upstream(bridge: _Bridge, args: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The URLs that are the upstream among a bridge's words, and the words of a command to which it leads instead."""
    words, urls = list(args), list[str]()
    while words:
        word = words.pop(0)
        if word == "--" and not bridge.upstream:
            continue
        if word.startswith("-"):
            option, written, value = word.partition("=")
            taken = [value] if written else _values(bridge, option, words)
            if option in bridge.upstream:
                urls += [one for one in taken if _URL.fullmatch(one)]
            if option in bridge.commands and taken:
                return (), _last_command(taken[0])
        elif word in bridge.verbs or word.startswith("$"):
            # A shell's variable has its value from the environment.
            continue
        elif not bridge.upstream:
            return ((word,), []) if _URL.fullmatch(word) else ((), [word, *words])
    return tuple(urls), []


def _values(bridge: _Bridge, option: str, words: list[str]) -> list[str]:
    """The words that are an option's values. They are taken from `words`."""
    count = bridge.values.get(option)
    if count is None:
        count = 0 if option in bridge.flags or not words or words[0].startswith("-") else 1
    taken = words[:count]
    del words[:count]
    return taken
