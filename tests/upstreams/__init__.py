"""Real upstream MCP servers from npm and PyPI, behind the portal."""
