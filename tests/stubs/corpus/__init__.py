"""Servers written for these tests, each in the manner of one kind of generator, and how to read them."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

from stubs import Server, Tool
from tests.corpus import cloudflare

FOLDER = Path(__file__).parent
NAMES = ("files", "issues", "odd", "shapes", "shop")
LARGE = "CODEMODE_LARGE_CATALOG"


def server(name: str) -> Server:
    return as_server(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def as_server(document: dict[str, Any]) -> Server:
    """A server from a document with `id`, `name`, `description` and `tools` as MCP lists them."""
    tools = tuple(map(as_tool, document["tools"]))
    return Server(document["id"], document.get("name"), document.get("description"), tools)


def as_tool(document: dict[str, Any]) -> Tool:
    return Tool(
        document["name"],
        title=document.get("title"),
        description=document.get("description"),
        input_schema=document["inputSchema"],
        output_schema=document.get("outputSchema"),
        annotations=document.get("annotations", {}),
    )


def large_catalog() -> list[dict[str, Any]]:
    """The 2,747 operations of a real API as tools; others where `CODEMODE_LARGE_CATALOG` names a file of them."""
    if LARGE not in os.environ:
        return cloudflare.tools()
    tools: list[dict[str, Any]] = json.loads(gzip.decompress(Path(os.environ[LARGE]).read_bytes()))
    return tools
