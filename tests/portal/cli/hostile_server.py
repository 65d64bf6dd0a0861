"""An upstream server over stdio whose texts try to be Markdown and HTML."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

BAD = "a | b\n\n# out\n```\n<script>alert(1)</script> ![x](http://evil.example) \u202e\x1b[31m\n---\n* * *"

server = MCPServer("odd", instructions=BAD)


@server.tool(description=BAD)
def look(what: str = "`|`\\") -> str:
    return what


@server.prompt(description=BAD)
def greet(name: str) -> str:
    return name


@server.resource("file:///a|b", description=BAD)
def page() -> str:
    return ""


@server.resource("memo://{topic}", description=BAD)
def memo(topic: str) -> str:
    return topic


if __name__ == "__main__":
    server.run("stdio")
