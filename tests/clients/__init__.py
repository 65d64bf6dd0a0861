"""Real MCP clients against a portal in code mode."""
