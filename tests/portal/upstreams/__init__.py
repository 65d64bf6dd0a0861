"""Real MCP servers for tests: well-behaved ones with switches to misbehave (`server`), and raw sockets (`raw`)."""
