"""The commands about MCP clients of this machine, with their options and help."""

from __future__ import annotations

from portal.cli.help import CommandLine

client_group = CommandLine(rich_markup_mode=None)
