"""Finds the configuration file of a command when none is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from portal.cli.exits import CommandError

IN_FOLDER = ("codemode.json", "codemode.toml", ".mcp.json", "mcp.json", ".cursor/mcp.json", ".vscode/mcp.json")
IN_HOME = "codemode/config.json"

EXAMPLE = '{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}'


def find_config(named: Path | None, folder: Path, environment: Mapping[str, str]) -> Path:
    """The named file, else the first of `IN_FOLDER` that exists in `folder`, else the user's own configuration.

    Raises:
        CommandError: there is no such file. The message lists the names and shows an example.
    """
    if named is not None:
        if not named.is_file():
            raise CommandError(f"There is no configuration file {named}.")
        return named
    if (found := config_in_use(folder, environment)) is not None:
        return found
    own = _short(_home(environment) / IN_HOME, environment)
    raise CommandError(
        f"No configuration found: looked for {', '.join(IN_FOLDER)} here and {own}. "
        f"Write one such as {EXAMPLE} to codemode.json, have `codemode add` write it, or name one with --config."
    )


def config_to_write(named: Path | None, folder: Path, environment: Mapping[str, str]) -> Path:
    """The named file, else the one in use, else a new one in `folder`."""
    return named or config_in_use(folder, environment) or folder / IN_FOLDER[0]


def config_in_use(folder: Path, environment: Mapping[str, str]) -> Path | None:
    """The configuration of a command in `folder` that names none; None if there is no such file."""
    candidates = (*(folder / name for name in IN_FOLDER), _home(environment) / IN_HOME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _home(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME")
    return Path(base) if base else Path(environment.get("HOME", "~")).expanduser() / ".config"


def _short(path: Path, environment: Mapping[str, str]) -> str:
    home = environment.get("HOME")
    return f"~/{path.relative_to(home)}" if home and path.is_relative_to(home) else str(path)
