"""How to connect clients to a running portal: commands and documents to paste."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Literal

CODE_MODE = "?codemode=search_and_execute"


@dataclass(frozen=True, slots=True)
class ClientSetup:
    """How to set up one client: its name, where the text goes (a shell or a file), and the text."""

    client: str
    place: str
    language: Literal["bash", "json"]
    text: str


def client_setups(base_url: str, name: str = "codemode") -> tuple[ClientSetup, ...]:
    """The setup of each known client for the portal at `base_url` (such as http://127.0.0.1:8787/mcp), in code mode."""
    url = base_url + CODE_MODE
    insecure = ["--allow-http"] if url.startswith("http:") else []
    return (
        ClientSetup("Claude Code", "in a shell", "bash", f"claude mcp add --transport http {name} {shlex.quote(url)}"),
        ClientSetup("Cursor", "in .cursor/mcp.json", "json", _document({"mcpServers": {name: {"url": url}}})),
        ClientSetup(
            "VS Code", "in .vscode/mcp.json", "json", _document({"servers": {name: {"type": "http", "url": url}}})
        ),
        ClientSetup(
            "Clients that only start programs",
            "in their mcpServers document, through mcp-remote",
            "json",
            _document({"mcpServers": {name: {"command": "npx", "args": ["-y", "mcp-remote", url, *insecure]}}}),
        ),
    )


def _document(value: object) -> str:
    return json.dumps(value)
