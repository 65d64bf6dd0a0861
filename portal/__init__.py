"""The MCP portal: many upstream MCP servers behind one URL, with and without code mode.

The top floor: nothing imports it. Its doors are the command `codemode` (`portal.cli`) and `portal.app.asgi.create_app`.
"""

__all__: list[str] = []
