"""Runs untrusted JavaScript programs in single-use WebAssembly isolates. Does no I/O and knows nothing of MCP or HTTP."""
