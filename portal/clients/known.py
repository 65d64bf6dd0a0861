"""The MCP clients that are connected: where each keeps its servers, and how it writes one. Pure.

The platform, the home folder and the environment come in as values. Each client's own documentation says where its
files are:

- Claude Code: https://code.claude.com/docs/en/mcp (scopes) and https://code.claude.com/docs/en/settings
  (`CLAUDE_CONFIG_DIR` moves `.claude.json` too)
- Claude Desktop: https://modelcontextprotocol.io/docs/develop/connect-local-servers
- Cursor: https://cursor.com/docs/context/mcp
- VS Code: https://code.visualstudio.com/docs/agents/reference/mcp-configuration,
  https://code.visualstudio.com/docs/configure/settings (the user's folder) and
  https://code.visualstudio.com/docs/editor/portable (`VSCODE_PORTABLE`); `VSCODE_APPDATA` is in VS Code's
  `src/vs/platform/environment/node/userDataPath.ts`
- Codex: https://developers.openai.com/codex/mcp (`CODEX_HOME`, and `.codex/config.toml` of a trusted folder)
- Gemini CLI: https://github.com/google-gemini/gemini-cli/blob/main/docs/reference/configuration.md
  (`GEMINI_CLI_HOME` is the folder above `.gemini`)
- Windsurf: https://docs.windsurf.com/windsurf/cascade/mcp
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scope = Literal["user", "project"]
Base = Literal["home", "settings"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the places of files depend on: `platform` as `sys.platform` has it, and the folder of the command."""

    platform: str
    home: Path
    folder: Path
    environment: Mapping[str, str]

    @property
    def settings(self) -> Path:
        """The folder in which programs with windows keep what a user set."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return self._folder_in("APPDATA") or self.home / "AppData" / "Roaming"
        return self._folder_in("XDG_CONFIG_HOME") or self.home / ".config"

    def base(self, base: Base) -> Path:
        return self.home if base == "home" else self.settings

    def override(self, variable: str) -> Path | None:
        """The folder in a variable with which a client moves its files."""
        return self._folder_in(variable)

    def _folder_in(self, variable: str) -> Path | None:
        written = self.environment.get(variable, "")
        if not written or "\0" in written:
            return None
        if written == "~" or written.startswith("~/"):
            return self.home / written[2:]
        return self.folder / written


@dataclass(frozen=True, slots=True)
class McpClient:
    """A client that is connected by a change of its document.

    `file` is that of the user, below `base` or, where a variable of `overrides` is set, below the folder in it;
    `project` is that of a folder, "" if there is none. `section` has the servers. `address` is the key of a server's
    URL, "" for a client that only starts programs; with `typed` each server says its transport. `traces` are further
    files or folders below the home that only this client makes. `fills_in` says whether it replaces `${...}` itself,
    and `afterwards` is what a person does so that a change is taken up.
    """

    id: str
    title: str
    section: str
    base: Base
    file: str
    overrides: tuple[tuple[str, str], ...] = ()
    project: str = ""
    address: str = "url"
    typed: bool = False
    traces: tuple[str, ...] = ()
    fills_in: bool = True
    afterwards: str = ""

    @property
    def starts_programs_only(self) -> bool:
        return not self.address


@dataclass(frozen=True, slots=True)
class ClientFile:
    """One document of a client: the user's own, or that of a folder."""

    client: McpClient
    path: Path
    scope: Scope


CLIENTS = (
    McpClient(
        "claude-code",
        "Claude Code",
        "mcpServers",
        "home",
        ".claude.json",
        (("CLAUDE_CONFIG_DIR", ".claude.json"),),
        project=".mcp.json",
        typed=True,
        traces=(".claude",),
        afterwards="Sessions that are open take it up when they start again.",
    ),
    McpClient(
        "claude-desktop",
        "Claude Desktop",
        "mcpServers",
        "settings",
        "Claude/claude_desktop_config.json",
        address="",
        fills_in=False,
        afterwards="Quit Claude Desktop and open it again.",
    ),
    McpClient("cursor", "Cursor", "mcpServers", "home", ".cursor/mcp.json", project=".cursor/mcp.json"),
    McpClient(
        "vscode",
        "VS Code",
        "servers",
        "settings",
        "Code/User/mcp.json",
        (("VSCODE_PORTABLE", "user-data/User/mcp.json"), ("VSCODE_APPDATA", "Code/User/mcp.json")),
        project=".vscode/mcp.json",
        typed=True,
    ),
    McpClient(
        "codex",
        "Codex",
        "mcp_servers",
        "home",
        ".codex/config.toml",
        (("CODEX_HOME", "config.toml"),),
        project=".codex/config.toml",
        fills_in=False,
    ),
    McpClient(
        "gemini",
        "Gemini CLI",
        "mcpServers",
        "home",
        ".gemini/settings.json",
        (("GEMINI_CLI_HOME", ".gemini/settings.json"),),
        project=".gemini/settings.json",
        address="httpUrl",
    ),
    McpClient("windsurf", "Windsurf", "mcpServers", "home", ".codeium/windsurf/mcp_config.json", address="serverUrl"),
)
"""Every client that is known, by the name in a command line."""

_BY_ID = {client.id: client for client in CLIENTS}


def client_named(id: str) -> McpClient | None:
    """The client of this id, in any case and with blanks or underscores for hyphens."""
    return _BY_ID.get(id.strip().lower().replace(" ", "-").replace("_", "-"))


def user_file(client: McpClient, machine: Machine) -> ClientFile:
    """The user's own document of a client, whether it is there or not."""
    for variable, path in client.overrides:
        if (folder := machine.override(variable)) is not None:
            return ClientFile(client, folder / path, "user")
    return ClientFile(client, machine.base(client.base) / client.file, "user")


def project_file(client: McpClient, machine: Machine) -> ClientFile | None:
    """The document of a client in this folder; None for a client that has none."""
    return ClientFile(client, machine.folder / client.project, "project") if client.project else None


def traces_of(client: McpClient, machine: Machine) -> tuple[Path, ...]:
    """The files and folders that say a client is used by this person: one of them is enough."""
    file = user_file(client, machine).path
    # The home itself says nothing.
    folder = () if file.parent == machine.home else (file.parent,)
    return (file, *folder, *(machine.home / trace for trace in client.traces))
