"""A machine for tests: a home with documents of clients, and a folder in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from portal.clients import ClientFile, Machine, PortalEndpoint, client_named, user_file
from portal.clients.known import McpClient
from portal.config import HttpServer, ServerConfig, StdioServer

URL = "http://127.0.0.1:8787/mcp?codemode=search_and_execute"
COMMAND = ("/opt/codemode/bin/codemode", "stdio", "--config", "/srv/codemode.json")
ENDPOINT = PortalEndpoint(URL, COMMAND)


def machine_in(folder: Path, platform: str = "linux", **environment: str) -> Machine:
    """A machine whose home is `folder`, and whose command runs in `folder/work`."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Machine(platform, folder, work, environment)


def named(id: str) -> McpClient:
    client = client_named(id)
    assert client is not None
    return client


def written(machine: Machine, id: str, text: str | bytes) -> ClientFile:
    """The user's document of a client, with this text."""
    file = user_file(named(id), machine)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def leads_to_url(server: ServerConfig) -> bool:
    """Whether a server is the portal at `URL`, in any mode, or a bridge to it, or started as `COMMAND`."""
    if isinstance(server, HttpServer):
        return server.url.partition("?")[0] == URL.partition("?")[0]
    assert isinstance(server, StdioServer)
    return URL in server.args or server.command == COMMAND[0]


IS_PORTAL: Callable[[ServerConfig], bool] = leads_to_url

CLAUDE_JSON = """{
  "numStartups": 41,
  "oauthAccount": {"emailAddress": "ada@example.com", "accountUuid": "2c1f-not-for-others"},
  "customApiKeyResponses": {"approved": ["AAAAbbbbCCCC1111dddd"]},
  "mcpServers": {
    "github": {"type": "http", "url": "https://mcp.example.com/github/", 
               "headers": {"Authorization": "Bearer ghp_0123456789"}},
    "files": {"type": "stdio", "command": "npx", "args": ["-y", "files-server", "/data"], "env": {}}
  },
  "projects": {
    "%(work)s": {"allowedTools": [],
               "mcpServers": {"db": {"command": "./db", "args": ["--password", "hunter2-and-more"]}}},
    "/elsewhere": {"mcpServers": {"far": {"command": "far"}}}
  }
}
"""
CURSOR_JSON = """{
  // what I use every day
  "mcpServers": {
    "github": {"url": "https://mcp.example.com/github/"}, // the same as in Claude Code
    "files": {"command": "npx", "args": ["-y", "files-server", "/other"]},\r
    "notes": {"command": "notes", "env": {"NOTES_TOKEN": "${env:NOTES_TOKEN}"}},
  },
}
"""
CODEX_TOML = """# Codex
model = "gpt-5"

[mcp_servers.docs]   # the handbook
url = "https://docs.example.com/mcp"
bearer_token_env_var = "DOCS_TOKEN"
enabled_tools = ["search"]

[mcp_servers.time]
command = "uvx"
args = ["mcp-server-time"]

[tui]
theme = "dark"
"""
DOCUMENTS: Mapping[str, str] = {"claude-code": CLAUDE_JSON, "cursor": CURSOR_JSON, "codex": CODEX_TOML}
"""Three clients with eight servers, of which two are the same."""


def three_clients(machine: Machine) -> dict[str, ClientFile]:
    return {
        id: written(machine, id, text % {"work": machine.folder} if "%(" in text else text)
        for id, text in DOCUMENTS.items()
    }
