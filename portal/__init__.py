"""The MCP portal: many upstream MCP servers behind one URL, with and without code mode."""
