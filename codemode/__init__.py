"""The `code` tool: a catalog of tools, search over it, and the driver that runs a program and its calls. Transport-free."""
