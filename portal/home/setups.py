"""How to connect clients to a portal: commands and documents to paste. Pure."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

CODE_MODE = "?codemode=search_and_execute"
CLAUDE_REDIRECT = "https://claude.ai/api/mcp/auth_callback"
CURSOR_REDIRECT = "cursor://anysphere.cursor-mcp/oauth/callback"
MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class ClientSetup:
    """How to set up one client: its name, where the text goes, and the text.

    `note` is what else there is to know, "" for nothing. With `brief` it is one of the few that a terminal shows.
    """

    client: str
    place: str
    language: Literal["bash", "json", "text"]
    text: str
    note: str = ""
    brief: bool = False

    @property
    def spread(self) -> str:
        """The text as a page shows it: a JSON document in several lines."""
        if self.language != "json":
            return self.text
        return json.dumps(json.loads(self.text), indent=2, ensure_ascii=False)


def client_setups(
    url: str, name: str = "codemode", allows: Callable[[str], bool] = lambda redirect: True
) -> tuple[ClientSetup, ...]:
    """The setup of each known client for the MCP endpoint at `url`, under this name.

    `allows` says whether the portal lets a client register that comes back to this redirect URI.
    """
    quoted, is_clear = shlex.quote(url), url.startswith("http:")
    insecure = ["--allow-http"] if is_clear else []
    hosted = ClientSetup(
        "Claude Desktop and claude.ai",
        "under Settings, Connectors, Add custom connector, as its URL",
        "text",
        url,
        _notes("Claude must be able to reach the portal from the internet.", _blocked(CLAUDE_REDIRECT, allows)),
    )
    return (
        ClientSetup(
            "Claude Code", "in a shell", "bash", f"claude mcp add --transport http {name} {quoted}", brief=True
        ),
        # Its connectors are opened by a service on the internet, never by the program on this machine.
        *(() if is_clear else (hosted,)),
        ClientSetup(
            "Cursor",
            "in .cursor/mcp.json",
            "json",
            _document({"mcpServers": {name: {"url": url}}}),
            _blocked(CURSOR_REDIRECT, allows),
            brief=True,
        ),
        ClientSetup(
            "VS Code",
            "in .vscode/mcp.json",
            "json",
            _document({"servers": {name: {"type": "http", "url": url}}}),
            brief=True,
        ),
        ClientSetup(
            "Codex",
            "in a shell",
            "bash",
            f"codex mcp add {name} --url {quoted}",
            f"If it does not ask you to sign in, run: codex mcp login {name}",
        ),
        ClientSetup(
            "Gemini CLI", "in a shell", "bash", f"gemini mcp add --scope user --transport http {name} {quoted}"
        ),
        ClientSetup(
            "Windsurf",
            "in ~/.codeium/windsurf/mcp_config.json",
            "json",
            _document({"mcpServers": {name: {"serverUrl": url}}}),
        ),
        ClientSetup(
            "Every other client",
            "in their mcpServers document, through mcp-remote",
            "json",
            _document({"mcpServers": {name: {"command": "npx", "args": ["-y", "mcp-remote", url, *insecure]}}}),
            "mcp-remote connects clients that can only start programs. It needs Node.js.",
            brief=True,
        ),
    )


def server_name(name: str, otherwise: str = "codemode") -> str:
    """What clients call a portal of this name: small letters, digits and single hyphens, at most `MAX_NAME`.

    `otherwise` is for a name in which no letter is a Latin one.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME].strip("-")
    return words or otherwise


def _blocked(redirect: str, allows: Callable[[str], bool]) -> str:
    """What to do where the portal does not let a client with this redirect register; "" where it does."""
    if allows(redirect):
        return ""
    return f"This portal does not let it sign in yet. Ask its administrator to add {redirect} to allowed_uris."


def _notes(*notes: str) -> str:
    return " ".join(filter(None, notes))


def _document(value: object) -> str:
    return json.dumps(value)
